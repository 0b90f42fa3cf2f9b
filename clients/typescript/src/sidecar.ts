import { BACKOFF, ChatStream, textOf, type Backoff, type ChatOptions, type ResumeOptions } from "./chat.js";
import { feed, type FeedOptions } from "./feed.js";
import { Transport, type SidecarOptions } from "./transport.js";
import type {
  AnswerOf,
  ChatBody,
  ChatResult,
  ExplainBody,
  FeedbackBody,
  Happening,
  MessagesBody,
  NotificationEvent,
  QueryOf,
  Run,
  RunDetail,
  RunEvent,
  SearchBody,
  SessionBody,
  TriggerBody,
} from "./types.js";

export interface Options {
  readonly signal?: AbortSignal | undefined;
}

/**
 * One sidecar.
 *
 *     const sidecar = new Sidecar({ baseUrl: "http://127.0.0.1:8765", token });
 *     for await (const event of sidecar.chat({ query: "Why?" })) {
 *       if (event.type === "token") show(event.data.text);
 *     }
 *
 * Every method throws a `SidecarError` for what the sidecar refuses, and the signal's reason once that has fired.
 */
export class Sidecar {
  readonly #transport: Transport;
  readonly #backoff: Backoff;

  /** Throws a TypeError that names the option that is wrong. */
  constructor(options: SidecarOptions & { backoff?: Backoff }) {
    this.#transport = new Transport(options);
    this.#backoff = options.backoff ?? BACKOFF;
  }

  // -- asking

