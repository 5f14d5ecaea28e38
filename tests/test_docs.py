"""Every command is documented: in README, in its own help, and by an example that is right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from facexcli.cli.app import main
from facexcli.cli.commands import COMMANDS, build_app
from facexcli.errors import InputError
from facexcli.settings import declarations

README = Path(__file__).parents[1] / "README.md"
NAMES = sorted(COMMANDS)


def _help(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([name, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_has_every_command(name: str) -> None:
    text = README.read_text("utf-8")
    assert re.search(rf"facex {name}\b", text), f"README.md does not show `facex {name}`"


@pytest.mark.parametrize("name", NAMES)
def test_help_is_readable_and_has_an_example(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _help(name, capsys, monkeypatch)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert COMMANDS[name].summary in " ".join(text.split()), "the overview and the help say different things"
    assert "Example:" in text
    assert re.search(rf"^ +facex {name}\b", text, re.MULTILINE), "the example does not use the command"


@pytest.mark.parametrize("name", NAMES)
def test_examples_have_no_mistake(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each example is run where its files are missing: it may miss them, but nothing else."""
    examples = re.findall(rf"^ +(facex {name}\b.*?) *(?:>.*)?$", _help(name, capsys, monkeypatch), re.MULTILINE)
    assert examples
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEX_TEST_DATA", raising=False)
    if name == "demo":
        monkeypatch.setattr("facexcli.demo.find_photographs", _without_photographs)
    for example in examples:
        code = main(shlex.split(example)[1:])
        error = capsys.readouterr().err
        assert code in (0, 3), f"{example}: {error}"


def _without_photographs() -> None:
    raise InputError("no photographs")


def test_every_setting_is_an_option_of_swap_or_edit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _help("swap", capsys, monkeypatch) + _help("edit", capsys, monkeypatch)
    for item in declarations():
        assert item.flag.option in text


def test_options_in_the_readme_exist() -> None:
    known = {"--help", "--version", "--install-completion", "--show-completion"}
    command = typer.main.get_command(build_app(NAMES))
    pending = [command]
    while pending:
        current = pending.pop()
        pending += getattr(current, "commands", {}).values()
        known |= {option for parameter in current.params for option in parameter.opts}
    lines = [line for line in README.read_text("utf-8").splitlines() if re.match(r"( {4})?facex ", line)]
    assert lines
    shown = {option for line in lines for option in re.findall(r"(?<!\S)--[a-z-]+", line)}
    assert shown <= known, f"README.md shows options that do not exist: {sorted(shown - known)}"
