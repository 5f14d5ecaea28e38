"""A job of a batch: what one run of a command is given, and the plan that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facexcli.pipeline.planning import plan_edit, plan_head_swap, plan_reenact, plan_swap
from facexcli.recipes import PROVIDERS
from facexcli.settings import parse_map

if TYPE_CHECKING:
    from facexcli.pipeline.plan import Plan, Task
    from facexcli.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a batch.

    Attributes:
        number: from 1, in the order of the file and of the products in it.
        where: the row that it comes from.
        command: what is done.
        sources: the stills of the person; the portrait of a reenactment; none where the settings map people, and for an
            edit.
        moving: what gives the frames: the target of a swap, the driving video of a reenactment, the canvas of an edit.
        output: where the result goes.
        settings: those of the command.
        mask: where an edit makes the canvas anew.
        loop: whether the shorter of several videos of an edit begin again.
    """

    number: int
    where: str
    command: Task
    sources: tuple[Path, ...]
    moving: Path
    output: Path
    settings: Settings
    mask: Path | None = None
    loop: bool = False

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file and folder that the job reads."""
        people, mapped = self.settings.people, []
        for text in people.map:
            source, who = parse_map(text)
            mapped += [source, who] if Path(who).is_file() else [source]
        queries = [text.partition("=")[2] for text in self.settings.recipe.take]
        others = [*mapped, *(name for name in queries if name not in PROVIDERS)]
        weights = self.settings.engine.weights
        own = weights if weights is not None and weights.exists() else None  # else it is a name of pulled ones
        named = (people.match, people.analysis, own, self.settings.recipe.file, self.mask)
        return (*self.sources, self.moving, *map(Path, others), *(path for path in named if path is not None))

    def plan(self) -> Plan:
        """Raises what the functions of `pipeline.plan` raise."""
        match self.command:
            case "swap":
                return plan_swap(self.sources, self.moving, self.output, self.settings)
            case "head-swap":
                return plan_head_swap(self.sources, self.moving, self.output, self.settings)
            case "reenact":
                return plan_reenact(self.sources[0], self.moving, self.output, self.settings)
            case "edit":
                return plan_edit(self.moving, self.output, self.settings, self.mask, loop=self.loop)


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job and what it will do."""

    job: Job
    plan: Plan
