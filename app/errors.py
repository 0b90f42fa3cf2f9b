"""Every error raised on purpose.

SidecarError                     has a `code`, an HTTP `status` and a sentence for people
├── ConfigError                  the YAML files are wrong; carries every problem found, not the first alone
├── StartupError                 the sidecar cannot start (data folder locked, port taken, newer schema)
├── StoreUnavailable             503 the database cannot be written or read now (app.store.writer)
├── EmbedderUnavailable          503 the embedding model is not there (app.memory.model_files)
├── RequestError                 the request cannot be served as asked; nothing was sent to any model
│   ├── InvalidRequest           400/413/415/422 the body or a parameter is wrong; names the field
│   ├── Unauthorized             401
│   ├── Forbidden                403 the client's key has no right to this, or is bound to another workspace
│   ├── NoPermittedModel         403 the policy left no candidate
│   ├── UnknownWorkspace         422
│   ├── UnknownModel             422
│   ├── NoRule                   422
│   ├── BudgetExceeded           402
│   ├── ContextTooLarge          413 what may not be trimmed is larger than every permitted window
│   ├── NotFound                 404 (session_not_found, agent_not_found, ...)
│   ├── Conflict                 409
│   └── TooManyStreams           429 with Retry-After
├── AnswerError                  the answer failed after models were asked
│   ├── AllCandidatesFailed      502
│   ├── StreamInterrupted        502 cut after the commit point; says how much was delivered
│   ├── AnswerTimeout            504
│   ├── CaptureFailed            502 what a model wrote as a session's state is none; the last good one is kept
│   ├── BadAnswer                502 what a model wrote for an agent does not fit its schema (app.agents.door)
│   └── ShuttingDown             503
└── AttemptError                 one call to one model failed; `kind` decides what the router does next
    ├── RateLimited              transient: 429
    ├── Overloaded               transient: 503, 529
    ├── ServerFailed             transient: 500, 502, an error object in mid-stream
    ├── AttemptTimeout           transient: no first token, idle gap, or 408/504
    ├── ConnectionLost           transient: the connection broke before the provider's end mark
    ├── BadChunk                 transient: bytes that do not parse as the provider's wire format
    ├── EmptyAnswer              transient: the stream ended with neither content nor an end mark
    ├── Unreachable              next candidate: refused, no route, unknown host
    ├── ModelNotFound            next candidate: 404
    ├── BadCredentials           next candidate: 401, 403, or no key configured
    ├── Unsupported              next candidate: the model cannot do what was asked
    ├── ContextOverflow          next candidate: the provider says the prompt is too long
    ├── EgressBlocked            next candidate, never retried: our own policy refused the connection
    └── RequestRefused           the end: the provider calls the request itself invalid

Messages are for people and may be shown: no key, no token and no prompt text may ever be put into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class SidecarError(Exception):
    """Base of every error raised on purpose.

    `detail` is one sentence for the person, with the remedy where there is one; `extra` holds further members of the
    RFC 9457 problem body (JSON values only).
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra: Mapping[str, object] = extra


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong in a configuration file: where, what, and what was expected."""

    file: str
    where: str
    message: str
    line: int | None = None
    warning: bool = False
    """True: worth knowing, and no reason to refuse the files."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"


class ConfigError(SidecarError):
    """The configuration is unusable; `problems` lists everything found."""

    code = "config_invalid"
    title = "Configuration invalid"

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class StartupError(SidecarError):
    """The sidecar cannot start. `exit_code` is the process's."""

    code = "startup_failed"
    title = "Cannot start"

    def __init__(self, detail: str, exit_code: int = 1) -> None:
        super().__init__(detail)
        self.exit_code = exit_code


class RequestError(SidecarError):
    """The request cannot be served as asked; nothing was sent to any model."""

    status = 400
    code = "invalid_request"
    title = "Invalid request"


class InvalidRequest(RequestError):
    """The body or a parameter is wrong. The status is the instance's: 400, 413, 415, 421 or 422."""

    def __init__(self, detail: str, *, status: int = 422, code: str = "invalid_request", **extra: object) -> None:
        super().__init__(detail, **extra)
        self.status = status  # type: ignore[misc]
        self.code = code  # type: ignore[misc]


class Unauthorized(RequestError):
    status, code, title = 401, "unauthorized", "Token required"


