"""A clip of three parts, and plans that render it quickly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from facexcli.config import resolve
from facexcli.events import SilentReporter
from facexcli.faces.choose import choose_analyzer
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analysis_io import save_analysis
from facexcli.pipeline.people import find_people
from facexcli.pipeline.plan import Plan, plan_swap

FRAMES, PART = 18, 6
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


@pytest.fixture
def plan(clip: Path, eval_data: Path) -> MakePlan:
    """Makes a plan for an output; the faces are known unless `analysis` is None."""

    def make(output: Path, target: Path = clip, **flags: object) -> Plan:
        values = {
            "analysis": clip.with_suffix(".json"),
            "segment": PART / 25,
            "codec": "ffv1",
            "provenance": "off",
            "occlusion": "off",
        }
        return plan_swap([eval_data / "london" / "087_neutral.jpg"], target, output, resolve({**values, **flags}))

    return make


def decoded(path: Path) -> list[tuple[int, str]]:
    """Time and content of each frame."""
    with av.open(str(path)) as container:
        return [(frame.pts, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
                for frame in container.decode(video=0)]  # fmt: skip


class Heard:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def emit(self, event: object) -> None:
        self.events.append(event)

    def messages(self) -> str:
        return "\n".join(getattr(event, "message", "") for event in self.events)
