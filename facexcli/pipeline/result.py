"""What a run says of itself when it is done."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facexcli.faces.select import tracks_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.pipeline.parallel import Pace
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.presence import Presence
    from facexcli.types import Analysis


@dataclass(frozen=True, slots=True)
class PersonResult:
    """What became of one person of the target.

    Attributes:
        number: that of `facex faces`.
        name: likewise.
        sources: the stills of the face that the person was given; none for somebody who was left alone.
        frames: frames written in which the person is seen.
        painted: frames among them in which the new face was painted.
        track_ids: where the person is seen, in the analysis of the run.
    """

    number: int
    name: str
    sources: tuple[Path, ...]
    frames: int
    painted: int
    track_ids: tuple[int, ...] = ()

    @property
    def swap_rate(self) -> float:
        """Share of the person's frames that were painted, 0..1."""
        return self.painted / self.frames if self.frames else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "number": self.number,
            "name": self.name,
            "sources": [str(path) for path in self.sources],
            "frames": self.frames,
            "painted": self.painted,
            "swap_rate": round(self.swap_rate, 4),
        }


def people_results(
    analysis: Analysis, sources: Mapping[int, tuple[Path, ...]], rendered: range, painted: Mapping[int, int]
) -> tuple[PersonResult, ...]:
    """Everybody who is seen in the frames `rendered`. `sources` and `painted` are by track id."""
    results = []
    for person in analysis.people:
        tracks = tracks_of(analysis, [person])
        frames = sum(bisect_left(own, rendered.stop) - bisect_left(own, rendered.start)
                     for own in (track.frame_indices for track in tracks))  # fmt: skip
        if frames:
            given = next((sources[track.id] for track in tracks if track.id in sources), ())
            count = sum(painted.get(track.id, 0) for track in tracks)
            results.append(PersonResult(person.number, person.name, given, frames, count, person.track_ids))
    return tuple(results)


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
        people: who is seen in the frames written of a swap's target, by number.
        stage_s: seconds of each stage; those inside the render loop are summed over its threads.
        warnings: everything the user was warned of.
        provenance: how the output is marked as synthetic.
        plan: what was run.
        pace: how the render came on; nothing where no frame was rendered.
        presences: by track id how strongly each face of a swap was painted, frame by frame.
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
    people: tuple[PersonResult, ...] = ()
    pace: tuple[Pace, ...] = ()
    presences: Mapping[int, Presence] = field(default_factory=dict)

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
            "people": [person.as_json() for person in self.people],
            "stage_s": {name: round(seconds, 3) for name, seconds in self.stage_s.items()},
            "weaker": {str(track): spans for track, item in self.presences.items() if (spans := item.as_json())},
            "warnings": list(self.warnings),
            "provenance": dict(self.provenance),
        }
