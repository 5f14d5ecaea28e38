"""The cache of analyses: never wrong, never in the way, never without bounds."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import facexcli
from facexcli.api import analyse
from facexcli.config import cache_folder
from facexcli.errors import InputError
from facexcli.pipeline.analysis_io import save_analysis
from facexcli.pipeline.cache import CODE, analyses_folder, cache_entries, cached_analysis, clear_cache
from facexcli.types import Analysis
from tests.heard import Heard


class NamedAnalyzer:
    """Only the name matters here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.same_person_distance = 0.4


@pytest.fixture(scope="module")
def analysis(portrait: Path) -> Analysis:
    return analyse(portrait)


Ask = Callable[..., tuple[bool, Heard]]


@pytest.fixture
def ask(analysis: Analysis) -> Ask:
    """Asks for the analysis; whether it had to be made, and what was told."""

    def get(smooth: float = 0.5, trim: str = "", limit_mb: int = 100, analyzer: str = "dlib") -> tuple[bool, Heard]:
        made, reporter = [], Heard()

        def make() -> Analysis:
            made.append(1)
            return analysis

        got = cached_analysis(analysis.media, NamedAnalyzer(analyzer), smooth, trim, limit_mb, reporter, make)  # type: ignore[arg-type]
        assert got.people == analysis.people
        return bool(made), reporter

    return get


def test_what_was_found_once_is_known(ask: Ask) -> None:
    assert ask()[0]
    made, reporter = ask()
    assert not made
    assert "known from an earlier run" in reporter.told[0]


def test_everything_that_matters_makes_another_entry(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask()[0]
    assert ask(smooth=0.6)[0]
    assert ask(trim="1..2")[0]
    assert ask(analyzer="insightface")[0]
    monkeypatch.setattr("facexcli.pipeline.cache._code_digest", lambda: "a later version")
    assert ask()[0]
    assert len(cache_entries()) == 5
    assert not ask()[0]


def test_no_room_means_no_cache(ask: Ask) -> None:
    assert ask(limit_mb=0)[0]
    assert ask(limit_mb=0)[0]
    assert not analyses_folder().exists()


@pytest.mark.parametrize("damage", [b"", b"{", b'{"facex_analysis": 2}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_entry_is_made_again(damage: bytes, ask: Ask) -> None:
    ask()
    (entry,) = cache_entries()
    entry.path.write_bytes(damage)
    made, reporter = ask()
    assert made
    assert "a damaged entry of the cache is made again" in reporter.warned[0]
    assert not ask()[0]


def test_a_cut_off_entry_is_made_again(ask: Ask) -> None:
    ask()
    (entry,) = cache_entries()
    entry.path.write_bytes(entry.path.read_bytes()[:-200])
    assert ask()[0]
    assert not ask()[0]


def test_a_folder_that_cannot_be_made_is_a_warning(ask: Ask) -> None:
    cache_folder().parent.mkdir(parents=True, exist_ok=True)
    cache_folder().write_text("a file is in the way")
    made, reporter = ask()
    assert made
    assert "not kept for the next run" in reporter.warned[0]


def test_an_error_of_the_analysis_leaves_nothing(analysis: Analysis) -> None:
    def fail() -> Analysis:
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        cached_analysis(analysis.media, NamedAnalyzer("dlib"), 0.5, "", 100, Heard(), fail)  # type: ignore[arg-type]
    assert cache_entries() == []


def _age(hours: float) -> None:
    for entry in cache_entries():
        os.utime(entry.path, (entry.used_s - 3600 * hours,) * 2)


def test_what_was_not_used_for_longest_goes_first(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 0
    for smooth in (0.1, 0.2, 0.3):
        ask(smooth=smooth)
        _age(hours=1)
        size = cache_entries()[0].size_bytes
    assert not ask(smooth=0.1)[0], "using it makes it the youngest"
    monkeypatch.setattr("facexcli.pipeline.cache.BYTES_PER_MB", 3 * size + size // 2)
    ask(smooth=0.4, limit_mb=1)
    assert len(cache_entries()) == 3
    assert ask(smooth=0.2, limit_mb=1)[0]
    assert not ask(smooth=0.1, limit_mb=1)[0]


def test_what_a_killed_process_left_is_removed_after_a_day(ask: Ask) -> None:
    analyses_folder().mkdir(parents=True)
    old, young = (analyses_folder() / f".{name}.1234abcd.part.json" for name in ("old", "young"))
    for path in (old, young):
        path.write_text("half of an analy")
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    ask()
    assert not old.exists()
    assert young.exists(), "another process may be writing it"
    assert [entry.media for entry in cache_entries()].count("") == 1
    assert len(clear_cache()) == 2
    assert list(analyses_folder().iterdir()) == []


def test_many_may_write_and_read_at_once(ask: Ask) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = [reporter for _, reporter in pool.map(lambda _: ask(), range(24))]
    assert all(not reporter.warned for reporter in told)
    assert len(list(analyses_folder().iterdir())) == 1


def test_entries_are_for_their_owner_only(ask: Ask) -> None:
    ask()
    assert analyses_folder().stat().st_mode & 0o077 == 0


def test_entries_tell_their_clip_even_an_odd_one(analysis: Analysis, tmp_path: Path) -> None:
    odd = tmp_path / 'a "quoted" näme\\.jpg'
    odd.write_bytes(analysis.media.path.read_bytes())
    analyses_folder().mkdir(parents=True)
    renamed = replace(analysis, media=replace(analysis.media, path=odd))
    save_analysis(renamed, analyses_folder() / "x.faces.json")
    assert cache_entries()[0].media == odd.name


def test_the_folder_follows_the_conventions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Path(os.environ["XDG_CACHE_HOME"]) in cache_folder().parents
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cache"


def test_all_code_that_an_analysis_goes_through_is_part_of_its_name() -> None:
    """Whoever lets the analysis use another module must not get entries that were made without it."""
    root = Path(facexcli.__file__).parent
    pending, seen = [root / "pipeline" / "analyse.py", root / "pipeline" / "analysis_io.py"], set[Path]()
    while pending:
        path = pending.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facexcli."):
                parts = str(node.module).split(".")[1:]
                pending.append(root.joinpath(*parts).with_suffix(".py"))
    harmless = {"errors.py", "events.py", "settings.py", "recipes.py", "pipeline/summary.py"}
    used = {path.relative_to(root).as_posix() for path in seen} - harmless
    assert len(used) > 20
    missing = {name for name in used if not any(name == part or name.startswith(f"{part}/") for part in CODE)}
    assert not missing
