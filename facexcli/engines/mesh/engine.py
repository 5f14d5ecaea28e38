"""The embedded engine: classical geometry on 68 landmarks. No network, no torch, any CPU."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from facexcli.engines.base import EngineOptions, EngineSpec
from facexcli.engines.mesh.swap import SwapState, prepare_swap, render_swap
from facexcli.errors import NoFaceError, UsageError
from facexcli.fusion.mask import region_masks, rim_alpha
from facexcli.recipes import FACE_REGIONS
from facexcli.types import Array, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facexcli.types import Crop, EditRequest, Motion


_MOST_LIGHTS = 16


class MeshState:
    """What is known of one person. Each kind of task digests it when it first asks, so that none pays for the other."""

    def __init__(self, sources: Sequence[Crop], motion: Motion | None) -> None:
        self._sources = tuple(sources)
        self._motion = motion
        self._queried: dict[int, tuple[Crop, SwapState]] = {}
        self._lights: dict[int, tuple[Crop, Array]] = {}

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

    @cached_property
    def light(self) -> Array:
        """That on the first still. It stands for a whole video, so that what is read off single frames cannot flicker,
        and light that changes goes on changing."""
        from facexcli.engines.lighting import light_on

        return light_on(self._sources[0])

    def light_of(self, crop: Crop) -> Array:
        """That on somebody else, read once off a still."""
        from facexcli.engines.lighting import light_on

        if id(crop) not in self._lights:
            if len(self._lights) > _MOST_LIGHTS:  # frames of a video go by
                self._lights.clear()
            self._lights[id(crop)] = crop, light_on(crop)
        return self._lights[id(crop)][1]


class MeshEngine:
    """Swaps by warping the source's texture onto the canvas's face; reenacts by moving the canvas's own texture; edits
    the light by shading the embedded face's surface."""

    spec = EngineSpec(
        name="mesh",
        recipes=frozenset({"swap", "reenact", "edit"}),
        crop_sizes_px=(384, 256, 320, 448, 512, 640, 768, 1024),
        templates={"swap": "ffhq", "reenact": "head", "edit": "ffhq"},
        summary="embedded: warps by 68 landmarks; any CPU, no weights, no network",
        licence="Apache-2.0",
        takes={"swap": FACE_REGIONS, "edit": ("lighting",)},
        view_reach_deg=(32.0, 62.0),
        generates=False,
    )

    def __init__(self) -> None:
        self._options = EngineOptions()

    def configure(self, options: EngineOptions) -> None:
        """See `Configurable.configure`. Raises UsageError for weights, which there are none of."""
        if options.weights is not None:
            raise UsageError("engine 'mesh' takes no --weights", "name the one that does with --engine")
        options.check_amounts("mesh", self.spec.takes["edit"])
        self._options = options

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
        if request.recipe.name == "edit":
            return self._relit(state, request)
        patch = render_swap(state.swap, request)
        for region, crop in request.providers.items():
            mask = region_masks(request.canvas.landmarks_px, request.canvas.size_px)[region]
            patch = _mixed(patch, render_swap(state.queried(crop), request), mask)
        return patch

    def _relit(self, state: MeshState, request: EditRequest) -> Patch:
        from facexcli.engines.lighting import mixed_light, relit

        wanted = state.light_of(request.providers["lighting"])
        light = mixed_light(state.light, wanted, self._options.amount("lighting"))
        picture, changed = relit(request.canvas, light, state.light)
        return Patch(picture, changed * rim_alpha(request.canvas.size_px), outlined=True)


def _mixed(patch: Patch, other: Patch, share: Array) -> Patch:
    """`other` where `share`, float32 (S, S), is 1."""
    rgb = patch.rgb + (other.rgb - patch.rgb) * share[..., None]
    return Patch(rgb, patch.alpha + (other.alpha - patch.alpha) * share, patch.warnings + other.warnings)