  /** Ask a model; its answer as events. Nothing is asked until the loop begins. */
  chat(body: ChatBody, options: ChatOptions = {}): ChatStream {
    return ChatStream.ask(this.#transport, this.#backoff, body, options);
  }

  /**
   * Read on after a reload: what came after event `lastEventId` of an answer asked for with `resumable`, then the rest.
   * Throws `stream_not_found` where nobody has read it for 30 s. 0 reads it from its beginning.
   */
  resume(requestId: string, lastEventId = 0, options: ResumeOptions = {}): ChatStream {
    return ChatStream.resume(this.#transport, this.#backoff, requestId, lastEventId, options);
  }

  /** The answer's text alone. Throws what it failed with, even where half of it had come. */
  chatText(body: ChatBody, options: ChatOptions = {}): Promise<string> {
    return textOf(this.chat(body, options));
  }

  /** The whole answer as one object (`stream: false`). */
  complete(body: ChatBody, options: Options & { requestId?: string } = {}): Promise<ChatResult> {
    const headers: Record<string, string> = options.requestId ? { "X-Request-Id": options.requestId } : {};
    const call = { body: { ...body, stream: false, resumable: false }, headers, signal: options.signal };
    return this.#transport.json("POST", "/api/v1/chat", call);
  }

  /** Stop a resumable answer by its id, as after a reload that no longer wants it. */
  async stopChat(requestId: string, options: Options = {}): Promise<void> {
    await this.#transport.json("DELETE", `/api/v1/chat/${encodeURIComponent(requestId)}`, options);
  }

  /** Which rule, model and context a question would get, and what it would cost; asks no model. */
  explain(body: ExplainBody, options: Options = {}): Promise<AnswerOf<"explain">> {
    return this.#transport.json("POST", "/api/v1/explain", { body, ...options });
  }

  // -- what is there

  health(options: Options = {}): Promise<AnswerOf<"health">> {
    return this.#transport.json("GET", "/api/v1/health", options);
  }

  models(options: Options = {}): Promise<AnswerOf<"models">> {
    return this.#transport.json("GET", "/api/v1/models", options);
  }

  profiles(options: Options = {}): Promise<AnswerOf<"profiles">> {
    return this.#transport.json("GET", "/api/v1/profiles", options);
  }

  /** Chunks of the workspace's index that fit a query. */
  search(body: SearchBody, options: Options = {}): Promise<AnswerOf<"search">> {
    return this.#transport.json("POST", "/api/v1/search", { body, ...options });
  }

  // -- what it came to

  usage(query: QueryOf<"usage"> = {}, options: Options = {}): Promise<AnswerOf<"usage">> {
    return this.#transport.json("GET", "/api/v1/usage", { query, ...options });
  }

  usageSummary(query: QueryOf<"usage_summary"> = {}, options: Options = {}): Promise<AnswerOf<"usage_summary">> {
    return this.#transport.json("GET", "/api/v1/usage/summary", { query, ...options });
  }

  /** One request: its route, attempts, context receipt and cost. */
  request(requestId: string, options: Options = {}): Promise<AnswerOf<"get_request">> {
    return this.#transport.json("GET", `/api/v1/requests/${encodeURIComponent(requestId)}`, options);
  }

  giveFeedback(requestId: string, body: FeedbackBody, options: Options = {}): Promise<AnswerOf<"give_feedback">> {
    const path = `/api/v1/requests/${encodeURIComponent(requestId)}/feedback`;
    return this.#transport.json("POST", path, { body, ...options });
  }

  // -- conversations

  sessions(query: QueryOf<"sessions"> = {}, options: Options = {}): Promise<AnswerOf<"sessions">> {
    return this.#transport.json("GET", "/api/v1/sessions", { query, ...options });
  }

  createSession(body: SessionBody = {}, options: Options = {}): Promise<AnswerOf<"create_session">> {
    return this.#transport.json("POST", "/api/v1/sessions", { body, ...options });
  }

  session(id: string, options: Options = {}): Promise<AnswerOf<"session">> {
    return this.#transport.json("GET", `/api/v1/sessions/${encodeURIComponent(id)}`, options);
  }

  deleteSession(id: string, options: Options = {}): Promise<void> {
    return this.#transport.json("DELETE", `/api/v1/sessions/${encodeURIComponent(id)}`, options);
  }

  sessionMessages(
    id: string,
    query: QueryOf<"session_messages"> = {},
    options: Options = {},
  ): Promise<AnswerOf<"session_messages">> {
    return this.#transport.json("GET", `/api/v1/sessions/${encodeURIComponent(id)}/messages`, { query, ...options });
  }

  appendMessages(id: string, body: MessagesBody, options: Options = {}): Promise<AnswerOf<"append_messages">> {
    return this.#transport.json("POST", `/api/v1/sessions/${encodeURIComponent(id)}/messages`, { body, ...options });
  }

  // -- agents

  agents(options: Options = {}): Promise<AnswerOf<"agents">> {
    return this.#transport.json("GET", "/api/v1/agents", options);
  }

  /** Start an agent's run. With `wait` in the body it is over when this returns, unless that took longer. */
  trigger(body: TriggerBody, options: Options & { idempotencyKey?: string } = {}): Promise<Run | RunDetail> {
    const headers: Record<string, string> = options.idempotencyKey ? { "Idempotency-Key": options.idempotencyKey } : {};
    return this.#transport.json("POST", "/api/v1/trigger", { body, headers, signal: options.signal });
  }

  runs(query: QueryOf<"runs"> = {}, options: Options = {}): Promise<AnswerOf<"runs">> {
    return this.#transport.json("GET", "/api/v1/runs", { query, ...options });
  }

  run(id: string, options: Options = {}): Promise<AnswerOf<"run">> {
    return this.#transport.json("GET", `/api/v1/runs/${encodeURIComponent(id)}`, options);
  }

  cancelRun(id: string, options: Options = {}): Promise<AnswerOf<"cancel_run">> {
    return this.#transport.json("POST", `/api/v1/runs/${encodeURIComponent(id)}/cancel`, options);
  }

  /**
   * What a run has said so far, then what it says, to its `done`; through cut connections by itself. With `lastEventId`
   * what it said after that line. Leaving the loop does not end the run.
   */
  runEvents(id: string, options: FeedOptions & { lastEventId?: number } = {}): AsyncGenerator<RunEvent, void, undefined> {
    const path = `/api/v1/runs/${encodeURIComponent(id)}/events`;
    return feed<RunEvent>(this.#transport, { path, after: options.lastEventId, resumable: true }, options);
  }

  // -- live

  notifications(query: QueryOf<"notifications"> = {}, options: Options = {}): Promise<AnswerOf<"notifications">> {
    return this.#transport.json("GET", "/api/v1/notifications", { query, ...options });
  }

  markNotificationRead(id: string, options: Options = {}): Promise<AnswerOf<"notification_read">> {
    return this.#transport.json("POST", `/api/v1/notifications/${encodeURIComponent(id)}/read`, options);
  }

  /**
   * Notifications as they are posted, until the loop is left; with `lastEventId` those since that one first. A cut is
   * waited out, and what was posted meanwhile comes then.
   */
  notificationEvents(
    options: FeedOptions & { lastEventId?: number } = {},
  ): AsyncGenerator<NotificationEvent, void, undefined> {
    const source = { path: "/api/v1/notifications/events", after: options.lastEventId, resumable: true };
    return feed<NotificationEvent>(this.#transport, source, options);
  }

  /**
   * What happens in the sidecar from now on, until the loop is left. A cut is waited out; then comes a `hello` and a
   * `missed`: nothing of what happened meanwhile is told again.
   */
  events(options: FeedOptions = {}): AsyncGenerator<Happening, void, undefined> {
    const gap: Happening = { type: "missed", id: undefined, data: {} };
    return feed<Happening>(this.#transport, { path: "/api/v1/events", resumable: false, gap }, options);
  }
}
