import { SidecarError, type Problem } from "./errors.js";
import type { SseEvent } from "./sse.js";
import { pause, type Transport } from "./transport.js";
import type { ChatBody, ChatEvent, Reset } from "./types.js";

/** How often a cut stream is asked for again, without an event in between, and after how many milliseconds. */
export interface Backoff {
  readonly tries: number;
  readonly firstMs: number;
  readonly mostMs: number;
}

/** About 11 s in all: well within the 30 s a resumable answer waits for its reader. */
export const BACKOFF: Backoff = { tries: 8, firstMs: 100, mostMs: 3_000 };

export interface ChatOptions {
  /** Firing it stops the model, and the loop throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Goes on for 30 s without a reader: through cut connections by itself, after a reload by `resume`. */
  readonly resumable?: boolean;
  /** The id of the request; one is made up where absent. Keep it for `resume`. */
  readonly requestId?: string | undefined;
}

export interface ResumeOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Asks once for the stream: by POST, or after event number `after` of one that runs. */
type Connect = (after: number, signal: AbortSignal) => Promise<Response>;

interface Start {
  readonly requestId: string;
  readonly after: number;
  readonly resumable: boolean;
  readonly posts: boolean;
  readonly signal: AbortSignal | undefined;
  readonly connect: Connect;
}

const STOP_PATIENCE_MS = 3_000;
const STOP_AGAIN_MS = [100, 400];
/** What may be over a moment later. */
const TRANSIENT = new Set(["connection_failed", "connection_lost", "too_many_streams", "starting"]);

/**
 * The events of one answer, to be read once: `for await (const event of stream)`. Nothing is asked before that.
 *
 * Leaving the loop early, `stop()`, and the signal stop the model.
 */
export class ChatStream implements AsyncIterableIterator<ChatEvent> {
  /** The number of the last event that was given; 0 before the first. */
  lastEventId: number;
  readonly #transport: Transport;
  readonly #resumable: boolean;
  /** Asked for by POST, whose response has the answer's id; that of a GET has an id of its own. */
  readonly #posts: boolean;
  readonly #backoff: Backoff;
  readonly #leaving = new AbortController();
  readonly #generator: AsyncGenerator<ChatEvent, void, undefined>;
  #requestId: string;
  #state: "new" | "asking" | "open" | "ended" = "new";
  #left = false;
  #stopped: Promise<void> | undefined;

  private constructor(transport: Transport, backoff: Backoff, start: Start) {
    this.#transport = transport;
    this.#backoff = backoff;
    this.#requestId = start.requestId;
    this.#resumable = start.resumable;
    this.#posts = start.posts;
    this.lastEventId = start.after;
    this.#generator = this.#events(start.connect, start.signal);
  }

  static ask(transport: Transport, backoff: Backoff, body: ChatBody, options: ChatOptions): ChatStream {
    const resumable = options.resumable ?? body.resumable ?? false;
    const requestId = options.requestId ?? newId();
    const call = { body: { ...body, stream: true, resumable }, headers: { "X-Request-Id": requestId } };
    const connect: Connect = (_, signal) => transport.send("POST", "/api/v1/chat", { ...call, signal });
    const { signal } = options;
    return new ChatStream(transport, backoff, { requestId, after: 0, resumable, posts: true, signal, connect });
  }

  static resume(
    transport: Transport,
    backoff: Backoff,
    requestId: string,
    after: number,
    options: ResumeOptions,
  ): ChatStream {
    const connect: Connect = (last, signal) => readOn(transport, requestId, last, signal);
    const { signal } = options;
    return new ChatStream(transport, backoff, { requestId, after, resumable: true, posts: false, signal, connect });
  }

  /** What `resume` needs. The sidecar may change an id that was used before: right once the first event came. */
  get requestId(): string {
    return this.#requestId;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<ChatEvent, void>> {
    return this.#generator.next();
  }

  /** What leaving a `for await` loop calls: the model is stopped, then the loop is over. */
  async return(): Promise<IteratorResult<ChatEvent, void>> {
    await this.stop();
    return this.#generator.return();
  }

  /** Stop the model and end the loop quietly. Does nothing once the answer has ended. */
  async stop(): Promise<void> {
    this.#left = true;
    await this.#leave(new DOMException("The answer was stopped.", "AbortError"));
  }

  /** End the loop quietly and leave a resumable answer running, for `resume`. Any other is stopped all the same. */
  detach(): void {
    this.#left = true;
    this.#stopped ??= Promise.resolve();
    this.#leaving.abort(new DOMException("The answer is no longer read.", "AbortError"));
  }

