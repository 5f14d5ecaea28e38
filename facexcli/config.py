"""Which settings hold: presets, configuration files and their order of precedence.

    flag > preset > ./facex.toml > user config > default

An unknown key or a bad value is a UsageError that names the file and the key, and the nearest known one.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from facexcli.errors import UsageError, unknown_name
from facexcli.folders import PROJECT_FILE, USER_FILE, cache_folder, data_folder, user_folder
from facexcli.settings import (
    ComputeSettings,
    EncodeSettings,
    EngineSettings,
    LabelSettings,
    LookSettings,
    PeopleSettings,
    ProvenanceSettings,
    RangeSettings,
    RecipeSettings,
    SamplingSettings,
    Settings,
    TalkSettings,
    declarations,
    parse_trim,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

__all__ = [
    "PROJECT_FILE",
    "USER_FILE",
    "ComputeSettings",
    "EncodeSettings",
    "EngineSettings",
    "LabelSettings",
    "LookSettings",
    "PeopleSettings",
    "Preset",
    "ProvenanceSettings",
    "RangeSettings",
    "RecipeSettings",
    "SamplingSettings",
    "Settings",
    "TalkSettings",
    "cache_folder",
    "data_folder",
    "load_preset",
    "parse_trim",
    "preset_names",
    "resolve",
    "training_recipe_names",
    "training_recipe_text",
    "user_folder",
]

_TRAINING = "train-"
_PERSONAL = (("provenance", "signer"), ("provenance", "timestamp"))


def preset_names() -> tuple[str, ...]:
    """The presets that come with the package."""
    return tuple(name for name in _packed_names() if not name.startswith(_TRAINING))


def training_recipe_names() -> tuple[str, ...]:
    """The recipes of trainings that come with the package, which lie among the presets."""
    return tuple(name for name in _packed_names() if name.startswith(_TRAINING))


def training_recipe_text(name: str) -> str:
    """The TOML of such a recipe. Raises UsageError for an unknown name."""
    if name not in training_recipe_names():
        raise unknown_name("recipe", name, training_recipe_names())
    return (resources.files("facexcli.presets") / f"{name}.toml").read_text("utf-8")


def _packed_names() -> list[str]:
    files = resources.files("facexcli.presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values. `text` is the TOML as written; `values` its tables, without the summary."""

    name: str
    summary: str
    text: str
    values: Mapping[str, Any]


def load_preset(name_or_file: str) -> Preset:
    """A preset by its name, or from a TOML file of the user's own (anything with a suffix or a folder).

    Raises UsageError for an unknown name, a file that cannot be read, and for unknown keys or bad values.
    """
    path = Path(name_or_file)
    if path.suffix or path.name != name_or_file:
        origin, text, folder = str(path), _read(path), path.parent
    else:
        if name_or_file not in preset_names():
            raise unknown_name("preset", name_or_file, preset_names())
        file = resources.files("facexcli.presets") / f"{name_or_file}.toml"
        origin, text, folder = f"preset {name_or_file}", file.read_text("utf-8"), None
    values = _parse(text, origin)
    summary = str(values.pop("summary", ""))
    _refuse_personal(values, origin)
    return Preset(name_or_file, summary, text, _checked(values, origin, folder))


def resolve(
    flags: Mapping[str, object] | None = None,
    preset: str | None = None,
    *,
    cwd: Path | None = None,
    home: Path | None = None,
    folder: Path | None = None,
) -> Settings:
    """The settings of a run from all that has a say: flag > preset > facex.toml > user config > default.

    Args:
        flags: values by parameter name (`min_face`, `engine`); None means not given. Strings are converted.
        preset: a preset's name, or a TOML file.
        cwd: where `facex.toml` is looked for; the current folder by default.
        home: where `config.toml` is looked for; `user_folder()` by default.
        folder: where relative paths among the flags begin; the current folder by default.

    Raises UsageError, naming the file and the key or the option.
    """
    layers: list[Mapping[str, Any]] = []
    for path in (own := (home or user_folder()) / USER_FILE, (cwd or Path()) / PROJECT_FILE):
        if path.is_file():
            values = _checked(_parse(_read(path), str(path)), str(path), path.parent)
            if path != own:
                _refuse_personal(values, str(path))
            layers.append(values)
    if preset is not None:
        layers.append(load_preset(preset).values)
    layers.append(_checked(_grouped(flags or {}), "", folder))
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for group, values in layer.items():
            merged.setdefault(group, {}).update(values)
    return Settings.model_validate(merged)


