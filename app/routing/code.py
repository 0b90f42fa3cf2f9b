"""Does this text contain code? Weighted patterns, linear time (RE2), long texts sampled.

Each pattern is evidence, worth what it says about a text that people send to a model: a fence or a function definition
alone decides, a call or an assignment needs a companion. The weights were set on some 80 snippets, questions and
mixtures of both; `python -m bench.contains_code` measures them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import re2

THRESHOLD: Final = 3
SAMPLE_CHARACTERS: Final = 24_576
"""Of a longer text its beginning, middle and end are read, a third of this each."""
SET_BYTES: Final = 32 * 1024 * 1024
"""The most the patterns' automaton may grow to; a few hundred kilobytes are usual. Beyond it a search finds nothing."""
MESSAGES_CHARACTERS: Final = 8 * SAMPLE_CHARACTERS
"""Read of a whole conversation, the latest messages first."""

# Web and mail addresses are full of dots, slashes and brackets, and no code.
_NOISE: Final = r"https?://[^\s\"'<>]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"

_CERTAIN: Final[Sequence[str]] = (
    # Markdown: a fenced block, and inline code that looks like more than a quoted word.
    r"(?m)^[ \t]*(?:```|~~~)",
    r"`[^`\n]*[-(){}\[\];=<>|$\\/:][^`\n]*`",
    # Definitions and imports.
    r"(?m)^[ \t]*(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|^[ \t]*class[ \t]+\w+(?:\([^)\n]*\))?[ \t]*[:{]",
    r"(?m)^[ \t]*from[ \t]+[\w.]+[ \t]+import[ \t]|^[ \t]*import[ \t]+[\w.]+(?:[ \t]+as[ \t]+\w+)?[ \t]*;?[ \t]*$",
    r"(?m)^[ \t]*import[ \t]+(?:[\w*{}, \t]+from[ \t]+)?['\"][^'\"\n]+['\"]|\brequire\(['\"]",
    r"#[ \t]*include[ \t]*[<\"][\w./+-]+[>\"]|(?m)^[ \t]*#(?:define|ifdef|ifndef|pragma)[ \t]",
    r"(?m)^[ \t]*(?:package|using|namespace)[ \t]+[\w.:]+[ \t]*[;{]|^[ \t]*package[ \t]+\w+[ \t]*$",
    r"\bfunction\b[ \t]*\*?[ \t]*\w*[ \t]*\([^)\n]*\)[ \t]*\{",
    r"\b(?:func|fn|fun)[ \t]+(?:\([^)\n]*\)[ \t]*)?\w+[ \t]*[(<]",
    r"\b(?:const|let|var)[ \t]+(?:mut[ \t]+)?(?:\w+|[\[{][^=\n]{0,120}[\]}])(?:[ \t]*:[ \t]*[\w<>\[\]|]+)?[ \t]*:?=",
    r"(?m)^[ \t]*(?:(?:public|private|protected|internal|static|final|abstract|override|export)[ \t]+)+"
    r"(?:class|interface|enum|struct|void|int|long|bool|boolean|string|String|double|float|async|function|const)\b",
    r"\b(?:interface|struct|enum|trait|impl|type)[ \t]+[\w<>]+"
    r"(?:[ \t]+(?:for|extends|implements)[ \t]+[\w<>]+)?[ \t]*\{",
    # Statements.
    r"(?m)^[ \t]*(?:if|elif|else|for|while|with|try|except|finally|match|case)\b[^?!\n]{0,200}:[ \t]*\n[ \t]+\S",
    r"\b(?:if|for|while|switch|catch)[ \t]*\([^\n]{0,200}\)[ \t]*\{|\}[ \t]*(?:else|catch|finally)\b|\btry[ \t]*\{",
    r"\bfor[ \t]*\([^;\n]*;[^;\n]*;[^)\n]*\)|\bif[ \t]+\w+[ \t]*[!=]=[ \t]*\w+[ \t]*\{",
    r"\[[^\[\]\n]{1,120}\bfor\b[^\[\]\n]{1,80}\bin\b[^\[\]\n]{1,120}\]|\blambda\b[ \t\w,*=]{0,60}:[ \t]*\S",
    r"\([\w, \t:]*\)[ \t]*=>|\b\w+[ \t]*=>[ \t]*[\w{(\[]",
    # Queries, markup, styles, data.
    r"\bSELECT\b[^;]{1,400}\bFROM\b",
    r"\b(?:INSERT[ \t]+INTO|DELETE[ \t]+FROM|(?:CREATE|ALTER|DROP)[ \t]+(?:TABLE|INDEX|VIEW))\b",
    r"(?i)\bselect[ \t]+(?:\*|[\w.]+(?:[ \t]*,[ \t]*[\w.]+)+)[ \t\n]+from[ \t]+\w+",
    r"(?i)\binsert[ \t]+into[ \t]+\w+[ \t]*[(]",
    r"(?i)</(?:a|p|div|span|h[1-6]|html|head|body|script|style|table|tr|td|ul|ol|li|form|button|svg|template)>",
    r"<(?:[a-z][\w-]*)(?:[ \t]+[\w:@-]+=(?:\"[^\"\n]*\"|'[^'\n]*'|\{[^}\n]*\}))+[ \t]*/?>|<!DOCTYPE|<\?(?:xml|php)",
    r"\{[ \t\n]*\"[\w$. -]+\"[ \t]*:|\{[ \t\n]*'[\w$. -]+'[ \t]*:",
    r"[.#]?[\w-]+[ \t]*\{[ \t\n]*[a-z-]+[ \t]*:[^{}]{1,200};?[ \t\n]*\}",
    r"(?m)^[ \t]*[\w-]+:[ \t]*\n(?:[ \t]+[\w-]+:[^\n]*\n?|[ \t]+-[ \t]+[^\n]+\n?)",
    r"(?m)^\[[\w.-]+(?:\.[\w-]+)+\][ \t]*$|^\[[\w-]+\][ \t]*\n[\w.-]+[ \t]*=",
    # Shells.
    r"(?m)^#!/|^[ \t]*[$>%][ \t]+(?:cd|ls|cat|git|npm|pip|python|docker|curl|make|cargo|go|sudo)\b",
    r"\b(?:pip3?|npm|yarn|pnpm|brew|apt|apt-get|cargo)[ \t]+(?:install|add|run|build|i)[ \t]+[-@\w]",
    r"\bgit[ \t]+"
    r"(?:add|commit|push|pull|rebase|reset|checkout|clone|merge|stash|log|diff|bisect|cherry-pick)[ \t]+[-\w.]",
    r"\b(?:docker|kubectl|helm|terraform|systemctl)[ \t]+"
    r"(?:run|build|exec|ps|get|apply|delete|describe|logs|plan|restart)\b",
    r"\b(?:curl|wget|grep|sed|awk|chmod|tar|ssh|rsync|find)[ \t]+(?:-{1,2}\w|/|\.)",
    r"(?:&&|\|)[ \t]*(?:grep|jq|awk|sed|xargs)\b",
    # Errors and traces.
    r"Traceback \(most recent call last\)|\bFile \"[^\"\n]+\", line \d+",
    r"(?m)^[ \t]*at [\w.$<>]+ ?\([^)\n]*:\d+(?::\d+)?\)",
    r"\b[A-Z]\w*(?:Error|Exception)\b:[ \t]|\bpanic: |\berror(?:\[E\d+\]|: expected )|\bsegmentation fault\b",
    # Regular expressions and preprocessor-like marks nobody writes in prose.
    r"\\[dwsbDWS](?:[+*?]|\{\d)|\[\^?(?:a-z|A-Z|0-9)|\(\?[:=!P]",
    r"\b\w+::\w+|\bstd::|->\w+\(|\b\w+!\(|:=[ \t]*\w|[!=]==|\bself\.\w+|\bthis\.\w+[ \t]*[=(]",
)
_LIKELY: Final[Sequence[str]] = (
    r"[\w\])]\.[A-Za-z_]\w*\([^)\n]*\)",
    r"(?m)^[ \t]*[A-Za-z_][\w.\[\]'\"]*[ \t]*(?:[-+*/|&]|//|\*\*)?=[ \t]*[^=\s]",
    r"[;{][ \t]*(?:\n|$)",
    r"\b\w+\[(?:[\w.:'\"-]+)\]",
    r"&&|\|\||!=|==|\+\+|\+=|-=|<=|>=|=>",
    r"(?m)^[ \t]*@\w[\w.]*(?:\([^\n]*\))?[ \t]*$",
    r"\b(?:None|null|undefined|nullptr|NaN|nil)\b",
    r"\b(?:[a-z]+_[a-z_]*[a-z]|[a-z]+[A-Z]\w*[a-z]+)\b",
    r"\b\w*_\w*\([^)\n]*\)|\b[a-z]\w*\([\w'\"\[{*][^()\n]*\)",
)
_SLIGHT: Final[Sequence[str]] = (
    r"\w\(\)|\b\w+\([^()\n]*\)",
    r"\b\w+[ \t]=[ \t]\S+[ \t][-+*/][ \t]\S",
    r"(?m)^(?:[ ]{2,}|\t)\S",
    r"\b(?:return|elif|await|async|yield|var|const|bool|int|str|printf|println|print)\b",
    r"(?m)^[ \t]*\"?[\w-]+\"?:[ \t]*(?:[\[{\"\d]|true\b|false\b)",
    r"\b[\w-]+:[ \t]*[^;:\n]{1,40};",
    r"\b[\w-]+\.(?:py|js|ts|tsx|go|rs|java|cpp|hpp|sql|ya?ml|toml|json|sh)\b",
)


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.never_capture = True
    options.log_errors = False
    return re2.compile(pattern, options)


