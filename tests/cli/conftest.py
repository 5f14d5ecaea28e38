"""The command line in this process: arguments in, exit code and both outputs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from facexcli.cli.app import main


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str


Facex = Callable[..., Outcome]


@pytest.fixture
def facex(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Facex:
    """Runs facex in an empty folder, with an empty user's folder, on a terminal of 80 columns."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("FACEX_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def photographs() -> tuple[Path, Path]:
    """Two real portraits, which come with packages that facex needs: an astronaut and an admiral."""
    from facexcli.demo import find_photographs

    found = find_photographs()
    return found.astronaut, found.admiral
