// What happens while the page is open. Several happenings in a row are one reading anew.

import { $ } from "./dom.js";

const QUIET_MS = 400;
const LONGEST_MS = 2500;

/** `changed` is called once things have been quiet for a moment, `notified` with each notification at once. */
export function watch({ changed, notified }) {
  let timer = null;
  let first = 0;
  const soon = () => {
    const now = Date.now();
    if (timer === null) first = now;
    clearTimeout(timer);
    timer = setTimeout(() => { timer = null; changed(); }, Math.min(QUIET_MS, Math.max(0, first + LONGEST_MS - now)));
  };
  let instance = null;
  const source = new EventSource("/api/v1/events");
  source.addEventListener("hello", (event) => {
    const { instance_id: now } = JSON.parse(event.data);
    if (instance !== null) soon();
    instance = now;
    say("open", "live");
  });
  for (const kind of ["settled", "config", "missed"]) source.addEventListener(kind, soon);
  source.addEventListener("notification", (event) => { notified(JSON.parse(event.data)); soon(); });
  source.addEventListener("error", () => {
    say("lost", source.readyState === EventSource.CLOSED ? "not connected" : "connecting again");
    // Refused, and not only interrupted: the browser gives up by itself. Somebody may sign in again.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => watch({ changed, notified }), 15000);
  });
  window.addEventListener("pagehide", () => source.close());
}

function say(state, text) {
  const place = $("#live");
  if (place.dataset.state === state) return;
  place.dataset.state = state;
  place.querySelector("[data-text]").textContent = text;
}
