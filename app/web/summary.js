// The calendar period so far: where it is heading, what local models saved, model against model.

import { $, bar, fill, h, sentence, table } from "./dom.js";
import { get, optional } from "./api.js";
import { compact, count, dollars, duration, percent } from "./format.js";

const PERIODS = { today: "day", week: "week", month: "month", quarter: "month" };
const TITLES = { day: "Today so far", week: "This week so far", month: "This month so far" };

export async function summary({ period, workspace, tz }) {
  const asked = PERIODS[period] ?? "week";
  const found = await optional(get("/api/v1/usage/summary", { period: asked, workspace, tz }));
  $("#summary").hidden = $("#comparisons").hidden = true;
  if (!found) return;
  $("#summary").hidden = false;
  $("#summary-title").textContent = TITLES[asked];
  fill($("#savings"), h("div", { class: "share" }, heading(found, asked), against(found.previous, asked), saved(found.savings)));
  if (found.comparisons.length) {
    $("#comparisons").hidden = false;
    fill($("#comparison-table"), comparisons(found.comparisons));
  }
}

function heading({ figures, projection }, period) {
  if (projection.cost_usd === null) return h("p", { class: "quiet" }, `It is too early in the ${period} to say where its cost is heading.`);
  return [
    h("div", { class: "line" }, h("span", {}, h("b", {}, dollars(figures.cost_usd)), " spent"), h("span", {}, h("b", {}, dollars(projection.cost_usd)), ` by the end of the ${period}, at this rate`)),
    bar([[projection.elapsed_share, ""]], `${percent(projection.elapsed_share)} of the ${period} has passed`),
    h("p", { class: "quiet" }, `${percent(projection.elapsed_share)} of the ${period} has passed; ${dollars(projection.usd_per_day)} a day.`),
  ];
}

const against = (previous, period) => previous.change === null ? null
  : h("p", {}, `${percent(Math.abs(previous.change))} ${previous.change < 0 ? "less" : "more"} than the ${period} before up to the same time.`);

function saved(savings) {
  if (savings.saved_usd === null) return savings.reason ? h("p", { class: "quiet" }, "What local models saved is not known: ", sentence(savings.reason), ".") : null;
  return h("p", {}, "Local models saved ", h("b", {}, dollars(savings.saved_usd)), `: so much would ${savings.reference} have cost for the ${compact(savings.input_tokens + savings.output_tokens)} tokens of ${count(savings.requests)} requests.`);
}

const comparisons = (list) => table("Task types that several models have worked on", [
  { title: "Task" }, { title: "Model", wide: true }, { title: "Attempts", number: true }, { title: "Went well", number: true }, { title: "Half within", number: true }, { title: "Cost each", number: true }, { title: "Your verdict", number: true },
], list.map((one, at) => [at && list[at - 1].task_type === one.task_type ? "" : one.task_type, one.model, count(one.figures.attempts), percent(one.figures.success_rate), duration(one.figures.latency_p50_ms),
  one.cost_per_request_usd === null ? "–" : dollars(one.cost_per_request_usd), one.verdict ? `${one.verdict.mean.toFixed(1)} of 5 (${count(one.verdict.count)})` : "–"]));
