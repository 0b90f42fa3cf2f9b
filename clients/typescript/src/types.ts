import type { FieldError, Problem } from "./errors.js";
import type { components, operations } from "./openapi.js";

type Schemas = components["schemas"];

export type ChatBody = Schemas["ChatBody"];
export type ChatMessage = Schemas["ChatMessage"];
/** A whole answer, as `complete()` gives it. */
export type ChatResult = Schemas["ChatResult"];
export type Route = Schemas["RouteResult"];
/** What the model saw: every block of context, and what became of it. */
export type ContextReceipt = Schemas["ContextResult"];
export type ToolCall = Schemas["ToolCallResult"];
export type ExplainBody = Schemas["ExplainBody"];
export type SearchBody = Schemas["SearchBody"];
export type SessionBody = Schemas["SessionBody"];
export type MessagesBody = Schemas["MessagesBody"];
export type TriggerBody = Schemas["TriggerBody"];
export type FeedbackBody = Schemas["FeedbackBody"];
export type Notification = Schemas["NotificationResult"];
export type Run = Schemas["RunResult"];
export type RunDetail = Schemas["RunDetailResult"];

/** A model failed, or was skipped; `wait_seconds` until the next is asked. */
export interface Attempt {
  readonly model: string;
  readonly number: number;
  readonly outcome: string;
  readonly code: string | null;
  readonly reason: string | null;
  readonly wait_seconds: number | null;
}

/** A part of a tool call: `arguments` of one `index` are appended to each other. */
export interface ToolCallDelta {
  readonly index: number;
  readonly id: string | null;
  readonly name: string | null;
  readonly arguments: string;
}

/** How an answer ended well: `ChatResult` without what the events before it said. */
export type Done = Omit<ChatResult, "request_id" | "text" | "tool_calls" | "route" | "context" | "attempts">;

/** How an answer failed; `delivered_characters` of text came before. */
export type Failure = Problem & { readonly delivered_characters: number };

/** What was shown must be cleared: `missing` events are gone, and the stream goes on at `next_id`. */
export interface Reset {
  readonly request_id: string;
  readonly missing: number;
  readonly next_id: number;
}

interface Numbered<Type extends string, Data> {
  readonly type: Type;
  /** Where `resume` goes on after. A `reset` has the number before the event that follows it. */
  readonly id: number;
  readonly data: Data;
}

/** An event of an answer. Exactly one of `done` and `error` comes last. */
export type ChatEvent =
  | Numbered<"route", Route>
  | Numbered<"context", ContextReceipt>
  | Numbered<"attempt", Attempt>
  | Numbered<"token", { readonly text: string }>
  | Numbered<"reasoning", { readonly text: string }>
  | Numbered<"tool_call", ToolCallDelta>
  | Numbered<"done", Done>
  | Numbered<"error", Failure>
  | Numbered<"reset", Reset>;

/** An event of a feed other than an answer, its `data` read from JSON. */
export interface FeedEvent<Type extends string = string, Data = unknown> {
  readonly type: Type;
  readonly id: number | undefined;
  readonly data: Data;
}

/** `GET /api/v1/events`. After `missed`, also after each cut, read again what is shown: some of it is old. */
export type Happening =
  | FeedEvent<"hello", { readonly instance_id: string }>
  | FeedEvent<
      "settled",
      {
        readonly request_id: string;
        readonly attempt: number;
        readonly last: boolean;
        readonly workspace: string | null;
        readonly model: string;
        readonly status: string;
        readonly cost_usd: number | null;
      }
    >
  | FeedEvent<"notification", Notification>
  | FeedEvent<"config", { readonly fingerprint: string }>
  | FeedEvent<"missed", Record<string, never>>;

export type NotificationEvent = FeedEvent<"notification", Notification>;

/** `GET /api/v1/runs/{run_id}/events`: `done` comes last, with the run. */
export type RunEvent =
  | FeedEvent<"progress", Schemas["ProgressResult"]>
  | FeedEvent<"log", Schemas["LineResult"]>
  | FeedEvent<"done", RunDetail>;

type Operation = keyof operations;
type Contents<Responses> = Responses extends { 200: { content: { "application/json": infer Json } } }
  ? Json
  : Responses extends { 201: { content: { "application/json": infer Json } } }
    ? Json
    : void;
/** The JSON an operation of openapi.json answers with. */
export type AnswerOf<Name extends Operation> = Contents<operations[Name]["responses"]>;
/** The query an operation of openapi.json takes. */
export type QueryOf<Name extends Operation> = NonNullable<operations[Name]["parameters"]["query"]>;

export type { FieldError, Problem };
