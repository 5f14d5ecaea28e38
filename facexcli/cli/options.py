"""The options of the editing commands, built from the declarations of the settings, so that no command copies them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexcli.cli.console import VOICE
from facexcli.config import resolve
from facexcli.settings import Settings, declarations, declarations_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from facexcli.settings import Declaration

_PRESET_HELP = "a named set of values, or a TOML file; see `facex presets list`"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chose: the settings that hold, and whether the result is wanted as JSON.

    `options` are the options that were typed and that a plan would hold.
    """

    settings: Settings
    as_json: bool
    options: tuple[str, ...] = ()


def with_settings(*wanted: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the settings named in `wanted`, and `--preset`, `--json`, `-q`, `-v`.

    `wanted` names groups (`look`) or single settings (`people.min_face_px`). The command receives them, resolved with
    presets and configuration files, as its keyword argument `choices`.
    """
    offered = declarations_in(wanted)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = [*_own_parameters(command), *_settings_parameters(offered), *_common_parameters()]

        @wraps(command)
        def run(**values: Any) -> None:
            flags = {item.parameter: _given(values.pop(item.parameter)) for item in offered}
            choices = _choose(flags, *(values.pop(name) for name in ("preset", "as_json", "quiet", "verbose")))
            command(choices=choices, **values)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _choose(flags: dict[str, object], preset: str | None, as_json: bool, quiet: bool, verbose: bool) -> Choices:
    if quiet:
        flags = {**flags, "progress": flags.get("progress") or "none", "log_level": "error"}
    if verbose:
        flags = {**flags, "log_level": "debug"}
    settings = resolve(flags, preset)
    VOICE.listen(settings.talk)
    told = [item for item in declarations() if item.group != "talk" and not item.field.exclude]
    typed = [item.flag.option for item in told if flags.get(item.parameter)]
    return Choices(settings, as_json, tuple([*typed, *(["--preset"] if preset else [])]))


def _given(value: object) -> object:
    """None for an option that was not typed; typer gives an empty list for a repeatable one."""
    return None if value == [] else value


def _own_parameters(command: Callable[..., None]) -> Iterable[inspect.Parameter]:
    for item in inspect.signature(command, eval_str=True).parameters.values():
        if item.name != "choices":
            yield item.replace(kind=item.KEYWORD_ONLY)


def _settings_parameters(offered: Iterable[Declaration]) -> Iterable[inspect.Parameter]:
    for item in offered:
        option = typer.Option(
            item.flag.option, help=_help(item), metavar=item.metavar, rich_help_panel=item.flag.panel,
            show_default=False, autocompletion=_completion(item.choices),
        )  # fmt: skip
        kind: Any = list[str] if item.flag.repeatable else str
        yield keyword(item.parameter, Annotated[kind | None, option], None)


def _help(item: Declaration) -> str:
    default = item.field.default
    told = default not in (None, (), "", "auto")
    return f"{item.field.description} ({default})" if told else str(item.field.description)


def _completion(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _common_parameters() -> Iterable[inspect.Parameter]:
    preset = typer.Option("--preset", metavar="NAME|FILE", help=_PRESET_HELP)
    yield keyword("preset", Annotated[str | None, preset], None)
    for name, names, help_text in (
        ("as_json", ("--json",), "print the result as one JSON object"),
        ("quiet", ("--quiet", "-q"), "only errors"),
        ("verbose", ("--verbose", "-v"), "details, and the traceback of an error"),
    ):
        yield keyword(name, Annotated[bool, typer.Option(*names, help=help_text, rich_help_panel="Talk")], False)


def keyword(name: str, annotation: Any, default: object) -> inspect.Parameter:
    """An option of a command, as its signature has it."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
