// What needs no sidecar: options, and what is not an answer of one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Sidecar, SidecarError } from "../dist/index.js";

const baseUrl = "http://127.0.0.1:9";
const answering = (body, init) => new Sidecar({ baseUrl, token: "t", fetch: async () => new Response(body, init) });
const events = (body) => answering(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
const code = (expected) => (error) => error instanceof SidecarError && error.code === expected;

test("options are held against what they must be, and the token is never shown", () => {
  for (const wrong of ["", "127.0.0.1:8765", "ftp://a", "http://a/api", "http://u:p@a", "http://a/?x=1"]) {
    assert.throws(() => new Sidecar({ baseUrl: wrong, token: "t" }), /baseUrl/);
  }
  for (const wrong of ["", "a b", "secret\n", "ü"]) {
    assert.throws(() => new Sidecar({ baseUrl, token: wrong }), (e) => /token/.test(e.message) && !/secret/.test(e.message));
  }
  assert.ok(!inspect(new Sidecar({ baseUrl, token: "sekret" }), { depth: 9, showHidden: true }).includes("sekret"));
});

test("an answer of something else is an unexpected_response", async () => {
  const gateway = answering("<h1>Bad gateway</h1>", { status: 502 });
  await assert.rejects(gateway.models(), (e) => code("unexpected_response")(e) && e.status === 502);
  await assert.rejects(answering("<h1>hi</h1>").chatText({ query: "x" }), code("unexpected_response"));
  await assert.rejects(answering('{"a":').models(), code("connection_lost"));
  await assert.rejects(events("id: 1\nevent: token\ndata: {\n\n").chatText({ query: "x" }), code("unexpected_response"));
});

test("a stream without its last event was cut; what nobody knows yet is passed over", async () => {
  const cut = 'id: 1\nevent: novelty\ndata: {}\n\nid: 2\nevent: token\ndata: {"text":"a"}\n\n';
  await assert.rejects(events(cut).chatText({ query: "x" }), code("connection_lost"));
});

test("a stream that falls silent counts as cut", async () => {
  let cancelled = false;
  const silent = new ReadableStream({ cancel: () => void (cancelled = true) });
  const sidecar = new Sidecar({
    baseUrl,
    token: "t",
    silenceMs: 20,
    fetch: async () => new Response(silent, { headers: { "content-type": "text/event-stream" } }),
  });
  await assert.rejects(sidecar.chatText({ query: "x" }), code("connection_lost"));
  assert.ok(cancelled);
});

test("nobody listens", async () => {
  const fetch = () => Promise.reject(new TypeError("fetch failed"));
  const sidecar = new Sidecar({ baseUrl, token: "t", fetch });
  await assert.rejects(sidecar.chatText({ query: "x" }, { resumable: true }), code("connection_failed"));
});

test("trying again is bounded", async () => {
  let asked = 0;
  const sidecar = new Sidecar({
    baseUrl,
    token: "t",
    backoff: { tries: 3, firstMs: 1, mostMs: 2 },
    fetch: async () => {
      if (++asked > 1) throw new TypeError("fetch failed");
      return new Response('id: 1\nevent: token\ndata: {"text":"a"}\n\n', { headers: { "content-type": "text/event-stream" } });
    },
  });
  await assert.rejects(sidecar.chatText({ query: "x" }, { resumable: true }), code("connection_failed"));
  assert.equal(asked, 4);
});

test("what was fired before is not asked, and what is never read is not either", async () => {
  let asked = 0;
  const fetch = async () => (asked += 1, new Response());
  const sidecar = new Sidecar({ baseUrl, token: "t", fetch });
  await assert.rejects(sidecar.chatText({ query: "x" }, { signal: AbortSignal.abort() }), { name: "AbortError" });
  await sidecar.chat({ query: "x" }, { resumable: true }).stop();
  assert.equal(asked, 0);
});

test("ids differ, also where there is no global crypto, as in Node 18", (t) => {
  const ids = () => Array.from({ length: 100 }, () => new Sidecar({ baseUrl, token: "t" }).chat({ query: "x" }).requestId);
  const before = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  t.after(() => before && Object.defineProperty(globalThis, "crypto", before));
  const found = ids();
  Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });
  found.push(...ids());
  assert.equal(new Set(found).size, 200);
  for (const id of found) assert.match(id, /^[0-9a-f]{32}$/);
});
