"""Devices are chosen without torch where there is none, and said to be missing where they are."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from facexcli import device
from facexcli.device import choose_device
from facexcli.errors import DeviceError, UsageError


def _with_cuda(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A torch that sees `count` CUDA devices: what is under test is the choice, not torch."""
    cuda = SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count)
    monkeypatch.setattr(device, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_torch")
def test_auto_is_the_cpu_where_torch_is_not_installed() -> None:
    found = choose_device("auto")
    assert (found.name, found.reason) == ("cpu", "torch is not installed")


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_without_torch_is_a_device_error(name: str) -> None:
    with pytest.raises(DeviceError, match=f"no device {name}: torch is not installed"):
        choose_device(name)


def test_the_cpu_needs_no_look_at_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert choose_device("cpu").name == "cpu"


def test_cuda_is_counted_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_cuda(monkeypatch, 2)
    assert choose_device("auto").name == "cuda:0"
    assert choose_device("cuda").name == "cuda:0"
    assert choose_device("cuda:1").name == "cuda:1"
    with pytest.raises(DeviceError, match="there are 2 CUDA devices"):
        choose_device("cuda:2")


def test_torch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_cuda(monkeypatch, 0)
    assert choose_device("auto").name == "cpu"
    with pytest.raises(DeviceError, match="torch finds no CUDA device"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_other_names_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError, match="unknown device"):
        choose_device(name)
