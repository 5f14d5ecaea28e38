"""A crash in native code is told in two lines and leaves nothing behind; signals reach the process that works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

# A worker that has an input open and an output half written, and then does what the test asks for.
PROGRAM = """
import ctypes, os, shutil, signal, sys, time
from pathlib import Path
from facexcli import journal
from facexcli.cli import app, guard

guard._PATIENCE_S = 0
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
how = os.environ["HOW"]

def work(arguments):
    from facexcli.media.atomic import AtomicFile
    from facexcli.media.container import check_file
    check_file(Path("in.mp4"))
    folder = Path("out.part.d")
    journal.half_written(folder)
    folder.mkdir()
    (folder / "0001.png").write_bytes(b"half")
    try:
        with AtomicFile(Path("out.mp4")) as file:
            file.temporary.write_bytes(b"half")
            {"segv": lambda: ctypes.string_at(0), "abort": os.abort, "kill": lambda: os.kill(os.getpid(), 9),
             "wait": wait, "late": wait, "hang": hang, "echo": echo, "done": file.commit}[how]()
    finally:
        shutil.rmtree(folder)
    return 7 if how == "done" else 0

def wait():
    print(os.getpid(), flush=True)
    time.sleep(60)

def hang():
    try:
        wait()
    finally:
        print("closing", flush=True)
        time.sleep(60)

def echo():
    print(sys.stdin.read().upper(), sys.stdout.isatty(), sys.stderr.isatty())

def tell_and_be_asked_again(error, tell=app._fail):
    code = tell(error)
    os.kill(os.getpid(), signal.SIGTERM)
    return code

app._run = work
if how == "late":
    app._fail = tell_and_be_asked_again
sys.exit(app.main())
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an input, an older output, and what another command is writing just now."""
    for name, content in (("in.mp4", b"media"), ("out.mp4", b"precious"), (".out.0123abcd.part.mp4", b"another's")):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def start(place: Path, how: str, way: str = "fork", *options: str, **values: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "HOW": how, "FACEX_GUARD": way}
    command = [sys.executable, "-c", PROGRAM, "swap", *options]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    pipes.update(values)
    return subprocess.Popen(command, cwd=place, env=environment, text=True, start_new_session=True, **pipes)


def end(process: subprocess.Popen[str], given: str | None = None) -> tuple[int, str, str]:
    out, err = process.communicate(given, timeout=30)
    return process.returncode, out, err


@pytest.fixture
def check_tidy(place: Path) -> Iterator[None]:
    """The older output and the other command's file are as they were, and nothing else was left."""
    yield
    assert sorted(path.name for path in place.iterdir()) == [".out.0123abcd.part.mp4", "in.mp4", "out.mp4"]
    assert (place / "out.mp4").read_bytes() == b"precious"


@pytest.mark.usefixtures("check_tidy")
@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("how", "code", "words"),
    [("segv", 3, "crashed (SIGSEGV, segmentation fault)"), ("abort", 3, "crashed (SIGABRT, aborted)"),
     ("kill", 6, "killed facex (SIGKILL), most likely because memory ran out")],
)  # fmt: skip
def test_a_crash_is_told_and_leaves_nothing_behind(place: Path, way: str, how: str, code: int, words: str) -> None:
    returned, out, err = end(start(place, how, way))
    assert (returned, out) == (code, "")
    error, hint = err.splitlines()
    assert error.startswith("facex: error: ")
    assert words in error
    assert error.endswith("; inputs in work: in.mp4")
    assert hint.startswith("hint: ")


@pytest.mark.usefixtures("check_tidy")
def test_a_crash_shows_its_stacks_to_those_who_want_them(place: Path) -> None:
    _, _, err = end(start(place, "segv", "fork", "-v"))
    assert "Fatal Python error: Segmentation fault" in err
    assert "in string_at" in err


@pytest.mark.usefixtures("check_tidy")
def test_a_crash_is_a_json_line_where_progress_is(place: Path) -> None:
    _, _, err = end(start(place, "segv", "fork", "--progress", "jsonl"))
    told = json.loads(err)
    assert (told["event"], told["exit_code"]) == ("error", 3)


@pytest.mark.usefixtures("check_tidy")
@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("to_group", [True, False], ids=["group", "watcher"])
def test_a_wish_to_end_reaches_the_worker_once(place: Path, way: str, number: signal.Signals, to_group: bool) -> None:
    process = start(place, "wait", way)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert worker != process.pid
    (os.killpg if to_group else os.kill)(process.pid, number)
    code, _, err = end(process)
    assert (code, err.splitlines()[0]) == (130, "facex: error: interrupted")
    assert len(err.splitlines()) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.usefixtures("check_tidy")
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_wish_that_comes_when_the_end_was_told_changes_nothing(place: Path, way: str) -> None:
    process = start(place, "late", way)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGTERM)
    code, _, err = end(process)
    assert (code, len(err.splitlines())) == (130, 2)


@pytest.mark.usefixtures("check_tidy")
def test_a_second_wish_kills_a_worker_that_does_not_end(place: Path) -> None:
    process = start(place, "hang")
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "closing\n"
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = end(process)
    assert (code, err.splitlines()[0]) == (130, "facex: error: interrupted")


@pytest.mark.usefixtures("check_tidy")
def test_a_worker_ends_with_its_watcher(place: Path) -> None:
    process = start(place, "wait")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    _, err = process.communicate(timeout=30)  # the end of the pipe: nobody holds it any more
    assert process.returncode == -signal.SIGKILL
    assert "interrupted" in err


@pytest.mark.parametrize("way", ["fork", "spawn", "off"])
def test_streams_and_the_exit_code_pass(place: Path, way: str) -> None:
    assert end(start(place, "echo", way), "a word") == (0, "A WORD False False\n", "")
    assert end(start(place, "done", way))[0] == 7
    assert (place / "out.mp4").read_bytes() == b"half", "what was committed stays"


@pytest.mark.usefixtures("check_tidy")
def test_a_terminal_is_the_workers_too_and_gets_its_cursor_back(place: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = start(place, "echo", stdout=theirs, stderr=theirs)
    process.communicate("word", timeout=30)
    crashed = start(place, "segv", stdout=theirs, stderr=theirs)
    crashed.communicate(timeout=30)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "WORD True True" in shown
    assert "\x1b[?25h" in shown


@pytest.mark.usefixtures("check_tidy")
def test_signals_that_are_ignored_stay_so(place: Path) -> None:
    process = start(place, "wait", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # as nohup does
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    os.killpg(process.pid, signal.SIGTERM)
    assert end(process)[0] == 130


def test_without_a_guard_a_crash_is_what_it_is(place: Path) -> None:
    assert end(start(place, "segv", "off"))[0] == -signal.SIGSEGV
