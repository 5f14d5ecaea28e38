"""The entry point: runs a command, and turns every error into two lines on standard error and an exit code.

Nothing heavy is imported here at module level, so that Ctrl-C is understood as soon as the program starts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from facexcli.cli import console
from facexcli.cli.overview import READ_MEDIA, overview
from facexcli.errors import DeviceError, FacexError, InputError, Interrupted, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

COMPLETION_VARIABLE = "_FACEX_COMPLETE"
EXIT_INTERNAL = 1
EXIT_PIPE_CLOSED = 141
"""What a shell reports for a program that ended because nobody read its output."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run facex with `argv` (the process's own arguments by default). Returns the exit code; raises nothing.

    As a program, and only so, it runs what reads media in a process of its own: see `cli.guard`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    console.VOICE.reset(arguments)
    if argv is None and not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries talk to programmers; what users should know comes as events
    try:
        ended = _split(arguments) if argv is None else None
        if ended is not None:
            return ended
        with _termination_as_interrupt(is_program=argv is None):
            return _run(arguments)
    except FacexError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted"))
    except BrokenPipeError:
        _silence_output()
        return EXIT_PIPE_CLOSED
    except MemoryError:
        return _fail(DeviceError("out of memory", "close other programs, or use --detail 0.4"))
    except OSError as error:
        return _fail(InputError(f"{error.filename or 'a file'}: {error.strerror or error}", "check the path"))
    except Exception as error:
        message = f"internal error: {type(error).__name__}: {error}"
        return _tell(message, "this is a bug in facex; -v shows the traceback", EXIT_INTERNAL)


def _split(arguments: list[str]) -> int | None:
    """See `cli.guard.split`. A help text needs no second process."""
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    if named not in READ_MEDIA or {"-h", "--help"} & set(arguments) or COMPLETION_VARIABLE in os.environ:
        return None
    from facexcli.cli.guard import split

    return split()


def _run(arguments: list[str]) -> int:
    if arguments in ([], ["-h"], ["--help"]) and COMPLETION_VARIABLE not in os.environ:
        console.print_result(overview().rstrip("\n"))
        return 0 if arguments else UsageError.exit_code
    from facexcli.cli.commands import run  # typer is not needed for the overview

    return run(arguments)


def _fail(error: FacexError) -> int:
    return _tell(error.message, error.hint, error.exit_code)


def _tell(message: str, hint: str, exit_code: int) -> int:
    """An error from before the settings hold is told as the configuration files want it, as far as they are TOML."""
    if not console.VOICE.is_told:
        from facexcli.cli.configured import progress_in_files

        console.VOICE.progress = progress_in_files() or console.VOICE.progress
    console.VOICE.error(message, hint, exit_code)
    return exit_code


@contextmanager
def _termination_as_interrupt(is_program: bool) -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: everything is closed, and nothing half-written stays.

    It often comes twice, to the process and to its group; the second disturbs neither the closing nor, in a program
    that ends after it, what is still to be said.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    asked = threading.Event()

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if is_program and asked.is_set() else previous)


def _silence_output() -> None:
    """Python flushes standard output once more at exit, and would complain about the closed pipe."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
