"""Finds the command and runs it. A command's module is imported only when that command is named."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli import __version__
from facexcli.cli.console import print_result
from facexcli.cli.overview import COMMANDS
from facexcli.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code of help and version; errors come out as exceptions."""
    if "_FACEX_COMPLETE" in os.environ:  # the shell asks for completions: typer answers and exits
        typer.main.get_command(build_app(list(COMMANDS)))(prog_name="facex")
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    if named is not None and named not in COMMANDS:
        raise unknown_name("command", named, COMMANDS)
    command = typer.main.get_command(build_app([named] if named else []))
    try:
        with command.make_context("facex", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except _CLICK_ERROR as error:
        raise _usage_error(error, named) from None
    return 0


def build_app(loaded: Sequence[str]) -> typer.Typer:
    """The application, with the modules of the commands in `loaded`; the others have a name and a summary only."""
    app = typer.Typer(rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]})
    app.callback()(_facex)
    for name, command in COMMANDS.items():
        if name in loaded:
            import_module(command.module).register(app, command.panel)
        else:
            app.command(name, help=command.summary, rich_help_panel=command.panel)(_not_loaded)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print_result(f"facex {__version__}")
        raise typer.Exit


def _facex(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Edit faces in video."""


def _not_loaded() -> None:
    raise AssertionError("only the command that was named is loaded and run")


# typer has its own copy of click or uses the installed one, depending on its version; this is the base class of either.
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def _usage_error(error: Any, command: str | None) -> UsageError:
    """click's error in our words, with the nearest option as its hint."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else f"facex {command}" if command else "facex"
    hint = f"see `{path} --help`"
    option, near = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    if option and type(error).__name__ == "NoSuchOption":
        meant = _switched_off(option, context) or (near[0] if near else None)
        return UsageError(f"unknown option {option!r}", f"did you mean {meant}?" if meant else hint)
    message = error.format_message().strip().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint)


def _switched_off(option: str, context: Any) -> str | None:
    """`--watermark off` for --no-watermark, where the command has such a setting."""
    from facexcli.settings import declarations

    named = f"--{option.removeprefix('--no-')}"
    if context is None or not any(named in parameter.opts for parameter in context.command.params):
        return None
    choices = next((item.choices for item in declarations() if item.flag.option == named), ())
    return next((f"{named} {off}" for off in ("off", "none") if off in choices), None)
