"""Networks as ONNX: what onnxruntime renders is what torch renders, and no file is trusted."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from facexcli.cli.app import main  # noqa: E402
from facexcli.engines.base import EngineOptions  # noqa: E402
from facexcli.engines.facex import graph_execution  # noqa: E402
from facexcli.engines.facex.checkpoint import save_checkpoint  # noqa: E402
from facexcli.engines.facex.config import PRESETS  # noqa: E402
from facexcli.engines.facex.engine import FaceXEngine  # noqa: E402
from facexcli.engines.facex.export import export_network  # noqa: E402
from facexcli.engines.facex.graph_execution import open_graph_execution  # noqa: E402
from facexcli.engines.facex.graph_file import KEYS, STEP, metadata_of, read_graph_file  # noqa: E402
from facexcli.engines.facex.model import FaceXNetwork  # noqa: E402
from facexcli.engines.facex.render import FaceXRenderer  # noqa: E402
from facexcli.engines.onnx.providers import CPU, Providers  # noqa: E402
from facexcli.engines.onnx.wire import framed  # noqa: E402
from facexcli.errors import DeviceError, UsageError, WeightsError  # noqa: E402
from facexcli.media.image import read_image  # noqa: E402
from facexcli.recipes import Recipe, recipe_named, with_regions  # noqa: E402
from facexcli.types import Crop, EditRequest, Motion, Patch  # noqa: E402

CODE = 1 / 255
CropMaker = Callable[..., Crop]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same network as a checkpoint and as it was exported."""
    torch.manual_seed(0)
    config = PRESETS["tiny"].model_copy(update={"residual": True})
    network = FaceXNetwork(config).eval().requires_grad_(False)
    for layer in network.controller.layers.values():
        for parameter in layer.zero.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.normal_(network.regions.absent)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.05)  # else the answer is the reference
    folder = tmp_path_factory.mktemp("pair")
    save_checkpoint(network, network.config, folder / "net.safetensors")
    export_network(network, folder / "net.onnx")
    return folder / "net.safetensors", folder / "net.onnx"


@pytest.fixture
def graph(pair: tuple[Path, Path]) -> Path:
    return pair[1]


def opened(weights: Path, **options: Any) -> FaceXEngine:
    engine = FaceXEngine()
    engine.configure(EngineOptions(weights=weights, device="cpu", **options))
    return engine


def render(weights: Path, crop: CropMaker, recipe: Recipe, mask: Any = None, **options: Any) -> list[Patch]:
    """Two canvases; the second goes on from a grey face, for `temporal`."""
    engine = opened(weights, **options)
    canvases = [crop(10 + row) for row in range(2)]
    identity = engine.prepare([crop(0)], Motion(np.arange(2), np.stack([each.landmarks_px for each in canvases])))
    named = [name for name, row in recipe.rows.items() if row not in ("canvas", "source")]
    requests = [
        EditRequest(canvas, identity, recipe, {name: crop(20) for name in named}, hole_mask=mask, seed=3)
        for canvas in canvases
    ]
    requests[1] = replace(requests[1], previous=np.full((64, 64, 3), 0.5, np.float32))
    patches = engine.render(requests)
    engine.close()
    return patches


def hole() -> Any:
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    return mask


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        (recipe_named("swap"), {}),
        (recipe_named("swap"), {"swap_reference": "paste", "steps": 3}),
        (recipe_named("swap"), {"sampler": "ddim", "steps": 7}),
        (recipe_named("swap"), {"temporal": 0.5}),
        (recipe_named("reenact"), {}),
        (recipe_named("head-swap"), {"steps": 2}),
        (with_regions(recipe_named("swap"), ["lips"]), {"steps": 1}),
        (recipe_named("edit"), {"mask": hole()}),
    ],
)
def test_onnxruntime_renders_what_torch_renders(
    pair: tuple[Path, Path], crop: CropMaker, recipe: Recipe, options: dict[str, Any]
) -> None:
    by_torch, by_graph = (render(weights, crop, recipe, **options) for weights in pair)
    for one, other in zip(by_torch, by_graph, strict=True):
        assert np.abs(one.rgb - other.rgb).max() < CODE
        np.testing.assert_array_equal(one.alpha, other.alpha)
        assert one.outlined == other.outlined and not other.warnings
    assert np.abs(by_graph[0].rgb - crop(10).rgb / 255).mean() > 0.01, "something was made"


