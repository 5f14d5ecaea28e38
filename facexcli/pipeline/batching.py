"""Which faces an engine is given at once: across frames, and across the faces of a frame that do not touch each other.

The result is that of one face after the other, whatever the size of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facexcli.affine import transform_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from facexcli.pipeline.painter import CanvasFace, Job
    from facexcli.types import Array

_MARGIN_PX = 4.0
_MARGIN_CROP_PX = 2.0
"""A crop is interpolated, and half of the colours of a frame may be missing: it reaches this far beyond its border."""


def in_batches(jobs: Iterable[Job], batch: int, crop_px: int) -> Iterator[tuple[Job, ...]]:
    """Frames in order, so many together that their faces fill a batch, and never more than `batch` of them."""
    chosen: list[Job] = []
    faces = 0
    for job in jobs:
        chosen.append(job)
        faces += sum(turn == 0 for turn in turns(job.faces, crop_px))
        if faces >= batch or len(chosen) >= batch:
            yield tuple(chosen)
            chosen, faces = [], 0
    if chosen:
        yield tuple(chosen)


def turns(faces: Sequence[CanvasFace], crop_px: int) -> tuple[int, ...]:
    """When each face of a frame can be painted: after all before it whose crops touch its own, which see their work."""
    if len(faces) < 2:
        return (0,) * len(faces)
    boxes = [_box_px(face.placed.crop_from_frame, crop_px) for face in faces]
    found: list[int] = []
    for place, box in enumerate(boxes):
        before = [found[earlier] for earlier in range(place) if _meet(boxes[earlier], box)]
        found.append(max(before, default=-1) + 1)
    return tuple(found)


def _box_px(crop_from_frame: Array, crop_px: int) -> Array:
    """Around a crop and what it is interpolated from: float64 (2, 2), low and high corner in frame pixels."""
    frame_from_crop = np.linalg.inv(crop_from_frame)
    corners = transform_points(frame_from_crop, crop_px * np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    margin = _MARGIN_PX + _MARGIN_CROP_PX * float(np.linalg.norm(frame_from_crop[:2, 0]))
    return np.stack([corners.min(axis=0) - margin, corners.max(axis=0) + margin])


def _meet(one: Array, other: Array) -> bool:
    return bool((one[0] <= other[1]).all() and (other[0] <= one[1]).all())
