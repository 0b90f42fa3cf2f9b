// Budgets: how much is left, where it is heading, and how it got there.

import { $, badge, bar, code, empty, fill, h } from "./dom.js";
import { get, optional } from "./api.js";
import { chart, readColour } from "./charts.js";
import { dollars, moment, percent, plural } from "./format.js";

const ACTIONS = { alert: "tells you", cheaper: "takes cheaper models", local_only: "stays on your machines", block: "refuses" };
const ADVICE = ["Put one into ", code("profiles.yaml"), ": ", code("budgets: [{period: week, limit_usd: 15}]"), "."];

export async function budgets({ tz }) {
  const answer = await optional(get("/api/v1/budgets"));
  const target = $("#budget-list");
  if (!answer?.budgets.length) {
    fill(target, h("div", { class: "card all" }, empty("No budget is set.", ADVICE)));
    return;
  }
  const keys = new Set(answer.budgets.map((budget) => budget.key));
  for (const card of [...target.children]) if (!keys.has(card.dataset.key)) card.remove();
  await Promise.all(answer.budgets.map((budget) => show(target, budget, tz)));
}

async function show(target, budget, tz) {
  let card = target.querySelector(`[data-key="${CSS.escape(budget.key)}"]`);
  if (!card) {
    card = h("article", { class: "card", "data-key": budget.key }, h("div", {}), h("div", {}));
    target.append(card);
  }
  fill(card.firstElementChild, heading(budget), budget.used_fraction === null ? perRequest(budget) : standing(budget, tz));
  if ((budget.burn_down || []).length > 1) await burnDown(card.lastElementChild, budget, tz);
}

const scope = (budget) => [budget.workspace ? `workspace ${budget.workspace}` : "all workspaces", budget.agent && `agent ${budget.agent}`, budget.task_type && `task type ${budget.task_type}`].filter(Boolean).join(", ");

const heading = (budget) => h("div", { class: "head" }, h("h3", {}, `${dollars(budget.limit_usd)} a ${budget.period}`, h("span", { class: "quiet" }, ` · ${scope(budget)}`)), state(budget));

function state(budget) {
  if (budget.shadow) return badge("only watches", "accent");
  const used = budget.used_fraction;
  if (used === null) return null;
  return used >= 1 ? badge("used up", "bad") : used >= 0.8 ? badge("nearly used", "warn") : badge("within", "good");
}

const perRequest = (budget) => h("p", { class: "quiet" }, `No single request may cost more; past that it ${ACTIONS[budget.on_limit]}.`);

function standing(budget, tz) {
  const used = budget.used_fraction;
  const held = budget.limit_usd > 0 ? budget.reserved_usd / budget.limit_usd : 0;
  const kind = used >= 1 ? "bad" : used >= 0.8 ? "warn" : "";
  const over = budget.projected_usd !== null && budget.projected_usd > budget.limit_usd;
  return h("div", { class: "share" },
    h("div", { class: "line" }, h("span", {}, h("b", {}, dollars(budget.used_usd)), " used"), h("span", {}, `${dollars(Math.max(0, budget.left_usd))} left`)),
    bar([[used, kind], [held, "soft"]], `${percent(used)} used, ${percent(held)} held for calls that are running`),
    budget.running ? h("p", { class: "quiet" }, `${dollars(budget.reserved_usd)} held for ${plural(budget.running, "running call")}.`) : null,
    budget.projected_usd === null ? null : h("p", { class: over ? "" : "quiet" }, over ? badge("heading over", "warn") : null, ` ${dollars(budget.projected_usd)} by the end, at this rate`,
      budget.exhausted_at ? `; used up on ${moment(budget.exhausted_at, tz)}.` : "."),
    budget.unpriced_calls ? h("p", {}, badge("note", "warn"), ` ${plural(budget.unpriced_calls, "call")} of unknown price not in it.`) : null,
    h("p", { class: "quiet" }, `At the limit it ${ACTIONS[budget.on_limit] ?? budget.on_limit}. New on ${moment(budget.period_end, tz)}.`));
}

function burnDown(target, budget, tz) {
  const times = budget.burn_down.map((point) => point.at);
  const left = budget.burn_down.map((point) => point.left_usd);
  const last = budget.burn_down.at(-1);
  const ahead = budget.projected_usd === null ? [] : [last.at, budget.period_end];
  return chart(target, {
    low: true, label: `What is left of ${dollars(budget.limit_usd)} this ${budget.period}`,
    legend: [["left", "--accent"], ...(ahead.length ? [["at this rate", "--series-7"]] : [])],
    columns: [{ title: "When" }, { title: "Used", number: true }, { title: "Left", number: true }],
    rows: budget.burn_down.map((point) => [moment(point.at, tz), dollars(point.used_usd), dollars(point.left_usd)]),
    traces: () => [
      { type: "scatter", mode: "lines", x: times, y: left, line: { color: readColour("--accent"), width: 2.5, shape: "hv" }, fill: "tozeroy", fillcolor: readColour("--accent-soft"), hovertext: left.map((value, at) => `${moment(times[at], tz)}<br>${dollars(value)} left`), hoverinfo: "text" },
      { type: "scatter", mode: "lines", x: ahead, y: ahead.length ? [last.left_usd, budget.limit_usd - budget.projected_usd] : [], line: { color: readColour("--series-7"), width: 2, dash: "dot" }, hoverinfo: "skip" },
    ],
    layout: () => ({ xaxis: { type: "date", range: [budget.period_start, budget.period_end], nticks: 5 }, yaxis: { tickprefix: "$", nticks: 4, range: [Math.min(0, budget.limit_usd - (budget.projected_usd ?? 0), ...left), budget.limit_usd * 1.04] } }),
  });
}
