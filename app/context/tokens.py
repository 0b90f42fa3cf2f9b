"""TokenCounter: how many tokens a text, a message or a tool schema costs under a model's tokenizer.

Two exact vocabularies (cl100k_base, o200k_base) are read from files that litellm bundles; every other tokenizer is one
of them times a prior (`TOKENIZERS`), corrected per model by `app.context.calibration`. Nothing here opens a connection
or imports litellm: a vocabulary file that is missing or altered is an error, never a download.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from app.errors import StartupError

if TYPE_CHECKING:
    from tiktoken import Encoding

T = TypeVar("T")

PIECE_CHARACTERS: Final = 4_000
"""Texts are encoded in pieces: o200k_base panics on a million spaces, and a piece is the longest the loop ever waits
(at most 0.7 ms measured). Costs +0.1 % tokens at the seams."""
EXACT_CHARACTERS: Final = 2_000_000
"""Longer texts are sampled: 2 M characters take about 0.2 s."""
SAMPLE_PIECES: Final = 128
SAMPLE_MARGIN: Final = 1.10
"""Added to a sampled estimate, on top of three standard errors, so that it errs upwards."""
INLINE_CHARACTERS: Final = 20_000
"""Up to this much is counted on the caller's thread (about 1 ms), more goes to the counter's own threads."""
CACHE_ENTRIES: Final = 16_384
HASHED_INLINE: Final = 400_000
"""Characters that may be hashed on the event loop to find out whether they were counted before (about 0.4 ms)."""
CACHED_AS_TEXT: Final = 400
"""Characters; longer texts are remembered by their digest. A string knows its own hash: as a key it costs a third."""

MESSAGE_OVERHEAD: Final = 5
"""Tokens a chat template adds per message: Llama 3 writes five (two header marks, role, blank line, end mark), OpenAI
counts three or four."""
REQUEST_OVERHEAD: Final = 5
"""Start mark and the header of the answer, once per request (Llama 3: five, OpenAI: three)."""
TOOL_OVERHEAD: Final = 12
"""Per tool schema, beside its JSON."""
IMAGE_KINDS: Final = frozenset({"image_url", "image", "input_image"})
IMAGE_TOKENS: Final = 1_600
"""Per image, whatever its size: Anthropic's most (1,568 at 1092×1092), above OpenAI's 765 for 1024×1024."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """`encoding` is cl100k_base, o200k_base or utf8 (one token a byte); `factor` its tokens in ours, a safe prior."""

    encoding: str
    factor: float = 1.0


TOKENIZERS: Final[Mapping[str, Tokenizer]] = {
    # Measured against the vocabularies on English, Python and C++; priors sit in the upper half of what was seen.
    "cl100k": Tokenizer("cl100k_base"),
    "gpt-4": Tokenizer("cl100k_base"),
    "gpt-3.5": Tokenizer("cl100k_base"),
    "llama3": Tokenizer("cl100k_base"),
    "llama4": Tokenizer("o200k_base"),
    "qwen": Tokenizer("cl100k_base"),
    "builtin": Tokenizer("cl100k_base"),
    "o200k": Tokenizer("o200k_base"),
    "gpt-4o": Tokenizer("o200k_base"),
    "gpt-4.1": Tokenizer("o200k_base"),
    "gpt-5": Tokenizer("o200k_base"),
    "gpt-oss": Tokenizer("o200k_base"),
    "llama2": Tokenizer("cl100k_base", 1.4),
    "codellama": Tokenizer("cl100k_base", 1.4),
    "mistral": Tokenizer("cl100k_base", 1.4),
    "tekken": Tokenizer("cl100k_base", 1.12),
    "claude": Tokenizer("cl100k_base", 1.25),
    "gemini": Tokenizer("cl100k_base", 1.2),
    "bytes": Tokenizer("utf8"),
}
UNKNOWN_TOKENIZER: Final = Tokenizer("cl100k_base", 1.2)


@lru_cache(maxsize=1_024)
def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer a name stands for: exactly, else by its longest known beginning (`gpt-4o-mini`), else unknown."""
    found = TOKENIZERS.get(name)
    if found is not None:
        return found
    lowered = name.lower()
    known = max((known for known in TOKENIZERS if lowered.startswith(known)), key=len, default=None)
    return TOKENIZERS[known] if known else UNKNOWN_TOKENIZER


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tiktoken vocabulary file: litellm stores it under the SHA-1 of its address, with this SHA-256."""

    file: str
    sha256: str
    pattern: str


# Patterns and hashes are those of tiktoken_ext/openai_public.py (tiktoken 0.14.0); a test compares the results.
VOCABULARIES: Final[Mapping[str, Vocabulary]] = {
    "cl100k_base": Vocabulary(
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"""
        r"""\s*[\r\n]|\s+(?!\S)|\s""",
    ),
    "o200k_base": Vocabulary(
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
        r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    ),
}


