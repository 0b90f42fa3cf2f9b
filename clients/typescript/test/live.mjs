// Against a running sidecar (BASE_URL, TOKEN), one test at a time: tests/clients/test_typescript.py scripts its models.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Sidecar, SidecarError } from "../dist/index.js";
import { cutting } from "./cutting.mjs";

const baseUrl = process.env.BASE_URL;
const token = process.env.TOKEN;
const sidecar = new Sidecar({ baseUrl, token });
const WORDS = Array.from({ length: 40 }, (_, i) => `w${i} `).join("");
const code = (expected, status) => (error) => {
  assert.ok(error instanceof SidecarError, String(error));
  assert.equal(error.code, expected);
  if (status !== undefined) assert.equal(error.status, status);
  return true;
};

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}
const textOf = (events) => events.flatMap((event) => (event.type === "token" ? [event.data.text] : [])).join("");

test("chat", async () => {
  const stream = sidecar.chat({ query: "hello" }, { requestId: "ts-chat" });
  const events = await all(stream);
  assert.deepEqual(events.slice(0, 2).map((event) => event.type), ["route", "context"]);
  assert.deepEqual(events.map((event) => event.id), events.map((_, i) => i + 1));
  assert.equal(events[0].data.request_id, "ts-chat");
  assert.equal(stream.requestId, "ts-chat");
  assert.equal(events.at(-1).type, "done");
  assert.equal(events.at(-1).data.output_tokens, 6);
  assert.equal(textOf(events), "Hello from the fake provider.");
  // An id that was used has a tail the second time: the stream knows it.
  const second = sidecar.chat({ query: "hello" }, { requestId: "ts-chat" });
  const [route] = await all(second);
  assert.notEqual(second.requestId, "ts-chat");
  assert.equal(second.requestId, route.data.request_id);
});

test("text and whole", async () => {
  assert.equal(await sidecar.chatText({ query: "hello" }), "Hello from the fake provider.");
  const whole = await sidecar.complete({ query: "hello" }, { requestId: "ts-whole" });
  assert.equal(whole.text, "Hello from the fake provider.");
  assert.equal(whole.request_id, "ts-whole");
});

test("unicode", async () => {
  const text = "Grüße 漢字 👩‍👩‍👧 \u2028 \r\n\r\n data: x\n\nid: 9";
  const first = await sidecar.chatText({ query: text });
  assert.equal(first, text);
});

test("tool calls", async () => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const asked = { model: "openai/priced", tools, messages: [{ role: "user", content: "hello" }] };
  const calls = [];
  for await (const event of sidecar.chat(asked)) {
    if (event.type !== "tool_call") continue;
    const call = (calls[event.data.index] ??= { id: "", name: "", arguments: "" });
    call.id ||= event.data.id;
    call.name ||= event.data.name;
    call.arguments += event.data.arguments;
  }
  assert.deepEqual(calls.map((call) => [call.name, JSON.parse(call.arguments)]), [["weather", { city: "Oslo" }]]);
  const [{ id, name, arguments: given }] = calls;
  asked.messages.push(
    { role: "assistant", tool_calls: [{ id, type: "function", function: { name, arguments: given } }] },
    { role: "tool", tool_call_id: id, content: "rain" },
  );
  assert.equal(await sidecar.chatText(asked), "It rains.");
});

test("structured output", async () => {
  const schema = { type: "object", properties: { day: { type: "integer" } }, required: ["day"] };
  const whole = await sidecar.complete({
    model: "openai/priced",
    query: "hello",
    response_format: { type: "json_schema", json_schema: { name: "day", schema } },
  });
  assert.deepEqual(JSON.parse(whole.text), { day: 3 });
});

test("errors", async () => {
  const stranger = new Sidecar({ baseUrl, token: "wrong" });
  await assert.rejects(all(stranger.chat({ query: "x" })), code("unauthorized", 401));
  await assert.rejects(stranger.models(), code("unauthorized", 401));
  await assert.rejects(all(sidecar.chat({ query: "x", workspace: "nowhere" })), code("unknown_workspace", 422));
  await assert.rejects(sidecar.complete({ query: "x", temperature: 9 }), (error) => {
    code("invalid_request", 422)(error);
    assert.equal(error.errors[0].field, "temperature");
    assert.ok(error.requestId);
    assert.equal(error.message, error.detail);
    return true;
  });
  await assert.rejects(all(sidecar.resume("nobody", 0)), code("stream_not_found", 404));
  await assert.rejects(sidecar.stopChat("nobody"), code("stream_not_found", 404));
});

test("an answer that breaks", async () => {
  const events = await all(sidecar.chat({ query: "x", model: "ollama/torn", task_type: "torn" }));
  assert.equal(events.at(-1).type, "error");
  assert.equal(events.at(-1).data.code, "stream_interrupted");
  assert.equal(events.at(-1).data.delivered_characters, textOf(events).length);
});