def test_a_file_is_about_as_large_as_its_weights_and_tells_nothing_of_this_machine(pair: tuple[Path, Path]) -> None:
    checkpoint, graph = pair
    assert graph.stat().st_size < 1.3 * checkpoint.stat().st_size
    content = graph.read_bytes()
    assert b".py" not in content and str(Path.home()).encode() not in content
    onnx.checker.check_model(onnx.load(str(graph)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance": 2.0}, "--guidance"),
        ({"sampler": "pndm"}, "--sampler pndm"),
        ({"unet": Path("unet")}, "--unet"),
        ({"dtype": "bf16"}, "--dtype"),
        ({"compiled": "on"}, "--compile"),
        ({"batch_size": 2}, "--batch-size"),
    ],
)
def test_what_an_exported_network_cannot_do_is_refused(graph: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        opened(graph, **options)


def changed(graph: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """The file after `change` of its model, with a hash that fits again."""
    model = onnx.load(str(graph))
    change(model)
    told = metadata_of(PRESETS["tiny"], model.graph.SerializeToString())
    for entry in model.metadata_props:
        if entry.key == "facex.sha256":
            entry.value = told[entry.key]
    path = folder / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def with_operator(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Loop", [f"{STEP}latent"], [f"{STEP}x"]))


def with_domain(model: Any) -> None:
    model.graph.node[0].domain = "com.example"


def with_inner_graph(model: Any) -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("body", inner))


def with_weights_elsewhere(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.data_location = onnx.TensorProto.EXTERNAL


def with_functions(model: Any) -> None:
    model.functions.add(name="f", domain="x")


def with_other_operators(model: Any) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


def with_another_size(model: Any) -> None:
    (config,) = [entry for entry in model.metadata_props if entry.key == "facex.config"]
    config.value = config.value.replace('"size_px":64', '"size_px":72')


def with_a_long_configuration(model: Any) -> None:
    (config,) = [entry for entry in model.metadata_props if entry.key == "facex.config"]
    config.value += " " * (1 << 17)


def with_a_strange_configuration(model: Any) -> None:
    (config,) = [entry for entry in model.metadata_props if entry.key == "facex.config"]
    config.value = PRESETS["sd15"].model_dump_json()


def with_a_later_layout(model: Any) -> None:
    (version,) = [entry for entry in model.metadata_props if entry.key == "facex.version"]
    version.value = "99"


def without_a_part(model: Any) -> None:
    del model.graph.output[-1]


def with_parts_that_meet(model: Any) -> None:
    (node,) = [node for node in model.graph.node if node.output[0] == model.graph.output[-1].name]
    node.input[0] = f"{KEYS}context"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_operator, "the operator 'Loop'"),
        (with_domain, "the operator"),
        (with_inner_graph, "holds a graph"),
        (with_weights_elsewhere, "another file"),
        (with_functions, "holds functions"),
        (with_other_operators, "none of ONNX's own"),
        (with_another_size, "'tiny' has"),
        (with_a_long_configuration, "too long"),
        (with_a_strange_configuration, "configuration cannot be read"),
        (with_a_later_layout, "layout 99"),
        (without_a_part, "lacks prediction"),
        (with_parts_that_meet, "not told apart"),
    ],
)
def test_a_file_with_anything_else_in_it_is_refused(
    graph: Path, tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        read_graph_file(changed(graph, tmp_path, change))


def test_a_field_that_is_there_twice_is_looked_at_twice(graph: Path, tmp_path: Path) -> None:
    """Of an operator's two names onnxruntime would take the last one."""
    model = onnx.load(str(graph))
    parts = [(1, node.SerializeToString()) for node in model.graph.node]
    parts[0] = (1, parts[0][1] + framed(4, b"Loop"))
    for field, rows in ((5, "initializer"), (11, "input"), (12, "output")):
        parts += [(field, each.SerializeToString()) for each in getattr(model.graph, rows)]
    content = b"".join(framed(*part) for part in parts)
    told = metadata_of(PRESETS["tiny"], content)
    for entry in model.metadata_props:
        entry.value = told[entry.key] if entry.key == "facex.sha256" else entry.value
    model.ClearField("graph")
    path = tmp_path / "twice.onnx"
    path.write_bytes(model.SerializeToString() + framed(7, content))
    with pytest.raises(WeightsError, match="the operator 'Loop'"):
        read_graph_file(path)


def foreign(_: bytes) -> bytes:
    value = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["a"], ["b"])], "g",
        [value("a", onnx.TensorProto.FLOAT, [1])], [value("b", onnx.TensorProto.FLOAT, [1])],
    )  # fmt: skip
    return bytes(onnx.helper.make_model(made).SerializeToString())


