"""When memory runs out, less is rendered at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from facexcli.errors import DeviceError
from facexcli.pipeline.frugal import WARNING, Frugal


@dataclass(frozen=True)
class Made:
    number: int
    warnings: tuple[str, ...] = ()


class Narrow:
    """An engine with room for so many faces at once, over all threads."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error, self.used = room, error, 0
        self.lock = threading.Lock()
        self.meet: threading.Barrier | None = None

    def render(self, requests: Any) -> list[Made]:
        with self.lock:
            self.used += len(requests)
            full = self.used > self.room
        try:
            if self.meet is not None:
                meet = self.meet
                meet.wait(5)
                self.meet = None
            if full:
                raise self.error
            return [Made(number) for number in requests]
        finally:
            with self.lock:
                self.used -= len(requests)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried"), DeviceError("x: out of memory")]
)
def test_a_batch_is_halved(error: Exception) -> None:
    made = Frugal(Narrow(2, error)).render([1, 2, 3, 4, 5])  # type: ignore[arg-type, list-item]
    assert [patch.number for patch in made] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]
    assert all(WARNING in patch.warnings for patch in made)


def test_calls_side_by_side_become_fewer() -> None:
    engine = Narrow(1, MemoryError())
    engine.meet = threading.Barrier(2)
    frugal = Frugal(engine)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as pool:
        made = [future.result(10) for future in [pool.submit(frugal.render, [number]) for number in (1, 2)]]  # type: ignore[list-item]
    assert [patch.number for (patch,) in made] == [1, 2]  # type: ignore[attr-defined]
    assert frugal._most == 1


def test_one_face_that_is_too_much_is_an_error() -> None:
    with pytest.raises(DeviceError, match="single face"):
        Frugal(Narrow(0, MemoryError("all of it"))).render([1])  # type: ignore[arg-type, list-item]


def test_other_errors_come_out() -> None:
    with pytest.raises(RuntimeError, match="odd"):
        Frugal(Narrow(0, RuntimeError("odd"))).render([1])  # type: ignore[arg-type, list-item]
