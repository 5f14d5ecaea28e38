"""Data are analysed once; what cannot be used is told; people are told apart."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.engines.facex.config import PRESETS
from facexcli.errors import InputError, WeightsError
from facexcli.train.analyse import ShardOrder
from facexcli.train.pairs import split
from facexcli.train.prepare import in_processes, prepare
from facexcli.train.shards import PreparedFile, Skipped, read_index
from facexcli.train.sources import SourceFile, find_sources, fingerprint, held_out
from facexcli.train.views import TEMPLATES
from tests.heard import Heard


def test_unreadable_files_are_left_out_and_listed(prepared: Any) -> None:
    skipped = {file.name: file.reason for file in prepared.index.skipped}
    assert set(skipped) == {"broken.jpg", "empty.mp4"} and all(skipped.values())
    files = {file.name: file for file in prepared.index.files}
    assert len(files) == 5
    assert (files["grid_brbk7n.mpg"].kind, files["grid_brbk7n.mpg"].count) == ("video", 4)
    assert (files["009_neutral.jpg"].kind, files["009_neutral.jpg"].count) == ("still", 2)


def test_what_was_prepared_is_used_again_until_something_changes(people: Path, prepared_folder: Path, how: Any) -> None:
    heard = Heard()
    before = {path.name: path.stat().st_mtime_ns for path in prepared_folder.iterdir()}
    prepare(people, prepared_folder, PRESETS["tiny"], how, heard)
    assert {path.name: path.stat().st_mtime_ns for path in prepared_folder.iterdir()} == before
    assert "prepared before" in "\n".join(heard.told)
    assert "2 of 7 files are left out" in "\n".join(heard.warned) and "broken.jpg" in "\n".join(heard.warned)
    files = find_sources(people)
    assert fingerprint(files, 1) == fingerprint(files, 1) != fingerprint(files, 2)
    assert fingerprint(files[1:], 1) != fingerprint(files, 1)


def test_an_interrupted_preparation_goes_on_with_the_shards_that_it_has(
    people: Path, prepared_folder: Path, how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in prepared_folder.glob("*.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("facexcli.train.analyse.views_of", None)  # nothing is analysed
    monkeypatch.setattr("facexcli.train.prepare.ProcessPoolExecutor", _SameProcess)
    again = prepare(people, tmp_path, PRESETS["tiny"], how, Heard())
    assert again.index == read_index(prepared_folder)


def test_facts_are_complete_and_agree_with_the_picture(prepared: Any) -> None:
    for file in prepared.index.files:
        for template in TEMPLATES:
            facts = prepared.facts(file, 0, template)
            assert facts.rgb.shape == (64, 64, 3) and facts.rgb.dtype == np.uint8
            assert np.allclose(facts.masks.sum(axis=0), 1, atol=0.02)
            landmarks = prepared.landmarks_px(file, 0, template)
            x, y = np.round(landmarks[30]).astype(int)
            assert facts.masks[[2, 5], y, x].sum() > 0.7  # the tip of the nose is nose, or skin
            assert np.isfinite(np.concatenate([*facts.motion.values(), facts.identity.ravel()])).all()


def test_people_are_held_out_as_a_whole_and_always_the_same(prepared: Any, people: Path) -> None:
    learned, away = split(prepared)
    assert away and learned and {file.person for file in learned}.isdisjoint(file.person for file in away)
    names = [f"person {number}" for number in range(2000)]
    chosen = held_out(names)
    assert 60 < len(chosen) < 140
    assert held_out(names[:1000]) == chosen & set(names[:1000])
    sources = {file.name: file.person for file in find_sources(people)}
    assert sources["009_neutral.jpg"] == sources["009_smiling.jpg"] != sources["033_neutral.jpg"]


def test_a_missing_extractor_is_told_and_blamed_on_no_file(
    people: Path, how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))  # without any weights
    monkeypatch.setattr("facexcli.train.prepare.ProcessPoolExecutor", _SameProcess)
    with pytest.raises(WeightsError, match="ArcFace"):
        prepare(people, tmp_path / "out", PRESETS["sd15"], how, Heard())
    assert not list((tmp_path / "out").iterdir()), "a later preparation would take it for done"


def test_folders_without_data_are_told(tmp_path: Path, how: Any) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError):
            prepare(folder, tmp_path / "out", PRESETS["tiny"], how, Heard())
    (tmp_path / "list.json").write_text("[", "utf-8")
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"list\.json"):
        find_sources(tmp_path)
    (tmp_path / "list.json").write_text(json.dumps([{"name": "a.jpg"}]), "utf-8")
    assert [file.person for file in find_sources(tmp_path, 1)] == ["a.jpg"]


def test_a_file_that_kills_its_process_is_left_out_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(order: ShardOrder) -> tuple[list[PreparedFile], list[Skipped]]:
        if any(file.name == "killer.mp4" for file in order.files):
            raise BrokenProcessPool
        return [PreparedFile(file.name, "", "still", order.path.name, 0, 1) for file in order.files], []

    monkeypatch.setattr("facexcli.train.prepare.ProcessPoolExecutor", _SameProcess)
    monkeypatch.setattr("facexcli.train.prepare.make_shard", fragile)
    names = (("a.jpg",), ("b.jpg", "killer.mp4", "c.jpg"), ("d.jpg",))
    orders = [
        ShardOrder(
            tmp_path, tuple(SourceFile(name, name, "") for name in part), tmp_path / part[0], PRESETS["tiny"], 2, 2, 0
        )
        for part in names
    ]
    results = [result for _, result in in_processes(orders, 2)]
    assert sorted(file.name for prepared, _ in results for file in prepared) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [file.name for _, skipped in results for file in skipped] == ["killer.mp4"]


class _SameProcess:
    """An executor that works where it is asked."""

    def __init__(self, *_: object) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(1)
        self.submit, self.shutdown = self._pool.submit, self._pool.shutdown

    def __enter__(self) -> _SameProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
