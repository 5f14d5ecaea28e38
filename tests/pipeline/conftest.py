"""Short clips of real faces, cut once for the whole session."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter

CLIP_FRAMES = 16


@pytest.fixture(scope="session")
def talking_clip(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen frames of a person who talks, with sound, in Matroska."""
    return cut(eval_data / "talking" / "grid_brbk7n.mpg", tmp_path_factory.mktemp("clips") / "talking.mkv")


def cut(origin: Path, output: Path) -> Path:
    info = probe(origin)
    with (
        FrameReader(origin, info, stop=CLIP_FRAMES) as reader,
        VideoWriter(
            output,
            VideoFormat.from_media(info),
            EncodeOptions(codec="h264", crf=12),
            audio_from=origin,
            stop_s=info.start_pts * info.time_base + Fraction(CLIP_FRAMES, 25),
        ) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    return output
