"""What a run says of itself when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.pipeline.plan import Plan


@dataclass(frozen=True, slots=True)
class RunResult:
    """The outcome of one plan.

    Attributes:
        output: the file that was written.
        engine: its name.
        perception: the perception models that were used.
        weights: SHA-256 by name, of weights that are not embedded.
        frames: frames written.
        faces_per_track: frames painted, by track id.
        swap_rate: share of the frames written in which a face was painted, 0..1.
        stage_s: seconds of each stage; those inside the render loop are summed over its threads.
        warnings: everything the user was warned of.
        provenance: how the output is marked as synthetic.
        plan: what was run.
    """

    output: Path
    engine: str
    perception: tuple[str, ...]
    frames: int
    faces_per_track: Mapping[int, int]
    swap_rate: float
    stage_s: Mapping[str, float]
    warnings: tuple[str, ...]
    provenance: Mapping[str, str]
    plan: Plan
    weights: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "output": str(self.output),
            "engine": self.engine,
            "perception": list(self.perception),
            "weights": dict(self.weights),
            "frames": self.frames,
            "faces_per_track": {str(track): count for track, count in self.faces_per_track.items()},
            "swap_rate": round(self.swap_rate, 4),
            "stage_s": {name: round(seconds, 3) for name, seconds in self.stage_s.items()},
            "warnings": list(self.warnings),
            "provenance": dict(self.provenance),
        }
