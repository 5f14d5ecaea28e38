"""DiffFAE as an engine (`--engine difffae`). Its network is loaded when the first face is prepared; torch no sooner."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

from facexcli.engines.base import EngineOptions, EngineSpec
from facexcli.errors import NoFaceError, UsageError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from facexcli.engines.difffae.config import DiffFAEConfig
    from facexcli.engines.difffae.physical import PhysicalModel
    from facexcli.engines.difffae.render import DiffFAERenderer, DiffFAEState
    from facexcli.recipes import Attribute
    from facexcli.types import Array, Crop, EditRequest, Motion, Patch

_DEFAULT_SIZES_PX = (256,)
_PHYSICAL: tuple[Attribute, ...] = ("pose", "expression", "lighting")
_EDITED: tuple[Attribute, ...] = (*_PHYSICAL, "hair", "clothes", "background")
CHECKPOINT = "difffae.safetensors"


class DiffFAEEngine:
    """Edits pose, expression and light of a portrait, each from its own query, and what its slots stand for."""

    def __init__(self) -> None:
        self.spec = _spec(_DEFAULT_SIZES_PX)
        self._options = EngineOptions()
        self._config: DiffFAEConfig | None = None
        self._renderer: DiffFAERenderer | None = None
        self._lock = threading.Lock()

    def configure(self, options: EngineOptions) -> None:
        """See `Configurable.configure`. Reads the configuration of `--weights`, and not the weights yet.

        Raises UsageError without torch and for what DiffFAE does not know, WeightsError for weights that are not there
        or no checkpoint.
        """
        file = _checkpoint(options)
        options.check_amounts("difffae", _PHYSICAL)
        if options.guidance != 1:
            raise UsageError("engine 'difffae' knows no --guidance", "leave it out")
        if options.compiled == "on":
            raise UsageError("engine 'difffae' is not compiled", "leave out --compile")
        from facexcli.engines.difffae.checkpoint import read_config

        self._config = read_config(file)
        self.spec = _spec((self._config.size_px,))
        self._options = options

    @property
    def perception(self) -> tuple[str, ...]:
        """See `Outspoken`."""
        if self._config is None:
            return ()
        return (f"physical {self._config.physical}", f"identity {self._config.identity}")

    def forewarnings(self) -> tuple[str, ...]:
        """See `Outspoken`: a network of the paper's size is slow without a graphics card."""
        from facexcli.device import choose_device

        if self._config is None or self._config.latent == "unshuffle":
            return ()
        device = choose_device(self._options.device)
        if device.kind != "cpu":
            return ()
        from facexcli.engines.difffae.cost import flop_per_face
        from facexcli.engines.facex.cost import expectation, measured_flops

        flop = flop_per_face(self._config, self._options.steps or self._config.steps)
        told = expectation(flop, measured_flops())
        return (f"DiffFAE {self._config.name} on the CPU ({device.reason}): {told}",)

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> DiffFAEState:
        """See `Engine.prepare`. Raises WeightsError for weights that turn out to be damaged, or to lack a part."""
        if not sources:
            raise NoFaceError("no still of the source has a face")
        return self._opened().prepare(sources, motion)

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """See `Engine.render`."""
        return self._opened().render(requests) if requests else []

    def slots_of(self, crop: Crop) -> Array:
        """See `Slotted`."""
        return self._opened().slots_of(crop)

    def close(self) -> None:
        """Forget the network."""
        self._renderer = None

    def _opened(self) -> DiffFAERenderer:
        with self._lock:
            if self._renderer is None:
                file = _checkpoint(self._options)
                from facexcli.engines.difffae.checkpoint import load_network
                from facexcli.engines.difffae.render import DiffFAERenderer

                network = load_network(file)
                physical, identity = _physical(network.config), _identity(network.config)
                self._renderer = DiffFAERenderer(network, self._options, physical, identity)
            return self._renderer


def _checkpoint(options: EngineOptions) -> Path:
    """What `--weights` names. Nothing is guessed: untrained weights would answer too, with noise."""
    if find_spec("torch") is None or find_spec("diffusers") is None:
        raise UsageError("engine 'difffae' needs torch and diffusers", "pip install 'facexcli[diffusion]'")
    path = options.weights
    if path is None:
        raise WeightsError(
            "engine 'difffae' has no weights: nobody has published any",
            "train them with `facex train difffae`, and name them with --weights FILE",
        )
    if not path.is_dir():
        return path
    found = [path / name for name in (CHECKPOINT, "best.safetensors") if (path / name).is_file()]
    if not found:
        raise WeightsError(f"{path}: there is no {CHECKPOINT} in this folder", "name a checkpoint with --weights FILE")
    return found[0]


def _physical(config: DiffFAEConfig) -> PhysicalModel:
    """What finds coefficients and renders them. Raises WeightsError where FLAME's files are not installed."""
    if config.physical == "flame":
        from facexcli.engines.difffae.flame import open_flame

        return open_flame()
    from facexcli.engines.difffae.embedded_face import EmbeddedFace

    return EmbeddedFace()


def _identity(config: DiffFAEConfig) -> Callable[[Crop], Array] | None:
    """f_id as the network was trained on it. Raises WeightsError where ArcFace is not installed."""
    if config.identity == "none":
        return None
    if config.identity == "dlib":
        from facexcli.engines.facex.identity import DlibIdentity

        dlib = DlibIdentity()
        return lambda crop: dlib(crop)[0]
    from facexcli.engines.difffae.arcface import open_arcface

    return open_arcface()


def _spec(sizes_px: tuple[int, ...]) -> EngineSpec:
    return EngineSpec(
        name="difffae",
        recipes=frozenset({"edit", "reenact"}),
        crop_sizes_px=sizes_px,
        templates={"edit": "ffhq", "reenact": "ffhq"},
        summary="diffusion: pose, expression and light, each from its own picture (DiffFAE, 2024); weights of your own",
        licence="Apache-2.0; weights as those who trained them say",
        takes={"edit": _EDITED},
        extras=("diffusion",),
        relights=True,
        needs_own_weights=True,
    )
