"""`facex models`: the weights that make facex better, and their licences."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from facexcli.cli.console import VOICE, print_json, print_result, reporting
from facexcli.errors import OutputError, UsageError, WeightsError
from facexcli.events import Informed
from facexcli.weights.catalog import EMBEDDED, Entry, catalog, entry
from facexcli.weights.store import Store

Name = Annotated[str, typer.Argument(metavar="NAME", help="see `facex models list`")]
Accept = Annotated[bool, typer.Option("--accept-licence", help="accept the licence, as a script must")]


def register(app: typer.Typer, panel: str) -> None:
    group = typer.Typer(help=_HELP, rich_markup_mode="rich")
    for name, command in (
        ("list", list_models), ("pull", pull), ("verify", verify), ("remove", remove), ("path", path), ("add", add),
        ("export", export),
    ):  # fmt: skip
        group.command(name)(command)
    app.add_typer(group, name="models", rich_help_panel=panel)


_HELP = """List weights, pull them, or add your own.

Nothing is ever downloaded unasked. A licence is shown before a pull, and
accepted once a name. FACEX_OFFLINE=1 forbids the network; HF_TOKEN,
HF_ENDPOINT and HTTPS_PROXY are respected.

Example:
  facex models list
  facex models list --json
"""


def list_models(as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False) -> None:
    """Say what is installed, what each enables, and under which licence.

    Example:
      facex models list
    """
    store = Store()
    rows: dict[str, dict[str, Any]] = {
        item.name: {"state": "embedded", "enables": item.enables, "licence": item.licence, "url": item.licence_url}
        for item in EMBEDDED
    }
    for item in catalog().values():
        state = "installed" if store.installed(item.name) else "-"
        rows[item.name] = {
            "state": state, "enables": item.enables, "licence": item.licence, "url": item.licence_url,
            "revision": store.revision(item.name), "sha256": store.hashes(item.name),
        }  # fmt: skip
    if as_json:
        print_json({"folder": store.folder, "models": rows})
        return
    width = 1 + max(map(len, rows))
    for name, row in rows.items():
        commit = f"; commit {row['revision'][:12]}" if row.get("revision") else ""
        print_result(f"{name:<{width}}{row['state']:<9} {row['licence']}{commit}\n{'':<{width}}{row['enables']}")


def pull(
    name: Name,
    accept_licence: Accept = False,
    latest: Annotated[bool, typer.Option("--latest", help="what is published today, not what came first")] = False,
) -> None:
    """Download weights, after their licence is accepted.

    The commit and the hashes of the first pull hold for later ones.

    Example:
      facex models pull buffalo_l
      facex models pull inswapper_128 --accept-licence
      facex models pull inswapper_128 --latest
    """
    store = Store()
    _agree(store, entry(name), accept_licence)
    with reporting() as reporter:
        for file in store.pull(name, reporter, latest=latest):
            print_result(str(file))
        for other in _companions(entry(name)):
            if not store.installed(other):
                reporter.emit(Informed(f"{name} works with {other}, which is not installed: facex models pull {other}"))


def add(
    name: Name,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="the file, the archive, or a folder with the files")],
    accept_licence: Accept = False,
) -> None:
    """Take in files that you have already, where there is no network.

    Example:
      facex models add inswapper_128 ~/Downloads/inswapper_128.onnx
    """
    store = Store()
    _agree(store, entry(name), accept_licence)
    with reporting() as reporter:
        for file in store.add(name, path, reporter):
            print_result(str(file))


def verify(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None) -> None:
    """Check size and hash of what is installed; all of it by default.

    Example:
      facex models verify
    """
    store = Store()
    problems = []
    with reporting() as reporter:
        for name in names or [name for name in catalog() if store.installed(name)]:
            commit = f", commit {revision}" if (revision := store.revision(name)) else ""
            for file in entry(name).files:
                try:
                    print_result(f"{store.path(name, file, reporter)}: as it was taken in{commit}")
                except WeightsError as error:
                    problems.append(error)
    for problem in problems[:-1]:
        VOICE.error(problem.message, problem.hint, problem.exit_code)
    if problems:
        raise problems[-1]


def remove(name: Name) -> None:
    """Delete weights. Their commit and hashes stay on record, and hold for a later pull.

    Example:
      facex models remove inswapper_128
    """
    print_result(f"{name}: {Store().remove(name) / 2**20:.0f} MB became free")


def path(name: Name) -> None:
    """Print where the verified files are.

    Example:
      facex models path inswapper_128
    """
    store = Store()
    for file in entry(name).files:
        print_result(str(store.path(name, file)))


def export(
    weights: Annotated[Path, typer.Argument(metavar="FILE", help="a checkpoint of FaceX, compact or tiny")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="the file to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a file that is there")] = False,
) -> None:
    """Write a trained FaceX network as ONNX, to be run by onnxruntime alone.

    What comes out is a file for --weights, on machines without torch too; steps
    and sampler (dpm++, ddim) are still chosen there.

    Example:
      facex models export net/best.safetensors -o net.onnx
      facex swap src.jpg in.mp4 -o out.mp4 --engine facex --weights net.onnx
    """
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"{output}: exported networks are .onnx files", f"write -o {output.with_suffix('.onnx')}")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} is there already", "name another file, or add --overwrite")
    if find_spec("torch") is None or find_spec("diffusers") is None:
        raise UsageError("exporting needs torch and diffusers", "pip install 'facexcli[diffusion]'")
    from facexcli.engines.facex.checkpoint import load_checkpoint
    from facexcli.engines.facex.export import export_network
    from facexcli.engines.facex.graph_file import check_exportable

    network = load_checkpoint(weights)
    check_exportable(network.config)
    export_network(network, output)
    print_result(f"{output}: FaceX {network.config.name}, {output.stat().st_size / 1e6:.1f} MB")


def _companions(item: Entry) -> tuple[str, ...]:
    """What a swapper takes its identities from."""
    converter = item.facts.get("embedding_converter")
    return ("buffalo_l", *([converter] if converter else [])) if item.kind == "swapper" else ()


def _agree(store: Store, item: Entry, accepted: bool) -> None:
    """Show the licence, and let nothing happen before somebody has accepted it."""
    if store.accepted(item.name):
        return
    terms = f"{item.name}: licence: {item.licence}; its text: {item.licence_url}"
    sys.stderr.write(f"{terms}\n")
    if accepted or (sys.stdin.isatty() and typer.confirm("Do you accept it?", err=True)):
        return
    raise WeightsError(f"{item.name}: its licence is not accepted", "read it, and repeat with --accept-licence")