def bundled_folder() -> Path:
    """Where litellm keeps its vocabulary files; found without importing litellm (that costs 1.7 s)."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise StartupError("litellm is not installed, and its tokenizer files with it: reinstall llm-sidecar")
    return Path(spec.submodule_search_locations[0]) / "litellm_core_utils" / "tokenizers"


@cache
def load_encoding(name: str, folder: Path) -> Encoding:
    """Read one vocabulary (cl100k_base 0.1 s and 41 MB, o200k_base 0.25 s and 70 MB), once a process.

    Raises StartupError where the file is missing or its SHA-256 differs; tiktoken's own loader would download it.
    """
    from tiktoken import Encoding

    vocabulary = VOCABULARIES[name]
    path = folder / vocabulary.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StartupError(f"the tokenizer file of {name} cannot be read: {path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != vocabulary.sha256:
        raise StartupError(f"the tokenizer file of {name} is not the expected one: {path}: reinstall litellm")
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines() if line)}
    # No special tokens: a text that spells one is counted, and later sent, as text.
    encoding = Encoding(name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={})
    # tiktoken keeps the dictionary for pickling; its core has a copy, and this one is 12 MB.
    encoding._mergeable_ranks = {}
    return encoding


def pieces_of(text: str) -> Iterable[str]:
    """Cut after a line end where the last quarter of a piece has one, so that seams rarely split a token."""
    start, end = 0, len(text)
    while end - start > PIECE_CHARACTERS:
        limit = start + PIECE_CHARACTERS
        cut = text.rfind("\n", limit - PIECE_CHARACTERS // 4, limit) + 1
        stop = cut if cut > start else limit
        yield text[start:stop]
        start = stop
    yield text[start:]


def image_tokens(messages: Iterable[Mapping[str, Any]]) -> int:
    """How many of the tokens counted for `messages` are guesses for their images."""
    contents = (message.get("content") for message in messages)
    parts = (part for content in contents if isinstance(content, list | tuple) for part in content)
    return IMAGE_TOKENS * sum(isinstance(part, Mapping) and part.get("type") in IMAGE_KINDS for part in parts)


class TokenCounter:
    """Counts tokens. Safe to call from any thread; answers are cached by content.

    `folder` holds the vocabulary files; None finds litellm's.
    """

    def __init__(self, folder: Path | None = None, *, cache_entries: int = CACHE_ENTRIES) -> None:
        self._folder = folder
        self._encodings: dict[str, Encoding] = {}
        self._loading = threading.Lock()
        self._cache: dict[tuple[str, int, str | bytes], int] = {}
        self._cache_entries = cache_entries
        self._cache_lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def load(self, name: str = "cl100k_base") -> None:
        """Read a vocabulary now; call it from a thread at start-up. Later needs load by themselves."""
        self._encoding(name)

    def close(self) -> None:
        """End the counter's threads. Counting goes on working, and starts new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def count(self, text: str, tokenizer: str) -> int:
        """Tokens of `text` under a tokenizer of `TOKENIZERS`; never fewer than measured, deterministic.

        Above `EXACT_CHARACTERS` the answer is an over-estimate from a sample. Blocks for about 50 ns a character.
        """
        known = TOKENIZERS.get(tokenizer) or tokenizer_of(tokenizer)
        tokens = self._base_count(text, known.encoding)
        return tokens if known.factor == 1.0 else math.ceil(tokens * known.factor)

    async def acount_many(self, texts: Sequence[str], tokenizer: str) -> list[int]:
        """`count` of each; on the counter's own threads when there is much to count or a vocabulary to load."""
        size = sum(map(len, texts))
        return await self.run(lambda: [self.count(text, tokenizer) for text in texts], size, tokenizer)

    async def run(self, work: Callable[[], T], characters: int, tokenizer: str) -> T:
        """Do `work` here if it is about few characters, else on the counter's own threads."""
        if characters <= INLINE_CHARACTERS and self.is_ready(tokenizer):
            return work()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokens")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def uncounted(self, texts: Iterable[str], tokenizer: str) -> int:
        """Characters of the texts whose counts are not known yet: what `run` should be told about counting them.

        An upper bound, found in bounded time: it stops as soon as there is too much to count, or to look up, at once.
        """
        encoding = tokenizer_of(tokenizer).encoding
        if encoding == "utf8":
            return sum(map(len, texts)) // 20  # counting bytes is so much quicker
        fresh = hashed = 0
        with self._cache_lock:
            for text in texts:
                size = len(text)
                if size > CACHED_AS_TEXT:
                    hashed += size
                    if size > INLINE_CHARACTERS or hashed > HASHED_INLINE:
                        return max(fresh + size, INLINE_CHARACTERS + 1)
                if size and _key(text, encoding) not in self._cache:
                    fresh += size
                    if fresh > INLINE_CHARACTERS:
                        return fresh
        return fresh

    def is_ready(self, tokenizer: str) -> bool:
        """True if no vocabulary has to be read before `tokenizer` can count."""
        encoding = tokenizer_of(tokenizer).encoding
        return encoding == "utf8" or encoding in self._encodings

    def message_tokens(self, message: Mapping[str, Any], tokenizer: str) -> int:
        """Tokens of one message in OpenAI's shape: its content, its tool calls, and what the template adds."""
        tokens = MESSAGE_OVERHEAD
        content = message.get("content")
        if isinstance(content, str):
            tokens += self.count(content, tokenizer)
        elif content:
            tokens += sum(self._part_tokens(part, tokenizer) for part in content)
        if len(message) > 2:
            rest = {k: v for k, v in message.items() if k not in ("role", "content") and v is not None}
            if rest:
                tokens += self.json_tokens(rest, tokenizer)
        return tokens

    def tokens_of_each(self, messages: Sequence[Mapping[str, Any]], tokenizer: str) -> list[int]:
        """`message_tokens` of each; those that are nothing but words, and were counted before, in one go."""
        known = tokenizer_of(tokenizer)
        if known.encoding == "utf8":
            return [self.message_tokens(message, tokenizer) for message in messages]
        found: list[int | None] = []
        with self._cache_lock:
            for message in messages:
                content = message.get("content") if len(message) == 2 else None
                tokens = None
                if type(content) is str and 0 < len(content) <= CACHED_AS_TEXT:
                    key = known.encoding, len(content), content
                    tokens = self._cache.pop(key, None)
                    if tokens is not None:
                        self._cache[key] = tokens
                        tokens = MESSAGE_OVERHEAD + (
                            tokens if known.factor == 1.0 else math.ceil(tokens * known.factor)
                        )
                found.append(tokens)
        return [
            self.message_tokens(message, tokenizer) if tokens is None else tokens
            for message, tokens in zip(messages, found, strict=True)
        ]

    def messages_tokens(self, messages: Iterable[Mapping[str, Any]], tokenizer: str) -> int:
        """Tokens of a whole request's messages."""
        return REQUEST_OVERHEAD + sum(self.message_tokens(message, tokenizer) for message in messages)

    def tools_tokens(self, tools: Iterable[Mapping[str, Any]], tokenizer: str) -> int:
        """Tokens of tool schemas; providers write them into the prompt in forms of about the JSON's length."""
        return sum(TOOL_OVERHEAD + self.json_tokens(tool, tokenizer) for tool in tools)

    def json_tokens(self, value: object, tokenizer: str) -> int:
        return self.count(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str), tokenizer)

    def _part_tokens(self, part: object, tokenizer: str) -> int:
        if isinstance(part, str):
            return self.count(part, tokenizer)
        if not isinstance(part, Mapping):
            return self.json_tokens(part, tokenizer)
        kind = part.get("type")
        if isinstance(part.get("text"), str):
            return self.count(part["text"], tokenizer)
        if kind in IMAGE_KINDS:
            return IMAGE_TOKENS
        return self.json_tokens(part, tokenizer)

    def _base_count(self, text: str, encoding: str) -> int:
        if not text:
            return 0
        if encoding == "utf8":
            return len(text.encode("utf-8", "surrogatepass"))
        key = _key(text, encoding)
        with self._cache_lock:
            known = self._cache.pop(key, None)
            if known is not None:
                self._cache[key] = known  # most recently used last
                return known
        tokens = self._encode_count(text, self._encodings.get(encoding) or self._encoding(encoding))
        with self._cache_lock:
            self._cache[key] = tokens
            if len(self._cache) > self._cache_entries:
                del self._cache[next(iter(self._cache))]
        return tokens

    def _encode_count(self, text: str, encoding: Encoding) -> int:
        if len(text) <= PIECE_CHARACTERS:
            return _piece_count(text, encoding)
        if len(text) <= EXACT_CHARACTERS:
            return sum(_piece_count(piece, encoding) for piece in pieces_of(text))
        return _sampled_count(text, encoding)

    def _encoding(self, name: str) -> Encoding:
        with self._loading:
            if name not in self._encodings:
                self._encodings[name] = load_encoding(name, self._folder or bundled_folder())
            return self._encodings[name]


