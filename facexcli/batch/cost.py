"""How long a plan will take with so many workers, from measured rates: Amdahl's law, with the serial parts by name.

What is done once, by one process, is serial: opening the models, the analysis, the identities, the join. The render is
shared out in whole segments, so it takes as long as the worker with the most of them.

Source: G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing capabilities", 1967.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli.batch.results import read_results
from facexcli.batch.segments import cut_segments
from facexcli.batch.work import JobRunner, Order
from facexcli.errors import InputError, UsageError
from facexcli.events import SilentReporter
from facexcli.media.probe import probe
from facexcli.pipeline.analyse import FrameRange, frame_total
from facexcli.pipeline.formats import probe_target
from facexcli.pipeline.parts import JOINED
from facexcli.settings import parse_trim

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from facexcli.events import Reporter
    from facexcli.pipeline.plan import Plan

_LEAST_FRAMES = 10
"""Rates of fewer frames are mostly start-up."""
_PARTS_MEASURED = 3


@dataclass(frozen=True, slots=True)
class Rates:
    """What one worker needs.

    Attributes:
        start_s: seconds to open the models, in every process.
        prepare_s: seconds for identities and the like, in every process.
        analyse_s: seconds a frame to find the faces.
        render_s: seconds a frame to paint and encode.
        join_s: seconds a frame to put the parts together, and to sign.
        origin: where these were measured, in words.
    """

    start_s: float
    prepare_s: float
    analyse_s: float
    render_s: float
    join_s: float
    origin: str


@dataclass(frozen=True, slots=True)
class Cost:
    """The seconds of each part with so many `workers`. speedup: over one worker; efficiency: that over the workers."""

    workers: int
    start_s: float
    analyse_s: float
    render_s: float
    join_s: float
    speedup: float = 1.0

    @property
    def total_s(self) -> float:
        return self.start_s + self.analyse_s + self.render_s + self.join_s

    @property
    def efficiency(self) -> float:
        return self.speedup / self.workers


@dataclass(frozen=True, slots=True)
class Work:
    """What a plan has to do: frames, and the segments that workers can share; a single one where they cannot."""

    frames: int
    segments: int


def work_of(plan: Plan) -> Work:
    """Raises InputError for a video whose length nobody knows before it is read."""
    info = probe_target(plan.timeline.path, plan.settings)
    rate = info.frame_rate or Fraction(25)
    frames = frame_total(info, FrameRange(*parse_trim(plan.settings.range.trim)))
    if frames is None and info.duration_s is not None:
        frames = round(info.duration_s * rate)
    if frames is None:
        raise InputError(f"{info.path}: its header does not say how long it is", "choose a part of it with --trim A..B")
    moving_portrait = plan.driving is not None and probe(plan.canvas.path).kind != "image"
    if plan.output.suffix.lower() not in JOINED or moving_portrait:
        return Work(frames, 1)
    return Work(frames, len(cut_segments(0, frames, rate, plan.settings.compute.segment_s, ())))


def predict(rates: Rates, work: Work, workers: Iterable[int]) -> list[Cost]:
    """The cost with each number of workers."""
    alone = _cost(rates, work, 1)
    costs = (_cost(rates, work, number) for number in workers)
    return [Cost(cost.workers, cost.start_s, cost.analyse_s, cost.render_s, cost.join_s, alone.total_s / cost.total_s)
            for cost in costs]  # fmt: skip


def _cost(rates: Rates, work: Work, workers: int) -> Cost:
    """The parent finds the faces; then all workers open their models at once, and take segments."""
    useful = min(workers, work.segments)
    opened = 1 if useful == 1 else 2
    share = ceil(work.segments / useful) / work.segments
    return Cost(
        workers,
        opened * (rates.start_s + rates.prepare_s),
        rates.analyse_s * work.frames,
        rates.render_s * work.frames * share,
        rates.join_s * work.frames,
    )


def shown_workers(most: int) -> list[int]:
    """1 to 8, then doubled until `most`."""
    return [*range(1, min(most, 8) + 1), *(n for n in (16 << k for k in range(most.bit_length())) if n < most),
            *([most] if most > 8 else [])]  # fmt: skip


def read_rates(path: Path, plan: Plan) -> Rates:
    """The rates in a file: what `plan-cost --json` printed, or the results of a batch with the plan's engine and task.

    Raises InputError for a file that cannot be read, UsageError for one without such rates.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}", "--rates takes the results of a batch") from error
    try:
        saved = json.loads(text)
        return _saved_rates(saved["rates"], path)
    except (ValueError, KeyError, TypeError):
        pass  # several lines, or no rates among them: the results of a batch
    lines = [line for line in read_results(path)
             if line.get("engine") == plan.engine and line.get("command") == plan.task]  # fmt: skip
    return rates_of(lines, f"{len(lines)} jobs of {path}", plan)


