"""Prepared faces on disk: shards in safetensors, and an index in JSON. They are mapped, never loaded whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from safetensors import SafetensorError, safe_open

from facexcli.engines.facex.config import MOTION_SIZES
from facexcli.engines.facex.ford import FaceFacts
from facexcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from facexcli.types import Array, TemplateName

FORMAT, VERSION = "facex-faces", 1
INDEX = "index.json"
MASKS_PX = 128
"""Side of stored masks, at most: regions are pooled on a grid of 64."""


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file whose faces are in a shard: `count` rows from `first`, each a view of the one person."""

    name: str
    person: str
    kind: Literal["still", "video"]
    shard: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that cannot be learned from, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Index:
    """What a folder of shards holds. fingerprint: of data and recipe; extractors: whose words the facts are."""

    fingerprint: str
    extractors: tuple[str, ...]
    files: tuple[PreparedFile, ...]
    skipped: tuple[Skipped, ...]

    def as_json(self) -> str:
        """For `INDEX`."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)


def read_index(folder: Path) -> Index | None:
    """The index of a folder, or None where there is none that can be read: it is then made anew."""
    try:
        values = json.loads((folder / INDEX).read_text("utf-8"))
        if (values["format"], values["version"]) != (FORMAT, VERSION):
            return None
        return Index(
            values["fingerprint"],
            tuple(values["extractors"]),
            tuple(PreparedFile(**row) for row in values["files"]),
            tuple(Skipped(**row) for row in values["skipped"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def shard_tensors(views: Sequence[Mapping[TemplateName, tuple[FaceFacts, Array]]]) -> dict[str, Array]:
    """Rows of a shard: for each view, its facts and its landmarks (68, 2) in each crop; nothing for no views."""
    if not views:
        return {}
    tensors: dict[str, Array] = {"identity": np.stack([view["ffhq"][0].identity for view in views])}
    for template in views[0]:
        facts, landmarks = zip(*(view[template] for view in views), strict=True)
        tensors[f"{template}/rgb"] = np.stack([face.rgb for face in facts])
        tensors[f"{template}/masks"] = np.stack([_packed(face.masks) for face in facts])
        tensors[f"{template}/landmarks"] = np.stack(landmarks).astype(np.float32)
        for name in MOTION_SIZES:
            tensors[f"{template}/{name}"] = np.stack([face.motion[name] for face in facts])
    return tensors


def shard_header(files: Sequence[PreparedFile], skipped: Sequence[Skipped]) -> dict[str, str]:
    """What a shard says of itself, so that an interrupted preparation goes on with what it has."""
    return {
        "format": FORMAT,
        "files": json.dumps([asdict(file) for file in files]),
        "skipped": json.dumps([asdict(file) for file in skipped]),
    }


def read_shard(path: Path) -> tuple[list[PreparedFile], list[Skipped]] | None:
    """What a whole shard says of itself; None for one that is not there, or damaged."""
    try:
        with safe_open(str(path), "np") as file:
            header = file.metadata() or {}
        return (
            [PreparedFile(**row) for row in json.loads(header["files"])],
            [Skipped(**row) for row in json.loads(header["skipped"])],
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


class PreparedFaces:
    """Reads views out of shards. Several threads may read. Raises InputError for shards that are damaged."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.index = index
        self._folder = folder
        self._open: dict[str, Any] = {}
        for name in sorted({file.shard for file in index.files}):
            try:
                self._open[name] = safe_open(str(folder / name), "np")
            except (OSError, SafetensorError) as error:
                raise InputError(
                    f"{folder / name}: damaged, or gone", f"remove {folder}: it is prepared again"
                ) from error

    def facts(self, file: PreparedFile, view: int, template: TemplateName) -> FaceFacts:
        """View number `view` of a file, 0 <= view < count, as perception described it."""
        row, shard = file.first + view, self._open[file.shard]

        def read(name: str) -> Array:
            return np.asarray(shard.get_slice(name)[row])

        rgb = read(f"{template}/rgb")
        masks = _unpacked(read(f"{template}/masks"), rgb.shape[0])
        motion = {name: read(f"{template}/{name}") for name in MOTION_SIZES}
        return FaceFacts(rgb, masks, read("identity"), motion, self.landmarks_px(file, view, template))

    def picture(self, file: PreparedFile, view: int, template: TemplateName) -> Array:
        """The crop of a view alone, uint8 (S, S, 3)."""
        return np.asarray(self._open[file.shard].get_slice(f"{template}/rgb")[file.first + view])

    def landmarks_px(self, file: PreparedFile, view: int, template: TemplateName) -> Array:
        """float32 (68, 2), in pixels of the crop."""
        return np.asarray(self._open[file.shard].get_slice(f"{template}/landmarks")[file.first + view])


def _packed(masks: Array) -> Array:
    """float32 (8, S, S) -> uint8 (8, M, M)."""
    side = min(MASKS_PX, masks.shape[-1])
    small = masks if side == masks.shape[-1] else _resized(masks, side)
    return np.asarray(np.round(255 * small), np.uint8)


def _unpacked(masks: Array, size_px: int) -> Array:
    """Back to float32 (8, S, S), adding up to 1."""
    large = masks.astype(np.float32)
    if size_px != masks.shape[-1]:
        large = _resized(large, size_px)
    return np.asarray(large / np.maximum(large.sum(axis=0), 1))


def _resized(masks: Array, side: int) -> Array:
    flags = cv2.INTER_AREA if side < masks.shape[-1] else cv2.INTER_LINEAR
    planes = cv2.resize(np.ascontiguousarray(masks.transpose(1, 2, 0)), (side, side), interpolation=flags)
    return np.ascontiguousarray(planes.transpose(2, 0, 1))
