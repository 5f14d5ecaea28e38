"""What a worker on a cluster does, in a process that Ray starts on some node. Knows nothing of Ray but its ways:
calls of generators, whose items travel one by one, and two calls at a time.
"""

from __future__ import annotations

import faulthandler
import os
import platform
import queue
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import facexcli
from facexcli import journal
from facexcli.batch.code import code_digest
from facexcli.batch.work import INTERNAL, Attempt, JobRunner, Order
from facexcli.batch.worker import portable, serve
from facexcli.errors import FacexError, InputError, OutputError
from facexcli.events import Event
from facexcli.pipeline.parts import Segment
from facexcli.pipeline.plan import Plan

_END = object()


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a worker is: its node, process, and what it runs."""

    host: str
    process_id: int
    version: str
    code: str


@dataclass(frozen=True, slots=True)
class Shipment:
    """What all workers of one run get, once: the plan, what was found out before (files by name), hashes of weights.

    folder: the run's work folder. mark: a file in it, which those see who see the folder. place: the current folder of
    who plans, where relative paths begin.
    """

    plan_json: str
    folder: Path
    mark: Path
    place: Path
    kept: Mapping[str, bytes]
    weights: Mapping[str, str]


class Worker:
    """A worker of either kind, in its process."""

    def __init__(self) -> None:
        warnings.simplefilter("ignore")  # libraries talk to programmers; what users should know comes as events

    def hello(self) -> Iterator[Hello]:
        """The first word."""
        yield Hello(platform.node(), os.getpid(), facexcli.__version__, code_digest())


class JobWorker(Worker):
    """Does jobs of a batch; engines and identities stay open between them."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = JobRunner()

    def run(self, order: Any, mark: Path, place: Path) -> Iterator[Event | Attempt]:
        """What the job `Order.of_message(order)` tells, and then how it ended.

        `mark` is a file beside the output: who sees it sees the output, and what it writes there is kept should it die.
        """
        try:
            _go_to(place)
            _check_seen(mark, OutputError)
            asked = Order.of_message(order)
            _check_inputs(asked.plan)
        except FacexError as error:
            yield Attempt(error.exit_code, error.message, error.hint)
            return
        told: queue.SimpleQueue[Event | Attempt] = queue.SimpleQueue()
        with mark.open("ab", buffering=0) as file:
            journal.tell_to(file.fileno())
            faulthandler.enable(file)
            try:
                threading.Thread(target=self._do, args=(asked, told), name="job", daemon=True).start()
                while not isinstance(item := told.get(), Attempt):
                    yield item
            finally:
                journal.tell_to(None)
                faulthandler.enable(sys.stderr)
        yield item

    def _do(self, order: Order, told: queue.SimpleQueue[Event | Attempt]) -> None:
        try:
            told.put(self._runner.run(order, _ToQueue(told)))
        except BaseException as error:
            told.put(Attempt(INTERNAL, f"the worker was ended: {type(error).__name__}", died=True))


class PartWorker(Worker):
    """Renders parts of one run."""

    def __init__(self) -> None:
        super().__init__()
        self._in: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def give(self, segment: Segment | None) -> None:
        """The next one; None when there are no more."""
        self._in.put(segment)

    def render(self, shipment: Shipment) -> Iterator[tuple[str, Any]]:
        """What `worker.serve` says."""
        thread = threading.Thread(target=self._serve, args=(shipment,), name="parts", daemon=True)
        thread.start()
        while (item := self._out.get()) is not _END:
            yield item
        thread.join()

    def _serve(self, shipment: Shipment) -> None:
        try:
            _go_to(shipment.place)
            _check_seen(shipment.mark, OutputError)
            plan = Plan.model_validate_json(shipment.plan_json)
            _check_inputs(plan)
            with tempfile.TemporaryDirectory(prefix="facex-kept-") as name:
                for kept, content in shipment.kept.items():
                    Path(name, kept).write_bytes(content)
                serve(self, plan, shipment.folder, Path(name), shipment.weights)
        except Exception as error:
            self._out.put(("failed", portable(error)))
        finally:
            self._out.put(_END)

    def recv(self) -> Segment | None:
        """See `worker.Line`."""
        return self._in.get()

    def send(self, message: tuple[str, Any]) -> None:
        """See `worker.Line`."""
        self._out.put(message)


class _ToQueue:
    """A reporter; events may come from any thread."""

    def __init__(self, told: queue.SimpleQueue[Event | Attempt]) -> None:
        self._told = told

    def emit(self, event: Event) -> None:
        self._told.put(event)


def _go_to(place: Path) -> None:
    """Where relative paths begin. On a node without that folder they lead nowhere, and that is told of the file."""
    with suppress(OSError):
        os.chdir(place)


def _check_seen(path: Path, kind: type[FacexError]) -> None:
    if not path.exists():
        raise kind(f"node {platform.node()} does not see {path.parent}",
                   "inputs and outputs have to lie on a path that all nodes share")  # fmt: skip


def _check_inputs(plan: Plan) -> None:
    people = plan.settings.people
    others = [path for path in (people.match, people.analysis) if path is not None]
    for path in (*(item.path for item in (*plan.inputs, *plan.weights)), *others):
        if not path.exists():
            raise InputError(f"node {platform.node()} does not see {path}",
                             "inputs and outputs have to lie on a path that all nodes share")  # fmt: skip
