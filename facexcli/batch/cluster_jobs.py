"""Jobs on a cluster: an executor like `batch.pool`, whose workers are where Ray has room for them."""

from __future__ import annotations

import secrets
import signal
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli import journal
from facexcli.batch.cluster_worker import JobWorker
from facexcli.batch.staff import Staff
from facexcli.batch.work import Attempt
from facexcli.crashes import crash_error, remove_temporaries
from facexcli.errors import DeviceError
from facexcli.events import Informed, Warned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facexcli.batch.cluster import Cluster, Share
    from facexcli.batch.pool import Tell
    from facexcli.batch.staff import Said
    from facexcli.batch.work import Order
    from facexcli.events import Reporter
    from facexcli.pipeline.plan import Plan

RETRIES = 2
"""How often a job goes to another worker after the death of one that its own doing does not explain."""
# How faulthandler calls what kills a process from within.
_CRASHES = {"Segmentation fault": "SIGSEGV", "Aborted": "SIGABRT", "Bus error": "SIGBUS",
            "Floating-point exception": "SIGFPE", "Illegal instruction": "SIGILL"}  # fmt: skip


def device_of(plans: Iterable[Plan]) -> str:
    """What workers of a batch need: cards where a job asks for them, none where no job may have one, else auto."""
    devices = {plan.settings.compute.device for plan in plans}
    named = devices - {"auto", "cpu"}
    return min(named) if named else "auto" if "auto" in devices else "cpu"


@dataclass(slots=True)
class _Task:
    """A job that was begun. mark: a file beside its output while somebody has it."""

    order: Order
    began_s: float
    mark: Path | None = None
    deaths: int = 0


class ClusterPool:
    """See `pool.Executor`. Keeps as many workers as the share says, while the cluster has room for them.

    A worker that was killed, or whose node is gone, is replaced, and its job given to another.
    """

    def __init__(self, cluster: Cluster, share: Share, tell: Tell, reporter: Reporter) -> None:
        self._count, self._tell, self._reporter = share.count, tell, reporter
        self._staff = Staff(cluster, JobWorker, share, reporter)
        self._waiting: deque[_Task] = deque()
        self._at_work: dict[int, _Task] = {}
        self._idle: list[int] = []
        self._hired: set[int] = set()
        reporter.emit(Informed(f"up to {share.count} workers on the cluster {cluster.address}"))

    @property
    def slots(self) -> int:
        """See `Executor`."""
        return self._count

    @property
    def at_work(self) -> tuple[tuple[int, int], ...]:
        """The process and the number of its job, of each worker that has one."""
        return tuple((self._staff.process_id(number), task.order.number) for number, task in self._at_work.items())

    def start(self, order: Order) -> None:
        """See `Executor`. Who is ready first takes it."""
        self._waiting.append(_Task(order, time.monotonic()))

    def next_ended(self) -> tuple[Order, Attempt]:
        """See `Executor`. Raises DeviceError where the cluster has no worker any more."""
        while True:
            self._hand_out()
            for said in self._staff.hear():
                if (ended := self._heard(said)) is not None:
                    return ended

    def _hand_out(self) -> None:
        wanted = len(self._waiting) - len(self._idle)
        for number in sorted(set(range(self._count)) - self._hired)[: max(0, wanted)]:
            self._hired.add(number)
            self._staff.hire(number)
        while self._waiting and self._idle:
            number, task = self._idle.pop(0), self._waiting.popleft()
            self._at_work[number] = task
            task.mark = _mark_beside(task.order.plan.output)
            order = task.order.as_message(workers=1, cluster="", device=_device(task.order.plan))
            self._staff.call(number, "run", order, task.mark, Path.cwd())

    def _heard(self, said: Said) -> tuple[Order, Attempt] | None:
        if said.kind == "ready":
            self._idle.append(said.number)
        elif said.kind == "died":
            self._hired.discard(said.number)
            if said.number in self._idle:
                self._idle.remove(said.number)
            return self._died(self._at_work.pop(said.number, None), said.item)
        elif said.kind == "item" and isinstance(said.item, Attempt):
            task = self._at_work.pop(said.number)
            self._idle.append(said.number)
            _unmark(task)
            return task.order, said.item
        elif said.kind == "item":
            self._tell(self._at_work[said.number].order.number, said.item)
        return None

    def _died(self, task: _Task | None, reason: str) -> tuple[Order, Attempt] | None:
        """What is said of a job whose worker died, unless another worker is to try it."""
        if task is None:
            return None
        told = _unmark(task)
        number = task.order.number
        crash = next((name for words, name in _CRASHES.items() if f"Fatal Python error: {words}" in told.rest), None)
        if crash is not None:
            error = crash_error(-signal.Signals[crash].value, told.inputs, told.rest)
            return task.order, Attempt(error.exit_code, error.message, error.hint, time.monotonic() - task.began_s,
                                       detail=told.rest, died=True)  # fmt: skip
        task.deaths += 1
        if task.deaths <= RETRIES:
            self._reporter.emit(
                Warned(f"job {number}: a worker died ({reason}); another takes it (retry {task.deaths})")
            )
            self._waiting.appendleft(task)
            return None
        message = f"it ended {task.deaths} workers ({reason})"
        return task.order, Attempt(DeviceError.exit_code, message, "see `ray status`, and the memory of the nodes",
                                   time.monotonic() - task.began_s, died=True)  # fmt: skip

    def close(self) -> None:
        """See `Executor`."""
        self._staff.close()
        for task in self._at_work.values():
            _unmark(task)
        self._at_work.clear()
        self._idle.clear()
        self._hired.clear()


def _device(plan: Plan) -> str:
    """A worker sees its own card only, whatever its number on the node."""
    asked = plan.settings.compute.device
    return asked.partition(":")[0] if "," not in asked else asked


def _mark_beside(output: Path) -> Path:
    """A file where the job's temporary files will be; the worker writes into it what it has in work."""
    folder = output.absolute().parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent  # of pictures, whose folder is made with them
    mark = folder / f".{output.name[:40]}.{secrets.token_hex(4)}.part"
    journal.half_written(mark)
    mark.write_bytes(b"")
    return mark


def _unmark(task: _Task) -> journal.Told:
    """Clear away what a worker has left, and say what it had in work."""
    mark, task.mark = task.mark, None
    if mark is None or not mark.exists():
        return journal.Told((), (), "")
    told = journal.parse(mark.read_bytes())
    mark.unlink()
    remove_temporaries(told.temporaries)
    return told
