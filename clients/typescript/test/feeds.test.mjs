// Feeds that are cut, against a fetch of this test: when they are asked for again, and when they are not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Sidecar, SidecarError } from "../dist/index.js";

const code = (expected) => (error) => error instanceof SidecarError && error.code === expected;
const stream = (body) => new Response(body, { headers: { "content-type": "text/event-stream" } });
const refused = (status, code, headers) =>
  new Response(JSON.stringify({ status, code, detail: "No.", title: "No", type: "about:blank" }), { status, headers });
const note = (id) => `id: ${id}\nevent: notification\ndata: {"id":"n${id}"}\n\n`;

/** A sidecar that gives these answers in turn; `asked` are the Last-Event-IDs. */
function answering(...answers) {
  const asked = [];
  const fetch = async (_, { headers }) => {
    asked.push(headers["Last-Event-ID"]);
    const answer = answers.shift();
    if (answer === undefined) throw new TypeError("fetch failed");
    return answer;
  };
  return { sidecar: new Sidecar({ baseUrl: "http://127.0.0.1:9", token: "t", fetch }), asked };
}
const quick = { tries: 3, firstMs: 1, mostMs: 2 };

async function ids(feed) {
  const found = [];
  try {
    for await (const event of feed) found.push(event.id);
  } catch (error) {
    return [found, error];
  }
  return [found, undefined];
}

test("it reads on after the last event, whatever cut it", async () => {
  const shutdown = 'id: 7\nevent: error\ndata: {"status":503,"code":"shutting_down","detail":"It ends."}\n\n';
  const { sidecar, asked } = answering(
    stream("id: 5\n\n"),
    stream(note(6) + note(7) + shutdown),
    refused(429, "too_many_streams", { "retry-after": "0" }),
    stream(note(8)),
  );
  const [found, error] = await ids(sidecar.notificationEvents({ reconnect: quick }));
  assert.deepEqual(found, [6, 7, 8]);
  assert.equal(error.code, "connection_failed");
  // Three more tries in vain, then it is said.
  assert.deepEqual(asked, [undefined, "5", "7", "7", "8", "8", "8"]);
});

test("a first connection that fails is said at once, and so is what will not change", async () => {
  const nobody = answering();
  assert.equal((await ids(nobody.sidecar.events({ reconnect: quick })))[1].code, "connection_failed");
  assert.equal(nobody.asked.length, 1);
  const gone = answering(stream(note(1)), refused(401, "unauthorized"));
  assert.equal((await ids(gone.sidecar.notificationEvents({ reconnect: quick })))[1].code, "unauthorized");
  assert.equal(gone.asked.length, 2);
});

test("reconnect: false says a cut at once", async () => {
  const { sidecar, asked } = answering(stream(note(1)));
  assert.equal((await ids(sidecar.notificationEvents({ reconnect: false })))[1].code, "connection_lost");
  assert.equal(asked.length, 1);
});

test("a run's feed is over with `done`", async () => {
  const log = (id) => `id: ${id}\nevent: log\ndata: {"at":"","level":"info","text":"${id}"}\n\n`;
  const { sidecar, asked } = answering(stream(log(1)), stream(`${log(2)}id: 3\nevent: done\ndata: {}\n\n`));
  assert.deepEqual(await ids(sidecar.runEvents("r", { reconnect: quick })), [[1, 2, 3], undefined]);
  assert.deepEqual(asked, [undefined, "1"]);
});

test("the signal ends it while it waits, with its reason", async () => {
  const { sidecar, asked } = answering(stream(note(1)));
  const controller = new AbortController();
  const reason = new Error("enough");
  const options = {
    signal: controller.signal,
    reconnect: { tries: Infinity, firstMs: 60_000, mostMs: 60_000 },
    onRetry: () => setTimeout(() => controller.abort(reason), 5),
  };
  const [found, error] = await ids(sidecar.notificationEvents(options));
  assert.deepEqual(found, [1]);
  assert.equal(error, reason);
  assert.equal(asked.length, 1);
});

test("happenings say that some may be missing", async () => {
  const hello = 'id: 1\nevent: hello\ndata: {"instance_id":"a"}\n\n';
  const { sidecar, asked } = answering(stream(hello), stream(hello));
  const types = [];
  await assert.rejects(async () => {
    for await (const event of sidecar.events({ reconnect: quick })) types.push(event.type);
  }, code("connection_failed"));
  assert.deepEqual(types, ["hello", "hello", "missed"]);
  assert.ok(asked.every((after) => after === undefined));
});
