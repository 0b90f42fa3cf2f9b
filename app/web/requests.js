// Recent requests, and the receipt of one in the drawer: its route, what the model saw, its attempts.

import { $, badge, bar, code, empty, facts, fill, h, sentence, table } from "./dom.js";
import { get, optional, post } from "./api.js";
import { count, dollars, duration, moment, percent } from "./format.js";

const SHOWN = 25;
const KINDS = { ok: "good", error: "bad", interrupted: "bad", cancelled: "warn", pending: "accent" };
const WORDS = { ok: "answered", error: "failed", interrupted: "interrupted", cancelled: "cancelled", pending: "running" };
const OUTCOMES = { kept: "good", shortened: "warn", summarised: "warn", dropped: "bad" };
let opener = null;

export async function requests({ workspace, tz, range }) {
  const page = await get("/api/v1/usage/records", { workspace, tz, from: range.from, to: range.to, limit: 120 });
  const found = byRequest(page.records).slice(0, SHOWN);
  const target = $("#request-list");
  if (!found.length) {
    fill(target, empty("No requests in this time.", "They appear here as they are answered."));
    return;
  }
  const columns = [{ title: "When" }, { title: "Model", wide: true }, { title: "Task" }, { title: "Workspace" }, { title: "Outcome" },
    { title: "In", number: true }, { title: "Out", number: true }, { title: "Took", number: true }, { title: "Cost", number: true }];
  const rows = found.map(({ last, attempts }) => [
    h("button", { type: "button", class: "rowlink", "data-request": last.request_id, "aria-label": `Receipt of the request at ${moment(last.created_at, tz)}` }, moment(last.created_at, tz)),
    last.model, last.task_type, last.workspace_profile_id,
    [badge(WORDS[last.status] || last.status, KINDS[last.status]), attempts.length > 1 ? h("span", { class: "quiet" }, ` ${attempts.length} attempts`) : null],
    count(last.input_tokens), count(last.output_tokens), duration(last.latency_ms), last.status === "pending" ? "–" : dollars(cost(attempts)),
  ].map((cell) => (Array.isArray(cell) ? h("span", {}, cell) : cell)));
  const focused = document.activeElement?.dataset?.request;
  fill(target, table("Newest first; open one for its receipt", columns, rows, (at) => ({
    class: "link", on: { click: (event) => open(found[at].last.request_id, tz, event.currentTarget.querySelector("button")) },
  })));
  if (focused) target.querySelector(`[data-request="${CSS.escape(focused)}"]`)?.focus();
}

function byRequest(records) {
  const found = new Map();
  for (const record of records) {
    const request = found.get(record.request_id) ?? { last: record, attempts: [] };
    if (record.attempt > request.last.attempt) request.last = record;
    request.attempts.push(record);
    found.set(record.request_id, request);
  }
  return [...found.values()];
}

/** Null where any attempt's price is not known. */
const cost = (attempts) => (attempts.some((one) => one.cost_usd === null) ? null : attempts.reduce((sum, one) => sum + one.cost_usd, 0));

export async function open(requestId, tz, from = document.activeElement) {
  opener = from;
  const body = fill($("#drawer-body"), h("p", { class: "quiet" }, "Reading the receipt…"));
  const drawer = $("#drawer");
  if (!drawer.open) drawer.showModal();
  $("#drawer-title").focus();
  try {
    const [page, receipt] = await Promise.all([
      get("/api/v1/usage/records", { request_id: requestId, from: "1970-01-02", tz, limit: 100 }),
      optional(get(`/api/v1/requests/${encodeURIComponent(requestId)}`)),
    ]);
    const attempts = [...page.records].sort((a, b) => a.attempt - b.attempt);
    fill(body, receiptOf(requestId, attempts, receipt, tz));
  } catch (problem) {
    fill(body, h("p", { class: "error", role: "alert" }, problem.message));
  }
}

export function prepareDrawer() {
  const drawer = $("#drawer");
  $("#drawer-close").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => { if (event.target === drawer) drawer.close(); });
  drawer.addEventListener("close", () => opener?.isConnected && opener.focus());
}

