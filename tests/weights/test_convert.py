"""A pickle is opened in a child process only, and only as far as it is tensors."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path

import pytest

from facexcli.errors import WeightsError
from facexcli.weights.convert import convert


def test_without_torch_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="needs torch") as caught:
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert "facexcli[diffusion]" in caught.value.hint


def test_tensors_come_through(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    weight = torch.arange(6.0).reshape(2, 3)
    torch.save({"state_dict": {"a.weight": weight, "tied": weight.T}, "epoch": 3}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    read = load_file(tmp_path / "a.safetensors")
    assert sorted(read) == ["state_dict.a.weight", "state_dict.tied"]
    assert torch.equal(read["state_dict.tied"], weight.T)


class _Hostile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._path),)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    (tmp_path / "a.pth").write_bytes(pickle.dumps(_Hostile(tmp_path / "owned")))
    with pytest.raises(WeightsError, match="cannot be converted"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
