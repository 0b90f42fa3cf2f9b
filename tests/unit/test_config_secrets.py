"""Keys come from the environment, then a keyring; nothing that fails there gets out; nothing shows a key."""

from __future__ import annotations

import asyncio
import threading
import time

import keyring.backends.fail
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.redact import MASK, Redactor, redact_patterns
from app.config.secrets import (
    KEEP_SECONDS,
    MISS_SECONDS,
    SERVICE,
    KeyringBackend,
    Secrets,
    key_env_name,
    permitted_backends,
    system_keyrings,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Vault:
    """A keyring that records what it was asked."""

    def __init__(self, **passwords: str) -> None:
        self.passwords = passwords
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        self.asked.append((service, username))
        if self.error:
            raise self.error
        return self.passwords.get(username)


class StuckVault:
    """A keyring that shows an unlock dialogue nobody answers."""

    def __init__(self) -> None:
        self.answered = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.answered.wait(30)
        return "late-password"


def make(vault: KeyringBackend, environ: dict[str, str] | None = None, clock: Clock | None = None) -> Secrets:
    return Secrets(environ or {}, lambda: [vault], clock or Clock(), patience_seconds=0.1)


def test_the_environment_comes_first() -> None:
    vault = Vault(OPENAI_API_KEY="from-keyring")
    assert make(vault, {"OPENAI_API_KEY": " from-environment\n"}).get("OPENAI_API_KEY") == "from-environment"
    assert vault.asked == []


def test_an_empty_variable_is_no_key() -> None:
    assert make(Vault(A_API_KEY="from-keyring"), {"A_API_KEY": "  "}).get("A_API_KEY") == "from-keyring"


def test_the_environment_is_read_every_time() -> None:
    environ = {"A_API_KEY": "first-key"}
    secrets = Secrets(environ, lambda: [Vault()], Clock())
    assert secrets.get("A_API_KEY") == "first-key"
    environ["A_API_KEY"] = "second-key"
    assert secrets.get("A_API_KEY") == "second-key"
    del environ["A_API_KEY"]
    assert secrets.get("A_API_KEY") is None


def test_answers_of_the_keyring_are_kept_for_a_while() -> None:
    vault, clock = Vault(A_API_KEY="password-a"), Clock()
    secrets = make(vault, clock=clock)
    for _ in range(3):
        assert secrets.get("A_API_KEY") == "password-a"
        assert secrets.get("B_API_KEY") is None
    assert vault.asked == [(SERVICE, "A_API_KEY"), (SERVICE, "B_API_KEY")]
    clock.now += MISS_SECONDS + 1
    vault.passwords["B_API_KEY"] = "password-b"
    assert secrets.get("B_API_KEY") == "password-b"
    assert secrets.get("A_API_KEY") == "password-a"
    assert len(vault.asked) == 3
    clock.now += KEEP_SECONDS
    vault.passwords["A_API_KEY"] = "rotated-a"
    assert secrets.get("A_API_KEY") == "rotated-a"


def test_a_key_that_was_refused_is_asked_for_again() -> None:
    vault = Vault(A_API_KEY="revoked-key")
    secrets = make(vault)
    assert secrets.get("A_API_KEY") == "revoked-key"
    vault.passwords["A_API_KEY"] = "renewed-key"
    secrets.forget("A_API_KEY")
    assert secrets.get("A_API_KEY") == "renewed-key"


def test_names_and_sources() -> None:
    secrets = make(Vault(A_API_KEY="password-a"), {"B_API_KEY": "password-b"})
    assert [secrets.source(n) for n in ("A_API_KEY", "B_API_KEY", "C_API_KEY")] == ["keyring", "environment", None]
    secrets.get("B_API_KEY")
    assert secrets.names() == ("A_API_KEY", "B_API_KEY")


def test_a_keyring_that_fails_rests_and_is_tried_again() -> None:
    vault, clock = Vault(A_API_KEY="password-a"), Clock()
    vault.error = OSError("no bus")
    secrets = make(vault, clock=clock)
    assert secrets.get("A_API_KEY") is None
    assert secrets.get("B_API_KEY") is None
    assert len(vault.asked) == 1
    vault.error = None
    clock.now += MISS_SECONDS + 1
    assert secrets.get("A_API_KEY") == "password-a"


def test_without_a_keyring_it_is_asked_once() -> None:
    """The real backend of a machine that has none."""
    opened = []

    def open_keyrings() -> list[KeyringBackend]:
        opened.append(1)
        return [keyring.backends.fail.Keyring()]  # type: ignore[no-untyped-call]

    clock = Clock()
    secrets = Secrets({}, open_keyrings, clock)
    for _ in range(3):
        assert secrets.get("A_API_KEY") is None
        clock.now += MISS_SECONDS + 1
    assert opened == [1]


def test_the_real_keyring_never_raises() -> None:
    assert Secrets({}).get("LLM_SIDECAR_TEST_KEY_THAT_NOBODY_HAS") is None


def test_plain_text_backends_are_refused() -> None:
    plain = type("PlaintextKeyring", (Vault,), {"__module__": "keyrings.alt.file"})
    derived = type("MyKeyring", (plain,), {"__module__": "somewhere"})
    good = Vault()
    assert permitted_backends([plain(), good, derived()]) == [good]


def test_system_keyrings_are_only_permitted_ones() -> None:
    assert all(not type(b).__module__.startswith("keyrings.alt") for b in system_keyrings())


async def test_a_keyring_that_does_not_answer_does_not_block() -> None:
    vault = StuckVault()
    secrets = make(vault)
    begun = time.monotonic()
    try:
        assert await secrets.aget("A_API_KEY") is None
        assert await secrets.aget("B_API_KEY") is None, "the second is not even asked"
        assert time.monotonic() - begun < 5
    finally:
        vault.answered.set()


async def test_asking_from_the_loop() -> None:
    vault = Vault(A_API_KEY="password-a")
    secrets = Secrets({}, lambda: [vault], Clock())
    assert await asyncio.gather(*(secrets.aget("A_API_KEY") for _ in range(20))) == ["password-a"] * 20
    assert len(vault.asked) == 1


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
        ("hosted_vllm", "HOSTED_VLLM_API_KEY"),
        ("nano-gpt", "NANO_GPT_API_KEY"),
    ],
)
def test_usual_names_of_keys(provider: str, name: str) -> None:
    assert key_env_name(provider) == name


