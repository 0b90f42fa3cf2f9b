"""One-time codes and sessions, with the clock in hand."""

from __future__ import annotations

from app.api.sign_in import CODE_SECONDS, MOST_CODES, MOST_SESSIONS, SESSION_SECONDS, SignIn


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def signed_in(door: SignIn) -> bytes:
    session = door.redeem(door.issue_code())
    assert session is not None
    return session.encode()


def test_a_code_opens_once() -> None:
    door = SignIn()
    code = door.issue_code()
    session = door.redeem(code)
    assert session is not None
    assert session != code
    assert door.holds(session.encode())
    assert door.redeem(code) is None


def test_what_was_never_issued_opens_nothing() -> None:
    door = SignIn()
    code, session = door.issue_code(), signed_in(door)
    for wrong in ("", "x", code[:-1], code + "x", session.decode(), "é", "\udc80"):
        assert door.redeem(wrong) is None
    assert not door.holds(b"")
    assert not door.holds(code.encode())
    assert not SignIn().holds(session), "another instance knows nothing of it"


def test_a_code_ends_by_itself() -> None:
    clock = Clock()
    door = SignIn(clock)
    early, late = door.issue_code(), door.issue_code()
    clock.now += CODE_SECONDS - 1
    assert door.redeem(early) is not None
    clock.now += 1
    assert door.redeem(late) is None


def test_a_session_in_use_lasts_and_an_unused_one_ends() -> None:
    clock = Clock()
    door = SignIn(clock)
    used, unused = signed_in(door), signed_in(door)
    clock.now += SESSION_SECONDS - 1
    assert door.holds(used)
    clock.now += 1
    assert not door.holds(unused)
    assert door.holds(used)


def test_signing_out_ends_that_session_alone() -> None:
    door = SignIn()
    mine, yours = signed_in(door), signed_in(door)
    door.sign_out(mine)
    door.sign_out(b"unknown")
    assert not door.holds(mine)
    assert door.holds(yours)


def test_there_are_never_more_than_so_many() -> None:
    door = SignIn()
    first = door.issue_code()
    for _ in range(MOST_CODES):
        door.issue_code()
    assert door.redeem(first) is None
    kept, unused = signed_in(door), signed_in(door)
    for _ in range(MOST_SESSIONS - 1):
        assert door.holds(kept)
        signed_in(door)
    assert door.holds(kept)
    assert not door.holds(unused), "the one unused longest made room"
