import { SidecarError } from "./errors.js";
import { EventTooLarge, SseParser, type SseEvent } from "./sse.js";

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;
type Query = Readonly<Record<string, unknown>>;

export interface SidecarOptions {
  /** `http://127.0.0.1:<port>`, without a path. */
  baseUrl: string;
  /** The sidecar's token, or a named client's key. */
  token: string;
  /** In place of the global `fetch`. */
  fetch?: Fetch;
  /** Milliseconds of silence after which a stream counts as cut; the sidecar says something every 15 s. */
  silenceMs?: number;
}

export interface Call {
  readonly query?: Query | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** HTTP to one sidecar: JSON in, JSON or events out, every failure a `SidecarError` or the signal's reason. */
export class Transport {
  readonly #base: string;
  readonly #token: string;
  readonly #fetch: Fetch;
  readonly #silenceMs: number;

  constructor(options: SidecarOptions) {
    this.#base = baseOf(options.baseUrl);
    if (!/^[\x21-\x7e]+$/.test(options.token)) {
      throw new TypeError("token: expected printable ASCII without spaces, as in the file `token` of the data folder");
    }
    this.#token = options.token;
    // Called through globalThis: in a browser a bare `fetch` with another `this` is refused.
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#silenceMs = options.silenceMs ?? 45_000;
  }

  /** The body of a JSON answer; undefined for 204. */
  async json<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const response = await this.send(method, path, call);
    if (response.status === 204) return undefined as T;
    try {
      return (await response.json()) as T;
    } catch (cause) {
      call.signal?.throwIfAborted();
      throw new SidecarError("connection_lost", "The sidecar's answer broke off or is not JSON.", {
        status: response.status,
        requestId: response.headers.get("x-request-id") ?? undefined,
        cause,
      });
    }
  }

  /** A 2xx response. */
  async send(method: string, path: string, call: Call = {}): Promise<Response> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.#token}`, ...call.headers };
    const init: RequestInit = { method, headers, cache: "no-store", credentials: "omit", redirect: "error" };
    if (call.body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(call.body);
    }
    if (call.signal !== undefined) init.signal = call.signal;
    let response: Response;
    try {
      response = await this.#fetch(this.#base + path + queryText(call.query), init);
    } catch (cause) {
      call.signal?.throwIfAborted();
      throw new SidecarError(
        "connection_failed",
        `The sidecar at ${this.#base} cannot be reached: is it running, and is this page's origin allowed?`,
        { cause },
      );
    }
    if (!response.ok) throw await SidecarError.fromResponse(response);
    return response;
  }

  /**
   * The events of a response until it ends. Throws `connection_lost` where it breaks off or stays silent; leaving
   * the loop closes the connection. `heard` is told the last id so far, before the events that came with it.
   */
  async *events(
    response: Response,
    signal?: AbortSignal,
    heard?: (lastEventId: string) => void,
  ): AsyncGenerator<SseEvent, void, undefined> {
    const requestId = response.headers.get("x-request-id") ?? undefined;
    if (response.body === null || !(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      await response.body?.cancel().catch(() => undefined);
      throw new SidecarError("unexpected_response", "Not a stream of events.", { status: response.status, requestId });
    }
    // Not `for await`: WebKit's streams cannot be iterated.
    const reader = response.body.getReader();
    const parser = new SseParser();
    try {
      for (;;) {
        const { done, value } = await this.#read(reader);
        if (done) return;
        const events = parser.push(value);
        if (parser.lastEventId !== undefined) heard?.(parser.lastEventId);
        yield* events;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof EventTooLarge) {
        throw new SidecarError("unexpected_response", `${cause.message}.`, { requestId, cause });
      }
      throw new SidecarError("connection_lost", "The stream broke off.", { requestId, cause });
    } finally {
      // Not awaited: a fetch whose signal has fired may never settle this.
      reader.cancel().catch(() => undefined);
    }
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ReadableStreamReadResult<Uint8Array>> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`nothing came for ${this.#silenceMs} ms`)), this.#silenceMs);
    });
    try {
      return await Promise.race([reader.read(), silence]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function baseOf(given: string): string {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new TypeError("baseUrl: expected an address such as http://127.0.0.1:8765");
  }
  if (!/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.search || url.hash || url.username) {
    throw new TypeError("baseUrl: expected an http address without a path, such as http://127.0.0.1:8765");
  }
  return url.origin;
}

/** Nothing for null and undefined. */
function queryText(query: Query | undefined): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) found.append(name, String(value));
  }
  const text = found.toString();
  return text === "" ? "" : `?${text}`;
}

/** Resolves after `ms`; rejects with the signal's reason once it fires. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const fired = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", fired);
      resolve();
    }, ms);
    signal?.addEventListener("abort", fired, { once: true });
  });
}
