"""A picture of the slots that an engine takes a portrait apart into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.engines.base import Slotted
from facexcli.engines.difffae.roles import painted_slots
from facexcli.errors import UsageError
from facexcli.media.image import write_image
from facexcli.media.probe import probe
from facexcli.pipeline.destination import check_free
from facexcli.pipeline.models import Models
from facexcli.pipeline.people import largest_face, portrait_still

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.pipeline.plan import Plan
    from facexcli.types import Array

_SIDE_PX = 256


def write_slots(plan: Plan, path: Path, reporter: Reporter, overwrite: bool = False) -> None:
    """Write the canvas's face, where each slot looks, in grey, and all of them in colours, side by side.

    Raises UsageError for an engine without slots, NoFaceError, and OutputError.
    """
    check_free(path, overwrite)
    with Models() as models:
        engine = models.engine(plan).engine
        if not isinstance(engine, Slotted):
            raise UsageError(f"engine {engine.spec.name!r} has no slots to show", "--engine difffae has")
        analyzer, _ = models.analyzer(plan)
        info = probe(plan.canvas.path)
        tracks = largest_face(info, plan.settings, analyzer, reporter)
        crop = portrait_still(info, tracks).crop(engine.spec.templates["edit"], engine.spec.crop_sizes_px[0])
        write_image(path, slots_picture(crop.rgb, engine.slots_of(crop)))


def slots_picture(rgb: Array, masks: Array) -> Array:
    """uint8 (_SIDE_PX, _SIDE_PX * (K + 2), 3) of a crop (S, S, 3) and masks (K, g, g)."""

    def enlarged(picture: Array, interpolation: int) -> Array:
        return np.asarray(cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=interpolation))

    smooth = [enlarged(np.asarray(mask, np.float32), cv2.INTER_LINEAR) for mask in masks]
    grey = [np.repeat(np.rint(255 * mask)[..., None], 3, axis=2) for mask in smooth]
    painted = painted_slots(np.stack(smooth)[None])[0]
    return np.concatenate([enlarged(rgb, cv2.INTER_AREA), *grey, painted], axis=1).astype(np.uint8)
