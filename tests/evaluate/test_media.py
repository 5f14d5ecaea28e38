"""The media bench: what it times, on a clip of a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from facexcli.evaluate import media
from facexcli.evaluate.bench import talking_clips
from facexcli.evaluate.speed import make_clip


@pytest.mark.slow
def test_renders_are_timed_whole_and_by_stage(eval_data: Path, tmp_path: Path) -> None:
    clip, still = tmp_path / "clip.mp4", eval_data / "london" / "087_neutral.jpg"
    origin = talking_clips(eval_data)[0]
    make_clip(origin, clip, 240, 1, (media.face_height_px(origin), 80))
    row = media.bench_media(still, clip, tmp_path, repeats=1)
    assert (row.frames, row.height_px) == (25, 240)
    assert set(row.renders) == set(media.RENDERS)
    assert set(row.ratios) == (set(media.RENDERS) if row.transcode else set())
    assert all(cost.wall_s > 0 and cost.cpu_s > 0 for cost in row.renders.values())
    for stages in row.stages.values():
        assert list(stages) == ["decode", "crop", "engine", "fusion", "paste", "encode"]