function receiptOf(requestId, attempts, receipt, tz) {
  const last = attempts.at(-1);
  if (!last) return [empty("This request left no row.", "Rows older than the configured age are dropped.")];
  const known = receipt?.receipt ?? receipt;
  const route = known?.route;
  return [
    facts([
      ["Id", code(requestId)], ["When", moment(last.created_at, tz)], ["Outcome", badge(WORDS[last.status] || last.status, KINDS[last.status])],
      ["Workspace", last.workspace_profile_id], ["Task type", last.task_type], ["Agent", last.agent], ["Session", last.session_id],
      ["Cost", `${dollars(cost(attempts))}${last.cost_source === "estimated" ? " (estimated)" : ""}`],
    ]),
    feedback(requestId, receipt?.feedback),
    h("h4", {}, "Route"),
    facts([["Rule", code(last.rule)], ["Answered by", `${last.model} (${last.location.replace("_", " ")})`],
      ["Candidates", route?.candidates?.map((one) => one.model).join(" → ")], ["Stays on your machines", route ? (route.local_only ? "yes" : "not required") : null]]),
    route?.reasons?.length ? h("ul", {}, [...new Set(route.reasons)].map((reason) => h("li", {}, sentence(reason)))) : null,
    route?.removed?.length ? removed(route.removed) : null,
    h("h4", {}, "Attempts"),
    table("Every call to a model", [{ title: "#", number: true }, { title: "Model" }, { title: "Outcome" }, { title: "In", number: true }, { title: "Out", number: true }, { title: "First token", number: true }, { title: "Took", number: true }, { title: "Cost", number: true }],
      attempts.map((one) => [String(one.attempt), one.model, h("span", {}, badge(WORDS[one.status] || one.status, KINDS[one.status]), one.error_message ? h("div", { class: "quiet" }, one.error_message) : null),
        count(one.input_tokens), count(one.output_tokens), duration(one.time_to_first_token_ms), duration(one.latency_ms), dollars(one.cost_usd)])),
    known?.context?.blocks ? [h("h4", {}, "What the model saw"), contextOf(known.context)] : null,
  ];
}

export const removed = (list) => table("Models that were ruled out", [{ title: "Model" }, { title: "From" }, { title: "Why", wide: true }],
  list.map((one) => [one.model, one.origin, h("span", {}, one.reason, " ", badge(one.code))]));

/** The window as a bar, and every block with what became of it. */
export function contextOf(context) {
  const share = context.input_tokens / context.window;
  const reserve = context.reserved_output / context.window;
  return h("div", { class: "share" },
    h("p", {}, `${count(context.input_tokens)} of ${count(context.window)} tokens for ${context.model}; ${count(context.reserved_output)} kept free for the answer.`,
      context.upgraded_from ? ` Upgraded from ${context.upgraded_from}.` : ""),
    bar([[share, ""], [reserve, "soft"]], `${percent(share)} of the window used, ${percent(reserve)} reserved for the answer`),
    table("Context", [{ title: "Block" }, { title: "Priority", number: true }, { title: "Tokens", number: true }, { title: "Outcome" }, { title: "Why", wide: true }],
      context.blocks.map((block) => [block.id, String(block.priority), count(block.tokens), badge(block.outcome, OUTCOMES[block.outcome]), block.reason])),
    (context.notes || []).map((note) => h("p", { class: "quiet" }, note)));
}

function feedback(requestId, given) {
  const said = h("span", { class: "quiet", role: "status" });
  const thumb = (score, word, label) => h("button", { type: "button", class: "plain", "aria-label": label, "aria-pressed": String(given ? (score > 3 ? given.score > 3 : given.score < 3) : false),
    on: { click: async (event) => {
      try {
        await post(`/api/v1/requests/${encodeURIComponent(requestId)}/feedback`, { score });
        for (const other of event.target.parentElement.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === event.target));
        said.textContent = "Noted.";
      } catch (problem) {
        said.textContent = problem.status === 404 ? "This sidecar takes no feedback." : problem.message;
      }
    } } }, word);
  return h("div", { class: "buttons", role: "group", "aria-label": "Was it a good answer?" }, h("span", { class: "quiet" }, "Was it a good answer?"), thumb(5, "Yes", "Good answer"), thumb(1, "No", "Bad answer"), said);
}