def _key(text: str, encoding: str) -> tuple[str, int, str | bytes]:
    return encoding, len(text), text if len(text) <= CACHED_AS_TEXT else _digest(text)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _piece_count(piece: str, encoding: Encoding) -> int:
    try:
        return len(encoding.encode_ordinary(piece))
    except BaseException as error:
        # tiktoken's regular expressions can panic in Rust, and pyo3's PanicException is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        return len(piece.encode("utf-8", "surrogatepass"))  # no token is shorter than a byte


def _sampled_count(text: str, encoding: Encoding) -> int:
    """From evenly spaced pieces: their mean plus three standard errors plus `SAMPLE_MARGIN`.

    An over-estimate for text whose pieces vary as the sample does; text built to hide its dense parts between the
    sampled pieces can defeat it, and then the provider's overflow error has the last word.
    """
    slots = len(text) // PIECE_CHARACTERS
    starts = [slot * slots // SAMPLE_PIECES * PIECE_CHARACTERS for slot in range(SAMPLE_PIECES)]
    counts = [_piece_count(text[start : start + PIECE_CHARACTERS], encoding) for start in starts]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
    upper = (mean + 3 * math.sqrt(variance / len(counts))) * SAMPLE_MARGIN
    return math.ceil(upper * len(text) / PIECE_CHARACTERS)
