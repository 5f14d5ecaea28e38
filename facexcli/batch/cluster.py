"""A Ray cluster: reached, measured for room, and given workers. Ray places and watches them; jobs are given elsewhere.

A worker is an actor that keeps its models (`cluster_worker`). All that it says comes through the streams of its calls,
one after the other, and its death comes the same way (`staff`).

Source: https://docs.ray.io/en/latest/ray-core/actors.html and .../ray-generator.html
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from facexcli.errors import DeviceError, FacexError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

LOCAL = "local"
"""The address of a cluster that is started on this machine and ends with the run."""
END = object()
"""What a stream ends with."""
_ANSWER_S = 5.0
_CPUS = (2.0, 1.0)
"""Cores that a worker without a graphics card gets, if there is room for all of them; else the later number."""
# The connection preface of an HTTP/2 client with empty settings, which any gRPC server answers (RFC 9113, 3.4).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class Share:
    """What each of `count` workers gets of the cluster."""

    count: int
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Death:
    """reason: what is known of it, in words. is_fatal: the worker did not die, it is wrong; so are all of its kind."""

    reason: str
    is_fatal: bool = False


class Cluster:
    """A connection; a context manager. What was started through it ends with it.

    Args:
        address: `auto` for the cluster that this machine is a node of, `HOST:PORT` of a head, or `local`.

    Raises UsageError without Ray, DeviceError where nobody answers within seconds.
    """

    def __init__(self, address: str) -> None:
        if find_spec("ray") is None:
            raise UsageError("--cluster needs Ray, which is not installed", "pip install 'facexcli[cluster]'")
        self.address = address
        self._own, self._environment = False, dict[str, str | None]()
        self._set("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        try:
            self._connect()
        except BaseException:
            self._restore()
            raise

    def _connect(self) -> None:
        import ray

        if ray.is_initialized():
            return  # by a program that uses this one
        place = os.environ.get("RAY_ADDRESS", self.address) if self.address == "auto" else self.address
        options: dict[str, Any] = {"address": place, "log_to_driver": False, "configure_logging": False}
        if place == LOCAL:
            options["include_dashboard"] = False
        elif place != "auto":
            _check_answers(place)
        logging.getLogger("ray").setLevel(logging.ERROR)
        with _kept_signals(), _one_line(self.address), _without_native_messages():
            ray.init(**options)
        self._own = True
        # Notes on the deaths of workers would go to standard output, where results go; they come as exceptions too.
        ray._private.worker._worker_logs_enabled = False

    def share(self, device: str, workers: int = 1) -> Share:
        """The workers that have room: one a graphics card, or one for every two cores where `device` is the CPU's.

        Args:
            device: `auto` takes cards where the cluster has any; `cpu`, or `cuda` for cards alone.
            workers: at most so many, where it is more than 1; on the CPU they may get a core each.

        Raises UsageError for a device with a number, DeviceError where there is no room for any worker.
        """
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {device} with --cluster", "each worker gets a card of its own: --device cuda")
        if device != "cpu":
            room = self.room(Share(1, 1.0, 1.0))
            if room:
                return Share(min(room, workers) if workers > 1 else room, 1.0, 1.0)
            if device == "cuda":
                raise DeviceError(f"no node of the cluster {self.address} has a graphics card", "use --device cpu")
        for cpus in _CPUS:
            room = self.room(Share(1, cpus, 0.0))
            if room >= workers:
                return Share(workers if workers > 1 else room, cpus, 0.0)
        if not room:
            raise DeviceError(f"no node of the cluster {self.address} has a core for a worker", "see `ray status`")
        return Share(room, _CPUS[-1], 0.0)

    def room(self, share: Share) -> int:
        """How many workers of such a share the nodes that live could hold, if nobody else had any."""
        import ray

        found = 0
        for node in ray.nodes():
            if node["Alive"]:
                holds = node["Resources"]
                fits = [int(holds.get("CPU", 0) // share.cpus)]
                if share.gpus:
                    fits.append(int(holds.get("GPU", 0) // share.gpus))
                found += min(fits)
        return found

    def put(self, value: object) -> Any:
        """Ship something to the nodes, once to each that asks for it; give the answer to a worker's call."""
        import ray

        return ray.put(value)

    def worker(self, kind: type, share: Share) -> Any:
        """Ask for a worker; it begins when a node has room. Calls of its methods are streams for `hear`."""
        import ray

        actor = ray.remote(kind).options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_concurrency=2, scheduling_strategy="SPREAD"
        )
        return actor.remote()

    def hear(self, streams: Sequence[Any], timeout_s: float) -> list[tuple[Any, Any]]:
        """The streams that have something, each with what comes next: a `Death`, or END.

        Waits for the first one, at most so long.
        """
        import ray
        from ray.exceptions import RayError

        heard: list[tuple[Any, Any]] = []
        for stream in ray.wait(list(streams), num_returns=1, timeout=timeout_s)[0]:
            try:
                heard.append((stream, ray.get(next(stream))))
            except StopIteration:
                heard.append((stream, END))
            except RayError as error:
                heard.append((stream, _death(error)))
        return heard

    def kill(self, worker: Any) -> None:
        """End a worker at once, whatever it does."""
        import ray

        with suppress(Exception):  # of a connection that is gone
            ray.kill(worker)

    def close(self) -> None:
        """End the connection, and with it every worker."""
        if self._own:
            _shut_down()
        self._own = False
        self._restore()

    def _set(self, name: str, value: str) -> None:
        self._environment.setdefault(name, os.environ.get(name))
        os.environ[name] = value

    def _restore(self) -> None:
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes. Raises UsageError for what is no address, DeviceError where nobody answers."""
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        raise UsageError(
            f"--cluster {address!r} is no address", "auto, or HOST:PORT of the head, as `ray start` tells it"
        )
    hint = f"start it with `ray start --head`, and this node with `ray start --address={address}`"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S) as line:
            line.settimeout(_ANSWER_S)
            line.sendall(_PREFACE)
            answer = line.recv(9)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        raise DeviceError(f"no Ray cluster answers at {address}: {reason}", hint) from error
    if answer[3:4] != b"\x04":
        raise DeviceError(f"what answers at {address} is no Ray cluster", hint)


@contextmanager
def _one_line(address: str) -> Iterator[None]:
    """Ray's errors of connecting as one of ours."""
    try:
        yield
    except (FacexError, KeyboardInterrupt):
        raise
    except ConnectionError as error:
        if address == "auto":
            hint = "`ray start --head` starts one; or name the head with --cluster HOST:PORT"
            raise DeviceError("no Ray node runs on this machine", hint) from error
        hint = "RAY_AUTH_TOKEN, or ~/.ray/auth_token, has to be the same on all nodes"
        raise DeviceError(f"the Ray cluster at {address} does not let this machine in", hint) from error
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DeviceError(f"Ray at {address}: {reason}", "this machine has to be a node of the cluster, with the same "
                          "versions of Python and Ray") from error  # fmt: skip


