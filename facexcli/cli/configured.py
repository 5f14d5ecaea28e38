"""How errors are told before the settings hold: what configuration files say of it, whatever is wrong in them."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path

from facexcli.folders import PROJECT_FILE, USER_FILE, user_folder


def progress_in_files() -> str | None:
    """`talk.progress` of facex.toml, else of the user's own configuration, unchecked; None where neither has it.

    Raises nothing: that a file cannot be read is for those to say who need it.
    """
    for path in (Path(PROJECT_FILE), user_folder() / USER_FILE):
        # No file; no TOML, or brackets beyond measure; no such key; no table.
        with suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
            return str(tomllib.loads(path.read_text("utf-8"))["talk"]["progress"])
    return None
