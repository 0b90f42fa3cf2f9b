import { parsed, type Backoff } from "./chat.js";
import { SidecarError, type Problem } from "./errors.js";
import { pause, type Transport } from "./transport.js";
import type { FeedEvent } from "./types.js";

export interface FeedOptions {
  /** Firing it ends the loop, which throws the signal's reason; also while the next try is waited for. */
  readonly signal?: AbortSignal | undefined;
  /** How often a feed that was cut is asked for again, without an event in between. `false`: it throws at once. */
  readonly reconnect?: Backoff | false;
  /** Called before each wait, as for a mark that says "offline". */
  readonly onRetry?: (error: SidecarError, waitMs: number) => void;
}

/** For as long as the loop goes on: a feed has no end, and the sidecar may be started again at any time. */
export const FEED_BACKOFF: Backoff = { tries: Infinity, firstMs: 250, mostMs: 15_000 };

/** What may be over a moment later; a wrong token, or a run that is not there, is not. */
const TRANSIENT = new Set(["connection_failed", "connection_lost", "shutting_down", "starting", "too_many_streams"]);

export interface FeedSource<Event> {
  readonly path: string;
  /** The event after which it begins; undefined: with what there is. */
  readonly after?: number | undefined;
  /** Whether the sidecar reads on after `Last-Event-ID`. */
  readonly resumable: boolean;
  /** For one that cannot: what says that something may have been missed, given after the first event of a further connection. */
  readonly gap?: Event;
}

/**
 * The events of a feed, across the connections it takes. What the sidecar refuses, and a first connection that fails,
 * is thrown; a later one that breaks is tried again, reading on after the last event where the feed can.
 */
export async function* feed<Event extends FeedEvent>(
  transport: Transport,
  source: FeedSource<Event>,
  options: FeedOptions,
): AsyncGenerator<Event, void, undefined> {
  const backoff = options.reconnect ?? FEED_BACKOFF;
  const position = { after: source.after, opened: false };
  for (let tries = 0; ; tries += 1) {
    try {
      for await (const event of oneConnection<Event>(transport, source, position, options.signal)) {
        tries = 0;
        yield event;
        if (event.type === "done") return;
      }
      throw new SidecarError("connection_lost", "The feed ended before it was over.");
    } catch (error) {
      if (!(error instanceof SidecarError) || backoff === false || !position.opened || tries >= backoff.tries) throw error;
      if (!TRANSIENT.has(error.code)) throw error;
      const wait = waitMs(backoff, tries, error);
      options.onRetry?.(error, wait);
      await pause(wait, options.signal);
    }
  }
}

interface Position {
  after: number | undefined;
  /** Whether any connection has stood: before that whoever asks is told at once. */
  opened: boolean;
}

async function* oneConnection<Event extends FeedEvent>(
  transport: Transport,
  source: FeedSource<Event>,
  position: Position,
  signal: AbortSignal | undefined,
): AsyncGenerator<Event, void, undefined> {
  const { after } = position;
  const headers: Record<string, string> = after === undefined ? {} : { "Last-Event-ID": String(after) };
  const response = await transport.send("GET", source.path, { headers, signal });
  const again = position.opened;
  position.opened = true;
  const heard = (id: string) => {
    if (source.resumable) position.after = Number(id);
  };
  let gap = again ? source.gap : undefined;
  for await (const raw of transport.events(response, signal, heard)) {
    const data = parsed(raw);
    if (raw.event === "error") throw SidecarError.fromProblem(data as Problem);
    yield { type: raw.event, id: raw.id === undefined ? undefined : Number(raw.id), data } as Event;
    if (gap !== undefined) yield gap;
    gap = undefined;
  }
}

/** Half of it by chance, so that many pages do not come back at one moment; never sooner than the sidecar asks. */
function waitMs({ firstMs, mostMs }: Backoff, tries: number, error: SidecarError): number {
  const wait = Math.min(firstMs * 2 ** tries, mostMs) * (0.5 + Math.random() / 2);
  return Math.max(wait, Math.min((error.retryAfter ?? 0) * 1000, mostMs));
}
