"""The table of commands, and the overview that `facex --help` shows. Imports nothing, to be there at once."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """The module whose `register` adds the command, its line in the overview, and the panel that it stands in."""

    module: str
    summary: str
    panel: str


COMMANDS: dict[str, Command] = {
    "swap": Command("facexcli.cli.swap", "Put the face of SOURCE into TARGET.", "Edit"),
    "head-swap": Command("facexcli.cli.head_swap", "Put the whole head of SOURCE into TARGET.", "Edit"),
    "reenact": Command("facexcli.cli.reenact", "Make the face of SOURCE move like the one in DRIVING.", "Edit"),
    "edit": Command("facexcli.cli.edit_canvas", "Change attributes of the face in CANVAS.", "Edit"),
    "batch": Command("facexcli.cli.batch", "Do many swaps, reenactments and edits, listed in a file.", "Edit"),
    "faces": Command("facexcli.cli.faces", "Show who is where in an image or a video.", "Look"),
    "eval": Command("facexcli.cli.evaluate", "Measure how good a swap or a reenactment is.", "Look"),
    "verify": Command("facexcli.cli.verify", "Tell whether a file says that it is synthetic.", "Look"),
    "engines": Command("facexcli.cli.engines", "List the engines and what they can do.", "Look"),
    "models": Command("facexcli.cli.models", "List weights, pull them, or add your own.", "Look"),
    "presets": Command("facexcli.cli.presets", "List the presets, or show one.", "Look"),
    "doctor": Command("facexcli.cli.doctor", "Show what is installed and what works.", "Look"),
    "plan-cost": Command("facexcli.cli.plan_cost", "Predict how long a plan takes with 1 to N workers.", "Look"),
    "train": Command("facexcli.cli.train", "Teach an engine on stills and clips of your own.", "Try"),
    "demo": Command("facexcli.cli.demo", "Make a short clip, swap it and reenact it.", "Try"),
    "bench": Command("facexcli.cli.bench", "Measure quality and speed on real clips.", "Try"),
}

READ_MEDIA = frozenset(("swap", "head-swap", "reenact", "edit", "batch", "plan-cost", "faces", "eval", "verify"))
"""Commands that read media of unknown origin: they work under guard."""

_HEAD = """\
Usage: facex COMMAND [OPTIONS] ...

Edit faces in video.

  facex swap alice.jpg clip.mp4 -o out.mp4
  facex reenact alice.jpg --driving clip.mp4 -o out.mp4
"""

_TAIL = """
Options
  --version             Show the version.
  --install-completion  Install completion for the current shell.
  --show-completion     Print the completion script of the current shell.
  -h, --help            Show this overview.

`facex COMMAND --help` explains a command and gives an example.
"""


def overview() -> str:
    """What facex can do, in fewer than 80 columns."""
    panels: dict[str, list[str]] = {}
    for name, command in COMMANDS.items():
        panels.setdefault(command.panel, []).append(f"  {name:<9} {command.summary}\n")
    return _HEAD + "".join(f"\n{panel}\n{''.join(lines)}" for panel, lines in panels.items()) + _TAIL
