"""Where facex looks for configuration files, and where it keeps things. Nothing heavy is imported for that."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_FILE = "facex.toml"
"""In the current folder."""
USER_FILE = "config.toml"
"""In `user_folder()`."""


def user_folder() -> Path:
    """Where the user's own configuration lives: FACEX_HOME, else the platform's folder."""
    if home := os.environ.get("FACEX_HOME"):
        return Path(home)
    from platformdirs import user_config_path  # the environment variable spares its import

    return user_config_path("facex", appauthor=False)


def cache_folder() -> Path:
    """Where facex keeps what it could find out again: FACEX_HOME/cache, else the platform's folder (XDG_CACHE_HOME)."""
    if home := os.environ.get("FACEX_HOME"):
        return Path(home) / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("facex", appauthor=False)


def data_folder() -> Path:
    """Where facex keeps what the user would miss: FACEX_HOME/data, else the platform's folder (XDG_DATA_HOME)."""
    if home := os.environ.get("FACEX_HOME"):
        return Path(home) / "data"
    from platformdirs import user_data_path

    return user_data_path("facex", appauthor=False)
