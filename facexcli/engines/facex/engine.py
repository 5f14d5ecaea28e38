"""FaceX as an engine (`--engine facex`). Its network is loaded when the first face is prepared; torch no sooner."""

from __future__ import annotations

import threading
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from facexcli.device import choose_device
from facexcli.engines.base import EngineOptions, EngineSpec
from facexcli.errors import NoFaceError, UsageError, WeightsError
from facexcli.recipes import HEAD_REGIONS, MOTION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.render import FaceXRenderer, FaceXState
    from facexcli.engines.facex.running import Running
    from facexcli.recipes import Attribute
    from facexcli.types import Crop, EditRequest, Motion, Patch, TemplateName

_DEFAULT_SIZES_PX = (512,)
_TEMPLATES: dict[str, TemplateName] = {
    "swap": "ffhq", "head-swap": "head", "edit": "ffhq", "inpaint": "ffhq", "reenact": "head", "animate": "head",
}  # fmt: skip
_MIXED: tuple[Attribute, ...] = (*MOTION, *HEAD_REGIONS, "lighting")


class FaceXEngine:
    """One network for many tasks: it makes a face out of noise, from whatever the recipe's providers give."""

    def __init__(self) -> None:
        self.spec = _spec(_DEFAULT_SIZES_PX)
        self._options = EngineOptions()
        self._config: FaceXConfig | None = None
        self._renderer: FaceXRenderer | None = None
        self._lock = threading.Lock()

    def configure(self, options: EngineOptions) -> None:
        """See `Configurable.configure`. Reads the configuration of `--weights`, and not the weights yet.

        Raises UsageError without torch, or for what an exported network cannot do, WeightsError for weights that are
        not there or no checkpoint.
        """
        weights = _weights(options)
        options.check_amounts("facex", ())
        if is_graph(weights):
            from facexcli.engines.facex.graph_execution import check_options
            from facexcli.engines.facex.graph_file import read_graph_config

            check_options(options)
            config = read_graph_config(weights)
            self.spec = replace(_spec((config.size_px,)), extras=("onnx",), checks_device=True)
        else:
            from facexcli.engines.facex.backbone import check_unet, checkpoint_of, unet_place
            from facexcli.engines.facex.checkpoint import read_config
            from facexcli.engines.facex.running import default_batch

            config = read_config(checkpoint_of(weights))
            if options.unet is not None:
                check_unet(config, unet_place(options.unet))
            self.spec = _spec((config.size_px,), default_batch(options))
        self._options, self._config = options, config

    @property
    def perception(self) -> tuple[str, ...]:
        """See `Outspoken`."""
        if self._config is None:
            return ()
        from facexcli.engines.facex.extractors import extractor_names

        return extractor_names(self._config)

    def forewarnings(self) -> tuple[str, ...]:
        """See `Outspoken`: a network on Stable Diffusion is slow without a graphics card, and how slow is told."""
        config, options = self._config, self._options
        if config is None or config.latent != "vae":
            return ()
        device = choose_device(options.device)
        if device.kind != "cpu":
            return ()
        from facexcli.engines.facex.cost import expectation, flop_per_face, measured_flops

        flop = flop_per_face(config, options.steps or config.steps, options.guidance)
        return (f"FaceX {config.name} on the CPU ({device.reason}): {expectation(flop, measured_flops())}",)

    def prepare(self, sources: Sequence[Crop], motion: Motion | None = None) -> FaceXState:
        """See `Engine.prepare`. Raises WeightsError for weights that turn out to be damaged, or to lack a part."""
        if not sources:
            raise NoFaceError("no still of the source has a face")
        return self._opened().prepare(sources, motion)

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        """See `Engine.render`."""
        return self._opened().render(requests) if requests else []

    def close(self) -> None:
        """Forget the network."""
        with self._lock:
            renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()

    def _opened(self) -> FaceXRenderer:
        with self._lock:
            if self._renderer is None:
                from facexcli.engines.facex.render import FaceXRenderer

                self._renderer = FaceXRenderer(_run_by(_weights(self._options), self._options), self._options)
            return self._renderer


def is_graph(weights: Path) -> bool:
    """Whether a file was exported, and is run by onnxruntime."""
    return weights.suffix.lower() == ".onnx"


def _weights(options: EngineOptions) -> Path:
    """What `--weights` names. Nothing is guessed: untrained weights would answer too, with noise."""
    exported = options.weights is not None and is_graph(options.weights)
    if not exported and (find_spec("torch") is None or find_spec("diffusers") is None):
        raise UsageError(
            "engine 'facex' needs torch and diffusers",
            "pip install 'facexcli[diffusion]'; exported networks (.onnx) need onnxruntime alone",
        )
    if options.weights is None:
        raise WeightsError(
            "engine 'facex' has no weights: nobody has published any",
            "train them with `facex train facex`, and name them with --weights FILE",
        )
    return options.weights


def _run_by(weights: Path, options: EngineOptions) -> Running:
    """The network of `weights` with whatever runs it."""
    if is_graph(weights):
        from facexcli.engines.facex.graph_execution import open_graph_execution

        return open_graph_execution(weights, options)
    from facexcli.engines.facex.backbone import load_network
    from facexcli.engines.facex.execution import open_execution

    return open_execution(load_network(weights, options.unet), options)


def _spec(sizes_px: tuple[int, ...], batch: int = 1) -> EngineSpec:
    return EngineSpec(
        name="facex",
        recipes=frozenset(_TEMPLATES),
        crop_sizes_px=sizes_px,
        templates=dict(_TEMPLATES),
        summary="diffusion: one network for many tasks (FaceX, 2024); takes weights of your own training",
        licence="Apache-2.0; weights as those who trained them say",
        takes={"swap": _MIXED, "head-swap": _MIXED, "edit": ("identity", *_MIXED), "inpaint": ("identity", *_MIXED)},
        extras=("diffusion",),
        batch=batch,
        needs_own_weights=True,
    )
