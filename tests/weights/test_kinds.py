"""A file whose hash nobody told must at least be what its name promises."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from facexcli.errors import WeightsError
from facexcli.weights.catalog import catalog
from facexcli.weights.kinds import wrong_kind
from facexcli.weights.store import Store
from tests.weights.conftest import swapper_graph

if TYPE_CHECKING:
    from pathlib import Path

SWAPPER = catalog()["inswapper_128"]


@pytest.fixture(params=["onnx", "onnxruntime"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What reads graphs; the other one is made to look as if it were not installed."""
    pytest.importorskip(request.param)
    other = {"onnx", "onnxruntime"} - {request.param}
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in other else find(name, *more))
    return str(request.param)


def _tensors(path: Path, **shapes: list[int]) -> Path:
    """A safetensors file by its format, of zeros."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 4
        for number in shape:
            size *= number
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return path


def test_the_right_graph_is_taken(reader: str, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(swapper_graph())
    assert wrong_kind(SWAPPER, "inswapper_128.onnx", tmp_path / "x.onnx") == ""


def test_tensors_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    path = _tensors(tmp_path / "x", weight=[4, 4])
    path.write_bytes(path.read_bytes()[:-3])
    assert wrong_kind(catalog()["face_adapter"], "net_id2token.safetensors", path) == "it is cut short by 3 bytes"


@pytest.mark.parametrize(
    "header",
    [
        '{"x": {"shape": [1], "data_offsets": ["0", "4"]}}',
        '{"x": {"shape": [1], "data_offsets": [0, [4]]}}',
        "[" * 9999,
    ],
)
def test_headers_of_nonsense_are_no_safetensors(tmp_path: Path, header: str) -> None:
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    told = wrong_kind(catalog()["face_adapter"], "net_id2token.safetensors", tmp_path / "x")
    assert told == "it is no safetensors file"


@pytest.mark.parametrize(
    ("made", "found"),
    [({"size_px": 256}, "1 x 3 x 256 x 256"), ({"embedding": 256}, "1 x 256")],
    ids=["another size", "another embedding"],
)
def test_another_graph_is_refused_in_one_line(reader: str, tmp_path: Path, made: dict[str, int], found: str) -> None:
    mine = tmp_path / "inswapper_128.onnx"
    mine.write_bytes(swapper_graph(**made))
    with pytest.raises(WeightsError, match="expected inputs any x 512, any x 3 x 128 x 128") as caught:
        Store(tmp_path / "weights").add("inswapper_128", mine)
    assert "found inputs" in caught.value.message and found in caught.value.message
    assert "\n" not in caught.value.message
    assert mine.is_file()


def test_a_hash_that_is_known_says_more_than_a_signature(tmp_path: Path) -> None:
    mine = tmp_path / "inswapper_128.onnx"
    mine.write_bytes(swapper_graph(256))
    known = replace(SWAPPER, sha256={mine.name: hashlib.sha256(mine.read_bytes()).hexdigest()})
    assert Store(tmp_path / "weights", {known.name: known}).add(known.name, mine)


def test_a_damaged_graph_is_refused(reader: str, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(swapper_graph()[:-40])
    assert "no ONNX graph" in wrong_kind(SWAPPER, "inswapper_128.onnx", tmp_path / "x.onnx")


def test_with_nothing_that_reads_graphs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from facexcli.cli.app import main

    (tmp_path / "mine.onnx").write_bytes(swapper_graph(256))
    find = importlib.util.find_spec
    absent = ("onnx", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in absent else find(name, *more))
    monkeypatch.setenv("FACEX_HOME", str(tmp_path / "home"))
    assert main(["models", "add", "inswapper_128", str(tmp_path / "mine.onnx"), "--accept-licence"]) == 0
    assert "only its beginning was looked at" in capsys.readouterr().err


def test_tensors_are_compared_with_what_the_catalog_promises(tmp_path: Path) -> None:
    file = "diffusion_pytorch_model.safetensors"
    item = replace(catalog()["sd_vae_ft_mse"], facts={"tensors": {file: {"conv": [4, 3]}}})
    assert wrong_kind(item, file, _tensors(tmp_path / "right", conv=[4, 3])) == ""
    assert "expected conv of 4 x 3, found 3 x 4" in wrong_kind(item, file, _tensors(tmp_path / "turned", conv=[3, 4]))
    assert "expected a tensor conv" in wrong_kind(item, file, _tensors(tmp_path / "other", lin=[4, 3]))


@pytest.mark.parametrize("content", [b"\xff" * 20, struct.pack("<Q", 6) + b"{nope}", struct.pack("<Q", 4) + b"[1]  "])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert wrong_kind(catalog()["face_adapter"], "net_id2token.safetensors", tmp_path / "x")


def test_what_the_catalog_promises_is_of_files_that_it_has() -> None:
    for item in catalog().values():
        assert set(item.facts.get("tensors", {})) <= set(item.files), item.name
