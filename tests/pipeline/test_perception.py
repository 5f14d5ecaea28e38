"""Perception comes from the store when it is there, verified, and from the package when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from facexcli.errors import WeightsError
from facexcli.faces import insightface_backend
from facexcli.pipeline import perception
from facexcli.pipeline.perception import choose_analyzer, occlusion_network
from facexcli.weights.catalog import catalog
from facexcli.weights.store import Store

pytest.importorskip("onnx")

from tests.engines.graphs import parser_graph, recogniser_graph


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "weights")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """An insightface that is installed, and the files that it opens."""
    paths: list[Path] = []
    monkeypatch.setattr(perception, "find_spec", lambda name: object())
    monkeypatch.setattr(insightface_backend, "find_spec", lambda name: object())
    monkeypatch.setattr(insightface_backend, "_open", lambda path, providers: paths.append(path))
    return paths


def _install(store: Store, name: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    made = parser_graph() if catalog()[name].kind == "parsing" else recogniser_graph()
    for file in catalog()[name].files:
        (folder / file).write_bytes(made)
    store.add(name, folder)


def test_a_pack_of_the_store_is_used(store: Store, opened: list[Path], tmp_path: Path) -> None:
    _install(store, "buffalo_l", tmp_path / "files")
    analyzer, reason = choose_analyzer("auto", store)
    assert analyzer.name == "insightface" and "buffalo_l" in reason
    assert [path.name for path in opened] == ["det_10g.onnx", "1k3d68.onnx", "w600k_r50.onnx"]
    assert all(store.folder in path.parents for path in opened)


def test_embeddings_of_another_pack_have_another_name(store: Store, opened: list[Path], tmp_path: Path) -> None:
    _install(store, "antelopev2", tmp_path / "files")
    analyzer, _ = choose_analyzer("insightface", store)
    assert analyzer.name == "insightface-antelopev2"
    assert [path.name for path in opened] == ["scrfd_10g_bnkps.onnx", "1k3d68.onnx", "glintr100.onnx"]


def test_an_altered_file_is_never_opened(store: Store, opened: list[Path], tmp_path: Path) -> None:
    _install(store, "buffalo_l", tmp_path / "files")
    (store.folder / "buffalo_l" / "det_10g.onnx").write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"det_10g\.onnx: altered"):
        choose_analyzer("auto", store)
    assert opened == []


def test_dlib_needs_nothing_of_the_store(store: Store, opened: list[Path], tmp_path: Path) -> None:
    _install(store, "buffalo_l", tmp_path / "files")
    assert choose_analyzer("dlib", store)[0].name == "dlib"
    assert opened == []


def test_the_best_network_against_occlusion_is_taken(store: Store, tmp_path: Path) -> None:
    assert occlusion_network(store) is None
    for name, best in (("bisenet_resnet_18", "bisenet_resnet_18"), ("dfl_xseg", "dfl_xseg"), ("xseg_2", "xseg_2")):
        _install(store, name, tmp_path / name)
        found = occlusion_network(store)
        assert found is not None and found.stem == best