_NOISE_PATTERN: Final = _compile(_NOISE)


def _compile_set(patterns: Iterable[str]) -> Any:
    """One automaton for all patterns: a text is read once, whatever their number."""
    options = re2.Options()
    options.max_mem = SET_BYTES
    options.never_capture = True
    options.log_errors = False
    found = re2.Set.SearchSet(options)
    for pattern in patterns:
        found.Add(pattern)
    found.Compile()
    return found


_WEIGHTS: Final = (*(3,) * len(_CERTAIN), *(2,) * len(_LIKELY), *(1,) * len(_SLIGHT))
_EVIDENCE: Final = _compile_set((*_CERTAIN, *_LIKELY, *_SLIGHT))


def contains_code(text: str) -> bool:
    """Whether the text is code, or holds some: source, queries, markup, configuration, commands, stack traces."""
    sample = _NOISE_PATTERN.sub(b" ", _sample(text).encode("utf-8", "replace"))
    matched: list[int] = _EVIDENCE.Match(sample) or []
    return sum(_WEIGHTS[index] for index in matched) >= THRESHOLD


def messages_contain_code(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any message holds code, in its text or its text parts; the latest are read first, and not without end."""
    budget = MESSAGES_CHARACTERS
    for message in reversed(list(messages)):
        for text in _texts(message.get("content")):
            if budget <= 0:
                return False
            budget -= min(len(text), SAMPLE_CHARACTERS)
            if contains_code(text):
                return True
    return False


def _sample(text: str) -> str:
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    third = SAMPLE_CHARACTERS // 3
    middle = (len(text) - third) // 2
    return "\n".join((text[:third], text[middle : middle + third], text[-third:]))


def _texts(content: object) -> Iterable[str]:
    if isinstance(content, str):
        return (content,)
    if isinstance(content, list | tuple):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return [part for part in parts if isinstance(part, str)]
    return ()
