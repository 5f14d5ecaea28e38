"""Running an iterator ahead in a thread of its own."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

Item = TypeVar("Item")
_POLL_S = 0.1


class Prefetch(Generic[Item]):
    """Iterates over what `produce()` yields, at most `ahead` items in advance; a context manager.

    An exception of the producer is raised in the consumer, after the items before it. The thread starts with the first
    item that is asked for, and has ended when `close` returns, however early that is called. The generator is closed in
    its own thread.
    """

    def __init__(self, produce: Callable[[], Iterator[Item]], *, ahead: int, name: str) -> None:
        self._produce = produce
        self._queue: queue.Queue[Item | _End] = queue.Queue(maxsize=ahead)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._ended:
            raise StopIteration
        if not self._started:
            self._started = True
            self._thread.start()
        item = self._queue.get()
        if not isinstance(item, _End):
            return item
        self._ended = True
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """Stop and wait for the thread. Calling it twice is allowed."""
        self._ended = True
        self._closing.set()
        if self._started:
            self._thread.join()
        self._queue = queue.Queue()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._produce():
                if not self._put(item):
                    return
        except BaseException as caught:  # whatever it is, the consumer has to see it
            error = caught
        self._put(_End(error))

    def _put(self, item: Item | _End) -> bool:
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False


class _End:
    """The last thing in the queue: the producer is done, or failed."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
