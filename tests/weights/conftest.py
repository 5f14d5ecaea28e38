"""A server that stands for the hub and for any host, and a store that asks it."""

from __future__ import annotations

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from facexcli.weights.catalog import Entry
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from facexcli.events import Event

GRAPH = b"\x08\x08" + bytes(range(256)) * 4000
OTHER = b"\x08\x08" + bytes(reversed(range(256))) * 4000
HASH = hashlib.sha256(GRAPH).hexdigest()


class Host(ThreadingHTTPServer):
    """Serves `body`, or the next of `bodies`, under every path.

    `answers` are status codes or byte counts after which it hangs up, once each. It waits `delay_s` before an answer.
    With `hangs`, it does not hang up but waits for it, and sets `hung`. Unless it `goes_on_right`, it says of the rest
    of a file that it begins one byte earlier.
    """

    daemon_threads = True
    body = GRAPH
    delay_s = 0.0
    hangs: threading.Event | None = None
    goes_on_right = True
    headers: dict[str, str]
    answers: list[int | str]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Peer)
        self.asked: list[Any] = []
        self.headers, self.answers, self.hung = {}, [], threading.Event()
        self.bodies: list[bytes] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that turns away before the end, as on a full disk, is no trouble of the host."""
        del request, client_address

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Peer(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        host = self.server
        host.asked.append((self.path, self.headers))
        time.sleep(host.delay_s)
        answer = host.answers.pop(0) if host.answers else 200
        if isinstance(answer, int) and answer >= 300:
            self.send_error(answer)
            return
        if answer == "redirect":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{host.server_port}/cdn")
            for name, value in host.headers.items():
                self.send_header(name, value)
            self.end_headers()
            return
        if host.bodies:
            host.body = host.bodies.pop(0)
        tag = f'"{hashlib.md5(host.body).hexdigest()}"'
        start = 0
        if "Range" in self.headers and self.headers["If-Range"] == tag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            told = start if host.goes_on_right else start - 1
            self.send_header("Content-Range", f"bytes {told}-{len(host.body) - 1}/{len(host.body)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(host.body) - start))
        self.end_headers()
        end = len(host.body) if answer == 200 else start + int(answer)
        self.wfile.write(host.body[start:end])
        if host.hangs and answer != 200:
            host.hung.set()
            host.hangs.wait(60)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    server = Host()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("FACEX_HOME", str(tmp_path / "home"))
    for name in ("FACEX_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def store_of(folder: Path, files: tuple[str, ...] = ("swap.onnx",), **more: Any) -> Store:
    """A store that knows one entry, `swap`, from the host that stands for the hub."""
    values = {"repository": "someone/swap", "revision": "main", **more}
    item = Entry("swap", "swapper", files, "MIT", "https://example.org", "swaps", **values)
    return Store(folder / "weights", {"swap": item})


class Listener:
    """A reporter that hands every event on."""

    def __init__(self, heard: Callable[[Event], object]) -> None:
        self._heard = heard

    def emit(self, event: Event) -> None:
        self._heard(event)


def swapper_graph(size_px: int = 128, embedding: int = 512) -> bytes:
    """A graph with the inputs and the output of a swapper, that gives back what it gets."""
    helper = pytest.importorskip("onnx.helper")
    picture = [1, 3, size_px, size_px]
    target, source, output = (
        helper.make_tensor_value_info(name, 1, shape)
        for name, shape in (("target", picture), ("source", [1, embedding]), ("output", picture))
    )
    node = helper.make_node("Identity", ["target"], ["output"])
    graph = helper.make_graph([node], "swapper", [target, source], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
