"""The store on a full disk, a disk that is read-only, behind a proxy, in several processes, and at a terminal."""

from __future__ import annotations

import base64
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from facexcli.errors import WeightsError
from facexcli.events import StageAdvanced, StageFinished, StageStarted
from facexcli.weights import download, hashes
from facexcli.weights.lock import LockedFile
from tests.weights.conftest import GRAPH, OTHER, Host, Listener, store_of, swapper_graph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facexcli.events import Event

FACEX = [sys.executable, "-m", "facexcli"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB, which holds half of what the host gives."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "facex-test", disk], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True, capture_output=True)


def _remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True, capture_output=True)


def test_a_disk_that_fills_up_meanwhile(host: Host, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_demand_space", lambda partial, wanted: None)
    with pytest.raises(WeightsError, match="disk is full") as caught:
        store_of(small_disk).pull("swap")
    assert "make room" in caught.value.hint
    _remount(small_disk, "size=4m")
    assert store_of(small_disk).pull("swap")[0].read_bytes() == GRAPH
    assert "Range" in host.asked[-1][1], "what had come is not fetched again"


def test_a_file_of_ones_own_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(GRAPH)
    with pytest.raises(WeightsError, match="No space left"):
        store_of(small_disk).add("swap", tmp_path / "mine.onnx")
    assert not store_of(small_disk).installed("swap")


def test_a_store_that_is_read_only_is_read(host: Host, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _remount(small_disk, "size=80m")
    store_of(small_disk).pull("swap")
    monkeypatch.setattr(hashes, "_verified", set())  # as in a new run
    _remount(small_disk, "ro")
    assert store_of(small_disk).path("swap").read_bytes() == GRAPH
    assert store_of(small_disk).pull("swap"), "there is nothing to write"
    for change in (
        lambda: store_of(small_disk, ("other.onnx",)).pull("swap"),
        lambda: store_of(small_disk).remove("swap"),
    ):
        with pytest.raises(WeightsError, match="Read-only") as caught:
            change()
        assert "FACEX_HOME" in caught.value.hint
    _remount(small_disk, "rw")
    store_of(small_disk).path("swap").write_bytes(OTHER)
    _remount(small_disk, "ro")
    with pytest.raises(WeightsError, match="altered"):
        store_of(small_disk).path("swap")


class _Proxy(BaseHTTPRequestHandler):
    """Wants USER:PASSWORD; then it answers every GET with the graph, whatever host was asked."""

    def do_GET(self) -> None:
        if self.headers["Proxy-Authorization"] != "Basic " + base64.b64encode(b"USER:PASSWORD").decode():
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="office"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(GRAPH)))
        self.end_headers()
        self.wfile.write(GRAPH)

    do_CONNECT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name in ("FACEX_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "no_proxy", "NO_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login(proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://{proxy}")
    monkeypatch.setenv("HF_ENDPOINT", f"{scheme}://hub.invalid")
    with pytest.raises(WeightsError, match="proxy wants a login") as caught:
        store_of(tmp_path).pull("swap")
    assert f"{scheme.upper()}_PROXY=http://USER:PASSWORD@HOST" in caught.value.hint
    assert caught.value.exit_code == 5


def test_a_proxy_that_got_its_login(proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://USER:PASSWORD@{proxy}")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    assert store_of(tmp_path).pull("swap")[0].read_bytes() == GRAPH


def test_two_processes_that_pull_at_once_fetch_once(host: Host) -> None:
    host.body, host.delay_s = swapper_graph(), 0.3
    command = [*FACEX, "models", "pull", "inswapper_128", "--accept-licence"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0] != ""
    assert len(host.asked) == 1


def test_a_pull_that_was_killed_is_taken_up_by_the_next_process(host: Host) -> None:
    host.body, host.answers = swapper_graph(), ["60"]
    host.hangs = threading.Event()
    command = [*FACEX, "models", "pull", "inswapper_128", "--accept-licence"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert host.hung.wait(60)
        time.sleep(0.2)
    finally:
        first.kill()
        first.wait()
        host.hangs.set()
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 5), ("", 5)])
def test_the_licence_is_asked_for_at_a_terminal(host: Host, answer: str, code: int) -> None:
    host.body = swapper_graph()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*FACEX, "models", "pull", "inswapper_128"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        os.write(ours, f"{answer}\n".encode())
        out, said = process.communicate(timeout=60)
    finally:
        os.close(ours)
    assert "non-commercial research" in said and "Do you accept it?" in said
    assert process.returncode == code, said
    assert bool(host.asked) == (code == 0) == out.strip().endswith("inswapper_128.onnx")


def test_a_large_file_tells_how_far_its_hash_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_TOLD_EVERY_S", 0.0)
    (tmp_path / "x").write_bytes(bytes(3 << 20))
    heard: list[Event] = []
    hashes.fingerprint(tmp_path / "x", Listener(heard.append))
    assert heard == [], "a small one is not worth a word"
    monkeypatch.setattr(hashes, "TOLD_FROM_BYTES", 1)
    hashes.fingerprint(tmp_path / "x", Listener(heard.append))
    assert heard[0] == StageStarted("hash", 3, "MB") and isinstance(heard[-1], StageFinished)
    assert [event.done for event in heard if isinstance(event, StageAdvanced)] == [1, 2, 3]


def test_different_files_are_hashed_side_by_side_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, true_fingerprint, hashed = threading.Barrier(2, timeout=30), hashes.fingerprint, []

    def fingerprint(path: Path, reporter: object = None) -> LockedFile:
        hashed.append(path)
        meeting.wait()  # goes on when both files are being hashed
        return true_fingerprint(path)

    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(path.name.encode())
    records = [true_fingerprint(path) for path in paths]
    monkeypatch.setattr(hashes, "fingerprint", fingerprint)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda p=path, r=record: found.append(hashes.is_unaltered(p, r)))
        for path, record in [*zip(paths, records, strict=True)] * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 6 and sorted(hashed) == paths
