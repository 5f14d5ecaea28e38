"""A cluster of one machine, with two workers: what they do, their deaths, and what is said when there is no cluster."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from facexcli.batch import cluster as cluster_module
from facexcli.batch import cluster_jobs, staff
from facexcli.batch.cluster import Cluster, Death, Share
from facexcli.batch.cluster_jobs import ClusterPool, device_of
from facexcli.batch.cluster_worker import Hello
from facexcli.batch.jobs import planned
from facexcli.batch.ledger import Ledger, work_folder
from facexcli.batch.results import ResultsFile, default_results, read_results
from facexcli.batch.resume import run_resumable
from facexcli.batch.runner import BatchOptions, BatchReporter, run_batch
from facexcli.cli.app import main
from facexcli.errors import DeviceError, Interrupted, UsageError
from facexcli.events import Event, Informed, SilentReporter, StageAdvanced
from facexcli.pipeline.parts import Segment
from facexcli.pipeline.render import RenderCounts
from tests.batch.conftest import FRAMES, MakePlan, decoded
from tests.heard import Heard

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two cores, whatever the machine has. The token keeps others out, and is not written into anybody's home."""
    changed = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in (*changed, "RAY_AUTH_MODE")}
    os.environ.update(changed)
    ending = signal.getsignal(signal.SIGTERM)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    signal.signal(signal.SIGTERM, ending)
    ray._private.worker._worker_logs_enabled = False
    yield Cluster("auto")
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process of each worker that was ever ready."""
    found: list[int] = []
    check = staff._check_code
    monkeypatch.setattr(staff, "_check_code", lambda hello: (found.append(hello.process_id), check(hello)))
    return found


def _all_end(processes: list[int]) -> bool:
    """Whether they end within seconds: Ray tells them to, and they do not tell back."""
    until_s = time.monotonic() + 10
    while any(_is_running(process) for process in processes) and time.monotonic() < until_s:
        time.sleep(0.05)
    return not any(_is_running(process) for process in processes)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _jobs(eval_data: Path, folder: Path, count: int, frames: int = 3) -> Path:
    still, clip = eval_data / "london" / "087_neutral.jpg", eval_data / "talking" / "grid_brbk7n.mpg"
    row = {"source": str(still), "target": str(clip), "output": "{index}.mp4", "trim": f"#0..#{frames}"}
    path = folder / "jobs.jsonl"
    path.write_text("\n".join([json.dumps(row | {"occlusion": "off", "provenance": "off"})] * count), "utf-8")
    return path


def test_all_jobs_are_done_once_though_a_worker_is_killed(
    cluster: Cluster, eval_data: Path, tmp_path: Path, processes: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    path, heard = _jobs(eval_data, tmp_path, 8), Heard()
    killed: list[int] = []

    def tell(job: int, event: Event) -> None:
        if job == 4 and not killed:
            killed.extend(process for process, order in pool.at_work if order == 4)
            os.kill(killed[0], signal.SIGKILL)
        reporter.tell(job, event)

    reporter = BatchReporter(heard)  # type: ignore[arg-type]
    pool = ClusterPool(cluster, cluster.share("cpu", 2), tell, reporter)
    with planned(path) as found, ResultsFile(default_results(path)) as results:
        outcomes = run_batch(path, found, pool, results, BatchOptions(keep_going=True), reporter)
    assert [outcome.state for outcome in outcomes] == ["done"] * 8
    assert killed and killed[0] in processes and len(processes) <= 3, "workers keep their models between jobs"
    assert "job 4: a worker died (its process was killed); another takes it (retry 1)" in heard.messages()
    assert sorted(line["job"] for line in read_results(default_results(path))) == [*range(1, 9)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        [*(f"{n}.mp4" for n in range(1, 9)), "jobs.jsonl", "jobs.results.jsonl"]
    )
    assert _all_end(processes)
    assert "raylet" not in capfd.readouterr().out, "standard output is for results"


def test_parts_of_a_run_are_as_if_rendered_here(
    cluster: Cluster, plan: MakePlan, tmp_path: Path, processes: list[int]
) -> None:
    here, there = tmp_path / "here.mkv", tmp_path / "there.mkv"
    run_resumable(plan(here, occlusion="auto"))
    killed: list[int] = []

    class Killing(Heard):
        def emit(self, event: object) -> None:
            super().emit(event)
            if isinstance(event, StageAdvanced) and event.stage == "render" and not killed:
                killed.append(processes[0])
                os.kill(killed[0], signal.SIGKILL)

    heard = Killing()
    result = run_resumable(plan(there, occlusion="auto", cluster="auto", workers=2), heard)
    assert result.frames == FRAMES
    assert killed and "3 parts on 2 workers of the cluster auto" in heard.messages()
    assert decoded(there) == decoded(here)
    assert _all_end(processes)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["here.mkv", "there.mkv"]


def test_cancelling_ends_the_workers_at_once_and_keeps_parts(
    cluster: Cluster, plan: MakePlan, tmp_path: Path, processes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = Ledger.finished

    def then_cancel(ledger: Ledger, segment: Segment, counts: RenderCounts) -> None:
        finished(ledger, segment, counts)
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "finished", then_cancel)
    output = tmp_path / "out.mkv"
    with pytest.raises(Interrupted) as raised:
        run_resumable(plan(output, cluster="auto", workers=2))
    assert "finished parts are kept" in raised.value.hint
    assert processes and _all_end(processes)
    assert not output.exists() and not list(work_folder(output).glob(".shared*"))


def test_one_part_is_rendered_here_and_that_is_said(cluster: Cluster, plan: MakePlan, tmp_path: Path) -> None:
    heard = Heard()
    run_resumable(plan(tmp_path / "out.mkv", segment=60, cluster="auto"), heard)
    assert "rendered here and not on the cluster" in heard.messages()


def test_folders_that_are_not_shared_are_named(
    cluster: Cluster, eval_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_jobs, "_mark_beside", lambda output: Path("/nowhere/at/all/.mark"))
    path = _jobs(eval_data, tmp_path, 1)
    reporter = BatchReporter(SilentReporter())
    pool = ClusterPool(cluster, cluster.share("cpu", 2), reporter.tell, reporter)
    with planned(path) as found, ResultsFile(default_results(path)) as results:
        (outcome,) = run_batch(path, found, pool, results, BatchOptions(retries=3), reporter)
    assert (outcome.state, outcome.attempt.exit_code) == ("failed", 7)
    assert "does not see /nowhere/at/all" in outcome.attempt.message and "share" in outcome.attempt.hint


@pytest.mark.parametrize(
    ("nodes", "device", "workers", "share"),
    [
        ([{"CPU": 8, "GPU": 2}, {"CPU": 4, "GPU": 1}], "auto", 1, Share(3, 1.0, 1.0)),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 4, "GPU": 1}], "cuda", 2, Share(2, 1.0, 1.0)),
        ([{"CPU": 8, "GPU": 2}], "cpu", 1, Share(4, 2.0, 0.0)),
        ([{"CPU": 8}, {"CPU": 5}], "auto", 1, Share(6, 2.0, 0.0)),
        ([{"CPU": 2}], "auto", 2, Share(2, 1.0, 0.0)),
        ([{"CPU": 2}], "auto", 9, Share(2, 1.0, 0.0)),
        ([{"CPU": 1}], "auto", 1, Share(1, 1.0, 0.0)),
        ([{"CPU": 2}], "cuda", 1, "graphics card"),
        ([{"CPU": 0}], "auto", 1, "a core for a worker"),
        ([{"CPU": 2}], "cuda:1", 1, "--device cuda:1 with --cluster"),
    ],
)
def test_shares(
    monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, float]], device: str, workers: int, share: Share | str
) -> None:
    alive = [{"Alive": True, "Resources": node} for node in nodes]
    monkeypatch.setattr(ray, "nodes", lambda: [*alive, {"Alive": False, "Resources": {"CPU": 99, "GPU": 99}}])
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with Cluster("auto") as asked:
        if isinstance(share, Share):
            assert asked.share(device, workers) == share
        else:
            with pytest.raises((DeviceError, UsageError), match=share):
                asked.share(device, workers)


def test_the_jobs_say_what_workers_need() -> None:
    def plans(*devices: str) -> list[object]:
        return [SimpleNamespace(settings=SimpleNamespace(compute=SimpleNamespace(device=name))) for name in devices]

    assert device_of(plans("cpu", "cpu")) == "cpu"  # type: ignore[arg-type]
    assert device_of(plans("cpu", "auto")) == "auto"  # type: ignore[arg-type]
    assert device_of(plans("cpu", "auto", "cuda")) == "cuda"  # type: ignore[arg-type]


class _Pretended:
    """A cluster whose workers say what a script says."""

    address = "auto"

    def __init__(self, items: list[object], room: int = 1) -> None:
        self._items, self._room = items, room
        self.asked = 0

    def worker(self, kind: type, share: Share) -> object:
        self.asked += 1
        method = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: object()))
        return SimpleNamespace(hello=method)

    def hear(self, streams: list[object], timeout_s: float) -> list[tuple[object, object]]:
        return [(streams[0], self._items.pop(0))] if self._items else []

    def room(self, share: Share) -> int:
        return self._room

    def kill(self, worker: object) -> None:
        pass


@pytest.mark.parametrize(
    ("items", "room", "told"),
    [
        ([Death("ModuleNotFoundError: No module named 'facexcli'", True)], 1, "No module named 'facexcli'"),
        ([Death("its node is gone")] * 3, 1, "no worker can be started"),
        ([Death("its node is gone")], 0, "no node of the cluster auto is left"),
        ([Hello("node7", 1, "0.0.9", "another")], 1, "node node7 has another facex \\(0.0.9\\)"),
    ],
)
def test_why_no_worker_begins(items: list[object], room: int, told: str) -> None:
    pretended = _Pretended(items, room)
    people = staff.Staff(pretended, cluster_jobs.JobWorker, Share(1, 1.0, 0.0), SilentReporter())  # type: ignore[arg-type]
    people.hire(0)
    with pytest.raises(DeviceError, match=told):
        for _ in range(4):
            list(people.hear())


def test_a_busy_cluster_is_waited_for() -> None:
    heard, pretended = Heard(), _Pretended([])
    people = staff.Staff(pretended, cluster_jobs.JobWorker, Share(1, 1.0, 0.0), heard)  # type: ignore[arg-type]
    people.hire(0)
    assert [list(people.hear()) for _ in range(3)] == [[], [], []]
    (event,) = heard.events
    assert isinstance(event, Informed) and "waiting for room" in event.message


def test_without_ray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plan: MakePlan) -> None:
    monkeypatch.setattr(cluster_module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs Ray") as raised:
        Cluster("auto")
    assert raised.value.hint == "pip install 'facexcli[cluster]'"


@pytest.mark.parametrize("address", ["here", "ray://head:10001", "head:port", ""])
def test_what_is_no_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        cluster_module._check_answers(address)


def test_an_address_where_nobody_answers(eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DeviceError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
        cluster_module._check_answers(f"127.0.0.1:{port}")
    assert main(["batch", str(_jobs(eval_data, tmp_path, 1)), "--cluster", "auto", "--devices", "cpu"]) == 2
    assert "--devices is for this machine" in capsys.readouterr().err


def test_an_address_where_somebody_else_answers() -> None:
    def answer() -> None:
        with suppress(OSError):
            line, _ = server.accept()
            with line:
                line.recv(64)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DeviceError, match="is no Ray cluster"):
            cluster_module._check_answers(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_what_ends_a_run_does_not_end_the_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's native code resets SIGTERM when it ends, and whoever watches over a run asks more than once."""
    heard: list[int] = []
    set_signal, native = signal.signal, threading.Event()

    def shutdown() -> None:
        native.set()
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)

    def handler(number: int, frame: object) -> None:
        heard.append(number)

    def watched(number: int, action: object) -> object:
        if native.is_set():
            native.clear()
            set_signal(signal.SIGTERM, signal.SIG_DFL)
        return set_signal(number, action)  # type: ignore[arg-type]

    before = set_signal(signal.SIGTERM, handler)
    monkeypatch.setattr(ray, "shutdown", shutdown)
    monkeypatch.setattr(cluster_module.signal, "signal", watched)
    try:
        cluster_module._shut_down()
    finally:
        set_signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
