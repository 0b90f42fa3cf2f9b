// Spend: the figures, the chart over time, what it goes to.

import { $, bar, code, empty, fill, h } from "./dom.js";
import { chart, plain, readColour, seriesColour, SERIES } from "./charts.js";
import { compact, count, dollars, percent, plural } from "./format.js";
import { days } from "./period.js";

const METRICS = {
  cost: { value: (figures) => figures.cost_micro_usd / 1e6, text: dollars, title: "Cost" },
  tokens: { value: (figures) => figures.input_tokens + figures.output_tokens, text: compact, title: "Tokens" },
  requests: { value: (figures) => figures.requests, text: count, title: "Requests" },
};
const NAMES = { model: "model", task_type: "task type", workspace: "workspace" };

export function tiles(report, before, locations) {
  const all = report.totals;
  const local = locations.groups.filter((group) => group.key.location !== "cloud").reduce((sum, group) => sum + group.attempts, 0);
  fill($("#tiles"),
    tile("Cost", all.cost_usd === null ? "unknown" : dollars(all.cost_usd), change(all, before.totals), uncertainty(all)),
    tile("Requests", count(all.requests), all.attempts > all.requests ? `${plural(all.attempts, "attempt")}` : all.requests ? "none tried twice" : null, all.success_rate === null ? null : `${percent(all.success_rate)} of attempts went well`),
    tile("Tokens", compact(all.input_tokens + all.output_tokens), `${compact(all.input_tokens)} in, ${compact(all.output_tokens)} out`, all.cached_input_tokens ? `${compact(all.cached_input_tokens)} of them cached` : null),
    tile("On your own machines", all.attempts ? percent(local / all.attempts) : "–", `${count(local)} of ${plural(all.attempts, "attempt")}`, "none of these left your machines"));
  $("#tiles").setAttribute("aria-busy", "false");
}

const tile = (title, figure, ...beside) =>
  h("div", { class: "tile" }, h("dt", {}, title), h("dd", { class: "figure" }, figure), beside.filter(Boolean).map((text) => h("dd", { class: "beside" }, text)));

function change(all, before) {
  if (!before.attempts) return "nothing in the time before";
  const was = before.cost_micro_usd / 1e6;
  const difference = all.cost_micro_usd / 1e6 - was;
  if (difference === 0) return "as much as in the time before";
  const share = was > 0 ? ` (${difference > 0 ? "+" : "−"}${Math.abs((difference / was) * 100).toFixed(0)} %)` : "";
  return `${dollars(Math.abs(difference))} ${difference > 0 ? "more" : "less"} than the time before${share}`;
}

function uncertainty(all) {
  const parts = [];
  if (all.estimated_cost_micro_usd) parts.push(`${dollars(all.estimated_cost_micro_usd / 1e6)} of it estimated`);
  if (all.cost_unknown) parts.push(`${plural(all.cost_unknown, "attempt")} of unknown price not in it`);
  return parts.join("; ");
}

/** The chart; `report` is grouped by the unit of time and the dimension. */
export async function overTime(report, { metric, dimension, range }) {
  const target = $("#spend-chart");
  if (!report.totals.attempts) {
    fill(target, empty("Nothing was asked in this time.", "Ask something below, or with ", code("llm-sidecar chat \"hello\""), "."));
    return;
  }
  const measure = METRICS[metric];
  const names = largest(report.groups, dimension, measure);
  const times = range.unit === "day" ? days(range) : hours(report);
  const sums = new Map();
  for (const group of report.groups) {
    const name = names.includes(group.key[dimension]) ? group.key[dimension] : "other";
    const at = `${group.key[range.unit]}\n${name}`;
    sums.set(at, (sums.get(at) || 0) + measure.value(group));
  }
  const others = [...sums].some(([at, sum]) => at.endsWith("\nother") && sum > 0);
  const shown = others ? [...names, "other"] : names;
  const value = (time, name) => sums.get(`${time}\n${name}`) || 0;
  const label = (time) => (range.unit === "day" ? dayName(time) : time.slice(11, 16));
  await chart(target, {
    label: `${measure.title} per ${range.unit} by ${NAMES[dimension]}`,
    legend: shown.map((name, at) => [name ?? "none", seriesColour(at)]),
    columns: [{ title: range.unit === "day" ? "Day" : "Hour" }, ...shown.map((name) => ({ title: name ?? "none", number: true })), { title: "All", number: true }],
    rows: times.map((time) => [label(time), ...shown.map((name) => measure.text(value(time, name))), measure.text(shown.reduce((sum, name) => sum + value(time, name), 0))]),
    traces: () => shown.map((name, at) => ({
      type: "bar", name: plain(name ?? "none"), x: times.map(label), y: times.map((time) => value(time, name)),
      marker: { color: readColour(seriesColour(at)) },
      hovertext: times.map((time) => `${plain(label(time))}<br>${plain(name ?? "none")}  ${plain(measure.text(value(time, name)))}`), hoverinfo: "text",
    })),
    layout: () => ({ barmode: "stack", xaxis: { type: "category", nticks: Math.min(12, Math.max(2, Math.floor(target.clientWidth / 72))), tickangle: 0 }, yaxis: { rangemode: "tozero", tickprefix: metric === "cost" ? "$" : "", nticks: 6 } }),
  });
}

function largest(groups, dimension, measure) {
  const sums = new Map();
  for (const group of groups) sums.set(group.key[dimension], (sums.get(group.key[dimension]) || 0) + measure.value(group));
  const some = [...sums].filter(([, sum]) => sum > 0);
  return (some.length ? some : [...sums]).sort((a, b) => b[1] - a[1]).slice(0, SERIES - 1).map(([name]) => name);
}

const hours = (report) => [...new Set(report.groups.map((group) => group.key.hour))];

const dayName = (text) => new Date(`${text}T12:00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** Task types by cost, with the model that each cost most. */
export function patterns(report) {
  const target = $("#patterns");
  const whole = report.totals.cost_micro_usd;
  const groups = report.groups.filter((group) => group.cost_micro_usd > 0).slice(0, 6);
  if (!groups.length) {
    fill(target, empty("Nothing has cost anything in this time.", "Answers of models on your own machines are free."));
    return;
  }
  const first = groups[0];
  fill(target,
    h("p", {}, h("b", {}, `${first.key.task_type}`), ` with ${first.key.model} is ${percent(first.cost_micro_usd / whole)} of this time's cost.`),
    h("ul", { class: "share" }, groups.map((group) => h("li", {},
      h("div", { class: "line" }, h("span", {}, `${group.key.task_type} · `, h("span", { class: "quiet" }, group.key.model)), h("span", {}, `${dollars(group.cost_micro_usd / 1e6)} · ${percent(group.cost_micro_usd / whole)}`)),
      bar([[group.cost_micro_usd / whole, ""]], `${percent(group.cost_micro_usd / whole)} of the cost`)))));
}
