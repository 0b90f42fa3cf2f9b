"""What `doctor --bundle` says of a configuration: how it is set up, and none of its people's words and addresses."""

from __future__ import annotations

from pathlib import Path

import yaml

from app.cli.bundle import config_texts

PROFILES = """
default_workspace: open
profiles:
  - {id: open, name: Open, system_prompt: whisper this to nobody}
notifications: {webhook: {url: "https://hooks.example/services/T0/B0/whisper-key", allow_local: [127.0.0.1]}}
"""
AGENTS = """
agents:
  - name: rival
    agent: prompt
    schedule: 0 6 * * *
    input: {topic: whisper merger}
    settings:
      prompt: whisper this
      system: whisper that
      chunks: 4
      notify: {title: whisper title, severity: info, when: {score: {gte: 0.8}}}
  - name: research
    hosts: [export.arxiv.org]
    settings: {topics: [whisper merger, {name: x, keywords: [whisper]}], sources: [{arxiv: "all:whisper"}], most: 3}
"""


def test_settings_are_shown_and_words_are_not(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text(PROFILES)
    (tmp_path / "agents.yaml").write_text(AGENTS)
    texts = config_texts(tmp_path)
    assert "whisper" not in "".join(texts.values())
    profiles, agents = (yaml.safe_load(texts[name]) for name in ("profiles.yaml", "agents.yaml"))
    assert profiles["notifications"]["webhook"]["allow_local"] == ["127.0.0.1"]
    first, second = agents["agents"]
    assert (first["schedule"], first["settings"]["chunks"]) == ("0 6 * * *", 4)
    assert first["settings"]["notify"]["when"] == {"score": {"gte": 0.8}}
    assert (second["hosts"], second["settings"]["most"]) == (["export.arxiv.org"], 3)


def test_a_file_that_unfolds_without_end_is_not_unfolded(tmp_path: Path) -> None:
    """A bundle is asked for when something is wrong with the files."""
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    for name, text in (("models.yaml", bomb), ("routing.yaml", "rules: &r [*r]\n"), ("profiles.yaml", "a: !x y\n")):
        (tmp_path / name).write_text(text)
    texts = config_texts(tmp_path)
    assert all(text.startswith("# cannot be read: ") for text in texts.values()), texts