@contextmanager
def _without_native_messages() -> Iterator[None]:
    """Ray's C++ tells of each attempt to connect on standard error, past Python; how it ends comes as an exception."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; how a run ends is not its matter."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread: Ray has not taken it either
            signal.signal(signal.SIGTERM, before)


def _shut_down() -> None:
    """Let Ray end. It resets SIGTERM on the way, and one that comes in the seconds after would kill this process."""
    import ray

    def end() -> None:
        with suppress(Exception):  # of a cluster that is gone
            ray.shutdown()

    if threading.current_thread() is not threading.main_thread():
        end()
        return
    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=end, name="cluster", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.001)
        signal.signal(signal.SIGTERM, handler)


def _death(error: Exception) -> Death:
    from ray.exceptions import ActorUnavailableError, NodeDiedError, OutOfMemoryError, RayTaskError

    text = str(error)
    last = ([line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__])[-1]
    if isinstance(error, RayTaskError) or getattr(error, "actor_init_failed", False):
        return Death(last, is_fatal=True)
    if isinstance(error, OutOfMemoryError) or "memory pressure" in text:
        return Death("memory ran out on its node")
    if isinstance(error, (ActorUnavailableError, NodeDiedError)) or "node has died" in text:
        return Death("its node is gone")
    return Death("its process was killed")
