// Numbers as a person reads them. Unknown is a dash, never a zero.

const whole = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(value) : "–");
export const compact = (value) => (known(value) ? short.format(value) : "–");
export const percent = (value) => (known(value) ? `${(value * 100).toFixed(value < 0.1 && value > 0 ? 1 : 0)} %` : "–");

export function dollars(value) {
  if (!known(value)) return "unknown";
  const size = Math.abs(value);
  if (size === 0) return "$0";
  const digits = size >= 1000 ? 0 : size >= 0.1 ? 2 : size >= 0.001 ? 4 : 6;
  return `${value < 0 ? "−" : ""}$${size.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

export function duration(ms) {
  if (!known(ms)) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
}

export function moment(text, tz) {
  const when = new Date(text);
  if (Number.isNaN(when.getTime())) return "–";
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZone: tz };
  const day = (date) => date.toLocaleDateString("en-CA", { timeZone: tz });
  const time = when.toLocaleTimeString("en-GB", options);
  return day(when) === day(new Date()) ? time : `${when.toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: tz })} ${time}`;
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
