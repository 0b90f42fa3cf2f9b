// The rule explainer: describe a request, see what would become of it. No model is called.

import { $, badge, bar, code, facts, fill, h, sentence, table } from "./dom.js";
import { post } from "./api.js";
import { contextOf, removed } from "./requests.js";
import { count, dollars, percent, plural } from "./format.js";

const TASKS = ["chat", "completion", "debugging", "refactoring", "architecture", "summarization", "session_capture", "entity_extraction", "error_resolution", "long_context", "creative", "research"];

/** The fields that say how a request is routed: of the explainer and of the chat. */
export function routingFields(prefix, { profiles, defaultWorkspace, models }) {
  const tasks = h("datalist", { id: `${prefix}-tasks` }, TASKS.map((task) => h("option", { value: task })));
  return [
    h("label", {}, "Workspace", h("select", { name: "workspace" }, profiles.map((profile) =>
      h("option", { value: profile.id, selected: profile.id === defaultWorkspace }, `${profile.name || profile.id}${profile.block_cloud_apis ? " (private)" : ""}`)))),
    h("label", {}, "Task type", h("input", { name: "task_type", value: "chat", list: `${prefix}-tasks`, pattern: "[a-z0-9_\\-]{1,64}", required: true, autocomplete: "off", spellcheck: "false" }), tasks),
    h("label", {}, "Model", h("select", { name: "model" }, h("option", { value: "" }, "as the rules say"), models.map((model) => h("option", { value: model.id }, model.id)))),
  ];
}

export function requestOf(form) {
  const body = { task_type: form.task_type.value, workspace: form.workspace.value };
  if (form.model.value) body.model = form.model.value;
  return body;
}

export function prepareExplainer(known) {
  const form = $("#explain-form");
  fill(form,
    h("label", { class: "all" }, "Question", h("textarea", { name: "query", required: true, placeholder: "Why does this function return None?" })),
    routingFields("explain", known),
    h("label", {}, "Contains code", h("select", { name: "contains_code" }, h("option", { value: "" }, "look and see"), h("option", { value: "true" }, "yes"), h("option", { value: "false" }, "no"))),
    h("label", {}, "Longest answer, in tokens", h("input", { name: "max_output_tokens", type: "number", min: "1", max: "1000000", placeholder: "as configured" })),
    h("label", {}, "Metadata", h("input", { name: "metadata", placeholder: "tier=gold, score=3", autocomplete: "off", spellcheck: "false" })),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "retrieve" }), "Search the workspace's index"),
    h("div", { class: "buttons all" }, h("button", { class: "main", type: "submit" }, "Explain")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      show(await post("/api/v1/explain", described(form)));
    } catch (problem) {
      fill($("#explain-result"), refused(problem));
    } finally {
      button.disabled = false;
    }
  });
}

function described(form) {
  const body = { ...requestOf(form), query: form.query.value };
  if (form.contains_code.value) body.contains_code = form.contains_code.value === "true";
  if (form.max_output_tokens.value) body.max_output_tokens = Number(form.max_output_tokens.value);
  if (form.retrieve.checked) body.retrieve = true;
  const metadata = pairs(form.metadata.value);
  if (Object.keys(metadata).length) body.metadata = metadata;
  return body;
}

/** `tier=gold, score=3`: numbers and true and false are read as such. */
function pairs(text) {
  const found = {};
  for (const part of text.split(",").map((one) => one.trim()).filter(Boolean)) {
    const [name, ...rest] = part.split("=");
    const value = rest.join("=").trim();
    found[name.trim()] = value === "true" ? true : value === "false" ? false : value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
  }
  return found;
}

const refused = (problem) => h("div", { role: "alert" },
  h("p", { class: "error" }, h("b", {}, "This request would be refused. "), problem.message), problem.code ? h("p", { class: "quiet" }, "Code ", code(problem.code)) : null,
  (problem.body?.verdicts || []).length ? verdicts(problem.body.verdicts) : null,
  (problem.body?.removed || []).length ? removed(problem.body.removed) : null);

function show(found) {
  const { route, candidates } = found;
  const asked = candidates.find((one) => one.context && !one.resting) ?? candidates[0];
  fill($("#explain-result"),
    h("p", { class: "answer" }, "Rule ", code(route.rule), " sends it to ", h("b", {}, asked?.model ?? route.model), ` (${(asked?.location ?? route.location).replace("_", " ")})`,
      asked?.estimated_cost_usd === null || asked?.estimated_cost_usd === undefined ? "." : `, for at most ${dollars(asked.estimated_cost_usd)}.`,
      route.local_only ? " Nothing of it may leave your machines." : ""),
    route.reasons.length ? h("ul", {}, [...new Set(route.reasons)].map((reason) => h("li", {}, sentence(reason)))) : null,
    (found.warnings || []).map((warning) => h("p", {}, badge("note", "warn"), " ", warning)),
    verdicts(route.verdicts),
    h("h4", {}, "Candidates, in the order they are asked"),
    table("What each would see and cost", [{ title: "Model" }, { title: "From" }, { title: "Where" }, { title: "State" }, { title: "Input", number: true }, { title: "Window" }, { title: "Cost at most", number: true }], candidates.map(candidate)),
    route.removed.length ? [h("h4", {}, "Ruled out"), removed(route.removed)] : null,
    asked?.context ? h("details", {}, h("summary", {}, "What the model would see"), contextOf(asked.context)) : null,
    h("details", {}, h("summary", {}, "What the rules were asked about"), facts(Object.entries(found.facts).map(([name, value]) => [name, said(value)]))));
}

const said = (value) => (value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

/** Every rule, the one that matched first marked. */
function verdicts(list) {
  const first = list.findIndex((one) => one.matched);
  return [h("h4", {}, "Rules"), table("The first rule that matches decides", [{ title: "Rule" }, { title: "Verdict" }, { title: "Why not", wide: true }],
    list.map((one, at) => [code(one.rule), at === first ? badge("decides", "accent") : one.matched ? badge("would match") : badge("no"), one.failed || ""]),
    (at) => ({ class: at === first ? "matched" : null }))];
}

function candidate(one) {
  const context = one.context;
  const short = context ? context.blocks.filter((block) => block.outcome !== "kept").length : 0;
  const state = one.resting ? badge(one.resting, "warn") : one.problem ? badge("does not fit", "bad") : one.available === false ? badge("not listed by its server", "warn") : badge("ready", "good");
  const fit = context ? h("div", {}, bar([[context.input_tokens / context.window, ""], [context.reserved_output / context.window, "soft"]], `${percent(context.input_tokens / context.window)} of the window`),
    h("span", { class: "quiet" }, `${count(context.window)}${short ? `; ${plural(short, "block")} cut or left out` : "; all kept"}`)) : one.problem || "–";
  return [one.model, one.origin.replaceAll("_", " "), one.location.replace("_", " "), state, count(context?.input_tokens), fit, context ? dollars(one.estimated_cost_usd) : "–"];
}
