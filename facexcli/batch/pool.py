"""Processes that work on jobs: whatever kills one takes its own job with it and no other.

A worker is a process of its own (`spawn`) with a `JobRunner`. It tells a file what it has in work (`facexcli.journal`):
when it dies, that says what it was reading and what it has left half written.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from facexcli import journal
from facexcli.batch.work import Attempt, JobRunner, Order
from facexcli.crashes import crash_error, remove_temporaries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from facexcli.events import Event

    Tell = Callable[[int, Event], None]
    """Takes what job number so-and-so tells."""

_PATIENCE_S = 5.0
"""How long a worker that is asked to end may take to clear up."""


class Executor(Protocol):
    """Works on jobs, however and wherever that is done."""

    @property
    def slots(self) -> int:
        """How many jobs it works on at once."""

    def start(self, order: Order) -> None:
        """Begin with a job. Not more than `slots` are begun and not ended."""

    def next_ended(self) -> tuple[Order, Attempt]:
        """Wait until a job ends."""

    def close(self) -> None:
        """End everything at once, and leave nothing half-written."""


class LocalPool:
    """Worker processes on this machine, one for each of `devices`; the device holds where a job leaves it open."""

    def __init__(self, devices: Sequence[str], tell: Tell) -> None:
        self._devices, self._tell = tuple(devices), tell
        self._folder = tempfile.TemporaryDirectory(prefix="facex-batch-")
        self._workers: list[_Worker | None] = [None] * len(self._devices)

    @property
    def slots(self) -> int:
        """See `Executor`."""
        return len(self._devices)

    @property
    def at_work(self) -> tuple[tuple[int, int], ...]:
        """The process and the number of its job, of each worker that has one."""
        busy = [worker for worker in self._workers if worker is not None]
        return tuple((worker.process_id, worker.order.number) for worker in busy if worker.order is not None)

    def start(self, order: Order) -> None:
        """See `Executor`. A worker is started when it is first needed, and replaced when it died."""
        slot = next(n for n, worker in enumerate(self._workers) if worker is None or worker.order is None)
        worker = self._workers[slot]
        if worker is None or not worker.is_alive:
            if worker is not None:
                worker.stop()
            worker = self._workers[slot] = _Worker(Path(self._folder.name) / f"{slot}.journal")
        worker.give(order, self._devices[slot])

    def next_ended(self) -> tuple[Order, Attempt]:
        """See `Executor`. The events of all jobs are told meanwhile."""
        while True:
            busy = {worker.pipe: worker for worker in self._workers if worker is not None and worker.order is not None}
            for pipe in wait(list(busy)):
                worker = busy[cast("Connection", pipe)]
                order = worker.order
                assert order is not None
                answer = self._heard(worker)
                if isinstance(answer, Attempt):
                    worker.order = None
                    return order, answer
                self._tell(order.number, answer)

    def _heard(self, worker: _Worker) -> Attempt | Event:
        try:
            return cast("Attempt | Event", worker.pipe.recv())
        except (EOFError, OSError):
            self._workers[self._workers.index(worker)] = None
            return worker.death()

    def close(self) -> None:
        """See `Executor`."""
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.ask_to_end()
        until_s = time.monotonic() + _PATIENCE_S
        for worker in workers:
            worker.stop(max(0.0, until_s - time.monotonic()))
        self._workers = [None] * len(self._devices)
        self._folder.cleanup()


class _Worker:
    """A process, this end of its pipe, and the job that it has in work."""

    def __init__(self, journal_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.order: Order | None = None
        self._began_s = 0.0
        self._journal = journal_path
        journal_path.write_bytes(b"")
        self._process = context.Process(target=_work, args=(theirs, str(journal_path)), name="facex-job")
        self._process.start()
        theirs.close()

    @property
    def process_id(self) -> int:
        return self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def give(self, order: Order, device: str) -> None:
        self.order, self._began_s = order, time.monotonic()
        asked = order.plan.settings.compute.device
        with suppress(OSError):  # dead already: its end of the pipe is heard next
            self.pipe.send(order.as_message(device=device if asked == "auto" else asked))

    def death(self) -> Attempt:
        """What is said of a job whose worker died."""
        self.pipe.close()
        self._process.join()
        told = journal.parse(self._journal.read_bytes())
        remove_temporaries(told.temporaries)
        error = crash_error(self._process.exitcode or 0, told.inputs, told.rest)
        return Attempt(error.exit_code, error.message, error.hint, time.monotonic() - self._began_s,
                       detail=told.rest, died=True)  # fmt: skip

    def ask_to_end(self) -> None:
        """An idle one ends when its pipe closes; one at work closes its files first."""
        self.pipe.close()
        if self.order is not None:
            self._process.terminate()

    def stop(self, patience_s: float = 0.0) -> None:
        """End the process, and clear up behind it."""
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self.order is not None:
            remove_temporaries(journal.parse(self._journal.read_bytes()).temporaries)


def _work(pipe: Any, journal_path: str) -> None:
    """What a worker does: jobs from the pipe until it closes."""
    import warnings

    _become_worker(journal_path)
    warnings.simplefilter("ignore")  # libraries talk to programmers; what users should know comes as events
    runner = JobRunner()
    reporter = _ToPipe(pipe)
    try:
        while True:
            message = pipe.recv()
            os.truncate(journal_path, 0)
            reporter.send(runner.run(Order.of_message(message), reporter))
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # no more jobs, or nobody who wants them
    finally:
        runner.close()


def _become_worker(journal_path: str) -> None:
    """Leave Ctrl-C to the parent, and end as by Ctrl-C when it says so or is gone."""
    import faulthandler

    descriptor = os.open(journal_path, os.O_WRONLY | os.O_APPEND)
    journal.tell_to(descriptor)
    faulthandler.enable(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.stdout.flush()
    os.dup2(2, 1)  # results go to standard output, and they are the parent's to tell
    threading.Thread(target=_end_with_the_parent, name="parent", daemon=True).start()


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: the closing must not be disturbed
    raise KeyboardInterrupt


def _end_with_the_parent() -> None:
    """A parent that was killed cannot stop its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_PATIENCE_S)
        os._exit(1)


class _ToPipe:
    """A reporter at the worker's end; events may come from any thread."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def emit(self, event: Event) -> None:
        with suppress(OSError):  # the parent is gone, and the watch on it ends this process
            self.send(event)

    def send(self, message: object) -> None:
        with self._lock:
            self._pipe.send(message)