def test_known_values_are_redacted() -> None:
    environ = {
        "ODD_API_KEY": "correct horse battery",
        "MY_TOKEN": "tiny",
        "HOME": "/home/somebody",
        "DB_PASSWORD": "hunter2hunter2",
    }
    secrets = make(Vault(A_API_KEY="from the keyring+1"), environ)
    secrets.get("A_API_KEY")
    text = "correct horse battery; tiny; /home/somebody; hunter2hunter2; from the keyring+1; from%20the%20keyring%2B1"
    assert secrets.redact(text) == f"{MASK}; tiny; /home/somebody; {MASK}; {MASK}; {MASK}"


def test_a_key_that_contains_another_goes_as_a_whole() -> None:
    assert Redactor(["12345678", "abc-12345678-def"]).redact("x abc-12345678-def y 12345678") == f"x {MASK} y {MASK}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: sk-proj-REDACTED.", f"Incorrect API key provided: {MASK}."),
        ("sk-ant-REDACTED", MASK),
        ("key AIzaSyA1234567890123456789012345678901x", f"key {MASK}"),
        ("Authorization: Bearer abc.def-ghi123", f"Authorization: Bearer {MASK}"),
        ('{"x-api-key": "0123456789abcdef"}', f'{{"x-api-key": "{MASK}"}}'),
        ("https://host/v1beta/models?key=0123456789abc&alt=sse", f"https://host/v1beta/models?key={MASK}&alt=sse"),
        ("http://user:secret@host/path", f"http://{MASK}@host/path"),
        ("api_key=0123456789abcdef", f"api_key={MASK}"),
        (
            "the task-oriented sk-learn risk-averse text, basic idea",
            "the task-oriented sk-learn risk-averse text, basic idea",
        ),
        ("models[0].api_key_env: expected a text", "models[0].api_key_env: expected a text"),
        ("mail somebody@example.com", "mail somebody@example.com"),
    ],
)
def test_what_looks_like_a_key_is_redacted(text: str, expected: str) -> None:
    assert redact_patterns(text) == expected


@given(st.text(), st.text(min_size=8), st.text())
def test_a_known_value_never_survives(before: str, secret: str, after: str) -> None:
    assert secret not in Redactor([secret]).redact(before + secret + after).replace(MASK, "\0")


@pytest.mark.parametrize(
    "text",
    ["sk-" * 100_000, "Bearer " * 50_000, "a://" * 80_000, "api_key=" * 50_000, "eyJ" * 100_000, "eyJ-" * 50_000],
)
def test_long_texts_take_bounded_time(text: str) -> None:
    begun = time.process_time()
    redact_patterns(text)
    assert time.process_time() - begun < 1
