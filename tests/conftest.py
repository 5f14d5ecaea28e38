"""Shared fixtures. Evaluation media are found through FACEX_TEST_DATA, else in ../shared/data/eval."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def eval_data_folder() -> Path:
    """The folder of evaluation media; it may be absent."""
    return Path(os.environ.get("FACEX_TEST_DATA", ROOT.parent / "shared" / "data" / "eval"))


@pytest.fixture(scope="session")
def eval_data() -> Path:
    folder = eval_data_folder()
    if not (folder / "talking").is_dir():
        pytest.skip(f"no evaluation media at {folder}; set FACEX_TEST_DATA")
    return folder
