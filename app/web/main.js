// The page: what it shows, when it reads again.

import { $, $$, code, fill, h, sentence } from "./dom.js";
import { get, post, optional, whenSignedOut } from "./api.js";
import { ownZone, range, zones } from "./period.js";
import * as spend from "./spend.js";
import { budgets } from "./budgets.js";
import { watch } from "./live.js";
import { models } from "./models.js";
import { agents } from "./agents.js";
import { inbox } from "./inbox.js";
import { summary } from "./summary.js";
import { prepareExplainer } from "./explainer.js";
import { prepareChat } from "./chat.js";
import { prepareDrawer, requests } from "./requests.js";

const state = { period: "week", workspace: "", tz: ownZone(), metric: "cost", dimension: "model" };
let turn = 0;

const usage = (span, groupBy) => get("/api/v1/usage", { from: span.from, to: span.to, tz: state.tz, workspace: state.workspace, group_by: groupBy });

async function refresh() {
  const mine = ++turn;
  const span = range(state.period, state.tz);
  const asked = { ...state, range: span };
  try {
    const [report, before, locations, byTask, byModel] = await Promise.all([
      usage(span, `${span.unit},${state.dimension}`), usage(span.before), usage(span, "location"), usage(span, "task_type,model"), usage(span, "model"),
    ]);
    if (mine !== turn) return;
    spend.tiles(report, before, locations);
    spend.patterns(byTask);
    await Promise.all([spend.overTime(report, asked), budgets(asked), models(byModel), requests(asked), summary(asked), agents(asked), inbox(asked)]);
    notice();
  } catch (problem) {
    notice(problem.message);
  }
}

function notice(...content) {
  const place = $("#notice");
  place.hidden = !content.length;
  fill(place, content);
}

function prepareControls({ profiles }) {
  const form = $("#controls");
  fill(form.tz, zones().map((zone) => h("option", { value: zone }, zone.replaceAll("_", " "))));
  form.workspace.append(...profiles.map((profile) => h("option", { value: profile.id }, `${profile.name || profile.id}${profile.block_cloud_apis ? " (private)" : ""}`)));
  form.addEventListener("change", () => {
    Object.assign(state, { period: form.period.value, workspace: form.workspace.value, tz: form.tz.value });
    refresh();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const input of $$('input[name="metric"], input[name="dimension"]')) {
    input.addEventListener("change", () => { state[input.name] = input.value; refresh(); });
  }
}

/** What comes into the inbox while the page is open; it stays until it is put away. */
function toast({ title, body, severity }) {
  const card = h("div", { class: `toast ${severity}` }, h("p", {}, h("b", {}, sentence(title))),
    h("button", { type: "button", class: "plain", "aria-label": "Dismiss", on: { click: () => card.remove() } }, "✕"), h("p", { class: "quiet" }, body));
  $("#toasts").append(card);
  while ($("#toasts").children.length > 4) $("#toasts").firstElementChild.remove();
}

function prepareNavigation() {
  const links = new Map($$(".top nav a").map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) for (const [id, link] of links) id === entry.target.id ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-80px 0px -70% 0px" });
  for (const section of $$("main > section")) watcher.observe(section);
}

function signedOut() {
  notice("This browser is no longer signed in: the sidecar was started anew, or the session ran out. Run ", code("llm-sidecar dashboard"), " for a new link.");
}

async function start() {
  whenSignedOut(signedOut);
  prepareDrawer();
  prepareNavigation();
  $("#sign-out").addEventListener("click", async () => { await post("/api/v1/dashboard/sign-out"); window.location.reload(); });
  const [{ profiles, default_workspace: defaultWorkspace }, { models: catalog }] = await Promise.all([get("/api/v1/profiles"), get("/api/v1/models")]);
  const known = { profiles, defaultWorkspace, models: catalog };
  prepareControls(known);
  prepareExplainer(known);
  prepareChat(known);
  watch({ changed: refresh, notified: toast });
  await refresh();
  const health = await get("/api/v1/health");
  $("#version").textContent = `llm-sidecar ${health.version}.`;
}

start().catch((problem) => notice(problem.message));
