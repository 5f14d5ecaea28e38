"""Batches that are made by processes of their own: a large graphics card wants more than one interpreter can make."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import cv2
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from facexcli.train.trainable import Batch

_AHEAD = 4
"""Steps whose batches a process makes beforehand."""


class _Steps(Dataset["list[Batch]"]):
    """Batches by the place of their step in `steps`."""

    def __init__(self, make: Callable[[int], list[Batch]], steps: range) -> None:
        self._make, self._steps = make, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, place: int) -> list[Batch]:
        return self._make(self._steps[place])


def made_by_processes(
    make: Callable[[int], list[Batch]], steps: range, processes: int, *, pinned: bool
) -> Generator[list[Batch]]:
    """`make` of each step, in order, by forked processes, which end with the generator.

    pinned: in memory that a graphics card reads by itself. What `make` raises reaches the consumer.
    """
    loader = DataLoader(
        _Steps(make, steps), batch_size=None, num_workers=processes, prefetch_factor=_AHEAD, pin_memory=pinned,
        multiprocessing_context="fork", worker_init_fn=_alone,
    )  # fmt: skip
    yield from loader


def _alone(_: int) -> None:
    """One thread, and signals, which may reach the whole group, are the parent's to answer: it saves first."""
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
