"""What a user can rely on: two lines for an error, the right exit code, results alone on standard output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import facexcli
from facexcli.cli import commands
from facexcli.errors import BatchError, DeviceError, FacexError, InputError, NoFaceError, OutputError, WeightsError

if TYPE_CHECKING:
    from conftest import Facex

FACEX = [sys.executable, "-c", "import sys; from facexcli.cli.app import main; sys.exit(main())"]


def test_the_overview_comes_at_once() -> None:
    walls_s = []
    for _ in range(5):
        start_s = time.perf_counter()
        done = subprocess.run([*FACEX, "--help"], capture_output=True, text=True, check=True)
        walls_s.append(time.perf_counter() - start_s)
    assert "facex swap alice.jpg clip.mp4 -o out.mp4" in done.stdout
    # The promise is 0.3 s; the fastest of five is what the program needs, the others are what else the machine does.
    assert min(walls_s) < 0.3


def test_the_overview_names_every_command(facex: Facex) -> None:
    shown = facex("--help")
    assert shown.code == 0
    assert shown.stderr == ""
    for name, command in commands.COMMANDS.items():
        assert f"  {name:<9} {command.summary}\n" in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80


def test_no_command_is_a_usage_error_that_shows_the_overview(facex: Facex) -> None:
    shown = facex()
    assert shown.code == 2
    assert "Usage: facex" in shown.stdout


def test_version(facex: Facex) -> None:
    assert facex("--version").stdout == f"facex {facexcli.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["swp"], "unknown command 'swp'", "did you mean 'swap'?"),
        (["swap", "--fether", "1"], "unknown option '--fether'", "did you mean --feather?"),
        (["swap", "a", "b", "-o", "c", "--no-watermark"], "unknown option '--no-watermark'", "--watermark off?"),
        (["swap", "a", "b", "-o", "c", "--no-audio"], "unknown option '--no-audio'", "did you mean --audio none?"),
        (["swap", "a.jpg", "b.mp4"], "missing -o OUT", "see `facex swap --help`"),
        (["swap", "a.jpg", "-o", "out.mp4"], "missing SOURCE", "see `facex swap --help`"),
        (["reenact", "a.jpg", "-o", "out.mp4"], "missing --driving DRIVING", "see `facex reenact --help`"),
        (["swap", "a", "b", "-o", "c", "--crf", "x"], "--crf = 'x': should be a valid integer", "--crf N"),
        (["swap", "a", "b", "-o", "c", "--blend", "multi"], "--blend = 'multi'", "did you mean 'multiband'?"),
        (["swap", "a", "b", "-o", "c", "--preset", "fst"], "unknown preset 'fst'", "did you mean 'fast'?"),
        (["swap", "--plan", "p.json", "--seed", "1"], "--plan leaves no room for --seed", "edit the plan"),
        (["faces"], "missing argument", "see `facex faces --help`"),
        (["presets"], "missing command", "see `facex presets --help`"),
        (["swap", "-o"], "option '-o' requires an argument", "see `facex swap --help`"),
    ],
)
def test_a_usage_error_is_two_lines_and_exit_code_2(facex: Facex, arguments: list[str], error: str, hint: str) -> None:
    shown = facex(*arguments)
    assert shown.code == 2
    assert shown.stdout == ""
    first, second = shown.stderr.splitlines()
    assert first.startswith("facex: error: ")
    assert error.lower() in first.lower()
    assert second.startswith("hint: ")
    assert hint in second


@pytest.mark.parametrize(
    ("kind", "code"),
    [(InputError, 3), (NoFaceError, 4), (WeightsError, 5), (DeviceError, 6), (OutputError, 7), (BatchError, 8)],
)
def test_every_error_has_its_exit_code(
    facex: Facex, monkeypatch: pytest.MonkeyPatch, kind: type[FacexError], code: int
) -> None:
    _make_engines_raise(monkeypatch, kind("x.mp4: is\nbroken"))
    shown = facex("engines")
    assert shown.code == code
    assert shown.stderr == f"facex: error: x.mp4: is broken\nhint: {kind.default_hint}\n"


def test_a_bug_is_one_line_without_v_and_a_traceback_with_it(facex: Facex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facexcli.cli.edit.execute", _raise(ZeroDivisionError("nought")))
    monkeypatch.setattr("facexcli.cli.swap.execute", _raise(ZeroDivisionError("nought")))
    quiet = facex("swap", "a", "b", "-o", "c")
    assert quiet.code == 1
    assert quiet.stderr.startswith("facex: error: internal error: ZeroDivisionError: nought\nhint: ")
    loud = facex("swap", "a", "b", "-o", "c", "-v")
    assert loud.code == 1
    assert loud.stderr.startswith("Traceback")


def test_ctrl_c_is_exit_code_130(facex: Facex, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_engines_raise(monkeypatch, KeyboardInterrupt())
    shown = facex("engines")
    assert shown.code == 130
    assert shown.stderr.startswith("facex: error: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    script = (
        "import sys, time\nfrom facexcli.cli import app\n"
        "def wait(arguments):\n    print('ready', flush=True)\n    time.sleep(30)\n"
        "app._run = wait\nsys.exit(app.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr.startswith("facex: error: interrupted\n")
    assert "Traceback" not in stderr


def test_a_closed_pipe_is_quiet() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        done = subprocess.run([*FACEX, "presets", "list"], stdout=closed, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""
    assert done.returncode == 141


def test_errors_are_json_lines_where_progress_is(facex: Facex) -> None:
    shown = facex("swap", "no.jpg", "no.mp4", "-o", "out.mp4", "--progress", "jsonl")
    (line,) = shown.stderr.splitlines()
    told = json.loads(line)
    assert told["event"] == "error"
    assert told["exit_code"] == shown.code == 3
    assert "no.jpg" in told["message"]


@pytest.mark.parametrize("spelling", [["--progress", "jsonl"], ["--progress=jsonl"]])
def test_errors_in_the_command_line_are_json_lines_too(facex: Facex, spelling: list[str]) -> None:
    shown = facex("swap", *spelling, "--fether", "1")
    told = json.loads(shown.stderr)
    assert (told["event"], told["exit_code"]) == ("error", 2)
    assert "fether" in told["message"]


@pytest.mark.parametrize(
    ("arguments", "mistake", "message"),
    [
        (["swpa"], "[look]\nfether = 1", "swpa"),
        (["swap", "--fether", "1"], "", "fether"),
        (["swap", "a.jpg", "b.mp4", "--crf", "high"], "", "--crf"),
        (["swap", "a.jpg", "b.mp4"], "[look]\nfether = 1", "facex.toml: unknown key"),
    ],
)
def test_errors_are_json_lines_where_a_file_wants_it_whatever_is_wrong_in_that(
    facex: Facex, arguments: list[str], mistake: str, message: str
) -> None:
    Path("facex.toml").write_text(f"[talk]\nprogress = 'jsonl'\n{mistake}")
    told = json.loads(facex(*arguments).stderr)
    assert (told["event"], told["exit_code"]) == ("error", 2)
    assert message in told["message"]


def test_the_command_line_has_the_last_word_on_how_errors_are_told(facex: Facex, tmp_path: Path) -> None:
    (tmp_path / "home" / "config.toml").write_text("[talk]\nprogress = 'jsonl'")
    assert json.loads(facex("swpa").stderr)["event"] == "error"
    for option in ("--progress=plain", "-q"):
        assert facex("swap", option, "--fether", "1").stderr.startswith("facex: error: ")
    Path("facex.toml").write_text("[talk]\nprogress = 'plain'")
    assert facex("swpa").stderr.startswith("facex: error: ")
    for nothing_said in ("talk = 3", "[talk", f"talk = {'[' * 999}"):
        Path("facex.toml").write_text(nothing_said)
        assert "facex.toml" in json.loads(facex("swap", "a.jpg", "b.mp4").stderr)["message"]


def _make_engines_raise(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    import facexcli.cli.engines

    monkeypatch.setattr(facexcli.cli.engines, "engine_factories", _raise(error))


def _raise(error: BaseException):  # type: ignore[no-untyped-def]
    def act(*args: object, **values: object) -> None:
        raise error

    return act
