"""A pickle is opened in a child process only, and only as far as it is tensors."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from facexcli.errors import WeightsError
from facexcli.events import Informed
from facexcli.weights import store
from facexcli.weights.convert import _convert_here, convert
from tests.weights.conftest import Host, Listener, store_of


def test_without_torch_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="needs torch") as caught:
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert "facexcli[diffusion]" in caught.value.hint


def test_tensors_come_through_and_of_a_checkpoint_those_that_are_wanted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    weight = torch.arange(6.0).reshape(2, 3)
    network = {"a.weight": weight, "tied": weight.T, "kind": "net"}
    torch.save({"state_dict": network, "optimizer": {"m": weight}, "epoch": 3}, tmp_path / "a.pth")
    dropped = convert(tmp_path / "a.pth", tmp_path / "a.safetensors", "state_dict")
    assert dropped == ("state_dict.kind", "optimizer", "epoch")
    read = load_file(tmp_path / "a.safetensors")
    assert sorted(read) == ["state_dict.a.weight", "state_dict.tied"]
    assert torch.equal(read["state_dict.tied"], weight.T)


def test_an_archive_that_is_cut_short_is_called_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    torch.save({"weight": torch.zeros(9)}, tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-99])
    assert _convert_here(tmp_path / "a.pth", tmp_path / "a.safetensors", "") == 1
    assert capsys.readouterr().err == "it is cut short, or damaged"


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


def _pickle_at(path: Path) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    torch.save({"net": {"w": torch.ones(2, 3)}, "epoch": 3, "steps": [torch.zeros(1), "last"]}, path)
    return path


def test_a_pickle_is_added_as_safetensors_and_what_is_lost_is_said(tmp_path: Path) -> None:
    given, told = _pickle_at(tmp_path / "x.pth"), []
    (path,) = store_of(tmp_path, ("net.safetensors",)).add("swap", given, Listener(told.append))
    assert path.read_bytes()[8:9] == b"{" and given.is_file()
    (message,) = [event.message for event in told if isinstance(event, Informed)]
    assert "epoch, steps.1" in message and "net.w" not in message


def _converts(pickle: Path, safetensors: Path, part: str) -> tuple[str, ...]:
    """Stands for the child process."""
    assert pickle.read_bytes() == b"PK\x03\x04"
    safetensors.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return ("epoch",)


def test_a_folder_may_hold_the_pickle_under_its_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "convert", _converts)
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "net.pth").write_bytes(b"PK\x03\x04")
    weights = store_of(tmp_path, ("net.safetensors",), pickles={"net.safetensors": "part/net.pth"})
    assert weights.add("swap", tmp_path / "given")


def test_a_published_pickle_is_fetched_and_converted(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "convert", _converts)
    monkeypatch.setattr(store, "demand_converter", lambda pickle: None)
    host.body = b"PK\x03\x04"
    weights = store_of(tmp_path, ("net.safetensors",), pickles={"net.safetensors": "part/net.pth"})
    (path,) = weights.pull("swap")
    assert host.asked[0][0] == "/someone/swap/resolve/main/part/net.pth"
    assert [p.name for p in path.parent.rglob("*") if p.is_file()] == ["net.safetensors"]


def test_a_pickle_of_another_hash_is_not_opened(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(store, "convert", refuse)
    monkeypatch.setattr(store, "demand_converter", lambda pickle: None)
    host.body = b"PK\x03\x04 something else"
    more = {"pickles": {"net.safetensors": "net.pth"}, "sha256": {"net.pth": "0" * 64}}
    with pytest.raises(WeightsError, match="SHA-256") as caught:
        store_of(tmp_path, ("net.safetensors",), **more).pull("swap")
    assert "not opened" in caught.value.hint
    (tmp_path / "mine.pth").write_bytes(host.body)
    with pytest.raises(WeightsError, match="SHA-256"):
        store_of(tmp_path, ("net.safetensors",), **more).add("swap", tmp_path / "mine.pth")
    assert (tmp_path / "mine.pth").is_file()


WITHOUT_TORCH = """
import sys
from importlib.machinery import PathFinder

class Blind:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Blind
from facexcli.cli.app import main
sys.exit(main(["models", "add", "deca", sys.argv[1], "--accept-licence"]))
"""


def test_where_torch_is_not_installed_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "deca_model.tar").write_bytes(b"PK\x03\x04")
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "deca_model.tar")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "FACEX_HOME": str(tmp_path / "home")}
    )
    assert done.returncode == 5, done.stderr
    assert "needs torch" in done.stderr and "facexcli[diffusion]" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_torch_nothing_is_fetched_that_could_not_be_kept(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="needs torch"):
        store_of(tmp_path, ("n.safetensors",), pickles={"n.safetensors": "n.pth"}).pull("swap")
    assert not host.asked