test("an answer that breaks, as text", async () => {
  await assert.rejects(sidecar.chatText({ query: "x", task_type: "torn" }), code("stream_interrupted"));
});

test("breaking out of the loop", async () => {
  for await (const event of sidecar.chat({ query: "x", model: "ollama/coder" })) if (event.type === "token") break;
});

test("breaking out of a resumable one", async () => {
  const stream = sidecar.chat({ query: "x", model: "ollama/coder" }, { resumable: true });
  for await (const event of stream) if (event.type === "token") break;
  await assert.rejects(all(sidecar.resume(stream.requestId)), code("stream_not_found", 404));
});

for (const resumable of [false, true]) {
  test(resumable ? "aborting a resumable one" : "aborting", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let seen = 0;
    await assert.rejects(async () => {
      for await (const event of sidecar.chat({ query: "x", model: "ollama/coder" }, { signal: controller.signal, resumable })) {
        assert.ok(!controller.signal.aborted, "nothing comes after it");
        if (event.type === "token" && ++seen === 2) controller.abort(reason);
      }
    }, (error) => error === reason);
  });
}

test("aborting a resumable one before it has said anything", async () => {
  const controller = new AbortController();
  const stream = sidecar.chat({ query: "x", model: "ollama/coder" }, { signal: controller.signal, resumable: true });
  setTimeout(() => controller.abort(), 5);
  await assert.rejects(all(stream), { name: "AbortError" });
  await assert.rejects(all(sidecar.resume(stream.requestId)), code("stream_not_found", 404));
});

test("stopping from outside", async () => {
  const stream = sidecar.chat({ query: "x", model: "ollama/coder" }, { resumable: true });
  const events = [];
  for await (const event of stream) {
    events.push(event);
    if (event.type === "token") setTimeout(() => stream.stop(), 20);
  }
  assert.notEqual(events.at(-1).type, "done");
});

test("going on after a cut", async () => {
  const proxy = await cutting(baseUrl, { cuts: 3, bytes: 700 });
  try {
    const torn = new Sidecar({ baseUrl: proxy.url, token, backoff: { tries: 5, firstMs: 10, mostMs: 50 } });
    const events = await all(torn.chat({ query: "x", model: "ollama/coder" }, { resumable: true }));
    assert.equal(textOf(events), WORDS);
    assert.deepEqual(events.map((event) => event.id), events.map((_, i) => i + 1));
    assert.equal(events.at(-1).type, "done");
    assert.deepEqual(proxy.asked.map((request) => request.method), ["POST", "GET", "GET", "GET"]);
    assert.ok(Number(proxy.asked[1].after) > 0);
  } finally {
    await proxy.close();
  }
});

test("a cut without resumable", async () => {
  const proxy = await cutting(baseUrl, { cuts: 1, bytes: 900 });
  try {
    const torn = new Sidecar({ baseUrl: proxy.url, token });
    await assert.rejects(torn.chatText({ query: "x", model: "ollama/coder" }), code("connection_lost"));
  } finally {
    await proxy.close();
  }
});

test("going on after a reload", async () => {
  const before = sidecar.chat({ query: "x", model: "ollama/coder" }, { resumable: true });
  const seen = [];
  for await (const event of before) {
    seen.push(event);
    if (seen.length === 6) before.detach();
  }
  const after = await all(new Sidecar({ baseUrl, token }).resume(before.requestId, before.lastEventId));
  assert.equal(textOf([...seen, ...after]), WORDS);
  assert.equal(after[0].id, before.lastEventId + 1);
  assert.equal(after.at(-1).type, "done");
  assert.deepEqual(await all(sidecar.resume(before.requestId)), [...seen, ...after]);
});

test("what is gone is said", async () => {
  const before = sidecar.chat({ query: "x", model: "ollama/coder" }, { resumable: true });
  await all(before);
  const [reset, ...rest] = await all(sidecar.resume(before.requestId, 1));
  assert.equal(reset.type, "reset");
  assert.ok(reset.data.missing > 0);
  assert.equal(rest[0].id, reset.data.next_id);
  assert.equal(rest.at(-1).type, "done");
});

test("two at once", async () => {
  const [first, second] = await Promise.all([
    sidecar.chatText({ query: "x", model: "ollama/coder" }),
    sidecar.chatText({ query: "y", model: "ollama/small" }),
  ]);
  assert.equal(first, WORDS);
  assert.equal(second, "other");
});

