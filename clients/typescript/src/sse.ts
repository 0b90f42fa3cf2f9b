/** One event of a `text/event-stream`. `event` is `message` where the stream names none. */
export interface SseEvent {
  readonly event: string;
  readonly data: string;
  /** The `id` of this very event; absent where it has none. */
  readonly id?: string;
}

/** An event, or a line, is longer than the parser was told to hold. */
export class EventTooLarge extends Error {
  override readonly name = "EventTooLarge";
}

/**
 * Server-Sent Events out of bytes that arrive in any pieces, as the HTML standard reads them (9.2.6): lines end with
 * LF, CR or CRLF; comments are skipped; `data` lines are joined; an event that no empty line ends is never given.
 *
 * What is held is one unfinished event, of at most `maxCharacters`.
 */
export class SseParser {
  readonly #decoder = new TextDecoder(); // drops one leading byte order mark
  readonly #maxCharacters: number;
  /** Pieces of the line that has not ended: joined once, so a long line costs what it is long. */
  #pieces: string[] = [];
  #data: string[] = [];
  #event = "";
  #id: string | undefined;
  #held = 0;
  /** The last `id` of a block that has ended, also of one without an event: where a reader goes on after. */
  lastEventId: string | undefined;
  #afterCarriageReturn = false;

  constructor(maxCharacters = 8 * 2 ** 20) {
    this.#maxCharacters = maxCharacters;
  }

  /** The events that `bytes` complete, in order. Throws `EventTooLarge`. */
  push(bytes: Uint8Array): SseEvent[] {
    const text = this.#decoder.decode(bytes, { stream: true });
    const events: SseEvent[] = [];
    let start = 0;
    if (this.#afterCarriageReturn && text.length > 0) {
      if (text[0] === "\n") start = 1; // the second half of a CRLF
      this.#afterCarriageReturn = false;
    }
    const ends = /\r\n|\n|\r/g;
    ends.lastIndex = start;
    for (let end = ends.exec(text); end !== null; end = ends.exec(text)) {
      this.#hold(text.slice(start, end.index));
      start = ends.lastIndex;
      this.#afterCarriageReturn = end[0] === "\r" && start === text.length;
      const event = this.#endLine();
      if (event !== undefined) events.push(event);
    }
    if (start < text.length) this.#hold(text.slice(start));
    return events;
  }

  #hold(piece: string): void {
    this.#held += piece.length;
    if (this.#held > this.#maxCharacters) {
      throw new EventTooLarge(`an event of the stream is longer than ${this.#maxCharacters} characters`);
    }
    this.#pieces.push(piece);
  }

  #endLine(): SseEvent | undefined {
    const line = this.#pieces.length === 1 ? (this.#pieces[0] ?? "") : this.#pieces.join("");
    this.#pieces = [];
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const after = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") {
      this.#data.push(after);
      this.#held += 1; // the newline it is joined with
      return undefined;
    }
    if (field === "event") this.#event = after;
    else if (field === "id" && !after.includes("\0")) this.#id = after;
    else this.#held -= line.length; // comments and unknown fields are not kept
    return undefined;
  }

  #dispatch(): SseEvent | undefined {
    const lines = this.#data;
    const [event, id] = [this.#event || "message", this.#id];
    this.#data = [];
    this.#event = "";
    this.#id = undefined;
    this.#held = 0;
    this.lastEventId = id ?? this.lastEventId;
    if (lines.length === 0) return undefined;
    return id === undefined ? { event, data: lines.join("\n") } : { event, data: lines.join("\n"), id };
  }
}
