"""Engines side by side: the same pairs through the same pipeline, each result judged as `facex eval` judges a file."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.engines.base import EngineOptions
from facexcli.engines.registry import open_engine
from facexcli.errors import NoFaceError, UsageError, WeightsError
from facexcli.evaluate.engine_bench import cost_of
from facexcli.evaluate.evaluation import evaluate
from facexcli.evaluate.people import Figure
from facexcli.evaluate.values import plain_number
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.pipeline.analyse import StageProgress
from facexcli.pipeline.models import Models
from facexcli.pipeline.planning import plan_swap
from facexcli.pipeline.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from facexcli.evaluate.comparison_pairs import Pair, SetName
    from facexcli.evaluate.engine_bench import EngineCost
    from facexcli.evaluate.values import Evaluation
    from facexcli.events import Reporter
    from facexcli.settings import Settings

BASELINE, NO_OP, TRAINED = "mesh", "unchanged", "facex"
DEFAULT_ENGINES = (BASELINE, NO_OP, TRAINED)
_CROSS = (
    "identity_distance", "canvas_distance", "swap_rate", "pose_error", "opening_error", "landmark_error", "seam",
)  # fmt: skip
METRICS: Mapping[SetName, tuple[str, ...]] = {
    "self-swap": (
        "face_psnr", "face_ssim", "identity_distance", "canvas_distance", "pose_error", "opening_error",
        "landmark_error",
    ),
    "london": _CROSS,
    "portraits": _CROSS,
    "talking": (*_CROSS, "expression_error", "flicker_ratio", "distance_steadiness"),
}  # fmt: skip
"""What is shown of each set, by the names of `facex eval`."""
PSNR_GAIN_DB = 3.0
"""What a trained engine has to gain over the baseline where the result is known."""
_TIMED_FACES = 5


@dataclass(frozen=True, slots=True)
class Contestant:
    """An engine as it takes part. `label` is its name, with its weights' where several of them take part."""

    label: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Result:
    """What one engine made of one pair. `evaluation` is None where the judge finds no face in the file."""

    path: Path
    evaluation: Evaluation | None

    def figure(self, name: str) -> float | None:
        """A metric of the evaluation, None where it was not measured."""
        metric = self.evaluation.metrics.get(name) if self.evaluation else None
        return metric.value if metric else None


@dataclass(frozen=True, slots=True)
class Row:
    """One engine over one set. found: share of the results in which the judge finds a face.

    figures: by the names of `METRICS` the mean over the pairs; None where no pair has the figure.
    """

    label: str
    found: float
    figures: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class SetResult:
    """All engines over one set. results: of each pair what each contestant made, by label.

    left_out: lines that say why other pairs were not compared: where nobody is to be edited, for any of the engines.
    """

    name: SetName
    results: Mapping[Pair, Mapping[str, Result]]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]


def contestants(names: Sequence[str], weights: Sequence[Path], settings: Settings) -> tuple[list[Contestant], str]:
    """Who takes part, each engine checked, and a line that says who does not and why; "" for nobody.

    Args:
        names: engines; none for the usual ones, of which the trained one may be missing.
        weights: checkpoints of the trained engine, which takes part once with each.
        settings: of all runs.

    Raises:
        UsageError: an unknown engine, one that cannot swap, or weights for none of them.
        WeightsError: weights that are asked for and not there.
    """
    found, absent = [], ""
    for name in dict.fromkeys(names or DEFAULT_ENGINES):
        with_weights = _labelled(weights) if name == TRAINED and weights else {name: None}
        for label, given in with_weights.items():
            contestant = Contestant(label, _as_compared(settings, name, given))
            try:
                open_engine(name, "swap", EngineOptions.of(contestant.settings)).engine.close()
            except (UsageError, WeightsError) as error:
                if names or weights or name != TRAINED:
                    raise
                absent = f"left out: {error.message} ({error.hint})"
                continue
            found.append(contestant)
    if weights and not any(item.settings.engine.name == TRAINED for item in found):
        raise UsageError(f"--weights are for the engine {TRAINED}, which is not compared", f"add --engine {TRAINED}")
    return found, absent


def _labelled(weights: Sequence[Path]) -> dict[str, Path]:
    """What each checkpoint is called: by its name, or where two have the same, also by its folder's."""
    if len(weights) == 1:
        return {TRAINED: weights[0]}
    for names in (
        [path.stem for path in weights],
        [f"{path.absolute().parent.name}/{path.stem}" for path in weights],
    ):
        if len(set(names)) == len(weights):
            return {f"{TRAINED} {name}": path for name, path in zip(names, weights, strict=True)}
    raise UsageError("two checkpoints have the same name", "rename one: rows are told apart by it")


def _as_compared(settings: Settings, name: str, weights: Path | None) -> Settings:
    """The settings of a run: no statement is signed, and no faces are kept for a later run."""
    return settings.model_copy(
        update={
            "engine": settings.engine.model_copy(update={"name": name, "weights": weights}),
            "provenance": settings.provenance.model_copy(update={"mark": "off"}),
            "compute": settings.compute.model_copy(update={"cache_mb": 0}),
        }
    )


