// The parser alone: whatever the pieces, the events are those of the whole.
import assert from "node:assert/strict";
import { test } from "node:test";
import { EventTooLarge, SseParser } from "../dist/index.js";

const encoder = new TextEncoder();
const read = (...pieces) => {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(typeof piece === "string" ? encoder.encode(piece) : piece));
};

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function randoms(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("fields, comments, several data lines, one space after the colon", () => {
  assert.deepEqual(read(": hi\n\nretry: 3000\n\nid: 7\nevent: token\ndata: a\ndata:  b\ndata\n\n"), [
    { event: "token", data: "a\n b\n", id: "7" },
  ]);
  assert.deepEqual(read("data:x\n\n"), [{ event: "message", data: "x" }]);
});

test("an event without data is none, and one that no empty line ends is never given", () => {
  assert.deepEqual(read("event: token\nid: 1\n\ndata: left\n"), []);
  assert.deepEqual(read("event: a\n\ndata: b\n\n"), [{ event: "message", data: "b" }]);
});

test("LF, CR, CRLF, also in two halves; one byte order mark", () => {
  const want = [{ event: "token", data: "a" }, { event: "message", data: "b" }];
  for (const end of ["\n", "\r", "\r\n"]) {
    const text = ["event: token", "data: a", "", "data: b", "", ""].join(end);
    assert.deepEqual(read(text), want);
    assert.deepEqual(read(...text), want);
    assert.deepEqual(read("\ufeff" + text), want);
  }
});

test("an id with NUL is not taken", () => {
  assert.deepEqual(read("id: 1\0\ndata: x\n\n"), [{ event: "message", data: "x" }]);
});

test("random streams in random pieces", () => {
  const words = ["a", "ü", "漢字", "👩‍👩‍👧", "\u2028", ":", " ", "data: ", "\\n", "x".repeat(300)];
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = randoms(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const end = pick(["\n", "\r", "\r\n"]);
    const want = [];
    let text = "";
    for (let count = Math.floor(random() * 6); count >= 0; count -= 1) {
      const lines = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
        Array.from({ length: Math.floor(random() * 6) }, () => pick(words)).join(""),
      );
      if (random() < 0.3) text += `: ${pick(words)}${end}`;
      text += `id: ${want.length}${end}event: token${end}${lines.map((line) => `data: ${line}${end}`).join("")}${end}`;
      want.push({ event: "token", data: lines.join("\n"), id: String(want.length) });
    }
    const bytes = encoder.encode(text);
    const pieces = [];
    for (let at = 0; at < bytes.length; ) {
      const size = random() < 0.2 ? 0 : 1 + Math.floor(random() * pick([1, 3, 40]));
      pieces.push(bytes.slice(at, at + size));
      at += size;
    }
    assert.deepEqual(read(...pieces), want, `seed ${seed}`);
  }
});

test("bytes that are not UTF-8 become U+FFFD", () => {
  assert.deepEqual(read("data: ", Uint8Array.of(0xff), "\n\n"), [{ event: "message", data: "\ufffd" }]);
});

test("what is held is bounded: a line, many lines; comments and whole events are not counted", () => {
  const line = new SseParser(1000);
  assert.throws(() => line.push(encoder.encode("data: " + "x".repeat(1000))), EventTooLarge);
  const lines = new SseParser(1000);
  assert.throws(() => {
    for (;;) lines.push(encoder.encode("data:\n"));
  }, EventTooLarge);
  const long = new SseParser(1000);
  for (let i = 0; i < 1000; i += 1) long.push(encoder.encode(": still here\n"));
  for (let i = 0; i < 100; i += 1) assert.equal(long.push(encoder.encode(`data: ${"x".repeat(900)}\n\n`)).length, 1);
});

test("a long line in many pieces costs what it is long", () => {
  const time = (pieces) => {
    const parser = new SseParser();
    const piece = encoder.encode("x".repeat(64));
    const begun = performance.now();
    parser.push(encoder.encode("data: "));
    for (let i = 0; i < pieces; i += 1) parser.push(piece);
    assert.equal(parser.push(encoder.encode("\n\n"))[0].data.length, 64 * pieces);
    return performance.now() - begun;
  };
  time(1000);
  // Sixteen times as much: quadratic would be 256 times as long.
  assert.ok(time(64_000) < 100 * time(4_000) + 50);
});
