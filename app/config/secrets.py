"""Provider keys: the environment first, then the system's keyring. Asking never fails and never blocks the loop.

llm-sidecar's keyring entry: service `llm-sidecar`, user name = the variable's name, for example
`keyring set llm-sidecar ANTHROPIC_API_KEY`
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.config.redact import Redactor

SERVICE = "llm-sidecar"
KEEP_SECONDS = 300.0
"""How long a key found in the keyring is used before the keyring is asked again."""
MISS_SECONDS = 30.0
"""How long a missing key, or a keyring that failed, is not asked for again."""
PATIENCE_SECONDS = 5.0
"""How long `aget` waits for a keyring, which may be showing the person an unlock dialogue."""

_KEY_ENV = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
}
_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9]+")
_SECRET_NAME = re.compile(r"(?i)(?:_|^)(?:api_?key|token|secret|password|access_key|secret_key)$")
_PLAIN_TEXT_BACKENDS = "keyrings.alt"


class KeyringBackend(Protocol):
    """The part of a keyring backend that is used."""

    def get_password(self, service: str, username: str) -> str | None: ...


def key_env_name(provider: str) -> str:
    """The variable that holds a provider's key unless the configuration names another: `<PROVIDER>_API_KEY`."""
    return _KEY_ENV.get(provider) or _NOT_IN_A_NAME.sub("_", provider.upper()).strip("_") + "_API_KEY"


def system_keyrings() -> Sequence[KeyringBackend]:
    """The system's keyrings, best first, without those that store plain text. Imports keyring, so slow; may raise."""
    import keyring  # here: 0.1 s and a scan of all installed packages, paid only when a key is looked up

    backend = keyring.get_keyring()
    return permitted_backends(getattr(backend, "backends", None) or [backend])


def permitted_backends(backends: Sequence[KeyringBackend]) -> Sequence[KeyringBackend]:
    """Those that are not, and do not inherit from, the plain-text ones of `keyrings.alt`."""
    return [b for b in backends if not any(c.__module__.startswith(_PLAIN_TEXT_BACKENDS) for c in type(b).__mro__)]


@dataclass(frozen=True, slots=True)
class _Found:
    value: str | None
    until: float


class Secrets:
    """Keys by the name of their environment variable. Every value handed out is known to `redactor` from then on.

    Pass the one the log uses: a key found in the keyring an hour later must be hidden there as well.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        keyrings: Callable[[], Sequence[KeyringBackend]] = system_keyrings,
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
        redactor: Redactor | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._open_keyrings = keyrings
        self._clock = clock
        self._patience = patience_seconds
        self._lock = threading.Lock()  # backends are not safe to call from two threads
        self._backends: Sequence[KeyringBackend] | None = None
        self._found: dict[str, _Found] = {}
        self._rests_until = float("-inf")
        self.redactor = redactor or Redactor()
        self.redactor.add(*(v for k, v in self._environ.items() if _SECRET_NAME.search(k)))

    def get(self, env_name: str) -> str | None:
        """The key, or None. May wait for the keyring: not on the event loop (see `aget`)."""
        at_hand = self._at_hand(env_name)
        if at_hand is not None:
            return at_hand.value
        if not self._lock.acquire(timeout=self._patience):
            return None  # another thread's question is still with the person
        try:
            at_hand = self._at_hand(env_name)  # another thread may have asked meanwhile
            return at_hand.value if at_hand is not None else self._ask_and_remember(env_name)
        finally:
            self._lock.release()

    async def aget(self, env_name: str) -> str | None:
        """The same without blocking the event loop. A keyring that does not answer in time counts as having no key."""
        at_hand = self._at_hand(env_name)
        if at_hand is not None:
            return at_hand.value
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str | None] = loop.create_future()

        def ask() -> None:
            value = self.get(env_name)
            try:
                loop.call_soon_threadsafe(_settle, answer, value)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        # A daemon thread, because a keyring stuck in a dialogue must not keep the process from ending.
        threading.Thread(target=ask, name="keyring", daemon=True).start()
        try:
            async with asyncio.timeout(self._patience):
                return await answer
        except TimeoutError:
            self._rests_until = self._clock() + MISS_SECONDS
            return None

    def from_environment(self, env_name: str) -> str | None:
        """The key where the environment has it; the keyring is not asked."""
        value = self._from_environment(env_name)
        if value is not None:
            self.redactor.add(value)
        return value

    def forget(self, env_name: str) -> None:
        """Ask the keyring again next time: for a key that a provider refused."""
        self._found.pop(env_name, None)

    def names(self) -> tuple[str, ...]:
        """The names under which a key was found so far; for `doctor`."""
        return tuple(sorted(name for name, found in self._found.items() if found.value is not None))

    def source(self, env_name: str) -> str | None:
        """`environment`, `keyring` or None: where `get` finds the key. Never the key."""
        if self._from_environment(env_name) is not None:
            return "environment"
        return "keyring" if self.get(env_name) is not None else None

    def redact(self, text: str) -> str:
        """`text` without any known secret and without what has the shape of one."""
        return self.redactor.redact(text)

    def _from_environment(self, env_name: str) -> str | None:
        return self._environ.get(env_name, "").strip() or None

    def _at_hand(self, env_name: str) -> _Found | None:
        """What is known without asking the keyring; None: it must be asked."""
        now = self._clock()
        if (value := self._from_environment(env_name)) is not None:
            self.redactor.add(value)
            self._found[env_name] = found = _Found(value, now)  # until now: the environment is read every time
            return found
        kept = self._found.get(env_name)
        if kept is not None and now < kept.until:
            return kept
        return _Found(None, now) if now < self._rests_until else None

    def _ask_and_remember(self, env_name: str) -> str | None:
        value = self._ask(env_name)
        keep = MISS_SECONDS if value is None else KEEP_SECONDS
        self._found[env_name] = _Found(value, self._clock() + keep)
        if value is not None:
            self.redactor.add(value)
        return value

    def _ask(self, env_name: str) -> str | None:
        try:
            if self._backends is None:
                self._backends = self._open_keyrings()
            answers = (backend.get_password(SERVICE, env_name) for backend in self._backends)
            return next((text for a in answers if a and (text := a.strip())), None)
        except Exception as error:
            # A keyring can fail in any way its desktop can (no backend, locked, no bus): then there is no key.
            self._note(error)
            return None

    def _note(self, error: Exception) -> None:
        """Remember that there is no keyring for good, and any other failure for a short while."""
        if type(error).__name__ == "NoKeyringError":
            self._backends = ()
        else:
            self._rests_until = self._clock() + MISS_SECONDS


def _settle(answer: asyncio.Future[str | None], value: str | None) -> None:
    if not answer.done():  # it is, where the wait was given up
        answer.set_result(value)
