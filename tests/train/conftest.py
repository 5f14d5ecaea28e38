"""A small folder of data with two files that are none, prepared once; and one thread, as tiny networks want it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.one_thread import one_thread as one_thread

STILLS = ("009_neutral", "033_neutral", "087_neutral", "009_smiling")
CLIP = "grid_brbk7n.mpg"


@pytest.fixture(scope="session")
def people(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people on four stills, one of them twice, as a list says; one talks in a clip; two files are broken."""
    folder = tmp_path_factory.mktemp("people")
    for name in STILLS:
        shutil.copy(eval_data / "london" / f"{name}.jpg", folder)
    shutil.copy(eval_data / "talking" / CLIP, folder)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    (folder / "empty.mp4").write_bytes(b"")
    rows = [f'{{"name": "{name}.jpg", "set": "london", "identity": {int(name[:3])}}}' for name in STILLS]
    (folder / "stills.json").write_text(f"[{', '.join(rows)}]", "utf-8")
    return folder


@pytest.fixture(scope="session")
def how() -> Any:
    pytest.importorskip("diffusers")
    from facexcli.train.prepare import Preparation

    return Preparation(views=2, frames=4, workers=1)


@pytest.fixture(scope="session")
def prepared_folder(people: Path, how: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from facexcli.engines.facex.config import PRESETS
    from facexcli.events import SilentReporter
    from facexcli.train.prepare import prepare

    folder = tmp_path_factory.mktemp("prepared")
    prepare(people, folder, PRESETS["tiny"], how, SilentReporter())
    return folder


@pytest.fixture
def prepared(prepared_folder: Path) -> Any:
    from facexcli.train.shards import PreparedFaces, read_index

    index = read_index(prepared_folder)
    assert index is not None
    return PreparedFaces(prepared_folder, index)
