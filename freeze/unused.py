"""What the installed packages bring along and nothing here can reach: left out of what is shipped.

    python freeze/unused.py        takes it out of the site-packages of the Python that runs this (Dockerfile)

`llm-sidecar.spec` leaves the first list out of the frozen build; PyInstaller finds by itself what of the second is
never imported. `tests/unit/test_unused.py` uses everything without them.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

NEVER_LOADED: Final = (
    *("pyarrow/libarrow_flight", "pyarrow/libarrow_python_flight", "pyarrow/_flight", "pyarrow/include"),
    *("pyarrow/libarrow_s3", "pyarrow/_s3fs", "litellm/rust_bridge/_native", "hf_xet"),
)
"""Remote tables, and what litellm's own server is quicker with: 95 MB; the first import that misses one goes on without
it. Prefixes of paths below site-packages, as all of these."""

NEVER_IMPORTED: Final = (
    *("pyarrow/tests", "pyarrow/src", "numpy/*/tests", "numpy/_core/include", "numpy/_core/lib"),
    # One file of plotly's JavaScript is served; nothing of its Python is imported.
    *("plotly/graph_objs", "plotly/validators", "plotly/labextension"),
    *("plotly/package_data/datasets", "plotly/package_data/widgetbundle.js"),
    *("litellm/proxy/_experimental/out", "litellm/proxy/swagger"),
    *("boto3", "botocore", "s3transfer", "huggingface_hub"),
    *("onnxruntime/transformers", "onnxruntime/tools", "onnxruntime/quantization", "onnxruntime/datasets"),
)


def found(site_packages: Path, patterns: Iterable[str] = (*NEVER_LOADED, *NEVER_IMPORTED)) -> Iterator[Path]:
    """The files and folders that begin with one of the patterns; a pattern that fits nothing gives nothing."""
    for pattern in patterns:
        yield from site_packages.glob(f"{pattern}*")


def remove(site_packages: Path) -> int:
    """Delete what `found` finds; the bytes that were freed."""
    freed = 0
    for path in sorted(found(site_packages)):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        freed += sum(file.lstat().st_size for file in files)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return freed


if __name__ == "__main__":
    print(f"{remove(Path(sysconfig.get_path('purelib'))) / 2**20:.0f} MB taken out that nothing reaches")
