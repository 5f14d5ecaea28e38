"""Whose face it is, as an embedder judges that took no part in making it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import InputError, NoFaceError, UsageError
from facexcli.evaluate.measures import cosine_similarity
from facexcli.events import StageAdvanced, StageFinished, StageStarted, Warned
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.embed import identity_distance
from facexcli.faces.insightface_backend import InsightFaceAnalyzer, missing_parts
from facexcli.faces.source import find_source_face
from facexcli.media.image import IMAGE_SUFFIXES, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.types import Array

SAME_PERSON_DISTANCE = 0.6
"""dlib's own word on its raw descriptors."""


@dataclass(frozen=True, slots=True)
class Portrayal:
    """What the embedders say of one face. descriptor: dlib's, float32 (128,), raw; embedding: the judge's, any norm."""

    descriptor: Array
    embedding: Array


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures of known people, for retrieval and to say what the judge's figures mean. Rows are pictures."""

    labels: tuple[str, ...]
    paths: tuple[Path, ...]
    portrayals: tuple[Portrayal, ...]

    def nearest_people(self, portrayal: Portrayal, count: int) -> list[str]:
        """The `count` people whose nearest picture is most similar, the most similar first."""
        best: dict[str, float] = {}
        for label, other in zip(self.labels, self.portrayals, strict=True):
            best[label] = max(best.get(label, -1.0), cosine_similarity(portrayal.embedding, other.embedding))
        return sorted(best, key=lambda label: -best[label])[:count]

    def including(self, stills: Sequence[Path], source: Portrayal) -> tuple[Gallery, str]:
        """The gallery with the source among the candidates, and whom it calls the source."""
        for label, path in zip(self.labels, self.paths, strict=True):
            if any(still.exists() and still.samefile(path) for still in stills):
                return self, label
        name = str(stills[0])
        return Gallery((*self.labels, name), (*self.paths, stills[0]), (*self.portrayals, source)), name

    def describe(self) -> str:
        """Mean similarity and distance of pictures of the same person, and of different people."""
        pairs: dict[bool, list[tuple[float, float]]] = defaultdict(list)
        for (a, one), (b, other) in combinations(zip(self.labels, self.portrayals, strict=True), 2):
            pairs[a == b].append((similarity(one, other), identity_distance(one.descriptor, other.descriptor)))
        told = [
            f"{name} {np.mean([s for s, _ in pairs[same]]):.3f} ({np.mean([d for _, d in pairs[same]]):.3f})"
            for same, name in ((True, "same person"), (False, "different people"))
            if pairs[same]
        ]
        return (
            f"over {len(self.labels)} pictures of {len(set(self.labels))} people, similarity (distance): "
            + ", ".join(told)
        )


class IdentityJudge:
    """dlib's descriptor, and ArcFace for the cosine similarity where its weights are installed.

    Attributes:
        name: which embedder gives the similarity.
    """

    def __init__(self, dlib: DlibAnalyzer) -> None:
        self._dlib = dlib
        self.why_not_arcface = missing_parts(None)
        self._arcface = None if self.why_not_arcface else InsightFaceAnalyzer()
        self.name = "dlib ResNet descriptor" if self._arcface is None else "ArcFace (insightface buffalo_l)"

    def portray(self, rgb: Array, landmarks_px: Array) -> Portrayal:
        """Of a face in a picture with square pixels, uint8 (H, W, 3)."""
        descriptor = self._dlib.descriptor(rgb, landmarks_px)
        embedding = descriptor if self._arcface is None else self._arcface.embed(rgb, landmarks_px)
        return Portrayal(descriptor, embedding)

    def portray_still(self, path: Path, rgb: Array | None = None) -> Portrayal:
        """Of the largest face of a still. Raises InputError or NoFaceError, naming the file."""
        picture = read_image(path) if rgb is None else rgb
        try:
            face = find_source_face(picture, self._dlib)
        except NoFaceError as error:
            raise NoFaceError(f"{path}: {error.message}", error.hint) from error
        return self.portray(picture, face.landmarks_px)

    def close(self) -> None:
        """Give back the models that were opened here."""
        if self._arcface is not None:
            self._arcface.close()


def similarity(a: Portrayal, b: Portrayal) -> float:
    """Cosine of the judge's embeddings, -1..1."""
    return cosine_similarity(a.embedding, b.embedding)


def distance(a: Portrayal, b: Portrayal) -> float:
    """dlib's raw distance; below `SAME_PERSON_DISTANCE` its authors call two pictures the same person."""
    return identity_distance(a.descriptor, b.descriptor)


def mean_portrayal(portrayals: Sequence[Portrayal]) -> Portrayal:
    """Of several pictures of one person."""
    return Portrayal(
        np.mean([item.descriptor for item in portrayals], axis=0),
        np.mean([item.embedding for item in portrayals], axis=0),
    )


def load_gallery(folder: Path, judge: IdentityJudge, reporter: Reporter) -> Gallery:
    """The pictures of a folder of people. Who is on a picture: its sub-folder, or its name up to the first "_".

    Pictures without a face are left out, with a warning. Raises InputError for a folder without pictures, UsageError
    for fewer than two people.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", "give a folder with a picture of each candidate")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"{folder}: no pictures in this folder", "give a folder with JPEG, PNG or WebP pictures")
    reporter.emit(StageStarted("prepare", len(paths), "pictures"))
    kept: list[tuple[str, Path, Portrayal]] = []
    for number, path in enumerate(paths, start=1):
        try:
            kept.append((_who(path, folder), path, judge.portray_still(path)))
        except (InputError, NoFaceError) as error:
            reporter.emit(Warned(f"left out: {error.message}"))
        reporter.emit(StageAdvanced("prepare", number, 0.0))
    reporter.emit(StageFinished("prepare", len(paths), 0.0))
    if len({label for label, _, _ in kept}) < 2:
        raise UsageError(
            f"{folder} shows fewer than two people", "a sub-folder a person, or names such as alice_1.jpg, bob_1.jpg"
        )
    labels, files, portrayals = zip(*kept, strict=True)
    return Gallery(labels, files, portrayals)


def _who(path: Path, folder: Path) -> str:
    inside = path.relative_to(folder)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem.split("_")[0]
