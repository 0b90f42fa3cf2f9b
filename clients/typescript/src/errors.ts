import type { components } from "./openapi.js";

/** An RFC 9457 problem body. Further members depend on the code. */
export type Problem = components["schemas"]["Problem"];
export type FieldError = components["schemas"]["FieldError"];

/** Codes that the sidecar never sends: what went wrong on the way to it. */
export type ClientCode = "connection_failed" | "connection_lost" | "unexpected_response";

/**
 * Whatever the sidecar refused or could not do, and whatever kept it from being asked.
 *
 * `code` is for programs and never changes: the sidecar's own (`unknown_workspace`, `budget_exceeded`, …) or a
 * `ClientCode`. `message` and `detail` are one sentence for people. An aborted call throws the signal's reason instead.
 */
export class SidecarError extends Error {
  override readonly name = "SidecarError";
  readonly code: string;
  /** The HTTP status; 0 where there was no answer. */
  readonly status: number;
  readonly detail: string;
  readonly requestId: string | undefined;
  /** Of a 422: every wrong field. */
  readonly errors: readonly FieldError[];
  /** Seconds after which it may be asked again, where the sidecar says so. */
  readonly retryAfter: number | undefined;
  /** The whole body, where there was one. */
  readonly problem: Problem | undefined;

  constructor(
    code: string,
    detail: string,
    options: {
      status?: number;
      requestId?: string | undefined;
      retryAfter?: number | undefined;
      problem?: Problem;
      cause?: unknown;
    } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status ?? 0;
    this.detail = detail;
    this.requestId = options.requestId;
    this.errors = options.problem?.errors ?? [];
    this.retryAfter = options.retryAfter;
    this.problem = options.problem;
  }

  static fromProblem(problem: Problem, retryAfter?: number): SidecarError {
    return new SidecarError(problem.code, problem.detail, {
      status: problem.status,
      requestId: problem.request_id,
      retryAfter,
      problem,
    });
  }

  /** What a response that is not 2xx says. Its body is read. */
  static async fromResponse(response: Response): Promise<SidecarError> {
    const wait = Number.parseFloat(response.headers.get("retry-after") ?? "");
    const retryAfter = Number.isFinite(wait) ? wait : undefined;
    const text = await response.text().catch(() => "");
    const problem = asProblem(text);
    if (problem !== undefined) return SidecarError.fromProblem(problem, retryAfter);
    return new SidecarError("unexpected_response", `Not an answer of the sidecar: HTTP ${response.status}.`, {
      status: response.status,
      requestId: response.headers.get("x-request-id") ?? undefined,
      retryAfter,
    });
  }
}

function asProblem(text: string): Problem | undefined {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found !== "object" || found === null) return undefined;
    const { code, detail, status } = found as Record<string, unknown>;
    if (typeof code !== "string" || typeof detail !== "string" || typeof status !== "number") return undefined;
    return found as Problem;
  } catch {
    return undefined;
  }
}