def _saved_rates(values: Mapping[str, Any], path: Path) -> Rates:
    numbers = {field.name: float(values[field.name]) for field in fields(Rates) if field.name != "origin"}
    return Rates(**numbers, origin=f"{path}: {values['origin']}")


def rates_of(lines: Sequence[Mapping[str, Any]], origin: str, plan: Plan) -> Rates:
    """The rates of jobs by their lines in a results file. Raises UsageError where they measured too little."""
    found = [line for line in lines if line.get("frames") and line.get("stages")]
    analysed, analyse_s = _stage(found, "analyse", "analyse-driving")
    rendered, render_s = _stage(found, "render")
    if min(analysed, rendered) < _LEAST_FRAMES:
        what = "an analysis" if rendered >= _LEAST_FRAMES else "a render"
        raise UsageError(f"{origin}: {what} by engine {plan.engine!r} was not measured there",
                         "leave out --rates: then the first seconds of the plan are measured")  # fmt: skip
    parts = [line["result"]["stage_s"] for line in found]
    prepare_s = [float(part.get("prepare", 0.0)) for part in parts]
    finish_s = [float(part.get("finish", 0.0)) for part in parts]
    rest_s = [float(line["seconds"]) - _stage([line], "analyse", "analyse-driving", "render")[1] - prepare - finish
              for line, prepare, finish in zip(found, prepare_s, finish_s, strict=True)]  # fmt: skip
    return Rates(
        start_s=max(0.0, *rest_s),  # of several jobs in one process the first has opened the models
        prepare_s=sum(prepare_s) / len(found),
        analyse_s=analyse_s / analysed,
        render_s=render_s / rendered,
        join_s=sum(finish_s) / sum(int(line["frames"]) for line in found),
        origin=origin,
    )


def _stage(lines: Iterable[Mapping[str, Any]], *names: str) -> tuple[int, float]:
    """Units and seconds of stages, over all lines."""
    parts = [line["stages"][name] for line in lines for name in names if name in line["stages"]]
    return sum(int(done) for done, _ in parts), sum(float(wall_s) for _, wall_s in parts)


def measure_rates(plan: Plan, seconds: float, reporter: Reporter | None = None) -> Rates:
    """Run the first seconds of a plan, somewhere else, and take its rates. Raises UsageError where that fails."""
    start, stop = parse_trim(plan.settings.range.trim)
    info = probe_target(plan.timeline.path, plan.settings)
    rate = info.frame_rate or Fraction(25)
    first = start if isinstance(start, int) else round((start or Fraction(0)) * rate)
    last = first + max(2 * _LEAST_FRAMES, round(Fraction(seconds) * rate))
    if stop is not None:
        last = min(last, stop if isinstance(stop, int) else round(stop * rate))
    with tempfile.TemporaryDirectory(prefix="facex-cost-") as folder:
        short = _shortened(plan, f"#{first}..#{last}", float((last - first) / rate / _PARTS_MEASURED), Path(folder))
        runner = JobRunner()
        try:
            attempt = runner.run(Order(1, short), reporter or SilentReporter())
        finally:
            runner.close()
    if attempt.exit_code:
        raise UsageError(f"the plan's first seconds cannot be measured: {attempt.message}", attempt.hint)
    line = {"frames": attempt.frames, "seconds": attempt.seconds, "stages": attempt.stages, "result": attempt.result}
    return rates_of([line], f"measured here on the plan's first {attempt.frames} frames", plan)


def _shortened(plan: Plan, trim: str, segment_s: float, folder: Path) -> Plan:
    settings = plan.settings
    changed = settings.model_copy(
        update={
            "range": settings.range.model_copy(update={"trim": trim}),
            "compute": settings.compute.model_copy(update={"segment_s": segment_s, "workers": 1, "cache_mb": 0}),
        }
    )
    output = folder / plan.output.name if plan.output.suffix else folder / "out.mkv"
    return plan.model_copy(update={"settings": changed, "output": output})


def as_json(rates: Rates, work: Work, costs: Sequence[Cost]) -> dict[str, Any]:
    """Plain values, as `--json` prints them."""
    return {
        "frames": work.frames,
        "segments": work.segments,
        "rates": asdict(rates),
        "costs": [asdict(cost) | {"total_s": cost.total_s, "efficiency": cost.efficiency} for cost in costs],
    }