  #leave(reason: unknown): Promise<void> {
    this.#stopped ??= this.#tellToStop();
    this.#leaving.abort(reason);
    return this.#stopped;
  }

  async #tellToStop(): Promise<void> {
    // Without `resumable` the sidecar notices by itself that its reader has left.
    if (!this.#resumable || this.#state === "new" || this.#state === "ended") return;
    // While it is being asked for the DELETE can arrive first: then it is said again.
    const again = this.#state === "asking" ? [...STOP_AGAIN_MS] : [];
    const signal = new AbortController();
    const timer = setTimeout(() => signal.abort(), STOP_PATIENCE_MS);
    try {
      for (;;) {
        try {
          await this.#transport.send("DELETE", pathOf(this.#requestId), { signal: signal.signal });
          return;
        } catch (error) {
          const wait = again.shift();
          // Whoever leaves cannot do more about it; nobody reads the answer, so its grace ends it.
          if (wait === undefined || !(error instanceof SidecarError)) return;
          await pause(wait, signal.signal).catch(() => undefined);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async *#events(connect: Connect, outer: AbortSignal | undefined): AsyncGenerator<ChatEvent, void, undefined> {
    outer?.throwIfAborted();
    if (this.#left) return;
    const fired = () => void this.#leave(outer?.reason);
    outer?.addEventListener("abort", fired, { once: true });
    this.#state = "asking";
    try {
      yield* this.#untilTheEnd(connect);
    } catch (error) {
      await this.#stopped;
      if (this.#left) return;
      outer?.throwIfAborted();
      throw error;
    } finally {
      outer?.removeEventListener("abort", fired);
      this.#state = "ended";
    }
  }

  async *#untilTheEnd(connect: Connect): AsyncGenerator<ChatEvent, void, undefined> {
    const again: Connect = (after, signal) => readOn(this.#transport, this.#requestId, after, signal);
    for (let tries = 0, ask = connect; ; ) {
      try {
        for await (const event of this.#oneConnection(ask)) {
          tries = 0;
          yield event;
          if (event.type === "done" || event.type === "error") return;
        }
        throw new SidecarError("connection_lost", "The stream ended before the answer did.", {
          requestId: this.#requestId,
        });
      } catch (error) {
        const wait = this.#waitBeforeTrying(error, tries);
        if (wait === undefined) throw error;
        await pause(wait, this.#leaving.signal);
        tries += 1;
        ask = again;
      }
    }
  }

  /** Milliseconds, or undefined where trying again is no use. */
  #waitBeforeTrying(error: unknown, tries: number): number | undefined {
    const { tries: most, firstMs, mostMs } = this.#backoff;
    // Where nothing was heard of it there is nothing to read on, and asking anew might ask a model twice.
    const running = this.#resumable && this.#state === "open";
    if (!running || tries >= most || !(error instanceof SidecarError) || !TRANSIENT.has(error.code)) return undefined;
    const wait = Math.min(firstMs * 2 ** tries, mostMs) * (0.5 + Math.random() / 2);
    return Math.max(wait, Math.min((error.retryAfter ?? 0) * 1000, mostMs));
  }

  async *#oneConnection(connect: Connect): AsyncGenerator<ChatEvent, void, undefined> {
    const signal = this.#leaving.signal;
    const response = await connect(this.lastEventId, signal);
    const asked = this.#posts && this.#state === "asking";
    if (asked) this.#requestId = response.headers.get("x-request-id") ?? this.#requestId;
    this.#state = "open";
    for await (const raw of this.#transport.events(response, signal)) {
      signal.throwIfAborted(); // also where more of it has come already
      const event = this.#numbered(raw);
      if (event === undefined) continue;
      if (event.type === "done" || event.type === "error") this.#state = "ended";
      this.lastEventId = event.id;
      yield event;
    }
  }

  /** Undefined for what was given already, and for events that later versions of the sidecar may send. */
  #numbered(raw: SseEvent): ChatEvent | undefined {
    if (!KNOWN.has(raw.event)) return undefined;
    const data = parsed(raw);
    if (raw.event === "reset") return { type: "reset", id: (data as Reset).next_id - 1, data: data as Reset };
    if (raw.id !== undefined && Number(raw.id) <= this.lastEventId) return undefined;
    return { type: raw.event, id: Number(raw.id ?? this.lastEventId), data } as ChatEvent;
  }
}

const KNOWN: ReadonlySet<string> = new Set<ChatEvent["type"]>([
  "route",
  "context",
  "attempt",
  "token",
  "reasoning",
  "tool_call",
  "done",
  "error",
  "reset",
]);

/** The `data` of an event. Throws `unexpected_response` for what is not JSON. */
export function parsed(raw: SseEvent): unknown {
  try {
    return JSON.parse(raw.data);
  } catch (cause) {
    throw new SidecarError("unexpected_response", `The event ${raw.event} is not JSON.`, { cause });
  }
}

/** The text of an answer. Throws the `SidecarError` it failed with. */
export async function textOf(stream: AsyncIterable<ChatEvent>): Promise<string> {
  let text = "";
  for await (const event of stream) {
    if (event.type === "token") text += event.data.text;
    else if (event.type === "reset") text = "";
    else if (event.type === "error") throw SidecarError.fromProblem(event.data as Problem);
  }
  return text;
}

function readOn(transport: Transport, requestId: string, after: number, signal: AbortSignal): Promise<Response> {
  return transport.send("GET", `${pathOf(requestId)}/events`, { headers: { "Last-Event-ID": String(after) }, signal });
}

function pathOf(requestId: string): string {
  return `/api/v1/chat/${encodeURIComponent(requestId)}`;
}

/**
 * 128 random bits, to tell requests apart: what protects an answer is the token. Not `randomUUID`, which is missing on
 * pages without TLS; Node 18 has no global `crypto` at all.
 */
function newId(): string {
  const bytes = new Uint8Array(16).map(() => Math.floor(Math.random() * 256));
  (globalThis.crypto as Crypto | undefined)?.getRandomValues(bytes);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
