"""The made clips of two people are what they say, and the figures are the worst that was measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facexcli.cli.bench import bench_people
from facexcli.errors import NoFaceError
from facexcli.evaluate import people
from facexcli.evaluate.couples import Couple, make_couple
from facexcli.evaluate.people import AnalysisRow, ClipRow, CoupleRow, figures_of, kept_shares
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.embed import identity_distance
from facexcli.media.image import read_image, write_image
from facexcli.media.scan import read_frames_rgb


@pytest.fixture(scope="module")
def analyzer() -> DlibAnalyzer:
    return DlibAnalyzer()


@pytest.fixture(scope="module")
def crossing(eval_data: Path, analyzer: DlibAnalyzer, tmp_path_factory: pytest.TempPathFactory) -> Couple:
    folder = tmp_path_factory.mktemp("couples")
    clips = (eval_data / "talking" / "grid_brbk7n.mpg", eval_data / "talking" / "grid_swiz3n.mpg")
    return make_couple(clips, folder, "crossing", True, analyzer)


def test_two_people_change_places_and_one_covers_the_other(crossing: Couple) -> None:
    behind, front = crossing.people
    middles = [one.landmarks_px[..., 0].mean(axis=1) for one in (behind, front)]
    for middle, (start, end) in zip(middles, ((180, 540), (540, 180)), strict=True):
        assert middle[[0, -1]] == pytest.approx([start, end], abs=12)
    assert front.visible.min() == 1
    assert behind.visible[:25].min() == behind.visible[-25:].min() == 1
    assert behind.visible.min() < 0.1
    assert 4 <= (behind.visible < 0.5).sum() <= 15


def test_the_truth_is_where_the_faces_are(crossing: Couple, analyzer: DlibAnalyzer) -> None:
    frames = read_frames_rgb(crossing.path, [5, 65])
    for one in crossing.people:
        still = read_image(one.still)
        box = analyzer.detect(still)[0].box_px
        known = analyzer.descriptor(still, analyzer.landmarks(still, box).landmarks_px)
        for index, rgb in zip((5, 65), frames, strict=True):
            fit = analyzer.follow(rgb, one.landmarks_px[index])
            assert np.abs(fit.landmarks_px - one.landmarks_px[index]).mean() < 2
            assert identity_distance(analyzer.descriptor(rgb, fit.landmarks_px), known) < 0.45


@pytest.mark.slow
def test_nobody_who_was_left_alone_counts_as_swapped(crossing: Couple, eval_data: Path, analyzer: DlibAnalyzer) -> None:
    few = np.arange(75) % 18 == 0  # a descriptor takes long
    sparse = [replace(one, visible=one.visible * few) for one in crossing.people]
    couple = replace(crossing, people=(sparse[0], sparse[1]))
    own = [one.still for one in sparse]
    sources = [eval_data / "london" / name for name in ("087_neutral.jpg", "009_neutral.jpg")]
    assert kept_shares(couple, couple.path, sources, analyzer) == [0, 0]
    assert kept_shares(couple, couple.path, own, analyzer) == [1, 1]
    assert kept_shares(couple, couple.path, own[::-1], analyzer) == [0, 0]


def test_a_clip_without_a_face_all_the_time_is_refused(eval_data: Path, analyzer: DlibAnalyzer, tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    write_image(blank, np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(NoFaceError, match=r"blank\.png"):
        make_couple((blank, blank), tmp_path, "none", False, analyzer)


def row(clip: str, **changes: float) -> ClipRow:
    values = {"swap_rate": 1.0, "flicker_ratio": 0.9, "distance_steadiness": 0.02, "full_steadiness": 0.02}
    return ClipRow(clip=clip, frames=75, weaker=0, **(values | changes))


def test_figures_are_the_worst_of_each() -> None:
    couples = [
        CoupleRow("beside-a-b", "a", "x", 75, 1.0),
        CoupleRow("beside-a-b", "b", "y", 75, 0.995),
        CoupleRow("crossing-a-b", "a", "x", 60, 0.9),
        CoupleRow("crossing-a-b", "b", "y", 75, 1.0),
    ]
    clips = [row("one", flicker_ratio=1.2), row("two", swap_rate=0.99, full_steadiness=0.04)]
    figures = figures_of(couples, clips, AnalysisRow(1080, 100, 61.0, 20.0))
    assert [(figure.value, figure.met) for figure in figures] == [
        (0.995, True),
        (0.9, False),
        (0.99, True),
        (1.2, False),
        (0.04, True),
        (61.0, True),
    ]


def test_what_could_not_be_measured_meets_no_target() -> None:
    couples = [CoupleRow("beside-a-b", "a", "x", 75, 1.0), CoupleRow("crossing-a-b", "a", "x", 60, 1.0)]
    figures = figures_of(couples, [row("one"), row("two", swap_rate=math.nan)], AnalysisRow(1080, 100, 61.0, 20.0))
    assert [figure.met for figure in figures] == [True, True, False, True, True, True]


def test_the_command_prints_a_table_or_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    couples = [CoupleRow("beside-a-b", "a", "x", 75, 1.0), CoupleRow("crossing-a-b", "a", "x", 60, 0.5)]
    monkeypatch.setattr(people, "bench_couples", lambda data, keep: iter(couples))
    monkeypatch.setattr(people, "bench_clips", lambda data, keep: iter([row("one", swap_rate=math.nan)]))
    monkeypatch.setattr(people, "bench_analysis", lambda data, seconds, repeats: AnalysisRow(1080, 100, 61.0, 20.0))
    bench_people(Path("data"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[-6:]] == ["met", "missed", "missed", "met", "met", "met"]
    assert lines[1].split() == ["beside-a-b", "a", "x", "75", "100.0%"]
    bench_people(Path("data"), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"couples", "clips", "analysis", "figures"}
    assert told["clips"][0]["swap_rate"] is None
    assert told["figures"][1] == {
        "name": "identity kept, crossing", "value": 0.5, "limit": 0.99, "is_least": True, "met": False,
    }  # fmt: skip
