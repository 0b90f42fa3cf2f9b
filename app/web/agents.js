// Scheduled work: what there is, how it went, when it is due, and a button to run it now.

import { $, badge, code, empty, fill, h, table } from "./dom.js";
import { get, optional, post } from "./api.js";
import { moment, plural } from "./format.js";

const KINDS = { running: "accent", paused: "warn", incomplete: "bad", scheduled: "good", manual: "" };
const STATES = { ok: "good", failed: "bad", running: "accent", missed: "warn", interrupted: "warn", skipped: "", due: "accent", cancelled: "warn" };

export async function agents({ tz }) {
  const answer = await optional(get("/api/v1/agents"));
  $("#agents").hidden = $('[data-optional="agents"]').hidden = !answer;
  if (!answer) return;
  if (!answer.agents.length) {
    fill($("#agent-list"), empty("No agent is there.", "Name one in ", code("agents.yaml"), "."));
    return;
  }
  const focused = document.activeElement?.dataset?.agent;
  fill($("#agent-list"), table("Agents, when they are due and how they went", [
    { title: "Agent", wide: true }, { title: "State" }, { title: "Workspace" }, { title: "Due" }, { title: "Last run" }, { title: "" },
  ], answer.agents.map((agent) => [
    h("span", {}, h("b", {}, agent.name), h("div", { class: "quiet" }, agent.description)),
    h("span", {}, badge(agent.status, KINDS[agent.status]), agent.paused_because ? h("div", { class: "quiet" }, agent.paused_because) : null, agent.failures ? h("div", { class: "quiet" }, `${plural(agent.failures, "failure")} in a row`) : null,
      agent.lacks.map((lack) => h("div", { class: "quiet" }, `${lack.what}: ${lack.remedy}`))),
    agent.workspace,
    agent.next_due ? moment(agent.next_due, tz) : agent.schedule ? "–" : h("span", { class: "quiet" }, "when triggered"),
    agent.latest ? h("span", {}, badge(agent.latest.state, STATES[agent.latest.state]), " ", moment(agent.latest.finished_at ?? agent.latest.created_at, tz), agent.latest.error_message ? h("div", { class: "quiet" }, agent.latest.error_message) : null) : h("span", { class: "quiet" }, "never"),
    actions(agent, tz),
  ])));
  if (focused) $(`[data-agent="${CSS.escape(focused)}"]`)?.focus();
}

function actions(agent, tz) {
  const said = h("span", { class: "quiet", role: "status" });
  const act = (label, path, body) => h("button", { type: "button", class: "plain", "data-agent": `${label} ${agent.name}`, "aria-label": `${label}: ${agent.name}`, on: { click: async () => {
    try {
      await post(path, body);
      said.textContent = "Done.";
      await agents({ tz });
    } catch (problem) {
      said.textContent = problem.message;
    }
  } } }, label);
  const name = encodeURIComponent(agent.name);
  return h("div", { class: "buttons" },
    agent.status === "incomplete" || agent.running ? null : act("Run now", "/api/v1/trigger", { agent: agent.name }),
    agent.schedule ? (agent.paused_at ? act("Resume", `/api/v1/agents/${name}/resume`) : act("Pause", `/api/v1/agents/${name}/pause`)) : null, said);
}
