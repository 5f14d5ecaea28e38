"""The engine that changes nothing: what everything around an engine does, and costs, is seen with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.engines.base import EngineSpec
from facexcli.errors import NoFaceError
from facexcli.types import Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Crop, EditRequest, Motion


class UnchangedEngine:
    """Gives every crop back as it came."""

    spec = EngineSpec(
        name="unchanged",
        recipes=frozenset({"swap"}),
        crop_sizes_px=(384, 256, 320, 448, 512, 640, 768, 1024),
        templates={"swap": "ffhq"},
        summary="gives every face back as it was: to check and measure all the rest",
        licence="Apache-2.0",
        relights=True,
        generates=False,
    )

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> Any:
        """See `Engine.prepare`. Raises NoFaceError when `sources` is empty, as every engine does."""
        del motion
        if not sources:
            raise NoFaceError("no still of the source has a face")

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """See `Engine.render`."""
        return [_same(request.canvas) for request in requests]

    def close(self) -> None:
        """Nothing is held."""


def _same(crop: Crop) -> Patch:
    rgb = np.multiply(crop.rgb, np.float32(1 / 255), dtype=np.float32)
    return Patch(rgb, np.ones(crop.rgb.shape[:2], np.float32))
