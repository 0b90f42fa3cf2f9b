// The chat box: the answer as it streams, and beside it the receipt: which model, what it saw, what it cost.

import { $, badge, code, empty, fill, h } from "./dom.js";
import { stream } from "./api.js";
import { contextOf } from "./requests.js";
import { requestOf, routingFields } from "./explainer.js";
import { count, dollars, duration, plural } from "./format.js";

let messages = [];
let stop = null;

export function prepareChat(known) {
  const form = $("#chat-form");
  fill(form,
    h("label", { class: "all" }, "Message", h("textarea", { name: "query", required: true, placeholder: "Ask something. Enter sends, Shift+Enter makes a new line." })),
    routingFields("chat", known),
    h("div", { class: "buttons all" },
      h("button", { class: "main", type: "submit" }, "Send"), h("button", { type: "button", name: "stop", hidden: true, on: { click: () => stop?.abort() } }, "Stop"),
      h("button", { type: "button", class: "plain", on: { click: reset } }, "New conversation")));
  form.query.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); if (!stop) ask(form); });
  form.workspace.addEventListener("change", reset);
  reset();
}

/** Also where the workspace changes: what was said in a private one must not be sent from another. */
function reset() {
  stop?.abort();
  messages = [];
  fill($("#chat-log"), empty("A conversation of this page alone.", "It goes through the same rules, policy and budgets as every request, and is gone when you leave the page."));
}

async function ask(form) {
  const question = form.query.value.trim();
  if (!question) return;
  const log = $("#chat-log");
  const said = h("p", { class: "said thinking" }, "…");
  const receipt = h("div", { class: "receipt" });
  const who = h("span", { class: "who" }, "Choosing a model");
  if (!messages.length) log.replaceChildren();
  log.append(h("div", { class: "turn me" }, h("span", { class: "who" }, "You"), h("p", { class: "said" }, question)), h("div", { class: "turn" }, who, said, receipt));
  const conversation = messages;
  const asked = [...conversation, { role: "user", content: question }];
  form.query.value = "";
  stop = new AbortController();
  const mine = stop;
  busy(form, true);
  try {
    const answer = await receive(stream("/api/v1/chat", { ...requestOf(form), messages: asked }, mine.signal), { who, said, receipt, log });
    if (conversation === messages && answer) messages = [...asked, { role: "assistant", content: answer }];
  } catch (problem) {
    said.classList.remove("thinking");
    if (said.textContent === "…") said.textContent = "";
    receipt.append(problem.name === "AbortError" ? h("p", { class: "quiet" }, "Stopped.") : failed(problem));
  } finally {
    if (stop === mine) stop = null;
    busy(form, false);
    form.query.focus();
  }
}

async function receive(events, { who, said, receipt, log }) {
  let text = "";
  for await (const { name, data } of events) {
    const following = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    if (name === "route") who.textContent = `${data.model} · rule ${data.rule}`;
    else if (name === "context") fill(receipt, contextDetails(data));
    else if (name === "attempt") receipt.append(h("p", {}, badge(data.outcome.replace("_", " "), "warn"), ` ${data.model}: ${data.reason}`));
    else if (name === "token") {
      text += data.text;
      said.classList.remove("thinking");
      said.textContent = text;
    } else if (name === "reasoning" && !text) said.textContent = said.textContent === "…" ? data.text : said.textContent + data.text;
    else if (name === "done") { who.textContent = `${data.model} · ${data.location.replace("_", " ")}`; receipt.append(...finished(data)); }
    else if (name === "error") { said.classList.remove("thinking"); if (!text) said.textContent = ""; receipt.append(failed({ message: data.detail, code: data.code })); return ""; }
    if (following) log.scrollTop = log.scrollHeight;
  }
  if (!text) fill(said, h("span", { class: "quiet" }, "(no text)"));
  return text;
}

const contextDetails = (context) => {
  const short = context.blocks.filter((block) => block.outcome !== "kept").length;
  return h("details", {}, h("summary", {}, `Saw ${plural(context.blocks.length, "block")}, ${count(context.input_tokens)} of ${count(context.window)} tokens${short ? `; ${short} cut or left out` : ""}`), contextOf(context));
};

const finished = (done) => [
  h("p", { class: "quiet" }, `${count(done.input_tokens)} tokens in, ${count(done.output_tokens)} out · ${dollars(done.cost_usd)} · first token after ${duration(done.time_to_first_token_ms)}, all after ${duration(done.latency_ms)}`,
    done.attempt_count > 1 ? ` · ${plural(done.attempt_count, "attempt")}` : "", done.ledger === "queued" ? " · its row still waits for the disk" : ""),
  ...done.warnings.map((warning) => h("p", {}, badge("note", "warn"), " ", warning)),
];

const failed = (problem) => h("p", { class: "error", role: "alert" }, problem.message, " ", problem.code ? code(problem.code) : null);

function busy(form, on) {
  $("#chat-log").setAttribute("aria-busy", String(on));
  form.querySelector('[type="submit"]').disabled = on;
  form.stop.hidden = !on;
}
