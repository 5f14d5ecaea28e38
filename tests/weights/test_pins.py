"""What was pulled first is what later pulls bring, until the user moves on."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from facexcli.cli.app import main
from facexcli.errors import WeightsError
from tests.weights.conftest import GRAPH, OTHER, Host, store_of, swapper_graph

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.weights.store import Store

FIRST, SECOND = "c0ffee" * 6 + "c0ff", "decade" * 6 + "deca"


def _paths(host: Host) -> list[str]:
    return [path for path, _ in host.asked if path != "/cdn"]


def _pulled(host: Host, folder: Path, files: tuple[str, ...] = ("swap.onnx",)) -> Store:
    """A store that pulled `swap` from a hub that told the commit with every answer."""
    weights = store_of(folder, files)
    host.answers, host.headers = ["redirect", 200] * len(files), {"X-Repo-Commit": FIRST}
    weights.pull("swap")
    return weights


def test_the_commit_of_the_first_pull_is_asked_for_later(host: Host, tmp_path: Path) -> None:
    weights = _pulled(host, tmp_path)
    assert weights.revision("swap") == FIRST
    weights.path("swap").unlink()
    weights.pull("swap")
    assert _paths(host) == ["/someone/swap/resolve/main/swap.onnx", f"/someone/swap/resolve/{FIRST}/swap.onnx"]
    assert weights.revision("swap") == FIRST, "an answer without a commit does not undo it"


def test_all_files_of_a_pull_are_of_one_commit(host: Host, tmp_path: Path) -> None:
    _pulled(host, tmp_path, ("a.onnx", "b.onnx"))
    assert _paths(host) == ["/someone/swap/resolve/main/a.onnx", f"/someone/swap/resolve/{FIRST}/b.onnx"]


def test_what_is_no_commit_gets_into_no_address(host: Host, tmp_path: Path) -> None:
    weights = store_of(tmp_path)
    host.answers, host.headers = ["redirect"], {"X-Repo-Commit": "../../evil"}
    weights.pull("swap")
    assert weights.revision("swap") is None


def test_other_bytes_are_refused_also_after_a_removal(host: Host, tmp_path: Path) -> None:
    weights = _pulled(host, tmp_path)
    weights.remove("swap")
    assert not weights.installed("swap") and weights.hashes("swap") == {}
    host.body = OTHER
    with pytest.raises(WeightsError, match="SHA-256") as caught:
        weights.pull("swap")
    assert "--latest" in caught.value.hint


def test_a_commit_that_is_gone_says_how_to_move_on(host: Host, tmp_path: Path) -> None:
    weights = _pulled(host, tmp_path)
    weights.remove("swap")
    host.answers = [404]
    with pytest.raises(WeightsError, match="revision is gone") as caught:
        weights.pull("swap")
    assert "facex models pull swap --latest" in caught.value.hint
    assert weights.pull("swap", latest=True)


def test_latest_moves_on(host: Host, tmp_path: Path) -> None:
    weights = _pulled(host, tmp_path)
    host.body, host.answers, host.headers = OTHER, ["redirect"], {"X-Repo-Commit": SECOND}
    assert weights.pull("swap", latest=True)[0].read_bytes() == OTHER
    assert weights.revision("swap") == SECOND
    assert _paths(host)[-1] == "/someone/swap/resolve/main/swap.onnx"


def test_a_move_that_breaks_off_leaves_the_old_files(host: Host, tmp_path: Path) -> None:
    weights = _pulled(host, tmp_path, ("a.onnx", "b.onnx"))
    host.body, host.answers, host.headers = OTHER, ["redirect", 200, 404], {"X-Repo-Commit": SECOND}
    with pytest.raises(WeightsError, match="gone"):
        weights.pull("swap", latest=True)
    assert [path.read_bytes() for path in weights.pull("swap")] == [GRAPH, GRAPH]
    assert weights.revision("swap") == FIRST


def test_a_move_to_a_wrong_file_replaces_nothing(host: Host, tmp_path: Path) -> None:
    weights = _pulled(host, tmp_path, ("a.onnx", "b.onnx"))
    host.bodies, host.answers, host.headers = [OTHER, b"<html>"], ["redirect", 200, 200], {"X-Repo-Commit": SECOND}
    with pytest.raises(WeightsError, match="page or a pointer"):
        weights.pull("swap", latest=True)
    assert [path.read_bytes() for path in weights.pull("swap")] == [GRAPH, GRAPH]
    assert weights.revision("swap") == FIRST


def test_a_mirror_that_tells_another_hash_is_not_believed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = _pulled(host, tmp_path)
    weights.remove("swap")
    host.body, host.answers = OTHER, ["redirect"]
    host.headers = {"X-Linked-ETag": f'"{hashlib.sha256(OTHER).hexdigest()}"'}
    with pytest.raises(WeightsError, match="SHA-256"):
        weights.pull("swap")


def test_a_file_of_the_users_own_has_no_commit(host: Host, tmp_path: Path) -> None:
    weights = _pulled(host, tmp_path)
    (tmp_path / "mine.onnx").write_bytes(OTHER)
    weights.add("swap", tmp_path / "mine.onnx")
    assert weights.revision("swap") is None


def test_the_commands_name_the_commit(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.body, host.answers, host.headers = swapper_graph(), ["redirect"], {"X-Repo-Commit": FIRST}
    assert main(["models", "pull", "inswapper_128", "--accept-licence"]) == 0
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    assert f"commit {FIRST[:12]}" in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["inswapper_128"]["revision"] == FIRST
    assert main(["models", "verify"]) == 0
    assert f"as it was taken in, commit {FIRST}" in capsys.readouterr().out
    assert main(["models", "pull", "inswapper_128", "--latest"]) == 0


def test_what_needs_a_registration_is_only_added(host: Host, tmp_path: Path) -> None:
    weights = store_of(tmp_path, repository=None, revision=None, page="https://example.org/register")
    with pytest.raises(WeightsError, match="registers") as caught:
        weights.pull("swap")
    assert "https://example.org/register" in caught.value.hint and not host.asked
    (tmp_path / "mine.onnx").write_bytes(GRAPH)
    weights.add("swap", tmp_path / "mine.onnx")
    assert weights.pull("swap")
