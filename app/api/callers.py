"""Who asks: the owner of the token, or a named client with a key of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

from app.errors import Forbidden
from app.store.client_key import RIGHTS, ClientKey, Right


@dataclass(frozen=True, slots=True)
class Caller:
    """`workspace`: the only one it may act in; None: all of them. `task_type`: of its requests that name none."""

    name: str
    rights: frozenset[Right]
    workspace: str | None = None
    task_type: str | None = None
    key_id: str | None = None

    def workspace_for(self, asked: str | None) -> str | None:
        """The workspace a request acts in: the one asked for, else the caller's own (None: the default one).

        Raises `Forbidden` where a key bound to one workspace asks for another.
        """
        if self.workspace is None or asked == self.workspace:
            return asked
        if asked is None:
            return self.workspace
        raise other_workspace(self)


OWNER: Final = Caller("owner", frozenset(RIGHTS))
"""Whoever has the data folder's token."""


def client(key: ClientKey) -> Caller:
    """Whoever has this key."""
    return Caller(key.name, key.rights, key.workspace, key.task_type, key.id)


def other_workspace(caller: Caller) -> Forbidden:
    return Forbidden(
        f"The key `{caller.name}` is bound to workspace `{caller.workspace}` and acts in no other.",
        code="wrong_workspace",
    )


def caller_of(request: Request) -> Caller:
    """The caller the door has let in."""
    return caller_in(request.scope)


def caller_in(scope: Scope) -> Caller:
    caller = scope.get("state", {}).get("caller")
    assert isinstance(caller, Caller), "the door has let somebody in without saying who"
    return caller
