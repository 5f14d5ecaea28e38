"""Who is swapped into what when engines are compared: drawn from the evaluation data by a seed, the same for all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from facexcli.errors import InputError
from facexcli.evaluate.bench import found_clips, talking_clips
from facexcli.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Iterable

SetName = Literal["self-swap", "london", "portraits", "talking"]
MOST_PAIRS = 12
"""So that there are clips and portraits enough for everybody to be a canvas once."""
_FIRST_FRAME, _FRAMES = 20, 30
"""The part of a talking clip that is swapped: 1.2 s in which everybody speaks."""
_SEXES = ("male", "female")


@dataclass(frozen=True, slots=True)
class Pair:
    """A source still and what it is swapped into: another still, or (with `frames`) these frames of a clip."""

    source: Path
    canvas: Path
    frames: range | None = None

    @property
    def trim(self) -> str:
        """The frames as `--trim` takes them."""
        return "" if self.frames is None else f"#{self.frames.start}..#{self.frames.stop}"

    @property
    def title(self) -> str:
        """Who into whom, by the names of the files."""
        return f"{self.source.stem} into {self.canvas.stem}"


def choose_pairs(data: Path, count: int, seed: int) -> dict[SetName, list[Pair]]:
    """`count` pairs a set, at most `MOST_PAIRS`, and half as many (rounded up) of the clips, which take longer.

    self-swap: a person's smiling still into the neutral one, which is then what the result should be. london: a
    neutral still into another person's neutral and smiling one in turns. portraits: both sexes in turns, into each kind
    of portrait (sex, glasses, hat, hard light, something before the face, profile) in turns. talking: neutral stills
    into clips. Nobody is a canvas twice in a set, and fewer pairs are the first of more.

    Raises InputError where the data are not there.
    """
    people = _shuffled(found_clips(data, "london/*_neutral.jpg"), seed, "london")
    clips = _shuffled(talking_clips(data), seed, "talking")[: (count + 1) // 2]
    london = [
        Pair(source, canvas if number % 2 else _smiling(canvas))
        for number, (source, canvas) in enumerate(pairwise(people[: count + 1]))
    ]
    return {
        "self-swap": [Pair(_smiling(person), person) for person in people[:count]],
        "london": london,
        "portraits": _portraits(data / "portraits.json", count, seed),
        "talking": [
            Pair(source, clip, range(_FIRST_FRAME, _FIRST_FRAME + _FRAMES))
            for source, clip in zip(reversed(people), clips, strict=False)
        ],
    }


def _smiling(neutral: Path) -> Path:
    return neutral.with_name(neutral.name.replace("neutral", "smiling"))


def _portraits(listing: Path, count: int, seed: int) -> list[Pair]:
    kinds: dict[str, list[Path]] = {}
    try:
        for entry in json.loads(listing.read_text("utf-8")):
            kinds.setdefault(entry["tag"], []).append(listing.with_suffix("") / entry["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{listing}: no list of portraits: {error}", "give the folder of the evaluation data with --data"
        ) from error
    if any(len(kinds.get(sex, ())) < MOST_PAIRS for sex in _SEXES):
        raise InputError(
            f"{listing} has fewer than {MOST_PAIRS} portraits that are {' or '.join(_SEXES)}",
            "give the folder of the evaluation data with --data",
        )
    left = {kind: _shuffled(paths, seed, f"portraits {kind}") for kind, paths in sorted(kinds.items())}
    turns, pairs = cycle(left), []
    for sex in islice(cycle(_SEXES), count):
        source = left[sex].pop()
        kind = next(kind for kind in turns if left[kind])
        pairs.append(Pair(source, left[kind].pop()))
    return pairs


def _shuffled(paths: Iterable[Path], seed: int, purpose: str) -> list[Path]:
    ordered = sorted(paths)
    return [ordered[place] for place in generator(seed, 0, None, f"compare {purpose}").permutation(len(ordered))]
