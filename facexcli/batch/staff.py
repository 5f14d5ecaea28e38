"""The workers that a run has on a cluster, by number: hired, called, replaced when they die."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from facexcli.batch.cluster import END, Death
from facexcli.batch.cluster_worker import Hello
from facexcli.batch.code import code_digest
from facexcli.errors import DeviceError
from facexcli.events import Informed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.batch.cluster import Cluster, Share
    from facexcli.batch.cluster_worker import Worker
    from facexcli.events import Reporter

_STARTS = 3
"""So many deaths before a first word, one after the other, are no accident."""
_LOOK_S = 5.0
"""How often it is looked whether the cluster still has room for anybody."""
_DEAD_S = 3.0
"""How long a worker that was killed may take to be dead."""


@dataclass(frozen=True, slots=True)
class Said:
    """What worker `number` said: that it is ready for its first call, an item of a call, the end of one, its death."""

    number: int
    kind: Literal["ready", "item", "end", "died"]
    item: Any = None


@dataclass(slots=True)
class _Place:
    """A worker; its open call, if there is one; and its first word, when it was heard."""

    actor: Any
    stream: Any
    hello: Hello | None = None


class Staff:
    """Workers of one kind, each with a share of the cluster."""

    def __init__(self, cluster: Cluster, kind: type[Worker], share: Share, reporter: Reporter) -> None:
        self._cluster, self._kind, self._share, self._reporter = cluster, kind, share, reporter
        self._places: dict[int, _Place] = {}
        self._births_that_failed = 0
        self._waits_since_s: float | None = None

    def hire(self, number: int) -> None:
        """Ask for a worker. It is ready when a node has room for it."""
        actor = self._cluster.worker(self._kind, self._share)
        self._places[number] = _Place(actor, actor.hello.options(num_returns="streaming").remote())

    def call(self, number: int, method: str, *arguments: object) -> None:
        """Begin with a method of a worker that is ready; what it yields is heard. One such call at a time."""
        place = self._places[number]
        place.stream = getattr(place.actor, method).options(num_returns="streaming").remote(*arguments)

    def tell(self, number: int, method: str, *arguments: object) -> None:
        """Call a method that answers nothing, beside the other one."""
        if number in self._places:
            getattr(self._places[number].actor, method).remote(*arguments)

    def process_id(self, number: int) -> int:
        """Of a worker that is ready, on its node."""
        hello = self._places[number].hello
        return hello.process_id if hello else 0

    def hear(self) -> Iterator[Said]:
        """Wait until somebody says something. Who died is gone, and has to be hired anew, unless it had not yet begun.

        Raises DeviceError where no worker can be started, or no node is left.
        """
        numbers = {place.stream: number for number, place in self._places.items() if place.stream is not None}
        heard = self._cluster.hear(list(numbers), _LOOK_S)
        if not heard:
            self._look()
        for stream, item in heard:
            self._waits_since_s = None
            yield from self._heard(numbers[stream], item)

    def _heard(self, number: int, item: Any) -> Iterator[Said]:
        place = self._places[number]
        if isinstance(item, Hello):
            _check_code(item)
            self._births_that_failed = 0
            place.hello, place.stream = item, None
            yield Said(number, "ready", item)
        elif item is END:
            place.stream = None
            yield Said(number, "end")
        elif not isinstance(item, Death):
            yield Said(number, "item", item)
        else:
            self._cluster.kill(self._places.pop(number).actor)  # one that merely cannot be reached must not go on
            if place.hello is not None:
                if item.is_fatal:
                    raise RuntimeError(f"in a worker: {item.reason}")
                yield Said(number, "died", item.reason)
                return
            self._births_that_failed += 1
            if item.is_fatal or self._births_that_failed >= _STARTS:
                hint = "facex has to be installed on every node, with all that the engine needs"
                raise DeviceError(f"no worker can be started on the cluster: {item.reason}", hint)
            self.hire(number)

    def _look(self) -> None:
        """Nobody has said anything for a while: are they at work, do they wait for room, or is there none?"""
        if any(place.hello is not None for place in self._places.values()):
            return
        if not self._cluster.room(self._share):
            raise DeviceError(f"no node of the cluster {self._cluster.address} is left for a worker",
                              "the same command goes on when there is one")  # fmt: skip
        if self._waits_since_s is None:
            self._waits_since_s = time.monotonic()
            self._reporter.emit(Informed("the cluster is busy: waiting for room; see `ray status`"))

    def close(self) -> None:
        """End all workers at once; they are dead when this returns, or cannot be reached."""
        places, self._places = list(self._places.values()), {}
        for place in places:
            self._cluster.kill(place.actor)
        until_s = time.monotonic() + _DEAD_S
        streams = [place.stream for place in places if place.stream is not None]
        while streams and time.monotonic() < until_s:
            for stream, item in self._cluster.hear(streams, _DEAD_S):
                if isinstance(item, Death) or item is END:
                    streams.remove(stream)


def _check_code(hello: Hello) -> None:
    """Raises DeviceError for a node with another facex."""
    if hello.code != code_digest():
        raise DeviceError(f"node {hello.host} has another facex ({hello.version}), whose frames may differ",
                          "install the same version on all nodes")  # fmt: skip
