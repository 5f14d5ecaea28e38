"""One job after the other in one process, with models that stay open between them. Knows nothing of processes."""

from __future__ import annotations

import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from facexcli.batch.complete import content_of
from facexcli.batch.resume import run_resumable
from facexcli.errors import DeviceError, FacexError, InputError, Interrupted
from facexcli.events import StageFinished
from facexcli.pipeline.models import Models
from facexcli.pipeline.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.events import Event, Reporter

INTERNAL = 1
"""The exit code of what is a bug."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job for whoever works: its number, its plan, and what may be replaced."""

    number: int
    plan: Plan
    overwrite: bool = False
    fresh: bool = False

    def as_message(self, **compute: object) -> tuple[Any, ...]:
        """Plain values for another process, with these of the plan's compute settings changed."""
        settings = self.plan.settings
        plan = self.plan
        if compute:
            changed = settings.model_copy(update={"compute": settings.compute.model_copy(update=compute)})
            plan = plan.model_copy(update={"settings": changed})
        own = settings.provenance  # a plan as JSON does not say who signs
        signing = {name: getattr(own, name) for name in ("cert", "key", "signer", "timestamp", "watermark_key")}
        return self.number, plan.model_dump_json(), self.overwrite, self.fresh, signing

    @classmethod
    def of_message(cls, message: tuple[Any, ...]) -> Order:
        """What `as_message` made."""
        number, plan_json, overwrite, fresh, signing = message
        plan = Plan.model_validate_json(plan_json)
        return cls(number, plan.signed_as(plan.settings.provenance.model_copy(update=signing)), overwrite, fresh)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a job ended once.

    Attributes:
        exit_code: that of the command; 0 where it is done.
        message: what went wrong, in one line; "" where nothing did.
        hint: what to do about it.
        seconds: wall time.
        frames: frames written.
        stages: for each stage its units and wall seconds, as far as it was told; together over files.
        content: size and hash of what was written.
        result: what `--json` of the command prints.
        detail: the traceback of a bug, or the stacks of a crash.
        died: whether the process ended with it.
    """

    exit_code: int
    message: str = ""
    hint: str = ""
    seconds: float = 0.0
    frames: int = 0
    stages: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    content: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""
    died: bool = False

    @property
    def may_pass(self) -> bool:
        """Whether the same job may end otherwise: its inputs are what they are, but memory, disks and bugs vary."""
        return self.died or self.exit_code not in (0, 2, 3, 4, 5)


class JobRunner:
    """Runs jobs, one at a time, and keeps the models open for the next. To be closed."""

    def __init__(self) -> None:
        self._models = Models()

    def run(self, order: Order, reporter: Reporter) -> Attempt:
        """How the job ended. Raises nothing but KeyboardInterrupt and the like."""
        start_s = time.monotonic()
        timing = _Timing(reporter)
        try:
            result = run_resumable(order.plan, timing, order.overwrite, fresh=order.fresh, models=self._models)
        except Interrupted as error:  # with parts kept; whoever asked for it is to be heard
            raise KeyboardInterrupt from error
        except Exception as error:
            if not isinstance(error, FacexError):
                self._models.close()  # nobody knows what they are in
            failed = _failed(error)
            return replace(failed, seconds=time.monotonic() - start_s, stages=timing.stages())
        wall_s = time.monotonic() - start_s
        return Attempt(
            exit_code=0,
            seconds=wall_s,
            frames=result.frames,
            stages=timing.stages(),
            content=content_of(order.plan.output),
            result=result.as_json(),
        )

    def close(self) -> None:
        """Give back threads and memory."""
        self._models.close()


class _Timing:
    """Passes events on, and adds up the stages."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._units: dict[str, int] = defaultdict(int)
        self._wall_s: dict[str, float] = defaultdict(float)

    def emit(self, event: Event) -> None:
        if isinstance(event, StageFinished):
            self._units[event.stage] += event.done
            self._wall_s[event.stage] += event.wall_s
        self._reporter.emit(event)

    def stages(self) -> dict[str, tuple[int, float]]:
        return {name: (self._units[name], round(self._wall_s[name], 4)) for name in self._units}


def _failed(error: Exception) -> Attempt:
    """What the command line would say (`cli.app`)."""
    match error:
        case FacexError():
            return Attempt(error.exit_code, error.message, error.hint)
        case MemoryError():
            return Attempt(DeviceError.exit_code, "out of memory", "use fewer --workers, or detail = 0.4")
        case OSError():
            told = f"{error.filename or 'a file'}: {error.strerror or error}"
            return Attempt(InputError.exit_code, told, "check the path")
    message = f"internal error: {type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    return Attempt(INTERNAL, message, "this is a bug in facex; -v shows the traceback", detail=trace)
