"""The embedded engine: classical geometry on 68 landmarks. No network, no torch, any CPU."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from facexcli.engines.base import EngineSpec
from facexcli.engines.mesh.swap import SwapState, prepare_swap, render_swap
from facexcli.errors import NoFaceError
from facexcli.fusion.mask import region_masks
from facexcli.recipes import FACE_REGIONS
from facexcli.types import Array, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Crop, EditRequest, Motion


class MeshState:
    """What is known of one person. Each kind of task digests it when it first asks, so that none pays for the other."""

    def __init__(self, sources: Sequence[Crop], motion: Motion | None) -> None:
        self._sources = tuple(sources)
        self._motion = motion
        self._queried: dict[int, tuple[Crop, SwapState]] = {}

    @cached_property
    def swap(self) -> SwapState:
        return prepare_swap(self._sources, self._motion)

    @cached_property
    def motion(self) -> Any:
        from facexcli.engines.mesh.motion import prepare_motion

        return prepare_motion(self._sources, self._motion)

    def queried(self, crop: Crop) -> SwapState:
        """A third person's still, digested once. The crop is kept with it, so that its identity stays its own."""
        if id(crop) not in self._queried:
            self._queried[id(crop)] = crop, prepare_swap([crop], self._motion)
        return self._queried[id(crop)][1]


class MeshEngine:
    """Swaps by warping the source's texture onto the canvas's face; reenacts by moving the canvas's own texture."""

    spec = EngineSpec(
        name="mesh",
        recipes=frozenset({"swap", "reenact"}),
        crop_sizes_px=(384, 256, 320, 448, 512, 640, 768, 1024),
        templates={"swap": "ffhq", "reenact": "head"},
        summary="embedded: warps by 68 landmarks; any CPU, no weights, no network",
        licence="Apache-2.0",
        takes={"swap": FACE_REGIONS},
        view_reach_deg=(32.0, 62.0),
        generates=False,
    )

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> MeshState:
        """See `Engine.prepare`. Raises NoFaceError when `sources` is empty."""
        if not sources:
            raise NoFaceError("no still of the source has a face")
        return MeshState(sources, motion)

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """See `Engine.render`."""
        return [self._render_one(request) for request in requests]

    def close(self) -> None:
        """Nothing is held."""

    def _render_one(self, request: EditRequest) -> Patch:
        state: MeshState = request.identity
        if request.recipe.moves:
            from facexcli.engines.mesh.motion import render_motion

            return render_motion(state.motion, request)
        patch = render_swap(state.swap, request)
        for region, crop in request.providers.items():
            mask = region_masks(request.canvas.landmarks_px, request.canvas.size_px)[region]
            patch = _mixed(patch, render_swap(state.queried(crop), request), mask)
        return patch


def _mixed(patch: Patch, other: Patch, share: Array) -> Patch:
    """`other` where `share`, float32 (S, S), is 1."""
    rgb = patch.rgb + (other.rgb - patch.rgb) * share[..., None]
    return Patch(rgb, patch.alpha + (other.alpha - patch.alpha) * share, patch.warnings + other.warnings)
