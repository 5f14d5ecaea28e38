"""How the network is run: what is made once, what is filled up and compiled, and what happens where it cannot be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.diffusion.schedule import SamplingPlan  # noqa: E402
from facexcli.engines.base import EngineOptions  # noqa: E402
from facexcli.engines.facex import compiled as compiling  # noqa: E402
from facexcli.engines.facex.execution import (  # noqa: E402
    Execution,
    Layout,
    choose_dtype,
    open_execution,
)
from facexcli.engines.facex.model import joined  # noqa: E402
from facexcli.engines.facex.render import FaceXRenderer  # noqa: E402
from facexcli.engines.facex.running import made_faces, made_inputs  # noqa: E402
from facexcli.errors import UsageError  # noqa: E402
from facexcli.recipes import recipe_named  # noqa: E402
from facexcli.types import Crop, EditRequest  # noqa: E402

CPU = torch.device("cpu")


def run_on(network: Any, batch: int = 1, steps: int = 3, **layout: Any) -> Execution:
    plan = SamplingPlan("dpm++", steps, karras=True, prediction=network.config.prediction)
    return Execution(network, plan, Layout(CPU, layout.pop("dtype", torch.float32), batch, **layout))


def renderer_of(network: Any, **options: Any) -> FaceXRenderer:
    chosen = EngineOptions(device="cpu", **options)
    return FaceXRenderer(open_execution(network, chosen), chosen)


@contextmanager
def counted(module: Any) -> Iterator[list[int]]:
    """How many rows each call of a module had."""
    calls: list[int] = []
    handle = module.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    yield calls
    handle.remove()


@pytest.mark.parametrize(("sampler", "passes"), [("dpm++", 3), ("ddim", 3), ("pndm", 4)])
def test_guidance_of_one_runs_the_network_once_a_step(network: Any, sampler: str, passes: int) -> None:
    for guidance, factor in ((1.0, 1), (2.0, 2)):
        plan = SamplingPlan(sampler, 3, prediction=network.config.prediction)  # type: ignore[arg-type]
        execution = Execution(network, plan, Layout(CPU, torch.float32, 1, guidance))
        with counted(network.unet) as calls:
            execution.sampled(made_inputs(execution))
        assert len(calls) == factor * passes


def test_time_embeddings_are_made_once_and_change_no_bit(network: Any) -> None:
    execution = run_on(network, batch=2)
    given = made_inputs(execution)
    with counted(network.unet.time_embedding.linear_1) as calls:
        first, again = execution.sampled(given), execution.sampled(given)
    assert len(calls) == 3, "once for each timestep"
    assert np.array_equal(first, again)
    without = run_on(network, batch=2)
    without.time_embedding = lambda timestep, batch: None  # type: ignore[method-assign, assignment, return-value]
    without.denoise = (  # type: ignore[method-assign]
        lambda latent, timestep, steering, channels, embedding: network.denoise(
            latent, timestep, steering, channels, None
        )
    )
    assert np.array_equal(without.sampled(given), first)


def test_the_null_branch_made_once_changes_no_bit(network: Any) -> None:
    execution = run_on(network, guidance=2.0)
    given = made_inputs(execution)
    first = execution.sampled(given)
    assert np.array_equal(execution.sampled(given), first)
    execution._null_steering = network.null_steering  # type: ignore[method-assign]
    assert np.array_equal(execution.sampled(given), first)


def test_tokens_of_a_batch_are_those_of_its_faces(network: Any) -> None:
    execution = run_on(network, batch=2)
    faces = made_faces(network.config, 3)
    rows = execution.tokens(faces)
    assert len(rows) == 3
    for row, alone in enumerate(execution.tokens(faces[:1])):
        assert torch.equal(joined(list(rows[row].values())), joined(list(alone.values())))


def test_a_batch_is_filled_up_so_that_a_face_is_the_same_in_any_company(network: Any) -> None:
    execution = run_on(network, batch=4)
    whole = made_inputs(execution)
    together = execution.sampled(whole)
    alone = execution.sampled(replace(whole.mapped(lambda values: values[:1]), context=whole.context[:1]))
    assert alone.shape[0] == 1 and np.array_equal(alone[0], together[0])


def test_a_batch_that_shrank_still_takes_what_was_meant_for_it(network: Any) -> None:
    execution = run_on(network, batch=4, guidance=2.0)
    whole = made_inputs(execution)
    expected = execution.sampled(whole)
    execution.shrink(1)
    np.testing.assert_allclose(execution.sampled(whole), expected, atol=2e-4, rtol=1e-3)


def test_precision_is_chosen_by_the_device(network: Any) -> None:
    assert choose_dtype(CPU, "auto") == torch.float32 and choose_dtype(CPU, "bf16") == torch.bfloat16
    with pytest.raises(UsageError, match="graphics cards"):
        choose_dtype(CPU, "fp16")
    half = run_on(network, dtype=torch.bfloat16)
    given = made_inputs(half)
    rough = half.sampled(given)
    assert rough.dtype == np.float32 and np.isfinite(rough).all()
    exact = half.precise()
    assert exact.layout.dtype == torch.float32 and exact.network is not half.network


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """In the place of torch.compile: hands the function back, and remembers how it was asked and in which threads."""
    seen: dict[str, Any] = {"functions": [], "threads": set(), "options": {}}

    def stand_in(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        seen["functions"].append(function.__name__)
        seen["options"] = options

        def run(*arguments: Any) -> Any:
            seen["threads"].add(threading.current_thread().name)
            if seen.get("broken"):
                raise seen["broken"]
            return function(*arguments)

        return run

    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    monkeypatch.setattr(torch, "compile", stand_in)
    return seen


def test_everything_is_compiled_for_fixed_shapes_and_run_in_one_thread(
    network: Any, compiler: dict[str, Any], tmp_path: Path
) -> None:
    expected = run_on(network).sampled(given := made_inputs(run_on(network)))
    execution = run_on(network, compiled=True)
    execution.warm_up()
    assert compiler["functions"] == ["tokens", "inpainting_tokens", "steering", "denoise", "encode", "decode"]
    assert compiler["options"] == {"mode": None, "fullgraph": True, "dynamic": False}
    assert np.array_equal(execution.sampled(given), expected)
    (thread,) = compiler["threads"]
    assert thread.startswith("device") and not execution.doubts
    execution.close()
    execution.close()
    compiling.compiled(network.denoise, on_cuda=True)
    assert compiler["options"]["mode"] == "max-autotune"
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).is_relative_to(tmp_path)


def test_the_users_own_cache_folder_stays(
    compiler: dict[str, Any], monkeypatch: pytest.MonkeyPatch, network: Any
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/theirs")
    compiling.compiled(network.denoise, on_cuda=False)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/theirs"


def test_results_of_cuda_graphs_are_copied_before_the_next_call_takes_their_place(compiler: dict[str, Any]) -> None:
    place = torch.zeros(2)

    def answer(value: float) -> torch.Tensor:
        return place.fill_(value)

    run = compiling.compiled(answer, on_cuda=True)
    first, second = run(1.0), run(2.0)
    assert first.tolist() == [1, 1] and second.tolist() == [2, 2]


def test_what_cannot_be_compiled_runs_as_it_is_and_says_why(
    network: Any, compiler: dict[str, Any], crop: Callable[..., Crop]
) -> None:
    def rendered(**options: Any) -> Any:
        renderer = renderer_of(network, steps=2, **options)
        identity = renderer.prepare([crop(0)])
        (patch,) = renderer.render([EditRequest(crop(10), identity, recipe_named("swap"))])
        renderer.close()
        return patch

    expected = rendered()
    compiler["broken"] = RuntimeError("\n Failed to find C compiler.\n and a page of more")
    patch = rendered(compiled="on")
    np.testing.assert_array_equal(patch.rgb, expected.rgb)
    (told,) = patch.warnings
    assert "not compiled" in told and "RuntimeError: Failed to find C compiler." in told


def test_the_network_is_one_graph(network: Any) -> None:
    """Whatever breaks a graph in two would cost a wait at every step. Traced, and run without generating code."""
    steering = network.steering(torch.randn(1, 17, network.config.width))
    seen = torch.randn(1, network.config.latent_channels, 16, 16), torch.zeros((), dtype=torch.int64)
    channels = torch.zeros(1, network.config.latent_channels + 1, 16, 16)
    embedding = network.time_embedding(torch.tensor(500), 1)
    with torch.inference_mode():
        expected = network.denoise(*seen, steering, channels, embedding)
        traced = torch.compile(network.denoise, backend="eager", fullgraph=True, dynamic=False)
        assert torch.equal(traced(*seen, steering, channels, embedding), expected)
    torch.compiler.reset()


def test_a_face_sets_out_from_the_one_before_as_far_as_it_is_told(network: Any, crop: Callable[..., Crop]) -> None:
    renderers = {share: renderer_of(network, steps=4, temporal=share) for share in (0.0, 0.5)}
    requests = {}
    for share, renderer in renderers.items():
        identity = renderer.prepare([crop(0)])
        first = EditRequest(crop(10), identity, recipe_named("swap"))
        previous = np.full((64, 64, 3), 0.5, np.float32)
        requests[share] = [first, replace(first, canvas=crop(11), previous=previous)]
    plain, following = renderers[0.0].render(requests[0.0]), renderers[0.5].render(requests[0.5])
    np.testing.assert_array_equal(plain[0].rgb, following[0].rgb)
    assert np.abs(plain[1].rgb - following[1].rgb).mean() > 1e-3
    with counted(network.unet) as calls:
        renderers[0.5].render(requests[0.5][::-1])
    assert len(calls) == 4 + 2
    with counted(network.unet) as calls:
        renderers[0.0].render(requests[0.0])
    assert len(calls) == 8