test("everything else", async () => {
  assert.ok((await sidecar.health()).status);
  assert.ok((await sidecar.models()).models.some((model) => model.id === "ollama/coder"));
  assert.ok((await sidecar.profiles()).profiles.length > 0);
  const explained = await sidecar.explain({ query: "hello", task_type: "away" });
  assert.equal(explained.route.rule, "away");
  assert.ok((await sidecar.usage({ group_by: "model" })).groups);
  assert.ok(await sidecar.usageSummary());
  assert.ok((await sidecar.agents()).agents);
  assert.ok((await sidecar.runs({ limit: 5 })).runs);
  assert.ok((await sidecar.notifications({ limit: 5 })).notifications);
  await assert.rejects(sidecar.trigger({ agent: "nobody" }), code("agent_not_found", 404));
  await assert.rejects(sidecar.run("nobody"), code("run_not_found", 404));
});

test("sessions", async () => {
  const made = await sidecar.createSession({ title: "Ä/ö?" });
  await sidecar.appendMessages(made.id, { messages: [{ role: "user", content: "hello" }] });
  const { messages } = await sidecar.sessionMessages(made.id, { limit: 5 });
  assert.equal(messages[0].content, "hello");
  assert.equal((await sidecar.session(made.id)).id, made.id);
  assert.ok((await sidecar.sessions()).sessions.some((session) => session.id === made.id));
  assert.equal(await sidecar.deleteSession(made.id), undefined);
  await assert.rejects(sidecar.session(made.id), code("session_not_found", 404));
});

test("happenings", async () => {
  const types = [];
  for await (const event of sidecar.events()) {
    types.push(event.type);
    if (event.type === "hello") void sidecar.chatText({ query: "hello" });
    if (event.type === "settled") break;
  }
  assert.deepEqual(types, ["hello", "settled"]);
});

test("runs", async () => {
  const started = await sidecar.trigger({ agent: "maintenance", wait: true }, { idempotencyKey: "ts-runs" });
  assert.equal((await sidecar.trigger({ agent: "maintenance" }, { idempotencyKey: "ts-runs" })).run_id, started.run_id);
  const events = await all(sidecar.runEvents(started.run_id));
  assert.equal(events.at(-1).type, "done");
  assert.equal(events.at(-1).data.run_id, started.run_id);
  assert.equal((await sidecar.run(started.run_id)).state, events.at(-1).data.state);
  assert.ok((await sidecar.runs({ limit: 100 })).runs.some((run) => run.run_id === started.run_id));
  const [first] = events;
  assert.equal(first.type, "log");
  assert.deepEqual(await all(sidecar.runEvents(started.run_id, { lastEventId: first.id })), events.slice(1));
});

test("notifications", async () => {
  const { notifications } = await sidecar.notifications();
  assert.equal(notifications.length, 2);
  const seen = [];
  for await (const event of sidecar.notificationEvents({ lastEventId: 0 })) {
    assert.equal(event.type, "notification");
    if (seen.push(event) === 2) break;
  }
  assert.deepEqual(seen.map((event) => event.data.title), ["news 0", "news 1"]);
  for await (const event of sidecar.notificationEvents({ lastEventId: seen[0].id })) {
    assert.equal(event.data.title, "news 1");
    break;
  }
  assert.ok((await sidecar.markNotificationRead(seen[0].data.id)).read_at);
});

// Four are posted once the feed stands; each of the first three connections is cut in the middle of the first of them.
test("a feed goes on after a cut", async () => {
  const proxy = await cutting(baseUrl, { cuts: 3, bytes: 60 });
  const retries = [];
  try {
    const torn = new Sidecar({ baseUrl: proxy.url, token });
    const options = {
      reconnect: { tries: 5, firstMs: 10, mostMs: 50 },
      onRetry: (error, waitMs) => retries.push([error.code, waitMs <= 50]),
    };
    const seen = [];
    for await (const event of torn.notificationEvents(options)) if (seen.push(event) === 4) break;
    assert.deepEqual(seen.map((event) => event.data.title), ["live 0", "live 1", "live 2", "live 3"]);
    assert.deepEqual(seen.map((event) => event.id), seen.map((_, i) => seen[0].id + i));
    assert.deepEqual(retries, Array(3).fill(["connection_lost", true]));
    // The first was asked without a number and cut before its first event: it knew where it had begun all the same.
    assert.equal(proxy.asked[0].after, undefined);
    assert.equal(Number(proxy.asked[1].after), seen[0].id - 1);
  } finally {
    await proxy.close();
  }
});

test("happenings go on after a cut", async () => {
  const proxy = await cutting(baseUrl, { cuts: 1, bytes: 120 });
  try {
    const torn = new Sidecar({ baseUrl: proxy.url, token });
    const types = [];
    for await (const event of torn.events({ reconnect: { tries: 5, firstMs: 10, mostMs: 50 } })) {
      types.push(event.type);
      if (types.length === 1) void sidecar.chatText({ query: "hello" });
      if (event.type === "missed") break;
    }
    assert.deepEqual(types, ["hello", "hello", "missed"]);
  } finally {
    await proxy.close();
  }
});

test("search", async () => {
  const { chunks } = await sidecar.search({ query: "hello", k: 3 });
  assert.deepEqual(chunks, []);
});
