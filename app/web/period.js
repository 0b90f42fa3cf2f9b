// Which time the page shows. Days are the person's days, in the zone that is chosen.

const DAY = 86400000;
const LENGTHS = { today: 0, week: 6, month: 29, quarter: 89 };

export const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export function zones() {
  const own = ownZone();
  const all = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return [own, ...["UTC", ...all].filter((zone, at, list) => zone !== own && list.indexOf(zone) === at)];
}

const day = (date, tz) => date.toLocaleDateString("en-CA", { timeZone: tz });

/** {from, to, unit}: dates of the zone; `to` is the day after the last one shown. */
export function range(period, tz, now = new Date()) {
  const today = day(now, tz);
  const noon = Date.parse(`${today}T12:00:00Z`);
  const shift = (days) => new Date(noon + days * DAY).toISOString().slice(0, 10);
  const length = LENGTHS[period] ?? 6;
  return { from: shift(-length), to: shift(1), unit: length === 0 ? "hour" : "day", before: { from: shift(-2 * length - 1), to: shift(-length) } };
}

/** Every day from `from` to the one before `to`. */
export function days({ from, to }) {
  const found = [];
  for (let at = Date.parse(`${from}T12:00:00Z`); at < Date.parse(`${to}T00:00:00Z`); at += DAY) found.push(new Date(at).toISOString().slice(0, 10));
  return found;
}
