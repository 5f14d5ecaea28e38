"""Workers: replaced when they die, heard, and one for each device."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.batch import local
from facexcli.batch.resume import run_resumable
from facexcli.batch.segments import Shares
from facexcli.batch.worker import portable
from facexcli.config import resolve
from facexcli.errors import DeviceError, InputError, UsageError
from facexcli.events import StageFinished
from facexcli.pipeline.parts import Segment
from tests.batch.conftest import FRAMES
from tests.heard import Heard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.batch.conftest import MakePlan


def test_a_worker_that_dies_is_replaced(plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[local._Worker] = []
    start = local._Processes.start

    def watched(crew: local._Processes, number: int) -> None:
        start(crew, number)
        started.append(list(crew._workers.values())[-1])
        if len(started) == 1:
            started[0]._process.kill()

    monkeypatch.setattr(local._Processes, "start", watched)
    heard = Heard()
    result = run_resumable(plan(tmp_path / "out.mkv", workers=2), heard)
    assert result.frames == FRAMES
    assert len(started) == 3
    assert not any(worker._process.is_alive() for worker in started)
    assert "a worker died" in heard.messages()
    (ended,) = [event for event in heard.events if isinstance(event, StageFinished) and event.stage == "render"]
    assert ended.done == FRAMES


def test_what_goes_wrong_in_a_worker_is_told(plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(tmp_path / "out.mkv", workers=2)
    for_worker = local._for_worker

    def broken(own, number: int):  # type: ignore[no-untyped-def]
        other = for_worker(own, number)
        return other.model_copy(update={"engine": "nobody"})

    monkeypatch.setattr(local, "_for_worker", broken)
    with pytest.raises(UsageError, match="nobody"):
        run_resumable(made)


def test_errors_survive_the_way_from_a_worker() -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    known = portable(InputError("a.mp4: gone", "bring it back"))
    assert isinstance(known, InputError)
    assert known.hint == "bring it back"
    assert str(portable(Odd(1, 2))) == "in a worker: Odd: 1 and 2"
    assert isinstance(portable(MemoryError("all of it")), MemoryError)


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 10**6))
def test_shares_hold_every_segment_once(count: int, workers: int, seed: int) -> None:
    chance = random.Random(seed)
    segments = [Segment(number, number * 5, number * 5 + 5) for number in range(count)]
    shares = Shares(segments, workers)
    taken: list[Segment] = []
    while (segment := shares.take(worker := chance.randrange(workers))) is not None:
        if chance.random() < 0.1:
            shares.give_back(worker, segment)
        else:
            taken.append(segment)
    assert sorted(taken, key=lambda segment: segment.number) == segments


def test_a_worker_alone_takes_segments_in_order() -> None:
    segments = [Segment(number, number, number + 1) for number in range(9)]
    shares = Shares(segments, 2)
    assert [shares.take(0).number for _ in range(4)] == [0, 1, 2, 3]  # type: ignore[union-attr]
    rest = [shares.take(0) for _ in range(6)]
    assert [segment.number for segment in rest if segment] == [6, 7, 8, 5, 4]


def test_each_device_has_a_worker(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(tmp_path / "out.mkv", device="cuda:0,cuda:1")
    assert local.worker_count(made) == 2
    devices = [local._for_worker(made, number).settings.compute.device for number in range(3)]
    assert devices == ["cuda:0", "cuda:1", "cuda:0"]


@pytest.mark.parametrize("device", ["cuda:0,cpu", "cuda,cuda:1", "cuda:0,", "cuda:0,cuda:0"])
def test_devices_that_make_no_sense(device: str) -> None:
    with pytest.raises(UsageError, match="device"):
        resolve({"device": device})


def test_devices_that_are_not_there(plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facexcli.device._cuda_devices", lambda: (1, ""))
    with pytest.raises(DeviceError, match="cuda:1"):
        run_resumable(plan(tmp_path / "out.mkv", device="cuda:0,cuda:1"))
    assert not list(tmp_path.iterdir())
