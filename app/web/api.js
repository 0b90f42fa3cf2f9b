// The sidecar's own API, asked with the session's cookie. A problem body becomes a Problem; nothing is retried here.

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `The sidecar answered ${status}.`);
    this.status = status;
    this.code = body?.code || "";
    this.body = body || {};
  }
}

let onSignedOut = () => {};
export const whenSignedOut = (listener) => { onSignedOut = listener; };

async function send(method, path, body, signal) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The sidecar cannot be reached; is it still running?", code: "unreachable" });
  }
  if (response.status === 401) onSignedOut();
  return response;
}

async function decoded(response) {
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(response.status, body);
  return body;
}

export const get = async (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return decoded(await send("GET", given.length ? `${path}?${new URLSearchParams(given)}` : path));
};
export const post = async (path, body = {}) => decoded(await send("POST", path, body));
export const put = async (path, body) => decoded(await send("PUT", path, body));
export const remove = async (path) => decoded(await send("DELETE", path));

/** The value, or null where this sidecar has no such route. */
export const optional = (promise) => promise.catch((problem) => {
  if (problem.status === 404) return null;
  throw problem;
});

/** Events of a POST as they come: yields {name, data}. Leaving the loop closes the connection, which ends the answer. */
export async function* stream(path, body, signal) {
  const response = await send("POST", path, body, signal);
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => null));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}
