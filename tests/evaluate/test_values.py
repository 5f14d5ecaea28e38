"""An evaluation survives its file, with what JSON cannot say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facexcli.errors import InputError, OutputError
from facexcli.evaluate.evaluation import DoubtfulFrame, Evaluation, Metric, PersonSeries, load_evaluation
from facexcli.evaluate.values import save_evaluation


def _series() -> PersonSeries:
    values = {"flicker": np.array([np.nan, 1.25, 2.5], np.float32)}
    return PersonSeries("Zoë", (0, 3), np.array([0, 1, 4]), np.array([0.0, 0.04, 0.16]), values)


def _evaluation() -> Evaluation:
    return Evaluation(
        result=Path("out.mp4"),
        sources=(Path("a.jpg"), Path("b.jpg")),
        canvas=Path("in.mp4"),
        driving=None,
        frame_count=5,
        metrics={
            "untouched_psnr": Metric(float("inf"), "dB", "higher", "outside"),
            "swap_rate": Metric(0.75, "share", "higher", "frames"),
        },
        missing={"fid": "needs weights"},
        people=(_series(),),
        doubtful=(DoubtfulFrame(4, 0.16, "Zoë", "the face flickers", (1.5, 2.0, 30.5, 40.0)),),
        judge="dlib",
        warnings=("look",),
        shots=((0, 3), (3, 5)),
    )


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    path, saved = tmp_path / "e.json", _evaluation()
    save_evaluation(saved, path)
    json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    read = load_evaluation(path)
    assert read.to_json() == saved.to_json()
    assert (read.metrics, read.missing, read.doubtful) == (saved.metrics, saved.missing, saved.doubtful)
    (series,) = read.people
    assert series.values["flicker"].dtype == np.float32
    assert series.frame_indices.dtype == np.int64
    np.testing.assert_array_equal(series.values["flicker"], _series().values["flicker"])


@pytest.mark.parametrize(
    "change",
    [{"schema": "other/1"}, {"metrics": {"x": {}}}, {"people": [{}]}, {"frame_count": "many"}, {"metrics": None}],
)
def test_another_document_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text(json.dumps({**_evaluation().to_json(), **change}))
    with pytest.raises(InputError):
        load_evaluation(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_what_is_no_document_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_evaluation(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_evaluation(tmp_path / "none.json")
    with pytest.raises(OutputError):
        save_evaluation(_evaluation(), tmp_path / "none" / "e.json")


def test_a_series_has_one_length_and_a_mean_of_what_was_measured() -> None:
    assert _series().mean("flicker") == pytest.approx(1.875)
    assert _series().mean("seam") is None
    with pytest.raises(ValueError, match="one length"):
        PersonSeries("a", (), np.arange(2), np.zeros(3), {})
