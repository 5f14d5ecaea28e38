"""`facex verify`."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from facexcli.cli.console import print_json, print_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facexcli.pipeline.verification import Verification
    from facexcli.provenance.reading import Finding, SeenIngredient

EXIT_NOTHING_FOUND = 1
EXIT_TAMPERED = 9

_HEADLINES = {
    "valid": "signed by somebody who is vouched for, and unchanged since",
    "untrusted": "signed, and unchanged since; nobody vouches for who signed it",
    "tampered": "NOT as it was signed: what its manifest says cannot be relied on",
    "absent": "no manifest",
}
_KINDS = {
    "compositeSynthetic": "a recording into which something synthetic was composed",
    "compositeWithTrainedAlgorithmicMedia": "a recording into which something made by a trained model was composed",
    "trainedAlgorithmicMedia": "made by a trained model",
    "algorithmicMedia": "made by a program",
    "digitalCapture": "recorded by a camera",
    "digitalCreation": "made by a person with digital tools",
}
_PARENTS = {
    "valid": "it has a manifest of its own, of a signer who is vouched for",
    "untrusted": "it has a manifest of its own, of a signer for whom nobody vouches",
    "tampered": "it has a manifest of its own that does not fit: it was changed before",
    "absent": "it had no manifest",
}


def register(app: typer.Typer, panel: str) -> None:
    app.command("verify", rich_help_panel=panel)(verify)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a picture or a video; FILE.c2pa beside it is found")],
    trust: Annotated[
        Path | None,
        typer.Option("--trust", metavar="FILE.pem", help="certificates of those who may vouch, as the C2PA trust list"),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--watermark-key", metavar="FILE", help="also look for watermarks that were made with this secret"
        ),
    ] = None,
    watermark: Annotated[
        bool, typer.Option("--watermark/--no-watermark", help="look into the faces; takes some seconds")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Tell whether a file says that it is synthetic.

    Reads the C2PA manifest of any program, in the file or beside it: what was
    done, who signed it, and whether it was changed since. Looks for the watermark
    that facex hides in the faces that it makes. No network is used. Ends with
    exit code 0 when something was found and is intact, 1 when nothing was found,
    3 when the file cannot be read, 9 when it was changed.

    Example:
      facex verify out.mp4
      facex verify out.mp4 --json --trust C2PA-TRUST-LIST.pem
    """
    from facexcli.pipeline.verification import verify as look

    found = look(file, trust, _keys(key) if watermark else ())
    if as_json:
        print_json(found.as_json())
    else:
        print_result("\n".join(_lines(found)))
    if found.is_tampered:
        raise typer.Exit(EXIT_TAMPERED)
    if not found.is_found:
        raise typer.Exit(EXIT_NOTHING_FOUND)


def _keys(own: Path | None) -> list[bytes]:
    """The user's own key, that of the configuration, and everybody's."""
    from facexcli.config import resolve
    from facexcli.fusion.watermark_waves import PUBLIC_KEY
    from facexcli.pipeline.watermark import watermark_key

    settings = resolve({} if own is None else {"watermark_key": own}).provenance
    return list(dict.fromkeys((watermark_key(settings), PUBLIC_KEY)))


def _lines(found: Verification) -> Iterator[str]:
    manifest = found.manifest
    yield f"{found.path}: {_HEADLINES[manifest.state]}"
    yield from _marked(found)
    if manifest.state == "absent":
        yield from _nothing(found)
        return
    for problem in manifest.problems:
        yield from _wrapped("problem", problem)
    if manifest.state == "tampered" and (manifest.descriptions or manifest.source_types):
        yield "  What follows is what the manifest says; it may be about another file."
    yield from _said(manifest)


def _marked(found: Verification) -> Iterator[str]:
    evidence = found.watermark
    if evidence is None:
        return
    if not evidence.is_found:
        lost = "Small faces, or a file that was encoded coarsely, may have lost it"
        yield from _wrapped("watermark", f"none found in its faces. {lost}")
        return
    chance = f"the chance that a face without one looks like this is below 1 in 10^{int(evidence.log10_chance)}"
    if not found.marked_run:
        run = "Which run made it can no longer be read"
    elif not found.manifest.run_id:
        run = f"It names run {found.marked_run}"
    elif found.marked_run == found.manifest.run_id:
        run = f"It names run {found.marked_run}, as the manifest does"
    else:
        run = (
            f"It names run {found.marked_run}, and NOT that of the manifest: something else was done to these faces too"
        )
    yield from _wrapped("watermark", f"facex made or changed a face in this: {chance}. {run}")


def _nothing(found: Verification) -> Iterator[str]:
    for problem in found.manifest.problems:
        yield from _wrapped("problem", problem)
    if found.tagged:
        kind = _KINDS.get(found.tagged, found.tagged)
        yield from _wrapped("metadata", f"{kind}. Metadata are not signed: anybody can write or remove them")
    elif not found.is_marked:
        yield from _wrapped("means", "nothing here says how the file was made. That does not say that it is genuine: "
                                     "a manifest is lost when a file is converted or uploaded")  # fmt: skip


def _said(manifest: Finding) -> Iterator[str]:
    for description in manifest.descriptions:
        yield from _wrapped("done", description)
    for kind in manifest.source_types:
        yield from _wrapped("kind", _KINDS.get(kind, kind))
    facts = manifest.facts
    if manifest.generator:
        engine = f", engine {facts['engine']}" if facts.get("engine") else ""
        yield from _wrapped("made with", f"{manifest.generator}{engine}")
    if facts.get("label"):
        yield from _wrapped("label", f"{facts['label']}")
    if manifest.run_id:
        yield from _wrapped("run", f"{manifest.run_id}, plan {str(facts.get('plan_sha256', ''))[:16]}")
    for each in manifest.ingredients:
        yield from _wrapped("made from", _ingredient(each, facts))
    if manifest.signer:
        yield from _wrapped("signed by", _signer(manifest))
    place = "in the file" if manifest.place == "embedded" else manifest.place
    yield from _wrapped("manifest", place)


def _signer(manifest: Finding) -> str:
    when = f", on {manifest.signed_at}" if manifest.signed_at else ", at a time that nobody attests"
    if manifest.state == "valid":
        return f"{manifest.signer}{when}"
    return f"{manifest.signer}{when}. Anybody can make such a certificate: it proves no name"


def _ingredient(each: SeenIngredient, facts: object) -> str:
    digest = ""
    inputs = facts.get("inputs") if isinstance(facts, dict) else None
    for item in inputs if isinstance(inputs, list) else []:
        if isinstance(item, dict) and item.get("role") == each.title:
            digest = f" (SHA-256 {str(item.get('sha256', ''))[:16]}...)"
    history = f"; {_PARENTS[each.state]}" if each.is_parent or each.state != "absent" else ""
    return f"{each.title}{digest}{history}"


def _wrapped(name: str, text: str) -> list[str]:
    return wrap(text, 80, initial_indent=f"  {name + ':':<11}", subsequent_indent=" " * 13)
