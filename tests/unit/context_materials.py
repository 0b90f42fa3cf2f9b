"""Material for a context of any size, and what the builder makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st

from app.context.blocks import CodeChunk, ContextWindow, EntityNote, Material, OpenFile, Outcome
from app.context.builder import ContextBuilder, Prepared
from app.context.tokens import TokenCounter
from app.errors import ContextTooLarge

COUNTER = TokenCounter()
COUNTER.load()
BUILDER = ContextBuilder(COUNTER)
WORDS = ["alpha", "beta", "gamma", "delta", "omega"]
"""One token each after a space."""


def text(tokens: int, name: str = "") -> str:
    """About so many tokens of prose that begins with `name`."""
    room = tokens - COUNTER.count(name, "llama3")
    return name + " ".join(WORDS[i % 5] for i in range(room))


def code(tokens: int, name: str) -> str:
    """About so many tokens of code in lines of eight."""
    out = "".join(f"    {name}_{i} = {i}\n" for i in range(tokens))
    lines = out.split("\n")
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if COUNTER.count("\n".join(lines[:middle]), "llama3") <= tokens:
            low = middle
        else:
            high = middle - 1
    return "\n".join(lines[:low])


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def chat(count: int, tokens: int) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text(tokens, f"message {i}: ")} for i in range(count)]


def chunks(count: int, tokens: int) -> list[CodeChunk]:
    return [CodeChunk(code(tokens, f"c{i}"), f"src/m{i}.py", similarity=0.95 - i / 50) for i in range(count)]


async def built(
    material: Material, window: int = 8192, wanted: int | None = None, **more: Any
) -> tuple[Prepared, ContextWindow]:
    prepared = await BUILDER.prepare(material)
    options = {"model_id": "m", "tokenizer": "llama3", "wanted_output": wanted, **more}
    return prepared, await BUILDER.fit(prepared, window=window, **options)


def contents(window: ContextWindow) -> str:
    return "\n".join(m["content"] for m in window.messages if isinstance(m.get("content"), str))


def outcomes(window: ContextWindow) -> dict[str, Outcome]:
    return {block.id: block.outcome for block in window.blocks}


def small_example() -> Material:
    """Section 3: 4,700 tokens of input."""
    return Material(
        messages=[user(text(100))],
        system_prompt=text(500),
        session_state=text(800),
        chunks=chunks(5, 300),
        history=chat(10, 120),
        entities=[EntityNote(f"entity{i}", "class", text(50), hops=1 + i % 2) for i in range(10)],
    )


def large_example() -> Material:
    """Section 3: 17,000 tokens of input and 4,000 for the answer."""
    frames = "".join(f'  File "/p/f{i}.py", line {i}, in run\n    call_{i}()\n' for i in range(1, 24))
    return Material(
        messages=[user(text(800))],
        system_prompt=text(500),
        session_state=text(800),
        chunks=chunks(20, 300),
        file=OpenFile(code(3000, "line"), "src/debugged.py", line=150),
        stacktrace=f"Traceback (most recent call last):\n{frames}ValueError: broken\n",
        history=chat(30, 140),
        entities=[EntityNote(f"entity{i}", "class", text(60), hops=1 + i % 2) for i in range(20)],
    )


# -- any material ----------------------------------------------------------------------------------------------------

SHORT = st.text(alphabet=st.sampled_from("ab `~\n<>/é漢"), max_size=60)
SIZED = st.builds(lambda words, name: text(words, name) if words else name, st.integers(0, 120), SHORT)


@st.composite
def dialogues(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for index in range(draw(st.integers(0, 9))):
        kind = draw(st.sampled_from(["user", "assistant", "tool"]))
        if kind != "tool":
            messages.append({"role": kind, "content": f"[{index}] " + draw(SIZED)})
            continue
        ids = [f"call{index}_{n}" for n in range(draw(st.integers(1, 2)))]
        calls = [{"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": i, "content": draw(SIZED)} for i in ids]
    return messages


@st.composite
def materials(draw: st.DrawFn) -> Material:
    spans = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9), st.floats(0, 1)), max_size=6))
    found = [
        CodeChunk("".join(f"line {n}\n" for n in range(a, a + b + 1)), "src/a.py", a, a + b, s) for a, b, s in spans
    ]
    found += [CodeChunk(draw(SIZED), draw(st.sampled_from([None, "x.py"]))) for _ in range(draw(st.integers(0, 2)))]
    notes = draw(st.lists(st.builds(EntityNote, SHORT, SHORT, SIZED, st.integers(1, 3)), max_size=5))
    file = OpenFile("".join(f"    statement_{n} = {n}\n" for n in range(draw(st.integers(1, 120)))), "b.py", 50)
    trace = 'Traceback:\n  File "b.py", line 3, in f\n    x()\n' + '  File "c.py", line 9, in g\n' * 9 + "KeyError: 1"
    return Material(
        messages=[*draw(dialogues()), {"role": "user", "content": "ask: " + draw(SIZED)}],
        system_prompt=draw(st.none() | SIZED),
        session_state=draw(st.none() | SIZED | st.just({"goal": "g", "steps": ["a", "b"]})),
        summary=draw(st.none() | SIZED),
        history=draw(dialogues()),
        chunks=found,
        entities=notes,
        file=draw(st.none() | st.just(file)),
        stacktrace=draw(st.none() | st.just(trace)),
    )


WINDOW = st.integers(150, 3_000)
TOKENIZER = st.sampled_from(["llama3", "llama2", "bytes"])


def attempt(material: Material, window: int, tokenizer: str = "llama3", **more: Any) -> ContextWindow | ContextTooLarge:
    async def run() -> ContextWindow | ContextTooLarge:
        try:
            return (await built(material, window, tokenizer=tokenizer, **more))[1]
        except ContextTooLarge as error:
            return error

    return asyncio.run(run())
