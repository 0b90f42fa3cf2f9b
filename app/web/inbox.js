// The inbox: what budgets and agents had to say, until it is read and put away.

import { $, badge, empty, fill, h, sentence } from "./dom.js";
import { get, optional, post } from "./api.js";
import { count, moment } from "./format.js";

const KINDS = { info: "", success: "good", warning: "warn", error: "bad" };
const SHOWN = 20;

export async function inbox({ workspace, tz }) {
  const answer = await optional(get("/api/v1/notifications", { workspace, limit: SHOWN }));
  $("#inbox").hidden = $('[data-optional="inbox"]').hidden = !answer;
  if (!answer) return;
  const unread = $("#unread");
  unread.hidden = !answer.unread;
  fill(unread, count(answer.unread), h("span", { class: "hidden" }, " unread"));
  if (!answer.notifications.length) {
    fill($("#inbox-list"), empty("Nothing to tell.", "What a budget or an agent has to say comes here."));
    return;
  }
  const again = () => inbox({ workspace, tz });
  fill($("#inbox-list"),
    answer.unread ? h("div", { class: "buttons" }, action("Mark all as read", "/api/v1/notifications/read-all", again)) : null,
    h("ul", { class: "notes" }, answer.notifications.map((one) => note(one, tz, again))));
}

const note = (one, tz, again) => h("li", { class: one.read_at ? null : "unread" },
  h("p", {}, h("b", { class: "title" }, sentence(one.title)), " ", one.severity === "info" ? null : badge(one.severity, KINDS[one.severity])),
  h("p", { class: "quiet" }, `${moment(one.created_at, tz)} · ${one.workspace}${one.read_at ? "" : " · not read yet"}`),
  one.body ? h("p", {}, sentence(one.body)) : null,
  one.links.length ? h("p", {}, one.links.map(linked)) : null,
  h("div", { class: "buttons" }, one.read_at ? null : action("Mark as read", `/api/v1/notifications/${encodeURIComponent(one.id)}/read`, again, one.title),
    action("Put away", `/api/v1/notifications/${encodeURIComponent(one.id)}/archive`, again, one.title)));

/** Only the web's own addresses become links: no other scheme can run anything here. */
function linked({ title, url }) {
  const web = /^https?:\/\//i.test(url);
  return web ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, title || url, " ") : h("span", {}, `${title} ${url} `);
}

const action = (label, path, after, about) => h("button", { type: "button", class: "plain", "aria-label": about ? `${label}: ${about}` : null, on: { click: async (event) => {
  event.target.disabled = true;
  try {
    await post(path);
    await after();
  } catch (problem) {
    event.target.disabled = false;
    event.target.after(h("span", { class: "error", role: "alert" }, problem.message));
  }
} } }, label);
