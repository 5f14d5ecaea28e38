"""What a run says about itself, heard on its way to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facexcli.events import Informed, Warned

if TYPE_CHECKING:
    from facexcli.events import Event, Reporter


class Listening:
    """Passes events on, each message once, and remembers the warnings for the result."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._told: set[str] = set()
        self.warnings: list[str] = []
        """Those so far."""

    def emit(self, event: Event) -> None:
        """See `Reporter`."""
        if isinstance(event, Warned | Informed):
            # Both passes over a file meet the same damage, and all workers choose alike.
            if event.message in self._told:
                return
            self._told.add(event.message)
        if isinstance(event, Warned):
            self.warnings.append(event.message)
        self._reporter.emit(event)
