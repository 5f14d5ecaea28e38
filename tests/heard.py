"""A reporter for tests."""

from __future__ import annotations

from facexcli.events import Event, Informed, Warned


class Heard:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def told(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Informed)]

    @property
    def warned(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    def messages(self) -> str:
        """All of them, a line each, in order."""
        return "\n".join(event.message for event in self.events if isinstance(event, Informed | Warned))
