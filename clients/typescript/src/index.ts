export { BACKOFF, ChatStream, type Backoff, type ChatOptions, type ResumeOptions } from "./chat.js";
export { SidecarError, type ClientCode } from "./errors.js";
export { FEED_BACKOFF, type FeedOptions } from "./feed.js";
export type { components, operations } from "./openapi.js";
export { Sidecar, type Options } from "./sidecar.js";
export { EventTooLarge, SseParser, type SseEvent } from "./sse.js";
export type { Fetch, SidecarOptions } from "./transport.js";
export type * from "./types.js";
