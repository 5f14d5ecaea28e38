"""The store against a server that stands for the hub and for any host: what comes in, what is refused, what is kept."""

from __future__ import annotations

import errno
import io
import json
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from facexcli.cli.app import main
from facexcli.errors import WeightsError
from facexcli.weights import archives, catalog, download, hashes, store
from tests.weights.conftest import GRAPH, HASH, OTHER, Host, store_of, swapper_graph

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pull_is_recorded_verified_and_not_repeated(host: Host, tmp_path: Path) -> None:
    weights = store_of(tmp_path)
    assert not weights.installed("swap")
    (path,) = weights.pull("swap")
    assert path.read_bytes() == GRAPH
    assert weights.installed("swap") and weights.accepted("swap")
    assert weights.hashes("swap") == {"swap.onnx": HASH}
    assert host.asked[0][0] == "/someone/swap/resolve/main/swap.onnx"
    weights.pull("swap")
    assert len(host.asked) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == ["swap.onnx"], "nothing half-written stays"


def test_a_broken_connection_is_taken_up_where_it_broke(host: Host, tmp_path: Path) -> None:
    host.answers = ["300000"]
    assert store_of(tmp_path).pull("swap")[0].read_bytes() == GRAPH
    assert host.asked[1][1]["Range"] == "bytes=300000-"


def test_the_next_run_goes_on_where_this_one_stopped(host: Host, tmp_path: Path) -> None:
    host.answers = ["100000", "100000", "100000"]
    with pytest.raises(WeightsError, match="cannot be fetched") as caught:
        store_of(tmp_path).pull("swap")
    assert "goes on" in caught.value.hint
    assert store_of(tmp_path).pull("swap")[0].read_bytes() == GRAPH
    assert host.asked[-1][1]["Range"] == "bytes=300000-"


def test_a_host_that_goes_on_at_another_place_starts_again(host: Host, tmp_path: Path) -> None:
    host.answers, host.goes_on_right = ["300000"], False
    assert store_of(tmp_path).pull("swap")[0].read_bytes() == GRAPH
    assert ["Range" in headers for _, headers in host.asked] == [False, True, False]


def test_a_download_does_not_go_on_with_what_was_added_meanwhile(host: Host, tmp_path: Path) -> None:
    host.answers = ["1000", "1000", "1000"]
    with pytest.raises(WeightsError):
        store_of(tmp_path).pull("swap")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(WeightsError):
        patch.setattr("facexcli.weights.store.shutil.copyfile", _half_a_copy)
        (tmp_path / "mine.onnx").write_bytes(OTHER)
        store_of(tmp_path).add("swap", tmp_path / "mine.onnx")
    assert store_of(tmp_path).pull("swap")[0].read_bytes() == GRAPH


def _half_a_copy(given: Path, partial: Path) -> None:
    partial.write_bytes(given.read_bytes()[:5000])
    raise OSError(errno.ENOSPC, "No space left on device", str(partial))


def test_a_file_that_changed_meanwhile_starts_again(host: Host, tmp_path: Path) -> None:
    host.answers = ["1000", "1000", "1000"]
    with pytest.raises(WeightsError):
        store_of(tmp_path).pull("swap")
    host.body = OTHER
    assert store_of(tmp_path).pull("swap")[0].read_bytes() == OTHER


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [(401, "who asks", "HF_TOKEN"), (403, "who asks", "HF_TOKEN"), (404, "gone", "models add"),
     (407, "proxy", "HTTP_PROXY"), (410, "gone", "models add")],
)  # fmt: skip
def test_a_refusal_says_what_to_do(host: Host, tmp_path: Path, code: int, said: str, hint: str) -> None:
    host.answers = [code]
    with pytest.raises(WeightsError, match=said) as caught:
        store_of(tmp_path).pull("swap")
    assert hint in caught.value.hint
    assert caught.value.exit_code == 5
    assert len(host.asked) == 1, "what is refused is not asked again"


def test_a_server_in_trouble_is_asked_again(host: Host, tmp_path: Path) -> None:
    host.answers = [503, 502]
    assert store_of(tmp_path).pull("swap")


