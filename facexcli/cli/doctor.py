"""`facex doctor`."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import print_json, print_result
from facexcli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.doctor import Examination
    from facexcli.media.capabilities import Ability


def register(app: typer.Typer, panel: str) -> None:
    app.command("doctor", rich_help_panel=panel)(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="show only the faces kept from earlier runs")] = False,
    clear_cache: Annotated[bool, typer.Option("--clear-cache", help="remove those faces")] = False,
) -> None:
    """Show what is installed and what works.

    Encoders are really opened, so that those of a graphics card say why they cannot be used.
    Ends with exit code 5 when the embedded engine cannot work here.

    Example:
      facex doctor
      facex doctor --json > doctor.json
      facex doctor --clear-cache
    """
    if cache or clear_cache:
        _tell_of_cache(clear_cache, as_json)
        return
    from facexcli.doctor import examine

    found = examine()
    if as_json:
        print_json(found.as_json())
    else:
        print_result("\n".join(_lines(found)))
    if found.problems:
        raise WeightsError("; ".join(found.problems), "install facex again: `pip install --force-reinstall facexcli`")


def _tell_of_cache(clear: bool, as_json: bool) -> None:
    """What is kept, or was until now."""
    from facexcli.config import resolve
    from facexcli.pipeline.cache import BYTES_PER_MB, analyses_folder, cache_entries, clear_cache

    entries = clear_cache() if clear else cache_entries()
    limit_mb = resolve().compute.cache_mb
    total = sum(entry.size_bytes for entry in entries)
    if as_json:
        listed = [entry.as_json() for entry in entries]
        facts = {"folder": str(analyses_folder()), "size_bytes": total, "limit_bytes": limit_mb * BYTES_PER_MB}
        print_json({**facts, "cleared": clear, "entries": listed})
        return
    count = f"{len(entries)} {'analysis' if len(entries) == 1 else 'analyses'}, {total / BYTES_PER_MB:.1f} MB"
    print_result(f"{analyses_folder()}\n{f'removed {count}' if clear else f'{count} of {limit_mb}'}")
    if entries and not clear:
        print_result(
            "\n".join(f"  {item.used}  {item.size_bytes / BYTES_PER_MB:>8.2f} MB  {item.label}" for item in entries)
        )


def _lines(found: Examination) -> Iterator[str]:
    yield f"facex {found.facex}, Python {found.python}, {found.platform}"
    yield from _wrapped("device: ", f"{found.device} ({found.device_reason})")
    yield from _wrapped("graphics: ", "; ".join(found.graphics) or "no card found")
    for choice in found.choices:
        yield from _wrapped(f"{choice.purpose}: ", choice.active)
        if choice.better:
            yield from _wrapped("  better: ", choice.better)
    for name, summary in found.engines.items():
        yield from _wrapped(f"engine: {name}: ", summary)
    yield "\npackages"
    yield from _packages(found)
    yield f"\nvideo (PyAV's own FFmpeg {found.ffmpeg['FFmpeg']}, libavcodec {found.ffmpeg['libavcodec']})"
    yield from _video(found)
    yield "\nmodels"
    for model in found.models:
        size = f"{model.size_bytes / 1e6:.0f} MB" if model.size_bytes else "missing"
        yield f"  {model.name} ({size}): {model.purpose}\n    licence: {model.licence}"
    yield "\nfolders"
    for folder in found.folders:
        state = f"cannot be written: {folder.problem}" if folder.problem else f"{folder.free_bytes / 1e9:.0f} GB free"
        yield f"  {folder.purpose:<12} {folder.path} ({state})"
    yield "\nconfiguration"
    for path, exists in found.config_files.items():
        yield f"  {path}{'' if exists else ' (none)'}"


def _packages(found: Examination) -> Iterator[str]:
    from facexcli.doctor import purpose_of

    for name, number in {**found.packages, **found.optional}.items():
        yield f"  {name:<24} {number or '-':<18} {purpose_of(name)}"


def _video(found: Examination) -> Iterator[str]:
    yield from _wrapped("  read     ", ", ".join(each.codec for each in found.decoders if not each.problem))
    for each in found.decoders:
        if each.problem:
            yield f"           {each.codec}: {each.problem}"
    for each in found.encoders:
        start = f"  {'write' if each is found.encoders[0] else '':<8} {each.codec:<7} {each.name:<12}"
        depths = "/".join(str(bits) for bits in each.depths)
        takes = f"{depths} bit, {' '.join(each.chroma)}" if each.depths else ""
        yield from _wrapped(f"{start} ", each.problem or takes)
    yield from _chips(found.hardware_encoders)


def _chips(abilities: tuple[Ability, ...]) -> Iterator[str]:
    """A line for each kind of hardware, and one for all kinds that fail alike."""
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for kind in dict.fromkeys(each.name.rpartition("_")[2] for each in abilities):
        of_kind = [each for each in abilities if each.name.endswith(f"_{kind}")]
        for problem in dict.fromkeys(each.problem for each in of_kind):
            codecs = tuple(each.codec for each in of_kind if each.problem == problem)
            alike.setdefault((problem, codecs), []).append(kind)
    for number, ((problem, codecs), kinds) in enumerate(alike.items()):
        start = f"  {'chips' if not number else '':<8} {', '.join(kinds)} "
        yield from _wrapped(start, f"({' '.join(codecs)}): {problem or 'works'}")


def _wrapped(start: str, text: str) -> list[str]:
    """The text behind its heading, in lines of at most 80 characters."""
    indent = " " * min(len(start), 13)
    return wrap(text, 80, initial_indent=start, subsequent_indent=indent) or [start.rstrip()]
