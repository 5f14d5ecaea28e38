"""Sessions are shared, loaded once, and freed when they are unused and too many."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from facexcli.errors import WeightsError
from facexcli.weights.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class _Loads:
    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, path: Path, providers: Sequence[str]) -> object:
        self.names.append(path.name)
        return object()


def _files(folder: Path) -> list[Path]:
    paths = [folder / name for name in "abc"]
    for path in paths:
        path.write_bytes(bytes(100))
    return paths


def test_a_session_is_loaded_once_for_all_threads(tmp_path: Path) -> None:
    loads = _Loads()
    sessions, path = Sessions(1000, loads), _files(tmp_path)[0]
    seen = []

    def use() -> None:
        with sessions.borrow(path, "a") as session:
            seen.append(session)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads.names == ["a"] and len(set(map(id, seen))) == 1


def test_the_longest_unused_makes_room(tmp_path: Path) -> None:
    loads = _Loads()
    sessions, (a, b, c) = Sessions(200, loads), _files(tmp_path)
    for path in (a, b, a, c, a, b):
        with sessions.borrow(path, path.name):
            pass
    assert loads.names == ["a", "b", "c", "b"]
    assert sessions.held_bytes == 200


def test_what_is_borrowed_stays(tmp_path: Path) -> None:
    loads = _Loads()
    sessions, (a, b, _) = Sessions(50, loads), _files(tmp_path)
    with sessions.borrow(a, "a") as first, sessions.borrow(b, "b"), sessions.borrow(a, "a") as again:
        assert again is first
    assert sessions.held_bytes == 0


def test_another_provider_is_another_session(tmp_path: Path) -> None:
    loads = _Loads()
    sessions, path = Sessions(1000, loads), _files(tmp_path)[0]
    with sessions.borrow(path, "a", ("X",)) as one, sessions.borrow(path, "a", ("Y",)) as other:
        assert one is not other


def test_what_is_no_graph_is_not_held(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    sessions, path = Sessions(), _files(tmp_path)[0]
    with pytest.raises(WeightsError, match="cannot load"), sessions.borrow(path, "a"):
        pass
    assert sessions.held_bytes == 0
