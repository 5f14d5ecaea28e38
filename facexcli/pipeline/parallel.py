"""Work on a stream with several threads, in order, with bounded memory."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import cv2
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_MARKS = 256


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, window: int
) -> Generator[Result]:
    """`map` with `workers` threads: results in order, at most `window` items between input and output.

    An exception of `function` or of `items` reaches the consumer at its place; work that has begun is waited for, work
    that has not is dropped. The threads end with the generator, also when it is closed early.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="render") as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def single_threaded_kernels() -> Iterator[None]:
    """OpenCV and BLAS work in the thread that calls them.

    Frames are painted side by side, beside a decoder and an encoder with threads of their own; threads inside each
    small matrix product or blur would only wait for each other (measured: a third of a run's time).
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(threads)


@dataclass(frozen=True, slots=True)
class Pace:
    """Where the clock stood after `frames` frames: seconds since it was made, and those of each stage by its name."""

    frames: int
    wall_s: float
    stage_s: Mapping[str, float]


class StageClock:
    """Adds up the time that each named part of the work takes, over all threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._made_s = time.perf_counter()
        self._marks: list[Pace] = []
        self._every = 1

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        with self._lock:
            self._seconds[name] += seconds

    def timed(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Pass `items` on and count the time that is spent waiting for each."""
        iterator = iter(items)
        while True:
            with self.measure(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def mark(self, frames: int) -> None:
        """Remember where the time stands now that `frames` frames are done; 0 comes first.

        Of a longer video fewer frames are remembered, evenly spread, so that their number is bounded.
        """
        if frames % self._every:
            return
        with self._lock:
            self._marks.append(Pace(frames, time.perf_counter() - self._made_s, dict(self._seconds)))
            if len(self._marks) > _MOST_MARKS:
                self._marks = self._marks[::2]
                self._every *= 2

    def pace(self) -> tuple[Pace, ...]:
        """What was remembered, in order."""
        with self._lock:
            return tuple(self._marks)

    def seconds(self) -> dict[str, float]:
        """Seconds by name, in the order in which the names first came."""
        with self._lock:
            return dict(self._seconds)
