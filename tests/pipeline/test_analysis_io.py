"""Saved analyses: the same value back, and clear words for a file that is broken or belongs to another clip."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facexcli.api import analyse
from facexcli.errors import InputError, UsageError
from facexcli.pipeline.analysis_io import load_analysis, save_analysis
from facexcli.types import Analysis


@pytest.fixture(scope="session")
def analysis(talking_clip: Path) -> Analysis:
    return analyse(talking_clip)


def test_one_person_is_found_in_every_frame(analysis: Analysis) -> None:
    (track,) = analysis.tracks
    assert track.frame_indices == tuple(range(analysis.frame_count))
    assert all(abs(face.yaw_deg) < 25 and abs(face.roll_deg) < 15 for face in track.faces)


def test_an_analysis_survives_the_file(analysis: Analysis, talking_clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "clip.faces.json"
    save_analysis(analysis, file)
    again = load_analysis(file, talking_clip)
    assert again.shots == analysis.shots
    assert again.frame_count == analysis.frame_count
    for one, other in zip(analysis.tracks, again.tracks, strict=True):
        assert (one.id, one.shot, one.frame_indices) == (other.id, other.shot, other.frame_indices)
        for a, b in zip(one.faces, other.faces, strict=True):
            np.testing.assert_array_equal(a.landmarks_px, b.landmarks_px)
            assert a.measured == b.measured
            assert a.yaw_deg == pytest.approx(b.yaw_deg, abs=1e-4)


def test_another_clip_is_refused(analysis: Analysis, portrait: Path, tmp_path: Path) -> None:
    file = tmp_path / "clip.faces.json"
    save_analysis(analysis, file)
    with pytest.raises(InputError, match="another file"):
        load_analysis(file, portrait)


def _drop_tracks(document: dict[str, Any]) -> None:
    del document["tracks"]


def _add_a_key(document: dict[str, Any]) -> None:
    document["colour"] = "red"


def _cut_an_array(document: dict[str, Any]) -> None:
    track = document["tracks"][0]
    track["landmarks_px"] = track["landmarks_px"][: len(track["landmarks_px"]) // 8 * 4]


def _repeat_a_track(document: dict[str, Any]) -> None:
    document["tracks"].append(document["tracks"][0])


@pytest.mark.parametrize("damage", [_drop_tracks, _add_a_key, _cut_an_array, _repeat_a_track])
def test_a_damaged_file_is_a_usage_error(
    damage: Callable[[dict[str, Any]], None], analysis: Analysis, talking_clip: Path, tmp_path: Path
) -> None:
    file = tmp_path / "clip.faces.json"
    save_analysis(analysis, file)
    document = json.loads(file.read_text())
    damage(document)
    file.write_text(json.dumps(document))
    with pytest.raises(UsageError):
        load_analysis(file, talking_clip)