def test_the_token_goes_to_the_hub_and_not_along_a_redirect(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    host.answers = ["redirect"]
    host.headers = {"X-Repo-Commit": "c0ffee", "X-Linked-ETag": f'"{HASH}"'}
    store_of(tmp_path).pull("swap")
    assert [headers["Authorization"] for _, headers in host.asked] == ["Bearer secret", None]
    lock = json.loads((tmp_path / "weights" / "lock.json").read_text("utf-8"))
    assert lock["weights"]["swap"]["revision"] == "c0ffee"


def test_the_token_follows_a_repository_that_was_renamed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    host.answers, host.headers = ["redirect"], {"X-Repo-Commit": "c0ffee"}
    monkeypatch.setenv("HF_ENDPOINT", host.address.replace("127.0.0.1", "localhost"))
    store_of(tmp_path).pull("swap")
    assert [headers["Authorization"] for _, headers in host.asked] == ["Bearer secret", "Bearer secret"]


def test_no_redirect_leads_from_a_protected_to_an_unprotected_address() -> None:
    asked = urllib.request.Request("https://hub.example/x")
    with pytest.raises(urllib.error.URLError, match="unprotected"):
        download._Redirects().redirect_request(asked, io.BytesIO(), 302, "Found", {}, "http://cdn.example/x")


def test_the_token_goes_to_no_other_host(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    store_of(tmp_path, repository=None, revision=None, url=f"{host.address}/swap.onnx").pull("swap")
    assert host.asked[0][1]["Authorization"] is None


@pytest.mark.parametrize(
    "body", [b"", b"<!doctype html>sign in", b"version https://git-lfs.github.com/spec/v1", b"PK12"]
)
def test_what_is_no_graph_is_set_aside(host: Host, tmp_path: Path, body: bytes) -> None:
    host.body = body
    with pytest.raises(WeightsError, match=r"is not the swap\.onnx"):
        store_of(tmp_path).pull("swap")
    assert (tmp_path / "weights/swap/swap.onnx.rejected").read_bytes() == body
    assert not store_of(tmp_path).installed("swap")


def test_the_hash_of_the_hub_is_believed_over_the_bytes(host: Host, tmp_path: Path) -> None:
    host.answers, host.headers, host.body = ["redirect"], {"X-Linked-ETag": f'"{HASH}"'}, OTHER
    with pytest.raises(WeightsError, match="SHA-256"):
        store_of(tmp_path).pull("swap")


def test_an_altered_file_is_set_aside_and_can_be_pulled_again(host: Host, tmp_path: Path) -> None:
    (path,) = store_of(tmp_path).pull("swap")
    path.write_bytes(OTHER)
    with pytest.raises(WeightsError, match="altered") as caught:
        store_of(tmp_path).path("swap")
    assert caught.value.exit_code == 5
    assert path.with_name("swap.onnx.rejected").read_bytes() == OTHER
    assert store_of(tmp_path).pull("swap")[0].read_bytes() == GRAPH


def test_a_file_is_hashed_once_a_run(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = store_of(tmp_path)
    weights.pull("swap")
    monkeypatch.setattr(hashes, "fingerprint", _must_not_be_called)
    assert weights.path("swap", "swap.onnx").is_file()


def _must_not_be_called(path: Path, reporter: object) -> None:
    del reporter
    raise AssertionError(path)


@pytest.mark.parametrize("variable", ["FACEX_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(WeightsError, match="offline"):
        store_of(tmp_path).pull("swap")
    assert not host.asked


def test_without_a_network_the_hint_names_the_file_and_the_command(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(WeightsError, match="cannot be fetched") as caught:
        store_of(tmp_path).pull("swap")
    assert "get swap.onnx" in caught.value.hint and "facex models add swap" in caught.value.hint


def test_a_full_disk_is_seen_before_the_download(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("facexcli.weights.download.shutil.disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(WeightsError, match="disk is full"):
        store_of(tmp_path).pull("swap")


def test_a_store_that_cannot_be_written_says_so(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, name: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(folder / name))

    monkeypatch.setattr(store, "exclusive", refuse)
    with pytest.raises(WeightsError, match="Read-only") as caught:
        store_of(tmp_path).pull("swap")
    assert "FACEX_HOME" in caught.value.hint


def test_two_pulls_at_once_fetch_once(host: Host, tmp_path: Path) -> None:
    threads = [threading.Thread(target=store_of(tmp_path).pull, args=("swap",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(path for path, _ in host.asked) == {"/someone/swap/resolve/main/swap.onnx": 1}
    assert store_of(tmp_path).installed("swap")


def test_a_file_of_the_users_own_is_taken_in_and_removed(tmp_path: Path) -> None:
    mine = tmp_path / "download.onnx"
    mine.write_bytes(GRAPH)
    weights = store_of(tmp_path)
    assert weights.add("swap", mine)[0].read_bytes() == GRAPH
    assert mine.is_file()
    assert weights.remove("swap") == len(GRAPH)
    assert not weights.installed("swap")


def test_the_wrong_file_under_the_right_name_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "swap.onnx"
    mine.write_bytes(OTHER)
    with pytest.raises(WeightsError, match="SHA-256"):
        store_of(tmp_path, sha256={"swap.onnx": HASH}).add("swap", mine)
    assert mine.read_bytes() == OTHER


def test_a_file_that_was_only_put_there_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "weights/swap").mkdir(parents=True)
    (tmp_path / "weights/swap/swap.onnx").write_bytes(GRAPH)
    assert not store_of(tmp_path).installed("swap")
    with pytest.raises(WeightsError, match="not installed"):
        store_of(tmp_path).path("swap")


def test_a_damaged_lock_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/lock.json").write_text("{", "utf-8")
    with pytest.raises(WeightsError, match="damaged"):
        store_of(tmp_path).installed("swap")


def test_an_archive_is_fetched_and_unpacked(host: Host, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("pack/swap.onnx", GRAPH)
    host.body = packed.getvalue()
    weights = store_of(tmp_path, repository=None, revision=None, url=f"{host.address}/p.zip", archive="p.zip")
    assert weights.pull("swap")[0].read_bytes() == GRAPH
    assert sorted(path.name for path in (tmp_path / "weights/swap").iterdir()) == ["swap.onnx"]


def test_an_archive_writes_only_what_is_asked_for_and_where(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in ("../../evil.txt", "/evil.txt", "../swap.onnx"):
            member = tarfile.TarInfo(name)
            member.size = len(GRAPH)
            file.addfile(member, io.BytesIO(GRAPH))
    archives.extract(tmp_path / "a.tar", tmp_path / "in" / "out", ["swap.onnx"])
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == ["a.tar", "in/out/swap.onnx"]


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        member = tarfile.TarInfo("swap.onnx")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member)
    with pytest.raises(WeightsError, match=r"holds no swap\.onnx"):
        archives.extract(tmp_path / "a.tar", tmp_path / "out", ["swap.onnx"])


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("swap.onnx", bytes(20 << 20))
    with pytest.raises(WeightsError, match="unpacks to more"):
        archives.extract(tmp_path / "a.zip", tmp_path / "out", ["swap.onnx"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"PK\x03\x04 broken", b"nothing of the kind"])
def test_a_damaged_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        archives.extract(tmp_path / "a.zip", tmp_path / "out", ["swap.onnx"])


def test_the_catalog_is_whole() -> None:
    entries = catalog.catalog()
    for item in entries.values():
        assert item.licence and item.licence_url.startswith("https://") and item.enables
        assert item.facts.get("embedding_converter", item.name) in entries


def test_the_commands_ask_for_the_licence_and_tell_what_is_there(
    host: Host, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    host.body = swapper_graph()
    assert main(["models", "pull", "inswapper_128"]) == 5
    assert "non-commercial" in capsys.readouterr().err and not host.asked
    assert main(["models", "pull", "inswapper_128", "--accept-licence"]) == 0
    said = capsys.readouterr()
    path = said.out.strip()
    assert "works with buffalo_l" in said.err
    assert main(["models", "verify"]) == 0
    assert main(["models", "path", "inswapper_128"]) == 0
    assert path in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert models["inswapper_128"]["state"] == "installed"
    assert "NO commercial use" in models["dlib_68_landmarks"]["licence"]
    with open(path, "ab") as file:
        file.write(b"x")
    assert main(["models", "verify"]) == 5
    assert main(["models", "remove", "inswapper_128"]) == 0
    assert main(["models", "pull", "inswaper_128"]) == 2
