"""The configuration that ships inside the program, and its copy for the user at first start."""

from __future__ import annotations

import logging
from pathlib import Path

from app.config.loader import FILES, REQUIRED_FILES

log = logging.getLogger(__name__)


def stock_dir() -> Path:
    """The shipped YAML files: `app/stock` in a wheel, `config/` in a source tree."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "stock"
    return packaged if packaged.is_dir() else package.parent / "config"


def ensure_user_config(settings_config_dir: Path | None, user_dir: Path) -> Path:
    """The folder to load: `settings_config_dir` where it is set, else `user_dir`, filled at first start.

    It is the first start as long as a required file is missing from `user_dir`; then every stock file that is not there
    is copied, the required ones last, so that a copy cut short is completed by the next start. A file that exists is
    never touched. Raises `OSError` where the folder cannot be made or written to.
    """
    if settings_config_dir is not None:
        return settings_config_dir.expanduser()
    if all((user_dir / name).exists() for name in REQUIRED_FILES):
        return user_dir
    user_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    copied = [name for name in reversed(FILES) if _copy(stock_dir() / name, user_dir / name)]
    log.info("stock configuration copied to %s: %s", user_dir, ", ".join(copied))
    return user_dir


def _copy(source: Path, target: Path) -> bool:
    """True where the file was made; False where one was there already."""
    if target.with_suffix(".yml").exists():
        return False  # the loader asks for it to be renamed; a stock file beside it would hide it
    content = source.read_bytes()
    try:
        with target.open("xb") as stream:
            stream.write(content)
    except FileExistsError:
        return False
    return True
