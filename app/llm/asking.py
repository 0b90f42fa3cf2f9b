"""Asking for something written in a format, where an answer of some model matters more than whose it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Protocol

from app.errors import AnswerError, BudgetExceeded, ContextTooLarge, NoPermittedModel, NoRule, UnknownModel
from app.llm.calls import ModelRequest
from app.llm.router import Completion


class Completes(Protocol):
    """`ModelRouter`, or an agent's own door to it."""

    async def complete(self, request: ModelRequest) -> Completion: ...


async def complete_somehow(router: Completes, request: ModelRequest) -> Completion | None:
    """The wished model's answer, else in free form, else one of the rules' own models'; None where no model answers.

    A wish that the policy forbids is not insisted on: what matters is that there is an answer, and never that a
    private session's words go where they may not. Raises what is wrong with the request itself.
    """
    formats = [request.response_format, None] if request.response_format is not None else [None]
    wishes = [request.wish, None] if request.wish is not None else [None]
    for wish, response_format in product(wishes, formats):
        try:
            return await router.complete(replace(request, wish=wish, response_format=response_format))
        except (NoPermittedModel, UnknownModel):
            continue
        except (AnswerError, BudgetExceeded, ContextTooLarge, NoRule):
            return None
    return None
