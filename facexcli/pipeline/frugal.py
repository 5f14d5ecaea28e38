"""Goes on with less at once when memory runs out in an engine: half of a batch, and fewer batches side by side."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from facexcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.engines.base import Engine
    from facexcli.types import EditRequest, Patch

WARNING = "memory ran out, so that fewer faces are rendered at once"


class Frugal:
    """Renders with an engine, from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = threading.Condition()
        self._running = 0
        self._most: int | None = None
        """How many calls may run at once; None for any number."""

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """As `Engine.render`. Raises DeviceError where a single face alone is too much."""
        with self._running_call():
            beside = self._running
            try:
                return self._engine.render(requests)
            except (MemoryError, RuntimeError, DeviceError) as error:
                if not _is_out_of_memory(error):
                    raise
                problem = error
        if len(requests) == 1 and beside == 1:
            raise DeviceError(f"out of memory for a single face: {problem}",
                              "use --detail 0.4, or close other programs on the device") from problem  # fmt: skip
        half = len(requests) // 2
        if half:
            patches = [*self.render(requests[:half]), *self.render(requests[half:])]
        else:
            with self._changed:
                self._most = max(1, min(beside, self._most or beside) // 2)
            patches = self.render(requests)
        return [replace(patch, warnings=(*patch.warnings, WARNING)) for patch in patches]

    @contextmanager
    def _running_call(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._most is None or self._running < self._most)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch and ONNX Runtime tell it as a RuntimeError with these words."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()
