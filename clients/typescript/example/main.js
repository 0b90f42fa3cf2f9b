// Asks, streams, shows what the model saw, stops, and goes on after a reload.
import { Sidecar, SidecarError } from "../dist/index.js";

const KEPT = "llm-sidecar-example";
const $ = (selector) => document.querySelector(selector);
const form = $("#ask");

/** One answer as it is shown, and where to go on: kept as one, so that text and place always belong together. */
let turn = null;
let stream = null;
let drawing = false;

// In a Tauri app both come from a command at each start, and neither is kept.
const connection = JSON.parse(sessionStorage.getItem(`${KEPT}-connection`) ?? "null");
for (const [name, value] of Object.entries(connection ?? {})) form.elements[name].value = value;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { baseUrl, token, query } = Object.fromEntries(new FormData(form));
  sessionStorage.setItem(`${KEPT}-connection`, JSON.stringify({ baseUrl, token }));
  turn = { query, text: "", context: null, end: null, requestId: null, lastEventId: 0 };
  void read((sidecar) => sidecar.chat({ query }, { resumable: true }));
});

form.elements.query.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (stream === null) form.requestSubmit();
  }
});

$("#stop").addEventListener("click", () => stream?.stop());

/** Show the events of what `begin` asks for, until they end. */
async function read(begin) {
  const { baseUrl, token } = Object.fromEntries(new FormData(form));
  fail(null);
  try {
    stream = begin(new Sidecar({ baseUrl, token: token.trim() }));
    busy(true);
    for await (const event of stream) {
      take(event);
      turn.requestId = stream.requestId;
      turn.lastEventId = stream.lastEventId;
      draw();
    }
    turn.end ??= "Stopped.";
  } catch (error) {
    turn.end = "";
    fail(error instanceof SidecarError || error instanceof TypeError ? error.message : String(error));
  } finally {
    stream = null;
    busy(false);
    draw();
  }
}

function take(event) {
  if (event.type === "token") turn.text += event.data.text;
  else if (event.type === "context") turn.context = event.data;
  else if (event.type === "reset") turn.text = "";
  else if (event.type === "done") turn.end = ending(event.data);
  else if (event.type === "error") {
    turn.end = "";
    fail(event.data.detail);
  }
}

function ending(done) {
  const cost = done.cost_usd === null ? "cost unknown" : `$${done.cost_usd.toFixed(6).replace(/\.?0+$/, "")}`;
  return `${done.model}: ${done.input_tokens} tokens in, ${done.output_tokens} out, ${cost}`;
}

/** Once a frame, however fast the tokens come. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    show();
  });
}

function show() {
  sessionStorage.setItem(KEPT, JSON.stringify(turn));
  $("#turn").hidden = false;
  $("#question").textContent = turn.query;
  $("#answer").textContent = turn.text;
  $("#status").textContent = turn.end ?? "Answering …";
  if (turn.context !== null) receipt(turn.context);
  $("#receipt").hidden = turn.context === null;
}

function receipt({ model, window: room, input_tokens, blocks }) {
  $("#receipt summary").textContent = `${model} saw ${input_tokens} of ${room} tokens`;
  const rows = blocks.map((block) => {
    const row = document.createElement("tr");
    for (const [value, name] of [[block.id], [block.tokens, "number"], [block.outcome], [block.reason]]) {
      const cell = row.insertCell();
      cell.textContent = value;
      if (name) cell.className = name;
    }
    return row;
  });
  $("#receipt tbody").replaceChildren(...rows);
}

function busy(on) {
  form.querySelector("button").disabled = on;
  $("#stop").disabled = !on;
  $("#answer").setAttribute("aria-busy", String(on));
}

function fail(message) {
  $("#problem").hidden = message === null;
  $("#problem").textContent = message ?? "";
}

// After a reload: what was shown is shown again, and an answer that had not ended goes on where it stopped.
const kept = sessionStorage.getItem(KEPT);
if (kept !== null && connection !== null) {
  turn = JSON.parse(kept);
  show();
  if (turn.end === null && turn.requestId !== null) {
    const { requestId, lastEventId } = turn;
    void read((sidecar) => sidecar.resume(requestId, lastEventId));
  }
}
