"""One owner of onnxruntime sessions: tracks, jobs and frames share them, and the least used make room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from facexcli.errors import DeviceError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Load = Callable[[Path, Sequence[str]], Any]
    _Key = tuple[str, tuple[str, ...]]

BUDGET_BYTES = 4 << 30


@dataclass(slots=True)
class _Held:
    size_bytes: int
    session: Any = None
    users: int = 0
    loading: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """Sessions by file hash and providers. Safe in threads; a session that is borrowed is never freed.

    Args:
        budget_bytes: of the files behind the sessions held; more is held only while it is borrowed.
        load: makes a session from a file and providers; onnxruntime by default.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES, load: Load | None = None) -> None:
        self._budget_bytes, self._load = budget_bytes, load or load_session
        self._held: OrderedDict[_Key, _Held] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, path: Path, sha256: str, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Iterator[Any]:
        """The session of the verified file `path`, loaded by whoever is first; the others wait for it.

        Raises WeightsError for a file that is no graph, DeviceError for providers that do not start.
        """
        key = (sha256, tuple(providers))
        with self._lock:
            held = self._held.setdefault(key, _Held(path.stat().st_size))
            held.users += 1
            self._held.move_to_end(key)
            self._make_room()
        try:
            with held.loading:
                if held.session is None:
                    held.session = self._load(path, providers)
            yield held.session
        finally:
            with self._lock:
                held.users -= 1
                if held.session is None and not held.users:
                    self._held.pop(key, None)
                self._make_room()

    @property
    def held_bytes(self) -> int:
        """The size of the files behind the sessions held now."""
        with self._lock:
            return sum(held.size_bytes for held in self._held.values())

    def _make_room(self) -> None:
        total = sum(held.size_bytes for held in self._held.values())
        for key in [key for key, held in self._held.items() if not held.users]:  # the longest unused first
            if total <= self._budget_bytes:
                return
            total -= self._held.pop(key).size_bytes


@cache
def shared_sessions() -> Sessions:
    """The sessions of this process."""
    return Sessions()


def load_session(path: Path, providers: Sequence[str], content: bytes | None = None, *, spins: bool = True) -> Any:
    """A session of onnxruntime. `providers` are its names; a device that is not the first has its number after a colon.

    content: a graph that was taken out of the file, in its place. spins: whether threads wait by spinning, which is
    fastest for one caller with all of the machine for itself, and slow where cores are wanted by others too.

    Raises WeightsError for a file that is no graph, DeviceError for providers that do not start.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError(f"{path}: needs onnxruntime", "pip install 'facexcli[onnx]'") from error
    named = [name.partition(":")[::2] for name in providers]
    missing = [name for name, _ in named if name not in onnxruntime.get_available_providers()]
    if missing:
        raise DeviceError(f"onnxruntime has no {', '.join(missing)}", "use --device cpu, or install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what matters is raised
    if not spins:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    numbered = [(name, {"device_id": number} if number else {}) for name, number in named]
    try:
        session = onnxruntime.InferenceSession(content or str(path), options, providers=numbered)
    except Exception as error:  # onnxruntime has no common class of its own
        raise WeightsError(f"{path}: onnxruntime cannot load it: {error}", "pull it again") from error
    if session.get_providers()[0] != named[0][0]:  # it goes on with the next one, and only logs it
        raise DeviceError(f"onnxruntime's {named[0][0]} does not start here", "use --device cpu, or see its log")
    return session