def compare(
    sides: Sequence[Contestant], sets: Mapping[SetName, Sequence[Pair]], folder: Path, reporter: Reporter
) -> Iterator[SetResult]:
    """Swap and judge every pair with every engine, a set at a time. Results are written to `folder`.

    Raises what `facexcli.swap` raises, except NoFaceError, for which a pair is left out.
    """
    progress = StageProgress(reporter, "measure", len(sides) * sum(map(len, sets.values())), "swaps")
    with closing(DlibAnalyzer()) as judge, Models() as models:
        for name, pairs in sets.items():
            results: dict[Pair, dict[str, Result]] = {pair: {} for pair in pairs}
            left_out: dict[Pair, str] = {}
            for side in sides:
                for number, pair in enumerate(pairs):
                    place = folder / _file_name(name, number, pair, side)
                    try:
                        results[pair][side.label] = _result(pair, side, place, models, judge)
                    except NoFaceError as error:
                        left_out[pair] = f"{pair.title}: {error.message}"
                    progress.advance()
            shared = {pair: made for pair, made in results.items() if pair not in left_out}
            rows = tuple(_row(side.label, name, [made[side.label] for made in shared.values()]) for side in sides)
            yield SetResult(name, shared, rows, tuple(left_out.values()))
    progress.finish()


def _file_name(name: SetName, number: int, pair: Pair, side: Contestant) -> str:
    maker = side.label.replace(" ", "-").replace("/", "-")
    return f"{name}-{number}-{maker}{'.png' if pair.frames is None else '.mp4'}"


def _result(pair: Pair, side: Contestant, place: Path, models: Models, judge: DlibAnalyzer) -> Result:
    """Raises NoFaceError where there is nobody to edit; a result without a face is one."""
    part = side.settings.range.model_copy(update={"trim": pair.trim})
    settings = side.settings.model_copy(update={"range": part})
    run(plan_swap([pair.source], pair.canvas, place, settings), overwrite=True, models=models)
    try:
        return Result(place, evaluate(place, [pair.source], pair.canvas, trim=pair.trim, analyzer=judge))
    except NoFaceError:
        return Result(place, None)


def _row(label: str, name: SetName, results: Sequence[Result]) -> Row:
    figures: dict[str, float | None] = {}
    for metric in METRICS[name]:
        values = [value for result in results if (value := result.figure(metric)) is not None]
        figures[metric] = sum(values) / len(values) if values else None
    found = sum(result.evaluation is not None for result in results) / len(results) if results else math.nan
    return Row(label, found, figures)


def engine_costs(sides: Sequence[Contestant]) -> dict[str, EngineCost]:
    """What a face costs in each engine alone, by label: medians of a few, one at a time, as `facex bench engine`."""
    costs = {}
    for side in sides:
        engine = open_engine(side.settings.engine.name, "swap", EngineOptions.of(side.settings)).engine
        costs[side.label] = cost_of(engine, _TIMED_FACES)
    return costs


def verdicts(sides: Sequence[Contestant], sets: Sequence[SetResult]) -> dict[str, list[Figure]]:
    """Each engine beside the baseline, by label: differences of means, with what is wanted. NaN meets no target.

    Nothing where the baseline did not take part.
    """
    labels = [side.label for side in sides]
    challengers = [label for label in labels if label not in (BASELINE, NO_OP)] if BASELINE in labels else []
    return {
        label: [_found(label, sets), *(_compared(label, *wanted, sets) for wanted in _wanted(sets))]
        for label in challengers
    }


def _found(label: str, sets: Sequence[SetResult]) -> Figure:
    """The other figures leave out the results that no longer show a face; this one does not."""
    rows = [{row.label: row.found for row in result.rows} for result in sets]
    least = float(np.min([row[label] - row[BASELINE] for row in rows]))
    return Figure(f"any set: faces found over {BASELINE}'s", least, 0.0, True)


def _wanted(sets: Sequence[SetResult]) -> Iterator[tuple[SetName, str, float, bool]]:
    """(set, metric, how much more than the baseline, whether that is the least)."""
    for result in sets:
        if result.name == "self-swap":
            yield result.name, "face_psnr", PSNR_GAIN_DB, True
            continue
        for metric in ("identity_distance", "seam", "flicker_ratio"):
            if metric in METRICS[result.name]:
                yield result.name, metric, 0.0, False


def _compared(
    label: str, name: SetName, metric: str, limit: float, is_least: bool, sets: Sequence[SetResult]
) -> Figure:
    rows = {row.label: row for result in sets if result.name == name for row in result.rows}
    own, other = rows[label].figures[metric], rows[BASELINE].figures[metric]
    difference = math.nan if own is None or other is None else own - other
    return Figure(f"{name}: {metric} over {BASELINE}'s", difference, limit, is_least)


def as_json(
    sets: Sequence[SetResult], costs: Mapping[str, EngineCost], told: Mapping[str, Sequence[Figure]], absent: str
) -> dict[str, Any]:
    """Everything that was measured, in plain values: NaN is null, infinity the text "inf"."""
    return {
        "sets": [
            {
                "name": result.name,
                "pairs": [{"source": str(pair.source), "canvas": str(pair.canvas), "trim": pair.trim}
                          for pair in result.results],
                "left_out": list(result.left_out),
                "engines": {
                    row.label: {key: plain_number(value) for key, value in {"found": row.found, **row.figures}.items()}
                    for row in result.rows
                },
            }
            for result in sets
        ],
        "speed": {
            label: {"face_ms": plain_number(cost.face_ms), "faces_per_s": plain_number(1000 / cost.face_ms)}
            for label, cost in costs.items()
        },
        "verdicts": {
            label: [
                {"name": figure.name, "value": plain_number(figure.value), "limit": figure.limit,
                 "is_least": figure.is_least, "met": figure.met}
                for figure in figures
            ]
            for label, figures in told.items()
        },
        "left_out": absent,
    }  # fmt: skip
