// Model against model: how fast, how reliable, at what price.

import { $, badge, code, empty, fill, h, table } from "./dom.js";
import { chart, plain, readColour } from "./charts.js";
import { count, dollars, duration, percent } from "./format.js";

export async function models(report) {
  const groups = report.groups.filter((group) => group.attempts);
  if (!groups.length) {
    $("#latency-chart").replaceChildren();
    fill($("#model-table"), empty("No model was asked in this time.", "Which there are: ", code("llm-sidecar models"), "."));
    return;
  }
  const timed = groups.filter((group) => group.latency_p50_ms !== null).slice(0, 12);
  if (timed.length) await latency(timed);
  else $("#latency-chart").replaceChildren();
  fill($("#model-table"), table("Every model that was asked", [
    { title: "Model", wide: true }, { title: "Attempts", number: true }, { title: "Went well" }, { title: "First token", number: true },
    { title: "Whole answer", number: true }, { title: "95 % within", number: true }, { title: "Speed", number: true }, { title: "Cost", number: true }, { title: "Per request", number: true },
  ], groups.map(row)));
}

function row(group) {
  const rate = group.success_rate;
  const kind = rate === null ? "" : rate >= 0.98 ? "good" : rate >= 0.9 ? "warn" : "bad";
  const speed = typeof group.tokens_per_second === "number" ? `${group.tokens_per_second.toFixed(0)} tokens/s` : "–";
  const cost = group.cost_usd;
  return [group.key.model, count(group.attempts), badge(percent(rate), kind), duration(group.time_to_first_token_p50_ms), duration(group.latency_p50_ms),
    duration(group.latency_p95_ms), speed, cost === null ? "unknown" : dollars(cost), cost === null || !group.requests ? "–" : dollars(cost / group.requests)];
}

function latency(groups) {
  const ordered = [...groups].sort((a, b) => b.latency_p50_ms - a.latency_p50_ms);
  const names = ordered.map((group) => shorten(group.key.model));
  const seconds = (name) => ordered.map((group) => (group[name] ?? 0) / 1000);
  const hover = ordered.map((group) => `${plain(group.key.model)}<br>first token ${duration(group.time_to_first_token_p50_ms)}<br>half within ${duration(group.latency_p50_ms)}<br>95 % within ${duration(group.latency_p95_ms)}`);
  return chart($("#latency-chart"), {
    label: "How long answers took, by model", height: 70 + 38 * ordered.length,
    legend: [["half of the answers within", "--accent"], ["95 % within", "--series-7"], ["first token", "--text"]],
    columns: [{ title: "Model", wide: true }, { title: "First token", number: true }, { title: "Half within", number: true }, { title: "95 % within", number: true }],
    rows: [...ordered].reverse().map((group) => [group.key.model, duration(group.time_to_first_token_p50_ms), duration(group.latency_p50_ms), duration(group.latency_p95_ms)]),
    traces: () => [
      { type: "bar", orientation: "h", y: names, x: seconds("latency_p95_ms"), marker: { color: readColour("--series-7"), opacity: 0.35 }, width: 0.5, hovertext: hover, hoverinfo: "text" },
      { type: "bar", orientation: "h", y: names, x: seconds("latency_p50_ms"), marker: { color: readColour("--accent") }, width: 0.5, hovertext: hover, hoverinfo: "text" },
      { type: "scatter", mode: "markers", y: names, x: seconds("time_to_first_token_p50_ms"), marker: { symbol: "line-ns-open", size: 16, line: { width: 2.5 }, color: readColour("--text") }, hovertext: hover, hoverinfo: "text" },
    ],
    layout: () => ({ barmode: "overlay", xaxis: { rangemode: "tozero", ticksuffix: " s", showgrid: true, nticks: 6 }, yaxis: { type: "category", ticklabelstandoff: 8, showgrid: false, ticktext: names.map(plain), tickvals: names } }),
  });
}

const shorten = (name) => (name.length > 26 ? `${name.slice(0, 12)}…${name.slice(-12)}` : name);
