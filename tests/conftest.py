"""Shared fixtures. Evaluation media are found through FACEX_TEST_DATA, else in ../shared/data/eval."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from PIL import Image

# The same examples in every run, however slow the machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Tests send these; whoever started them in the background or under nohup handed down that they are ignored.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

SmallStill = Callable[[str], Path]
STILL_PX = 500

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


@pytest.fixture(scope="session")
def small_still(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallStill:
    """small_still("087_neutral") is that portrait of 500 x 500 pixels: a face is found in it five times as fast."""
    folder = tmp_path_factory.mktemp("stills")

    def made(name: str) -> Path:
        path = folder / f"{name}.png"
        if not path.exists():
            with Image.open(eval_data / "london" / f"{name}.jpg") as picture:
                picture.convert("RGB").resize((STILL_PX, STILL_PX), Image.Resampling.BOX).save(path)
        return path

    return made


@pytest.fixture(scope="session")
def portrait(small_still: SmallStill) -> Path:
    """A still of a person to take the face of."""
    return small_still("087_neutral")


@pytest.fixture(scope="session", autouse=True)
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test finds or makes is kept in the user's own folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("session-cache")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("session-data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _face_models() -> Iterator[None]:
    """dlib's models are read once a process: that takes longer than most tests. They keep no state."""
    from facexcli.faces import dlib_backend

    read = dlib_backend._load
    kept: dict[tuple[str, Path], Any] = {}

    def load(kind: str) -> Any:
        key = kind, dlib_backend.weights_folder()
        if key not in kept:
            kept[key] = read(kind)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dlib_backend, "_load", load)
        yield


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each test begins with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "caches" / secrets.token_hex(8)))