def _grouped(flags: Mapping[str, object]) -> dict[str, dict[str, object]]:
    by_parameter = {declaration.parameter: declaration for declaration in declarations()}
    tables: dict[str, dict[str, object]] = {}
    for parameter, value in flags.items():
        if parameter not in by_parameter:
            raise unknown_name("setting", parameter, by_parameter)
        if value is not None:
            declaration = by_parameter[parameter]
            tables.setdefault(declaration.group, {})[declaration.name] = value
    return tables


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path}: cannot be read: {reason}", "name a preset or a TOML file") from error


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{origin}: not TOML: {error}", "see `facex presets show balanced` for an example") from error


def _checked(values: dict[str, Any], origin: str, folder: Path | None) -> dict[str, Any]:
    """`values` as they are, once they are known to be good; their relative paths start at `folder`."""
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        raise _usage_error(error.errors()[0], origin) from None
    if folder is not None:
        for declaration in declarations():
            value = values.get(declaration.group, {}).get(declaration.name)
            if value is None or Path not in get_args(declaration.field.annotation):
                continue
            is_name = declaration.metavar.startswith("NAME") and Path(value).name == str(value)
            if not is_name or (folder / value).exists():
                values[declaration.group][declaration.name] = str(folder / value)
    return values


def _refuse_personal(values: Mapping[str, Any], origin: str) -> None:
    """What starts a program or calls an address must not come with a file that somebody else may have written.

    Raises UsageError.
    """
    for group, name in _PERSONAL:
        table = values.get(group)
        if isinstance(table, dict) and name in table:
            hint = f"write it into your own configuration, {user_folder() / USER_FILE}, or use the option"
            raise UsageError(f"{origin}: {group}.{name} is not taken from projects and presets", hint)


def _usage_error(problem: ErrorDetails, origin: str) -> UsageError:
    key = ".".join(str(part) for part in problem["loc"][:2])
    declared = {declaration.key: declaration for declaration in declarations()}
    where = f"{origin}: " if origin else ""
    if problem["type"] == "extra_forbidden":
        return UsageError(f"{where}unknown key {key!r}", _nearest_key(key, declared))
    if key not in declared:
        return UsageError(f"{where}{key!r} is not a table of settings", f"write [{key}] and its keys below it")
    declaration = declared[key]
    name = key if origin else declaration.flag.option
    given = problem["input"]
    if near := get_close_matches(str(given), declaration.choices, n=1, cutoff=0.5):
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"{name} {declaration.metavar}: {declaration.field.description}"
    reason = _reason(problem, declaration.metavar)
    said = name if repr(given) in reason else f"{name} = {given!r}"
    return UsageError(f"{where}{said}: {reason}", hint)


def _nearest_key(key: str, declared: Iterable[str]) -> str:
    group, _, name = key.rpartition(".")
    for known in declared:
        if known.endswith(f".{name}"):
            return f"did you mean {known!r}?"
    candidates = declared if group else Settings.model_fields
    near = get_close_matches(key, candidates, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "`facex presets show balanced` names the known ones"


def _reason(problem: ErrorDetails, metavar: str) -> str:
    """pydantic's sentence in our style: no capital, no prefix."""
    if problem["type"] == "string_pattern_mismatch":
        return f"must be one of {metavar}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]
