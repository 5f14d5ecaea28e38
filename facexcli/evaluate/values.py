"""What an evaluation says: values that can be shown, plotted, saved and read again."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from facexcli.errors import InputError
from facexcli.media.atomic import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.types import Array, Box

SCHEMA = "facex-evaluation/1"
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure over a whole result.

    value: may be infinite (the PSNR of equal pictures), never NaN: what cannot be measured is in `Evaluation.missing`.
    unit: "" for a ratio or a correlation. how: what is compared with what, in a few words.
    """

    value: float
    unit: str
    better: Better
    how: str


@dataclass(frozen=True, slots=True)
class PersonSeries:
    """One person through the frames of the result in which that person's face is seen in the reference.

    Attributes:
        person: the name in the analysis of the reference.
        track_ids: the tracks of that analysis.
        frame_indices: int64 (N,), ascending, indices of the result's frames.
        time_s: float64 (N,), seconds after the result's first frame.
        values: float32 (N,) each, NaN where a value was not measured. Keys:
            identity_similarity, identity_distance (to the source; every few frames), canvas_distance;
            yaw_deg, pitch_deg, roll_deg of the result, and with the suffix _reference those of the canvas or, in a
            reenactment, of the driving video; pose_error_deg, and pose_motion_error_deg from the clips' own medians;
            expression_error (outer-eye-corner distances);
            flicker and flicker_reference (8-bit code values), and broad_flicker, broad_flicker_reference, the same at a
            low resolution, without grain;
            strength (change of the face, 1 as usual for the person) and changed (1 or 0), which a reenactment lacks, as
            it lacks canvas_distance.
    """

    person: str
    track_ids: tuple[int, ...]
    frame_indices: Array
    time_s: Array
    values: Mapping[str, Array]

    def __post_init__(self) -> None:
        lengths = {len(self.frame_indices), len(self.time_s), *map(len, self.values.values())}
        if len(lengths) > 1:
            raise ValueError(f"a series has one length, not {sorted(lengths)}")

    def mean(self, key: str) -> float | None:
        """The mean of what was measured under `key`; None for nothing."""
        values = self.values.get(key, np.array([]))
        known = values[np.isfinite(values)]
        return float(known.mean(dtype=np.float64)) if len(known) else None


@dataclass(frozen=True, slots=True)
class DoubtfulFrame:
    """A frame of the result that somebody should look at, and why.

    box_px: around the landmarks of the face, in pixels of the result; None where the face was not found.
    """

    frame_index: int
    time_s: float
    person: str
    reason: str
    box_px: Box | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured on one result.

    `missing` says of each metric that was not measured why, or what to install. `judge` names what judged identity.
    `driving` is None for a swap. `shots` are the frames [start, stop) between the cuts, as indices of the result's.
    """

    result: Path
    sources: tuple[Path, ...]
    canvas: Path
    driving: Path | None
    frame_count: int
    metrics: Mapping[str, Metric]
    missing: Mapping[str, str]
    people: tuple[PersonSeries, ...] = ()
    doubtful: tuple[DoubtfulFrame, ...] = ()
    judge: str = ""
    warnings: tuple[str, ...] = field(default=())
    shots: tuple[tuple[int, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes and every parser reads: NaN is null, infinity the text "inf"."""
        return {
            "schema": SCHEMA,
            "result": str(self.result),
            "sources": [str(path) for path in self.sources],
            "canvas": str(self.canvas),
            "driving": None if self.driving is None else str(self.driving),
            "frame_count": self.frame_count,
            "judge": self.judge,
            "metrics": {
                name: {"value": plain_number(m.value), "unit": m.unit, "better": m.better, "how": m.how}
                for name, m in self.metrics.items()
            },
            "missing": dict(self.missing),
            "people": [_series_to_json(series) for series in self.people],
            "doubtful": [
                {
                    "frame_index": d.frame_index,
                    "time_s": d.time_s,
                    "person": d.person,
                    "reason": d.reason,
                    "box_px": None if d.box_px is None else [round(edge, 1) for edge in d.box_px],
                }
                for d in self.doubtful
            ],
            "warnings": list(self.warnings),
            "shots": [list(shot) for shot in self.shots],
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_json`. Raises InputError for anything else."""
        if document.get("schema") != SCHEMA:
            raise InputError(f"this is no evaluation: its schema is {document.get('schema')!r}, not {SCHEMA!r}")
        try:
            return _from_json(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"this evaluation is damaged: {type(error).__name__} {error}") from error


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the evaluation as JSON, whole or not at all. Raises OutputError."""
    write_whole(path, json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1) + "\n")


def load_evaluation(path: Path) -> Evaluation:
    """Read what `save_evaluation` wrote. Raises InputError."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no evaluation")
    return Evaluation.from_json(document)


def _from_json(document: Mapping[str, Any]) -> Evaluation:
    driving = document["driving"]
    return Evaluation(
        result=Path(document["result"]),
        sources=tuple(Path(name) for name in document["sources"]),
        canvas=Path(document["canvas"]),
        driving=None if driving is None else Path(driving),
        frame_count=int(document["frame_count"]),
        metrics={
            name: Metric(float(item["value"]), item["unit"], item["better"], item["how"])
            for name, item in document["metrics"].items()
        },
        missing=dict(document["missing"]),
        people=tuple(_series_from_json(item) for item in document["people"]),
        doubtful=tuple(
            DoubtfulFrame(int(d["frame_index"]), float(d["time_s"]), d["person"], d["reason"], _box(d["box_px"]))
            for d in document["doubtful"]
        ),
        judge=document["judge"],
        warnings=tuple(document["warnings"]),
        shots=tuple((int(start), int(stop)) for start, stop in document["shots"]),
    )


def _box(edges: list[float] | None) -> Box | None:
    if edges is None:
        return None
    x0, y0, x1, y1 = map(float, edges)
    return x0, y0, x1, y1


def _series_to_json(series: PersonSeries) -> dict[str, Any]:
    return {
        "person": series.person,
        "track_ids": list(series.track_ids),
        "frame_indices": series.frame_indices.tolist(),
        "time_s": [round(float(time), 6) for time in series.time_s],
        "values": {name: [plain_number(float(value)) for value in values] for name, values in series.values.items()},
    }


def _series_from_json(item: Mapping[str, Any]) -> PersonSeries:
    return PersonSeries(
        person=item["person"],
        track_ids=tuple(int(track) for track in item["track_ids"]),
        frame_indices=np.array(item["frame_indices"], np.int64),
        time_s=np.array(item["time_s"], np.float64),
        values={
            name: np.array([math.nan if value is None else float(value) for value in values], np.float32)
            for name, values in item["values"].items()
        },
    )


def plain_number(value: float | None) -> float | str | None:
    """As JSON has it: NaN is null, infinity the text "inf". Six significant digits: more than any of these measures."""
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)
