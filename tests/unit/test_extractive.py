"""The built-in model: deterministic, within its limit, and every passage word for word from what it was given."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.context.fence import fenced
from app.context.trim import with_markers
from app.errors import Unsupported
from app.llm import extractive
from app.llm.calls import Chunk, Finish, ModelCall, TextDelta, Usage
from app.llm.passages import Passage, rank, split, terms
from app.routing.catalog import Endpoint, ModelSpec, Price, Source, Sourced
from app.routing.locality import Location

CONTEXT = """You are a helpful assistant.

<chunk path="app/users.py" lines="10-14">
def get_user_name(user_id):
    return db.lookup(user_id).name
</chunk>

app/config.py (lines 3-5)
```python
def parse_config(path):
    return yaml.safe_load(path)
```
"""
TALK = """user: Training crashes with CUDA OOM at step 1200 in train.py.
assistant: Try reducing the batch size to 8.
user: That did not help. Hm.
assistant: Then use gradient accumulation; set accumulate_grad_batches=4 in config/train.yaml.
user: It works now. We decided to keep gradient accumulation. Thanks.
"""
FENCE = re.compile(r"^(`{3,})[^\n`]*\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)


def words(text: str) -> int:
    """A tokenizer for tests: runs of non-space. Never more for a whole than for its pieces together."""
    return len(text.split())


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def say(*messages: dict[str, Any], limit: int | None = None, task_type: str | None = None) -> str:
    return "".join(extractive.answer(messages, max_output_tokens=limit, task_type=task_type, count=words))


def call(*messages: dict[str, Any], **changes: Any) -> ModelCall:
    spec = ModelSpec(
        id=extractive.MODEL_ID,
        provider="builtin",
        wire="builtin",
        name="extractive",
        endpoint=Endpoint(None, Location.IN_PROCESS, "runs inside the sidecar"),
        context_window=Sourced(1_048_576, Source.CONFIG),
        max_output_tokens=Sourced(None, Source.DEFAULT),
        price=Sourced(Price(Decimal(0), Decimal(0)), Source.DEFAULT),
        tokenizer="gpt-4o",
    )
    return ModelCall(model=spec, messages=messages, local_only=True, **changes)


async def drain(model_call: ModelCall) -> list[Chunk]:
    return [chunk async for batch in extractive.stream(model_call, count=words) for chunk in batch]


def test_the_passage_that_fits_is_quoted_with_its_path_and_lines() -> None:
    text = say(message("system", CONTEXT), message("user", "How is the user's name looked up?"))
    assert "No language model answered" in text
    assert "ollama serve" in text
    assert "llm-sidecar doctor" in text
    assert "**app/users.py**, lines 10 to 11\n```py\ndef get_user_name(user_id):" in text
    assert "parse_config" not in text


def test_a_heading_above_a_fence_names_it() -> None:
    found = rank(split(CONTEXT), "parse config")
    expected = "def parse_config(path):\n    return yaml.safe_load(path)"
    assert found[0] == Passage(expected, "app/config.py", 3, given=True, code=True)
    assert all("lines 3-5" not in p.text for p in split(CONTEXT)), "the heading is a label, not a passage"


def test_without_context_it_says_so_and_quotes_nothing() -> None:
    text = say(message("system", "You are a helpful assistant."), message("user", "What is a monad?"))
    assert "no context came with the question" in text
    assert not FENCE.search(text)


def test_what_a_search_found_first_is_quoted_first() -> None:
    """Chunks stand weakest first; the words alone would put the first one in front."""
    weak = fenced("Code from docs/notes.py, lines 1–2:", "retry retry decided\nretry where decided retry\n")
    strong = fenced("Code from app/retry.py, lines 5–6:", "def decide(error, attempt):\n    retry = wait(attempt)\n")
    question = "where is a retry decided?"
    for chunks, first in ((weak + strong, "app/retry.py"), (strong + weak, "docs/notes.py")):
        (best, *_) = rank([p for p in split(f"{chunks}\n{question}") if p.given], question)
        assert best.path == first


def test_a_list_of_entities_goes_behind_the_code_it_points_at() -> None:
    known = fenced("Known entities:", "- Retry.decide (method): a retry is decided here, where a retry is decided\n")
    code = fenced("Code from app/retry.py, lines 5–6:", "def decide(error, attempt):\n    retry = wait(attempt)\n")
    question = "where is a retry decided?"
    found = rank([p for p in split(f"{known}\n{code}\n{question}") if p.given], question)
    assert found[0].path == "app/retry.py"


def test_a_context_that_does_not_fit_is_not_quoted() -> None:
    text = say(message("system", CONTEXT), message("user", "Weather in Paris?"))
    assert "no passage of the given context" in text


def test_a_fitted_window_is_read_as_it_is_rendered() -> None:
    """The wording of `app.context.gather` and the markers of `app.context.trim`."""
    kept = with_markers([f"x{i} = {i}" for i in range(1, 101)], {1, 2, 90, 91})
    given = fenced("Open file /my docs/mod.py (cursor at line 90):", kept)
    code = fenced("Code from app/a.py, lines 40–41:", "def alpha():\n    return beta")
    nameless = fenced("Code from Makefile:", "gamma: alpha")
    state = fenced("State of the session:", "The user is moving alpha to gamma.")
    context = split("\n".join([state, nameless, code, given]) + "\nwhere is x91?")
    assert [(p.path, p.line, p.last_line, p.code) for p in context] == [
        (None, None, None, False),
        ("Makefile", None, None, True),
        ("app/a.py", 40, 41, True),
        ("/my docs/mod.py", 1, 2, True),
        ("/my docs/mod.py", 90, 91, True),
        (None, None, None, False),
    ]
    assert rank(context[:-1], "x91")[0].line == 90
    assert context[-1].text == "where is x91?"


def test_earlier_messages_are_context() -> None:
    history = [message("user", "The deploy key lives in vault path secret/deploy."), message("assistant", "Noted.")]
    assert "secret/deploy" in say(*history, message("user", "where is the deploy key?"))


@pytest.mark.parametrize(
    "messages",
    [
        [message("system", "Summarise the conversation below. Keep decisions."), message("user", TALK)],
        [message("system", "You are a summariser of developer conversations."), message("user", TALK)],
        [
            message("system", "You keep the memory of a conversation. Write a summary of at most 300 words."),
            message("user", fenced("Conversation:", TALK) + "\nWrite the summary."),
        ],
        [message("user", TALK), message("user", "Please summarise what happened")],
    ],
)
def test_asked_to_summarise_it_does_so_without_an_apology(messages: list[dict[str, Any]]) -> None:
    text = say(*messages)
    assert "No language model" not in text
    assert "We decided to keep gradient accumulation." in text
    assert "config/train.yaml" in text


def test_a_task_type_asks_for_a_summary_too() -> None:
    text = say(message("user", TALK * 30 + "\n".join(f"Filler {i}." for i in range(400))), task_type="session_capture")
    assert "We decided to keep gradient accumulation." in text
    assert words(text) <= extractive.SUMMARY_TOKENS


def test_a_system_prompt_that_holds_a_summary_does_not_make_a_summariser() -> None:
    system = "You help. Summary of earlier messages: the user fixed an OOM."
    assert "No language model" in say(message("system", system), message("user", "why?"))


def test_an_empty_summary_is_honest() -> None:
    assert "nothing to summarise" in say(message("user", ""), task_type="summarization")


def test_parts_and_empty_contents_are_read() -> None:
    parts = [{"type": "text", "text": "The port is 8765."}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    text = say(message("user", parts), message("assistant", None), message("user", "which port?"))
    assert "The port is 8765." in text


def test_identifiers_match_by_their_parts() -> None:
    assert {"getusername", "get_user_name", "user", "nam"} <= {*terms("getUserName"), *terms("get_user_name")}
    assert rank([Passage("class HTTPServer: pass"), Passage("class Client: pass")], "http server")[0].text.startswith(
        "class HTTPServer"
    )


@pytest.mark.parametrize("path", ["app/x.py", "/home/me/x.py", "C:/Users/me/x.py", "../x.test.ts", "x.py"])
def test_paths_in_headings(path: str) -> None:
    assert split(f"In {path}:10-12\n```\ncode\n```")[0] == Passage("code", path, 10, given=True, code=True)


def test_a_file_named_in_the_question_is_found() -> None:
    passages = [Passage("x = 1", "app/a.py", 1, code=True), Passage("x = 1", "app/budget.py", 1, code=True)]
    assert rank(passages, "what does budget.py do")[0].path == "app/budget.py"


def test_long_code_keeps_its_line_numbers() -> None:
    source = "\n".join(f"def f{i}():\n    return {i}\n" for i in range(60))
    found = rank(split(f"```python app/big.py:101-280\n{source}\n```"), "f41")[0]
    assert found.line is not None
    assert source.split("\n")[found.line - 101] == found.text.split("\n")[0]
    assert found.last_line == found.line + len(found.text.split("\n")) - 1


async def test_the_call_says_what_it_is_for() -> None:
    notes = "# Notes\n\nWe decided to use SQLite.\n\n```sh\nmake run --all\n```\n\nNext: measure the ledger.\n"
    asked = message("user", fenced("Open file notes.md:", notes) + "\nwhat is in here?")
    chunks = await drain(call(asked, task_type="summarization"))
    text = "".join(c.text for c in chunks if isinstance(c, TextDelta))
    assert text == "- Notes\n- We decided to use SQLite.\n- Next: measure the ledger."


async def test_stream_ends_with_usage_and_finish() -> None:
    question = message("user", "How is the user's name looked up?")
    chunks = await drain(call(message("system", CONTEXT), question))
    text = "".join(c.text for c in chunks if isinstance(c, TextDelta))
    assert len([c for c in chunks if isinstance(c, TextDelta)]) > 10
    assert chunks[-2] == Usage(words(CONTEXT) + words(str(question["content"])), words(text))
    assert chunks[-1] == Finish("stop")


async def test_a_limit_ends_with_length() -> None:
    chunks = await drain(call(message("user", "hello"), max_output_tokens=5))
    assert chunks[-1] == Finish("length")
    assert words("".join(c.text for c in chunks if isinstance(c, TextDelta))) == 5


async def test_a_stop_sequence_ends_the_text_before_it() -> None:
    chunks = await drain(call(message("user", "hello"), stop=("Ollama",)))
    text = "".join(c.text for c in chunks if isinstance(c, TextDelta))
    assert text.endswith("start ")
    assert chunks[-1] == Finish("stop")


@pytest.mark.parametrize("wanted", [{"response_format": {"type": "json_schema"}}, {"tool_choice": "required"}])
async def test_what_it_lacks_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        await drain(call(message("user", "hello"), **wanted))


async def test_a_large_context_does_not_hold_the_loop() -> None:
    source = "\n\n".join(f"def function_{i}(a):\n    return a + {i}" for i in range(20_000))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    asked = call(message("user", f"```python\n{source}\n```"), message("user", "function_777"))
    chunks = await drain(asked)
    ticking.cancel()
    assert "return a + 777" in "".join(c.text for c in chunks if isinstance(c, TextDelta))
    assert ticks >= 3


CONTENTS = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            ["alpha beta", "```python a/b.py:3", "```", "~~~~", "def alpha():", "  return 1", "", '<file path="x.py">']
        ),
        max_size=12,
    ).map("\n".join),
)
CONVERSATIONS = st.lists(
    st.builds(message, st.sampled_from(["system", "user", "assistant", "tool"]), CONTENTS), max_size=6
)


@given(CONVERSATIONS, st.one_of(st.none(), st.integers(1, 200)), st.sampled_from([None, "summarization"]))
def test_deterministic_and_never_longer_than_asked(
    messages: list[dict[str, Any]], limit: int | None, task_type: str | None
) -> None:
    text = say(*messages, limit=limit, task_type=task_type)
    assert text == say(*messages, limit=limit, task_type=task_type)
    assert text
    assert words(text) <= (limit or extractive.ANSWER_TOKENS)


@given(CONTENTS)
def test_passages_are_verbatim(text: str) -> None:
    for passage in split(text):
        assert passage.text in text
        assert passage.text.strip()


@given(CONVERSATIONS)
def test_every_quote_is_verbatim(messages: list[dict[str, Any]]) -> None:
    quotes = FENCE.findall(say(*messages, message("user", "alpha beta return")))
    for _, quote in quotes:
        assert any(quote in m["content"] for m in messages)


@given(st.text(max_size=400))
def test_no_word_of_the_pieces_is_lost(text: str) -> None:
    pieces, whole = extractive._within(text, None, words)
    assert whole
    assert "".join(pieces) == text
