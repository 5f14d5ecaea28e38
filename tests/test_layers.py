"""Imports go strictly downwards, and what has to be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "facexcli"
FLOORS = {
    "types": 0, "tracks": 0, "folders": 0, "errors": 0, "recipes": 0,
    "affine": 1, "config": 1, "settings": 1, "presets": 1, "seeds": 1, "device": 1, "events": 1, "journal": 1,
    "memory": 1, "lettering": 1, "crashes": 1,
    "media": 2, "faces": 2, "geometry": 2, "fusion": 2, "diffusion": 2, "weights": 2, "provenance": 2,
    "engines": 3,
    "pipeline": 4, "api": 4,
    "batch": 5, "train": 5, "evaluate": 5, "doctor": 5, "demo": 5, "tiles": 5, "contact_sheet": 5,
    "cli": 6, "__main__": 6,
}  # fmt: skip
SIBLINGS_MAY_MEET = {"config", "settings", "presets", "types", "tracks", "errors", "recipes"}
"""Parts of a floor that are one thing in several files; everywhere else a part keeps to itself."""
FOR_ALL = "facexcli.evaluate.measures"
HEAVY = ("torch", "c2pa", "cryptography", "cv2", "diffusers", "ray", "pydantic", "av", "dlib", "decord", "numpy",
         "scipy", "scenedetect", "PIL")  # fmt: skip


def _modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in the file that stands, type checking included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            # `from facexcli.media import reader` names a module, `from facexcli.types import Face` a value
            found |= {f"{node.module}.{a.name}" for a in node.names} if node.module == "facexcli" else {node.module}
    return {name for name in found if name.startswith("facexcli.") and name != "facexcli.__version__"}


def _part(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in FLOORS, f"{own} has no floor: give it one here and in the design"
    for module in _imports(path) - {FOR_ALL}:
        part = _part(module)
        if part == own:
            continue
        assert part in FLOORS, f"{path} imports {module}, which has no floor"
        if FLOORS[part] == FLOORS[own]:
            allowed = part in SIBLINGS_MAY_MEET or FLOORS[own] >= 4  # a floor above the parts may use its own
            assert allowed, f"{path} imports its sibling {module}"
        else:
            assert FLOORS[part] < FLOORS[own], f"{path} (floor {FLOORS[own]}) imports {module} (floor {FLOORS[part]})"


def test_measures_import_only_values() -> None:
    assert _imports(PACKAGE / "evaluate" / "measures.py") <= {"facexcli.types"}


@pytest.mark.parametrize(
    "code", ["import facexcli, facexcli.cli.app", "from facexcli.cli.app import main; main(['-h'])"]
)
def test_the_overview_imports_nothing_heavy(code: str) -> None:
    script = f"{code}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_help_of_a_command_does_not_load_the_pipeline() -> None:
    heavy = tuple(name for name in HEAVY if name not in ("pydantic", "numpy"))
    script = (
        "from facexcli.cli.app import main\nmain(['swap', '--help'])\n"
        f"import sys\nprint([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