class Forbidden(RequestError):
    """The caller is known and may not do this. `code`: missing_right, wrong_workspace."""

    status, title = 403, "Not allowed"

    def __init__(self, detail: str, *, code: str, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.code = code  # type: ignore[misc]


class NoPermittedModel(RequestError):
    status, code, title = 403, "no_permitted_model", "No permitted model"


class UnknownWorkspace(RequestError):
    status, code, title = 422, "unknown_workspace", "Unknown workspace"


class UnknownModel(RequestError):
    status, code, title = 422, "unknown_model", "Unknown model"


class NoRule(RequestError):
    status, code, title = 422, "no_rule", "No rule matches"


class BudgetExceeded(RequestError):
    status, code, title = 402, "budget_exceeded", "Budget exceeded"


class ContextTooLarge(RequestError):
    status, code, title = 413, "context_too_large", "Context too large"


class NotFound(RequestError):
    status, title = 404, "Not found"

    def __init__(self, detail: str, *, code: str, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.code = code  # type: ignore[misc]


class NothingThere(NotFound):
    """For a path that no route has. Clients are told what to speak instead of what is not spoken here."""

    def __init__(self, path: str) -> None:
        detail = "There is nothing at this path."
        if path.startswith("/v1/responses"):
            detail = "OpenAI's Responses API is not spoken here: have the client use chat completions."
        super().__init__(detail, code="not_found")


class Conflict(RequestError):
    status, title = 409, "Conflict"

    def __init__(self, detail: str, *, code: str, **extra: object) -> None:
        super().__init__(detail, **extra)
        self.code = code  # type: ignore[misc]


class TooManyStreams(RequestError):
    status, code, title = 429, "too_many_streams", "Too many open streams"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.retry_after = retry_after


class AnswerError(SidecarError):
    """The answer failed after models were asked."""

    status = 502
    code = "answer_failed"
    title = "No answer"


class AllCandidatesFailed(AnswerError):
    code, title = "all_candidates_failed", "All candidates failed"


class StreamInterrupted(AnswerError):
    code, title = "stream_interrupted", "Stream interrupted"


class AnswerTimeout(AnswerError):
    status, code, title = 504, "timeout", "Timed out"


class CaptureFailed(AnswerError):
    code, title = "capture_failed", "No session state"


class ShuttingDown(AnswerError):
    status, code, title = 503, "shutting_down", "The sidecar is shutting down"


class FailureKind(StrEnum):
    """What the router may do after an attempt failed."""

    TRANSIENT = "transient"
    """The same model may answer if asked again."""
    NEXT = "next"
    """This model will not answer, another one may."""
    FATAL = "fatal"
    """No model will answer this request."""


class AttemptError(SidecarError):
    """One call to one model failed.

    `provider_status` is the HTTP status the provider answered with, if it answered; `retry_after` its Retry-After in
    seconds. `detail` never holds the provider's body verbatim: translate.py shortens and redacts it first.
    """

    status = 502
    code = "attempt_failed"
    title = "The model's server failed"
    kind: ClassVar[FailureKind] = FailureKind.TRANSIENT

    def __init__(
        self, detail: str, *, provider_status: int | None = None, retry_after: float | None = None, **extra: object
    ) -> None:
        super().__init__(detail, **extra)
        self.provider_status = provider_status
        self.retry_after = retry_after


class RateLimited(AttemptError):
    code, title = "rate_limited", "Rate limited"


class Overloaded(AttemptError):
    code, title = "overloaded", "Overloaded"


class ServerFailed(AttemptError):
    code, title = "server_error", "Server error"


class AttemptTimeout(AttemptError):
    code, title = "timeout", "Timed out"


class ConnectionLost(AttemptError):
    code, title = "connection_lost", "Connection lost"


class BadChunk(AttemptError):
    code, title = "bad_chunk", "Unreadable answer"


class EmptyAnswer(AttemptError):
    code, title = "empty_answer", "Empty answer"


class Unreachable(AttemptError):
    code, title, kind = "unreachable", "Unreachable", FailureKind.NEXT


class ModelNotFound(AttemptError):
    code, title, kind = "model_not_found", "Model not found", FailureKind.NEXT


class BadCredentials(AttemptError):
    code, title, kind = "bad_credentials", "Key refused or missing", FailureKind.NEXT


class Unsupported(AttemptError):
    code, title, kind = "unsupported", "Not supported by the model", FailureKind.NEXT


class ContextOverflow(AttemptError):
    code, title, kind = "context_overflow", "Prompt too long for the model", FailureKind.NEXT


class EgressBlocked(AttemptError):
    code, title, kind = "egress_blocked", "Connection refused by the privacy policy", FailureKind.NEXT


class RequestRefused(AttemptError):
    code, title, kind = "request_refused", "The provider calls the request invalid", FailureKind.FATAL
