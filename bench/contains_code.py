"""How well, and how fast, `contains_code` tells code from prose.

`python -m bench.contains_code` prints the share of right answers on texts that were not used to set the weights, the
mistakes, and the time per text, short and long. `python -m bench.contains_code FILE` measures another sample: a Python
file that defines DATA, a list of (text, contains code, kind).
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Sequence
from typing import TypeAlias

from app.routing.code import contains_code

Sample: TypeAlias = tuple[str, bool, str]
"""(text, whether it contains code, kind: code, prose or mixed)."""

CODE = (
    "def mean(xs):\n    total = sum(xs)\n    return total / len(xs)",
    "for (const item of items) {\n  total += item.price;\n}",
    "SELECT u.name, COUNT(*) FROM orders o JOIN users u ON u.id = o.user_id GROUP BY u.name;",
    "#include <vector>\n\ntemplate <typename T>\nT sum(const std::vector<T>& v);",
    "impl Display for Point {\n"
    "    fn fmt(&self, f: &mut Formatter) -> fmt::Result {\n        write!(f, \"{}\", self.x)\n    }\n}",
    "public static void main(String[] args) {\n    System.out.println(args.length);\n}",
    "package store\n\nfunc (s *Store) Get(key string) (string, bool) {\n\tv, ok := s.m[key]\n\treturn v, ok\n}",
    "<ul>\n  <li>One</li>\n  <li>Two</li>\n</ul>",
    ".card > h2 {\n  font-weight: 600;\n  color: var(--accent);\n}",
    "set -euo pipefail\nfor f in \"$@\"; do\n  gzip -9 \"$f\"\ndone",
    "FROM python:3.11-slim\nWORKDIR /app\nCOPY . .\nRUN pip install -e .\nCMD [\"python\", \"-m\", \"app\"]",
    "{\n  \"compilerOptions\": {\"strict\": true, \"target\": \"ES2022\"}\n}",
    "on:\n  push:\n    branches: [main]\njobs:\n  test:\n    runs-on: ubuntu-latest",
    "from dataclasses import dataclass\n\n@dataclass\nclass Point:\n    x: float\n    y: float",
    "const { data, error } = await supabase.from('users').select('*')",
    "with open(path) as f:\n    rows = [line.split(',') for line in f]",
    "model.train()\nfor batch in loader:\n    loss = criterion(model(batch.x), batch.y)\n    loss.backward()",
    "type Props = { title: string; onClose?: () => void }",
    "git checkout -b fix/login && git push -u origin HEAD",
    "test: lint\n\tpytest -q\n\nlint:\n\truff check .",
    "thread 'main' panicked at src/main.rs:4:5:\nindex out of bounds: the len is 3 but the index is 99",
    "Exception in thread \"main\" java.lang.NullPointerException\n\tat com.acme.App.run(App.java:42)",
    "DELETE FROM sessions WHERE expires_at < now();",
    "export const useToggle = (init = false) => {\n"
    "  const [on, set] = useState(init)\n  return [on, () => set(!on)]\n}",
)  # fmt: skip
PROSE = (
    "What should I cook tonight with chickpeas, spinach and a lemon?",
    "Could you import the figures from the annual report into a short summary for the board?",
    "Draft a polite email to my landlord: the heating has been broken since Monday.",
    "Which class should I take first, statistics or linear algebra?",
    "We need to define the scope of the project before the end of the month; who can help?",
    "The function of a summary is to return the reader to what matters.",
    "Compare the plots of Emma and Persuasion (both by Austen).",
    "Is 3 + 4 = 7 true in every number system?",
    "My flight leaves at 6:45; if I leave home at 4:30, will I make it?",
    "Ingredients:\n- 2 eggs\n- 200 g flour\n- 1 pinch of salt",
    "Agenda\n1. Budget\n2. Hiring\n3. Any other business",
    "Note: the office is closed on Friday. Please plan accordingly.",
    "Explain how a compiler works, in two paragraphs.",
    "Why is Rust said to be safer than C++?",
    "What is the difference between a list and a tuple in Python?",
    "Summarise what we decided yesterday about the database.",
    "He said (and I agree) that the price, $4.50, is too high - by far.",
    "Ich suche ein Geschenk für meine Schwester; sie mag Bücher & Tee.",
    "Quel temps fera-t-il demain à Lyon ?",
    "このメールを丁寧な日本語に直してください。",
    "The meeting is on 2024-05-17 at 10:00 (room 4.12, building C).",
    "See https://example.com/a/b?c=d&e=f#g for the full timetable.",
    "Write me a motivational quote for my daughter; she starts school while I travel.",
    'Rewrite this: "For all intents and purposes, the try was let go."',
    "Patients with HbA1c >= 6.5 % were included; those below were not.",
    "Let x be the number of apples. If Anna has twice as many as Ben, how many has each?",
)
MIXED = (
    "Why do I get this?\n\nTypeError: Cannot read properties of undefined (reading 'map')",
    "How do I undo `git commit --amend` after a push?",
    "Please add a docstring:\n\ndef area(r):\n    return 3.14159 * r ** 2\n\nand type hints.",
    "My query is slow: select * from events where user_id = 5 order by created_at desc limit 10",
    "What does useEffect(() => { fetchData(); }, []) do exactly?",
    "I ran npm install --legacy-peer-deps and now it says EACCES, what now?",
    "Is `x ?? y` the same as `x || y`?",
    "In settings.py I have DEBUG = True and ALLOWED_HOSTS = ['*'], is that safe?",
    "the build prints error: expected ';' before '}' token in foo.cpp:12",
    "Translate this to Go:\n\nconst doubled = xs.map(x => x * 2);",
    "Why is sorted(d.items(), key=lambda kv: kv[1]) slow for large dicts?",
    "This regex ^[A-Z]{2}\\d{6}$ should match passport numbers but does not",
    "My Dockerfile ends with\n\nRUN apt-get install -y curl\nENTRYPOINT [\"/bin/sh\"]\n\nand the image is huge.",
    "Should I write list(map(str, xs)) or a comprehension?",
    "After df.merge(other, on='id', how='left') half of the rows are NaN.",
    "The config says\n\nretry:\n  attempts: 3\n  backoff: 2s\n\nbut it only tries once.",
    "When I call app.run(debug=True) the page reloads twice. Why?",
    "What is the big-O of this loop: for (i = 1; i < n; i *= 2) work(i);",
)  # fmt: skip
SAMPLES: tuple[Sample, ...] = (
    *((text, True, "code") for text in CODE),
    *((text, False, "prose") for text in PROSE),
    *((text, True, "mixed") for text in MIXED),
)


def mistakes(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if contains_code(sample[0]) != sample[1]]


def milliseconds(text: str, rounds: int = 5) -> float:
    start = time.perf_counter()
    for _ in range(rounds):
        contains_code(text)
    return (time.perf_counter() - start) / rounds * 1e3


def main() -> None:
    samples = runpy.run_path(sys.argv[1])["DATA"] if len(sys.argv) > 1 else SAMPLES
    wrong = mistakes(samples)
    for kind in dict.fromkeys(kind for _, _, kind in samples):
        of_kind = [sample for sample in samples if sample[2] == kind]
        print(f"{kind:12} {len(of_kind) - sum(w[2] == kind for w in wrong):4} of {len(of_kind)} right")
    print(f"{'all':12} {1 - len(wrong) / len(samples):.3f}")
    for text, _, kind in wrong:
        print(f"  wrong ({kind}): {text[:70]!r}")
    average = sum(milliseconds(text) for text, _, _ in samples) / len(samples)
    print(f"{average:.3f} ms a text; 1 MB of words {milliseconds('some words ' * 95_000):.1f} ms; ", end="")
    print(f"1 MB of one letter {milliseconds('a' * 1_000_000):.1f} ms")


if __name__ == "__main__":
    main()
