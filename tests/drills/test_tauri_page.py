"""The Rust of docs/tauri.md is compiled and run as a desktop app would: it starts a sidecar, and leaves none behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.drills.processes import Drill

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tauri.md"
MAIN = """
fn main() {
    let given: Vec<String> = std::env::args().collect();
    let sidecar = Sidecar::start(Path::new(&given[1]), Path::new(&given[2])).expect("it starts");
    println!("{} {} {}", sidecar.port, sidecar.token, sidecar.child.id());
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("told to go on");
}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("no rustc on this machine")
    block = re.search(r"```rust\n(// src-tauri/src/sidecar\.rs\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    folder = tmp_path_factory.mktemp("rust")
    (folder / "main.rs").write_text(block[1] + MAIN, encoding="utf-8")
    subprocess.run([rustc, "--edition", "2021", "-D", "warnings", "main.rs"], cwd=folder, check=True, timeout=120)
    return folder / "main"


@pytest.mark.parametrize("killed", [False, True], ids=["quits", "is killed"])
def test_the_app_starts_it_and_leaves_none_behind(app: Path, tmp_path: Path, killed: bool) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9")
    environment = {name: value for name, value in drill.environment.items() if name != "SIDECAR_TOKEN"}
    program = tmp_path / "llm-sidecar"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m app "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    with subprocess.Popen(
        [app, program, drill.data], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port, token, pid = process.stdout.readline().split()
        assert int(port) > 0
        assert token == (drill.data / "token").read_text(encoding="ascii").strip()
        sidecar = psutil.Process(int(pid))
        assert sidecar.is_running()
        if killed:
            process.kill()
        else:
            process.stdin.write("go on\n")
            process.stdin.flush()
        process.wait(timeout=30)
        _, alive = psutil.wait_procs([sidecar], timeout=5)
        assert not alive
