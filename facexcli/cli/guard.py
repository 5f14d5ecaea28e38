"""A second process does the work, so that a crash in native code is told, and leaves nothing half-written behind.

FFmpeg, dlib and OpenCV are written in C and C++; a hostile file may kill the process that reads it. So the first thing
that such a command does is to split: the worker goes on with the command, the watcher waits for it. Where the worker is
killed, the watcher says what died and which inputs were in work, and removes its temporary files, of which
`facexcli.journal` keeps account. A worker whose watcher is killed ends too.

Signals: the watcher takes Ctrl-C, SIGTERM and SIGHUP and asks the worker to end, which closes everything; asked again,
it kills the worker and clears up in its place. Environment: FACEX_GUARD=off runs a command in one process, for
debuggers; FACEX_GUARD=spawn starts the worker anew where it would be forked.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from facexcli import journal
from facexcli.crashes import crash_error, remove_temporaries, signal_name
from facexcli.errors import Interrupted

if TYPE_CHECKING:
    from types import FrameType

    from facexcli.errors import FacexError

VARIABLE = "FACEX_GUARD"
_WORKER = "worker:"
# What ends a command at the user's wish. SIGQUIT (Ctrl-\) and SIGHUP are not everywhere.
_ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
_PATIENCE_S = 1.0
_ASK_AGAIN_S = 0.5
_ORPHAN_S = 10.0


def split() -> int | None:
    """Go on in a worker process. Returns None there, and in the watcher the worker's exit code when it has ended.

    Returns None at once where that is not wanted, or where other threads run. Raises InputError for a worker that
    crashed, DeviceError for one that was killed, Interrupted for one that was asked to end and could not say so.
    """
    told = os.environ.get(VARIABLE, "")
    if told.startswith(_WORKER):
        del os.environ[VARIABLE]  # programs that this one starts are not workers
        _become_worker(_pipe_end(int(told.removeprefix(_WORKER))))
        return None
    if told == "off" or threading.active_count() > 1:
        return None
    # Frameworks of macOS do not survive a fork; Windows has none.
    if sys.platform == "linux" and told != "spawn":
        return _fork()
    return _spawn()


class _Process(Protocol):
    """The worker, however it was started."""

    def wait(self) -> int:
        """Its exit code; -n where signal n killed it."""

    def send_signal(self, sig: int, /) -> None: ...


class _Forked:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = False

    def wait(self) -> int:
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        self._ended = True  # before its number may be given to another process
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def send_signal(self, sig: int, /) -> None:
        if not self._ended:
            os.kill(self._pid, sig)


def _fork() -> int | None:
    sys.stdout.flush()
    sys.stderr.flush()
    read_end, write_end = os.pipe()
    _hold_signals()
    pid = os.fork()
    if pid:
        os.close(write_end)
        return _Watch(_Forked(pid), read_end).until_it_ends()
    os.close(read_end)
    _become_worker(write_end)
    return None


def _spawn() -> int:
    import subprocess

    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    handle = write_end
    if sys.platform == "win32":
        import msvcrt

        handle = msvcrt.get_osfhandle(write_end)
    _hold_signals()
    process = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]], env={**os.environ, VARIABLE: f"{_WORKER}{handle}"}, close_fds=False
    )
    os.close(write_end)
    return _Watch(process, read_end).until_it_ends()


def _pipe_end(handle: int) -> int:
    if sys.platform == "win32":
        import msvcrt

        handle = msvcrt.open_osfhandle(handle, os.O_WRONLY)
    os.set_inheritable(handle, False)
    return handle


def _hold_signals() -> None:
    """Until either process is ready for them; the worker inherits that."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)


def _release_signals() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)


def _become_worker(pipe: int) -> None:
    """Leave signals from the terminal to the watcher, tell it what goes on, and end when it does."""
    import faulthandler

    for number in _ENDINGS:
        if number != signal.SIGTERM:  # a handler that does nothing could swallow the SIGTERM that comes with it
            signal.signal(number, signal.SIG_IGN)
    journal.tell_to(pipe)
    faulthandler.enable(pipe)
    if hasattr(os, "fork"):
        threading.Thread(target=_end_with_the_watcher, args=(pipe,), name="guard", daemon=True).start()
    _release_signals()


def _end_with_the_watcher(pipe: int) -> None:
    import select

    gone = select.poll()
    gone.register(pipe, 0)  # nothing but that nobody reads any more
    gone.poll()
    for _ in range(round(_ORPHAN_S / _ASK_AGAIN_S)):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_ASK_AGAIN_S)
    os.kill(os.getpid(), signal.SIGKILL)


class _Watch:
    """Waits for the worker, passes wishes on to it, and clears up behind it."""

    def __init__(self, worker: _Process, pipe: int) -> None:
        self._worker, self._pipe = worker, pipe
        self._records: list[bytes] = []
        self._asked_at_s: float | None = None
        self._ended = threading.Event()
        self._killed = False

    def until_it_ends(self) -> int:
        """Its exit code; raises what it could not say itself."""
        listener = threading.Thread(target=self._listen, name="guard", daemon=True)
        listener.start()
        # What is ignored stays so: nohup and shells do that for what runs in the background.
        caught = [number for number in _ENDINGS if signal.getsignal(number) != signal.SIG_IGN]
        previous = {number: signal.signal(number, self._ask_to_end) for number in caught}
        try:
            _release_signals()
            code = self._worker.wait()
        finally:
            self._ended.set()
            for number, handler in previous.items():
                signal.signal(number, handler)
        listener.join(timeout=2)  # a program that the worker started and left may still hold the pipe
        told = journal.parse(b"".join(self._records))
        remove_temporaries(told.temporaries)
        if 0 <= code < 0xC0000000:  # Windows has codes above for crashes
            return code
        _restore_terminal()
        raise self._error(code, told)

    def _listen(self) -> None:
        while piece := os.read(self._pipe, 65536):
            self._records.append(piece)
        os.close(self._pipe)

    def _ask_to_end(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        with suppress(ProcessLookupError):
            if self._asked_at_s is None:
                self._asked_at_s = now_s
                threading.Thread(target=self._ask_until_it_ends, name="guard", daemon=True).start()
            elif now_s - self._asked_at_s > _PATIENCE_S:  # one wish may come twice, to the group and to the process
                self._killed = True
                self._worker.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def _ask_until_it_ends(self) -> None:
        """Python sleeps through a signal that comes just before a system call; the next one wakes it."""
        with suppress(ProcessLookupError):
            while True:
                self._worker.send_signal(signal.SIGTERM)
                if self._ended.wait(_ASK_AGAIN_S):
                    return

    def _error(self, code: int, told: journal.Told) -> FacexError:
        if self._killed or signal_name(code) in {number.name for number in _ENDINGS}:
            return Interrupted("interrupted")
        return crash_error(code, told.inputs, told.rest)


def _restore_terminal() -> None:
    """Bars hide the cursor and leave their line open."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[0m\x1b[?25h\n")
