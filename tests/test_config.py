"""Settings: what they may be, who has the last word, and what is said about a mistake."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from facexcli.config import load_preset, preset_names, resolve, user_folder
from facexcli.errors import UsageError
from facexcli.settings import Settings, declarations, parse_trim


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A working folder and a user's configuration folder, both empty."""
    cwd, home = tmp_path / "project", tmp_path / "home"
    cwd.mkdir()
    home.mkdir()
    return cwd, home


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_each_layer_overrules_the_one_below(folders: tuple[Path, Path]) -> None:
    cwd, home = folders

    def crf(flags: dict[str, object] | None = None, preset: str | None = None) -> int:
        return resolve(flags, preset, cwd=cwd, home=home).output.crf

    assert crf() == Settings().output.crf == 18
    _file(home, "config.toml", "[output]\ncrf = 1")
    assert crf() == 1
    _file(cwd, "facex.toml", "[output]\ncrf = 2")
    assert crf() == 2
    preset = str(_file(cwd, "mine.toml", "[output]\ncrf = 3"))
    assert crf(preset=preset) == 3
    assert crf({"crf": "4"}, preset) == 4


def test_layers_are_merged_key_by_key(folders: tuple[Path, Path]) -> None:
    cwd, home = folders
    _file(home, "config.toml", "[look]\nfeather = 0.25\nsmooth = 0.75")
    _file(cwd, "facex.toml", "[look]\nsmooth = 0.125")
    look = resolve({"strength": 0.5}, cwd=cwd, home=home).look
    assert (look.feather, look.smooth, look.strength) == (0.25, 0.125, 0.5)


def test_a_flag_that_was_not_given_changes_nothing(folders: tuple[Path, Path]) -> None:
    cwd, home = folders
    assert resolve({"crf": None, "take": None}, cwd=cwd, home=home) == Settings()


def test_paths_in_a_file_start_where_the_file_is(folders: tuple[Path, Path]) -> None:
    cwd, home = folders
    _file(home, "config.toml", '[people]\nmatch = "faces/alice.jpg"')
    assert resolve(cwd=cwd, home=home).people.match == home / "faces" / "alice.jpg"
    assert resolve({"match": "bob.jpg"}, cwd=cwd, home=home).people.match == Path("bob.jpg")


def test_the_home_variable_moves_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    assert user_folder() == tmp_path
    monkeypatch.delenv("FACEX_HOME")
    assert user_folder().name == "facex"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[look]\nfether = 1", "unknown key 'look.fether'", "did you mean 'look.feather'?"),
        ("[loook]\nfeather = 1", "unknown key 'loook'", "did you mean 'look'?"),
        ("crf = 3", "unknown key 'crf'", "did you mean 'output.crf'?"),
        ("[look]\ncrf = 3", "unknown key 'look.crf'", "did you mean 'output.crf'?"),
        ("[look]\nblend = 'multi'", "look.blend = 'multi'", "did you mean 'multiband'?"),
        ("[output]\ncrf = 99", "output.crf = 99: should be less than or equal to 63", "output.crf N: quality"),
        ("[output]\ncrf = 'best'", "output.crf = 'best': should be a valid integer", "output.crf N: quality"),
        ("look = 3", "'look' is not a table of settings", "[look]"),
        ("[look", "not TOML", "presets show"),
    ],
)
def test_a_mistake_in_a_file_names_the_file_and_the_key(
    folders: tuple[Path, Path], text: str, message: str, hint: str
) -> None:
    cwd, home = folders
    path = _file(cwd, "facex.toml", text)
    with pytest.raises(UsageError) as caught:
        resolve(cwd=cwd, home=home)
    assert caught.value.message.startswith(f"{path}: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "message", "hint"),
    [
        ({"feather": "2"}, "--feather = '2': should be less than or equal to 1", "--feather 0..1"),
        ({"feather": "nan"}, "--feather = 'nan'", "--feather 0..1"),
        ({"blend": "multi"}, "--blend = 'multi'", "did you mean 'multiband'?"),
        ({"map": ["alice.jpg"]}, "'alice.jpg' is not SOURCE=WHO; for example alice.jpg=1", "--map SOURCE=WHO"),
        ({"device": "gpu"}, "--device = 'gpu'", "auto|cpu|cuda[:N]"),
        ({"trim": "5..2"}, "--trim: '5..2' ends before it starts", "--trim START..END"),
        ({"mn_face": 3}, "unknown setting 'mn_face'", "did you mean 'min_face'?"),
    ],
)
def test_a_mistake_in_a_flag_names_the_option(
    flags: dict[str, object], message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(flags, cwd=tmp_path, home=tmp_path)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_the_presets_differ_and_say_what_they_are_for(tmp_path: Path) -> None:
    assert preset_names() == ("balanced", "fast", "quality")
    found = {name: resolve(preset=name, cwd=tmp_path, home=tmp_path) for name in preset_names()}
    assert found["fast"] != found["balanced"] != found["quality"]
    assert found["balanced"] == Settings(), "balanced says that it is the defaults"
    assert found["fast"].output.crf > found["balanced"].output.crf > found["quality"].output.crf
    assert all(load_preset(name).summary for name in preset_names())


@pytest.mark.parametrize(("name", "message"), [("fst", "unknown preset 'fst'"), ("no/such.toml", "cannot be read")])
def test_a_preset_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_preset(name)


def test_every_setting_is_declared_completely() -> None:
    found = declarations()
    assert len({item.flag.option for item in found}) == len(found)
    for item in found:
        assert item.flag.option.startswith("--"), item.key
        assert item.metavar, f"{item.key} does not say what its value looks like"
        assert item.field.description, f"{item.key} has no help"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, None)),
        ("2.5..8", (Fraction(5, 2), Fraction(8))),
        ("0:01:00..", (Fraction(60), None)),
        ("..1:30.5", (None, Fraction(181, 2))),
        ("#10..#50", (10, 50)),
        ("1..#50", (Fraction(1), 50)),
    ],
)
def test_trim_is_exact(text: str, expected: tuple[Fraction | int | None, Fraction | int | None]) -> None:
    found = parse_trim(text)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    "text", ["5", "..", "5..2", "#5..#5", "-1..2", "a..b", "1/2..3", "1::2..3", "1:2:3:4..", "#-1..", "nan.."]
)
def test_what_is_no_trim_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|ends before"):
        parse_trim(text)