def altered(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "cut off or damaged"),
        (lambda content: b"", "empty"),
        (lambda content: b"x" * 999, "not an ONNX file"),
        (lambda content: pickle.dumps([1]), "a pickle"),
        (foreign, "does not carry its configuration"),
        (altered, "not those that were exported"),
    ],
)
def test_a_damaged_file_is_one_clear_line(
    graph: Path,
    tmp_path: Path,
    eval_data: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(damage(graph.read_bytes()))
    still = str(eval_data / "london" / "009_neutral.jpg")
    found = main(
        ["swap", still, still, "-o", str(tmp_path / "out.png"), "--engine", "facex", "--weights", str(path),
         "--progress", "none"]
    )  # fmt: skip
    said = capsys.readouterr().err
    assert found == 5 and message in said and str(path) in said and "Traceback" not in said


def test_a_network_that_answers_with_no_number_leaves_the_canvas(graph: Path, tmp_path: Path, crop: CropMaker) -> None:
    def broken(model: Any) -> None:
        (last,) = [each for each in model.graph.initializer if each.name.endswith("unet.conv_out.weight")]
        last.raw_data = np.full(last.dims, np.nan, np.float32).tobytes()

    patches = render(changed(graph, tmp_path, broken), crop, recipe_named("swap"))
    for patch, canvas in zip(patches, (crop(10), crop(11)), strict=True):
        np.testing.assert_allclose(patch.rgb, canvas.rgb / np.float32(255), atol=1e-6)
        assert not patch.alpha.any() and "left as it was" in patch.warnings[0]


BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "diffusers", "transformers", "safetensors", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.meta_path.insert(0, Blocked())
import importlib.util
whole = importlib.util.find_spec
def find_spec(name, package=None):
    try:
        return whole(name, package)
    except ModuleNotFoundError:
        return None
importlib.util.find_spec = find_spec
from facexcli.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_swap_needs_no_torch(
    pair: tuple[Path, Path], eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, graph = pair
    source, target = (str(eval_data / "london" / f"{name}.jpg") for name in ("033_neutral", "009_neutral"))

    def swap(weights: Path, out: str) -> list[str]:  # a watermark would say which weights it was
        options = ["--engine", "facex", "--weights", str(weights), "--watermark", "off", "--progress", "none"]
        return ["swap", source, target, "-o", str(tmp_path / out), *options]

    def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BLOCKED, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    done = without_torch(*swap(graph, "graph.png"))
    assert done.returncode == 0, done.stderr
    refused = without_torch(*swap(checkpoint, "no.png"))
    assert refused.returncode == 2 and "exported networks (.onnx) need onnxruntime alone" in refused.stderr
    assert main(swap(checkpoint, "torch.png")) == 0
    capsys.readouterr()
    one, other = (read_image(tmp_path / name).astype(int) for name in ("graph.png", "torch.png"))
    assert np.abs(one - other).max() <= 1 and (one != read_image(Path(target))).any()


def test_export_from_the_command_line(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(network: Any, path: Path) -> None:
        path.write_bytes(pair[1].read_bytes())

    monkeypatch.setattr("facexcli.engines.facex.export.export_network", copied)
    out = tmp_path / "net.onnx"
    command = ["models", "export", str(pair[0]), "-o", str(out)]
    assert main(command) == 0
    assert "FaceX tiny" in capsys.readouterr().out and read_graph_file(out).config.name == "tiny"
    assert main(command) == 7
    assert main([*command, "--overwrite"]) == 0
    assert main(["models", "export", str(pair[0]), "-o", str(tmp_path / "net.bin")]) == 2
    assert main(["models", "export", str(tmp_path / "none.safetensors"), "-o", str(tmp_path / "x.onnx")]) == 5
    capsys.readouterr()


def test_networks_on_stable_diffusion_stay_with_torch(tmp_path: Path) -> None:
    class Large:
        config = PRESETS["sd15"]

    with pytest.raises(UsageError, match="not exported"):
        export_network(Large(), tmp_path / "sd15.onnx")  # type: ignore[arg-type]


class Failing:
    """A session that fails with a message of onnxruntime's."""

    def __init__(self, session: Any, message: str) -> None:
        self._session, self._message = session, message

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any) -> None:
        raise RuntimeError(f"{self._message}\nand more of it")


@pytest.mark.parametrize(
    ("message", "error", "told"),
    [
        ("Failed to allocate memory for requested buffer of size 9", DeviceError, "cpu: not enough memory"),
        ("Non-zero status code returned while running Conv", WeightsError, "the network failed: Non-zero"),
    ],
)
def test_what_fails_while_it_runs_is_one_clear_error(
    graph: Path, crop: CropMaker, message: str, error: type[Exception], told: str
) -> None:
    options = EngineOptions(weights=graph, device="cpu")
    execution = open_graph_execution(graph, options)
    renderer = FaceXRenderer(execution, options)
    request = EditRequest(crop(10), renderer.prepare([crop(0)]), recipe_named("swap"))
    execution._sessions[STEP] = Failing(execution._sessions[STEP], message)
    with pytest.raises(error, match=told) as caught:
        renderer.render([request])
    assert "and more" not in str(caught.value)


def test_a_device_that_does_not_start_is_left_where_nobody_asked_for_it(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerated = Providers(("CUDAExecutionProvider", CPU), "the first CUDA device", "cuda")
    monkeypatch.setattr(graph_execution, "providers_for", lambda device: accelerated)
    execution = open_graph_execution(graph, EngineOptions(weights=graph, device="auto"))
    assert execution.place == "cpu" and "runs on the CPU" in execution.doubts[0]
    with pytest.raises(DeviceError):
        open_graph_execution(graph, EngineOptions(weights=graph, device="cuda"))
