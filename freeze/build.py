"""`make sidecar`: the program with its Python in one folder, `dist/llm-sidecar-<target triple>`.

    python freeze/build.py [--triple x86_64-unknown-linux-gnu] [--dist dist] [--embedded]

Tauri finds a sidecar by the triple that `rustc -vV` calls host; it is worked out here, so that no Rust is needed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}
SYSTEMS = {"linux": "unknown-linux-gnu", "darwin": "apple-darwin", "win32": "pc-windows-msvc"}


def host_triple(machine: str, system: str) -> str:
    """Rust's name for a machine. Raises `SystemExit` for one that Tauri does not build for."""
    try:
        return f"{ARCHITECTURES[machine.lower()]}-{SYSTEMS[system]}"
    except KeyError:
        raise SystemExit(f"no target triple is known for {machine} on {system}; give it with --triple") from None


def freeze(triple: str, dist: Path, *, embedded: bool) -> Path:
    """Build; the folder. `embedded`: with llama.cpp, 100 MB more. Raises `CalledProcessError`."""
    subprocess.run(
        [
            *(sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"),
            *("--distpath", str(dist), "--workpath", str(ROOT / "build" / "freeze")),
            str(ROOT / "freeze" / "llm-sidecar.spec"),
        ],
        env={
            **os.environ,
            "SIDECAR_TRIPLE": triple,
            "SIDECAR_EMBEDDED": str(int(embedded)),
            # PyInstaller imports litellm to see what it is made of, and litellm would ask for its price map.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
        check=True,
    )
    return dist / f"llm-sidecar-{triple}"


def strip(folder: Path) -> None:
    """Take debug symbols and local names out of the extension modules and libraries: 80 MB that nothing reads at run
    time. Linux only, and where there is a `strip`; never what wheels have patched (`*.libs`), which it can break.
    """
    if sys.platform != "linux" or shutil.which("strip") is None:
        return
    for file in folder.rglob("*.so*"):
        library = re.search(r"\.so(\.\d+)*$", file.name) and not file.is_symlink()
        if library and not file.parent.name.endswith(".libs"):
            subprocess.run(["strip", "--strip-unneeded", str(file)], check=True)


def size(folder: Path) -> int:
    """Bytes on the disk: a link to a library is not the library again."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_symlink() or file.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--triple", help="target triple; this machine's where it is left out")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the folder is put (dist)")
    parser.add_argument("--embedded", action="store_true", help="with llama.cpp, so that GGUF files answer in-process")
    given = parser.parse_args()
    triple = given.triple or host_triple(platform.machine(), sys.platform)
    folder = freeze(triple, given.dist, embedded=given.embedded)
    strip(folder)
    print(f"{folder}: {size(folder) / 2**20:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
