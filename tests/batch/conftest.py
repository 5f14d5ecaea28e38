"""A clip of three parts, and plans that render it quickly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import pytest

from facexcli.config import resolve
from facexcli.events import SilentReporter
from facexcli.faces.choose import choose_analyzer
from facexcli.media.image import read_image, write_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analysis_io import save_analysis
from facexcli.pipeline.people import find_people
from facexcli.pipeline.plan import Plan
from facexcli.pipeline.planning import plan_swap

FRAMES, PART = 12, 4
MakePlan = Callable[..., Plan]


@pytest.fixture(scope="session")
def clip(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A talking clip with sound and B-frames, and its faces beside it as `clip.json`."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    origin = eval_data / "talking" / "grid_brbk7n.mpg"
    info = probe(origin)
    with (
        FrameReader(origin, info, stop=FRAMES) as reader,
        VideoWriter(
            path, VideoFormat.from_media(info), EncodeOptions("h264", 12, "medium"), audio_from=origin
        ) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    found = find_people(probe(path), resolve(), choose_analyzer("dlib")[0], SilentReporter(), "analyse")
    save_analysis(found, path.with_suffix(".json"))
    return path


@pytest.fixture(scope="session")
def still(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait that is small, so that its face is found at once."""
    path = tmp_path_factory.mktemp("still") / "still.png"
    rgb = read_image(eval_data / "london" / "087_neutral.jpg")
    write_image(path, cv2.resize(rgb, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
    return path


@pytest.fixture(autouse=True)
def _known_still(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found on the still is found once, for all of these tests; those that analyse switch the cache off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "batch-cache"))


@pytest.fixture
def plan(clip: Path, still: Path) -> MakePlan:
    """Makes a plan for an output; the faces are known unless `analysis` is None."""

    def make(output: Path, target: Path = clip, **flags: object) -> Plan:
        values = {
            "analysis": clip.with_suffix(".json"),
            "segment": PART / 25,
            "codec": "ffv1",
            "provenance": "off",
            "occlusion": "off",
            "detail": 0.2,
        }
        return plan_swap([still], target, output, resolve({**values, **flags}))

    return make


def decoded(path: Path) -> list[tuple[int, str]]:
    """Time and content of each frame."""
    with av.open(str(path)) as container:
        return [(frame.pts, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
                for frame in container.decode(video=0)]  # fmt: skip
