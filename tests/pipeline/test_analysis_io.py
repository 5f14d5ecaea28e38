"""Saved analyses: the same value back, and clear words for a file that is broken or belongs to another clip."""

from __future__ import annotations

import base64
import json
import os
import threading
import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facexcli.api import analyse
from facexcli.errors import FacexError, InputError, UsageError
from facexcli.pipeline.analysis_io import load_analysis, save_analysis
from facexcli.types import Analysis, Face, Track

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session")
def analysis(talking_clip: Path) -> Analysis:
    return analyse(talking_clip)


@pytest.fixture(scope="session")
def saved(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "clip.faces.json"
    save_analysis(analysis, path)
    return path


@pytest.fixture
def load_edited(saved: Path, talking_clip: Path, tmp_path: Path) -> Callable[[Edit], Analysis]:
    """The analysis after somebody has changed its file."""

    def load(edit: Edit) -> Analysis:
        document = json.loads(saved.read_text())
        edit(document)
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(document))
        return load_analysis(path, talking_clip)

    return load


def assert_same_faces(one: Face, other: Face) -> None:
    for field in fields(Face):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name


def test_one_person_is_found_in_every_frame(analysis: Analysis) -> None:
    (track,) = analysis.tracks
    assert track.frame_indices == range(analysis.frame_count)
    assert all(abs(face.yaw_deg) < 25 and abs(face.roll_deg) < 15 for face in track.faces)
    (person,) = analysis.people
    assert (person.number, person.name, person.track_ids) == (1, "person 1", (track.id,))


def test_an_analysis_survives_the_file_bit_for_bit(analysis: Analysis, talking_clip: Path, tmp_path: Path) -> None:
    """Every field of a face does, those too that will be added one day: the cache gives back what was analysed."""
    (track,) = analysis.tracks
    odd = [
        replace(face, score=0.1 * place, measured=place % 3 > 0, repaired=place % 4 == 0)
        for place, face in enumerate(track.faces)
    ]
    before = replace(analysis, tracks=(replace(track, faces=tuple(odd)),), warnings=("one",))
    save_analysis(before, tmp_path / "a.json")
    after = load_analysis(tmp_path / "a.json", talking_clip)
    for field in fields(Analysis):
        if field.name != "tracks":
            assert getattr(after, field.name) == getattr(before, field.name), field.name
    (again,) = after.tracks
    for field in fields(Track):
        if field.name == "embedding":
            assert np.array_equal(again.embedding, track.embedding)
        elif field.name != "faces":
            assert getattr(again, field.name) == getattr(track, field.name), field.name
    for one, other in zip(odd, again.faces, strict=True):
        assert_same_faces(one, other)
    save_analysis(after, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_an_analysis_comes_through_a_pipe(saved: Path, analysis: Analysis, talking_clip: Path, tmp_path: Path) -> None:
    """As a shell's `--analysis <(...)` gives it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(saved.read_bytes(),))
    writer.start()
    (read,) = load_analysis(pipe, talking_clip).tracks
    writer.join()
    np.testing.assert_array_equal(read.faces.landmarks_px, analysis.tracks[0].faces.landmarks_px)


def test_a_clip_whose_name_is_no_text_is_saved_too(analysis: Analysis, tmp_path: Path) -> None:
    clip = tmp_path / os.fsdecode(b"cl\xffip.mp4")
    clip.symlink_to(analysis.media.path)
    path = tmp_path / "a.json"
    save_analysis(replace(analysis, media=replace(analysis.media, path=clip)), path)
    assert json.loads(path.read_text("utf-8"))["media"] == "cl\ufffdip.mp4"
    assert len(load_analysis(path, clip).tracks) == len(analysis.tracks)


def test_a_still_survives_too(portrait: Path, tmp_path: Path) -> None:
    before = analyse(portrait)
    save_analysis(before, tmp_path / "still.json")
    after = load_analysis(tmp_path / "still.json", portrait)
    assert_same_faces(before.tracks[0].faces[0], after.tracks[0].faces[0])


def test_people_and_tracks_stand_on_lines_of_their_own_above_the_arrays(saved: Path) -> None:
    lines = saved.read_text().splitlines()
    person = next(number for number, line in enumerate(lines) if '"name": "person 1"' in line)
    track = next(number for number, line in enumerate(lines) if '"split_at": []' in line)
    arrays = lines.index(' "arrays": {')
    assert person < track < arrays
    assert max(len(line) for line in lines[:arrays]) < 400


def test_a_person_is_renamed(load_edited: Callable[[Edit], Analysis]) -> None:
    (person,) = load_edited(lambda document: document["people"][0].update(name=" Alice ")).people
    assert person.name == "Alice"


def test_a_dropped_track_belongs_to_nobody(load_edited: Callable[[Edit], Analysis]) -> None:
    (person,) = load_edited(lambda document: document["people"][0].update(tracks=[])).people
    assert person.track_ids == ()
    nobody = load_edited(lambda document: document.update(people=[], tracks=[]))
    assert nobody.people == nobody.tracks == ()


def test_a_track_is_split_and_a_part_given_to_somebody_else(
    load_edited: Callable[[Edit], Analysis], analysis: Analysis
) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["tracks"][0]["split_at"] = [5, 9]
        document["people"] = [
            {"number": 7, "name": "Bob", "tracks": ["0@5"]},
            {"number": 2, "name": "Alice", "tracks": [0, "0@9"]},
        ]

    found = load_edited(edit)
    alice, bob = found.people
    assert (alice.name, bob.name, bob.number) == ("Alice", "Bob", 7)
    frames = {track.id: track.frame_indices for track in found.tracks}
    assert [frames[id_] for id_ in alice.track_ids] == [range(5), range(9, 16)]
    assert [frames[id_] for id_ in bob.track_ids] == [range(5, 9)]
    parts = [face for track in found.tracks for face in track.faces]
    for one, other in zip(analysis.tracks[0].faces, parts, strict=True):
        assert_same_faces(one, other)
    assert all(track.embedding is None for track in found.tracks), "the mean over both is nobody's identity"


def test_another_clip_is_an_input_error(saved: Path, portrait: Path) -> None:
    with pytest.raises(InputError, match="another file"):
        load_analysis(saved, portrait)


def _second_track(document: dict[str, Any], **changes: object) -> None:
    document["tracks"].append({**document["tracks"][0], "id": 1, **changes})
    document["arrays"]["1"] = document["arrays"]["0"]


def _two_people_share_a_track(document: dict[str, Any]) -> None:
    document["people"].append({"number": 2, "name": "Bob", "tracks": [0]})


def _somebody_is_there_twice(document: dict[str, Any]) -> None:
    _second_track(document)
    document["people"][0]["tracks"] = [0, 1]


def _array(values: object, dtype: str) -> str:
    return base64.b64encode(zlib.compress(np.asarray(values, dtype).tobytes())).decode()


def _poison(document: dict[str, Any]) -> None:
    document["arrays"]["0"]["landmarks_px"] = _array(np.full((16, 68, 2), np.nan), "<f4")


def _bomb(document: dict[str, Any]) -> None:
    document["arrays"]["0"]["landmarks_px"] = _array(np.zeros(50_000_000), "u1")


def _larger_bomb(document: dict[str, Any]) -> None:
    document["tracks"][0].update(frames=2**31 - 1, last_frame=2**31 - 2)
    document["shots"], document["frame_count"] = [[0, 2**31 - 1]], 2**31 - 1
    _bomb(document)


def _move_frames(document: dict[str, Any]) -> None:
    document["arrays"]["0"]["frame_indices"] = _array(np.arange(16) + 1000, "<i4")


def _flatten(document: dict[str, Any]) -> None:
    document["arrays"]["0"]["landmarks_px"] = _array(np.zeros((16, 68, 2)), "<f4")


def _send_far_away(document: dict[str, Any]) -> None:
    document["arrays"]["0"]["box_px"] = _array(np.full((16, 4), 1e30), "<f8")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("tracks"), "tracks: is missing"),
        (lambda d: d.update(colour="red"), "colour: unknown key"),
        (lambda d: d["people"][0].update(tracks=[3]), r"people\[0\].tracks\[0\]: there is no track 3"),
        (lambda d: d["people"][0].update(tracks=["0@4"]), r"there is no track 0@4; a part .* split_at"),
        (lambda d: d["people"][0].update(tracks=[0, 0]), "track 0 is there twice"),
        (lambda d: d["people"][0].update(tracks=[0.5]), r"people\[0\].tracks\[0\]"),
        (lambda d: d["people"][0].update(name=""), r"people\[0\].name: must have 1 to 60"),
        (lambda d: d["people"][0].update(name="a\nb"), "printable"),
        (lambda d: d["people"][0].update(name="all"), "'all' would not be understood"),
        (lambda d: d["people"][0].update(name="Tom, Dick"), "comma"),
        (lambda d: d["people"][0].update(name="person 2"), "name of another number"),
        (lambda d: d["people"][0].update(number=0), r"people\[0\].number: should be greater"),
        (lambda d: d["people"][0].pop("number"), r"people\[0\].number: is missing"),
        (lambda d: d["people"].append({"number": 1, "name": "B", "tracks": []}), r"people\[1\].number: 1 is also"),
        (lambda d: d["people"].append({"number": 2, "name": "PERSON 1", "tracks": []}), "name"),
        (_two_people_share_a_track, r"people\[1\].tracks: a track is also one of people\[0\]"),
        (_somebody_is_there_twice, r"tracks 0 and 1 are both in frame 0"),
        (lambda d: _second_track(d, id=0), r"tracks\[1\].id: 0 is the id of two tracks"),
        (lambda d: d["tracks"][0].update(split_at=[500]), r"tracks\[0\].split_at: frame 500 is not inside"),
        (lambda d: d["tracks"][0].update(split_at=[0]), "frame 0 is not inside the track, 1 to 15"),
        (lambda d: d["tracks"][0].update(split_at=[9, 5]), "does not ascend"),
        (lambda d: d["tracks"][0].update(split_at=["5"]), r"tracks\[0\].split_at\[0\]: should be a valid integer"),
        (lambda d: d["tracks"][0].update(last_frame=10), "cut a track with split_at"),
        (lambda d: d["tracks"][0].update(frames=10), r"arrays.0.frame_indices: does not hold 10 numbers"),
        (lambda d: d["tracks"][0].update(shot=4), "there is no shot 4"),
        (lambda d: d["tracks"][0].update(id=5), "arrays: those of track 5 are missing"),
        (lambda d: d.update(shots=[[0, 9]]), "shots: are 9 frames long"),
        (lambda d: d.update(shots=[]), "shots: is empty"),
        (lambda d: d.update(shots=[[0, 9], [10, 16]]), r"shots\[1\]: 10 to 16"),
        (lambda d: d.update(trim="soon"), "trim: 'soon' is not START..END"),
        (lambda d: d["arrays"]["0"].update(score="%%%"), "arrays.0.score: is not a packed array"),
        (lambda d: d["arrays"]["0"].update(score="AAAA"), "arrays.0.score: is not a packed array"),
        (lambda d: d["arrays"]["0"].update(score=d["arrays"]["0"]["score"][:-8]), "arrays.0.score"),
        (lambda d: d["arrays"]["0"].update(box_px=d["arrays"]["0"]["score"]), "box_px: does not hold 16 x 4"),
        (lambda d: d["arrays"]["0"].update(colour=""), "arrays.0.colour: unknown array"),
        (lambda d: d["arrays"]["0"].pop("box_px"), "arrays.0.box_px: is missing"),
        (_poison, "landmarks_px: holds a number that is not finite"),
        (_bomb, "landmarks_px: does not hold 16 x 68 x 2"),
        (_larger_bomb, "more frames than the arrays of this file can hold"),
        (_move_frames, "not ascending frames of shot 0"),
        (_flatten, "a face that cannot be in this picture"),
        (_send_far_away, "a face that cannot be in this picture"),
    ],
)
def test_a_mistake_in_the_file_is_a_usage_error_that_names_the_place(
    edit: Edit, message: str, load_edited: Callable[[Edit], Analysis]
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_edited(edit)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: not JSON"),
        ('{"facex_analysis": 2,\n "media" "x"}', "line 2, column 10: not JSON"),
        ("[1]", "not an analysis of facex"),
        ('{"schema_version": 1, "task": "swap"}', "not an analysis of facex"),
        ('{"facex_analysis": 1}', "version 1, and this facex reads version 2"),
        ('{"facex_analysis": 3}', "version 3"),
        ('{"facex_analysis": 2, "frame_count": NaN}', "NaN is not a number"),
        ('{"facex_analysis": 2, "media": "a", "media": "b"}', "'media' stands twice"),
        ('{"facex_analysis": 2, "frame_count": ' + "9" * 5000 + "}", "digits"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_foreign_file_is_a_usage_error(text: str, message: str, talking_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_analysis(path, talking_clip)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_cannot_be_read_is_an_input_error(talking_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_analysis(tmp_path / "missing.json", talking_clip)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe4"}')
    with pytest.raises(InputError, match="UTF-8"):
        load_analysis(tmp_path / "latin.json", talking_clip)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_is_more_than_an_error(data: st.DataObject, saved: Path, talking_clip: Path, tmp_path: Path) -> None:
    """Bytes of a real file are overwritten, removed or repeated: it loads, or one of our errors says why not."""
    text = saved.read_bytes()
    place = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 40))
    damaged = text[:place] + data.draw(st.binary(max_size=20)) + text[place + length :]
    path = tmp_path / "damaged.json"
    path.write_bytes(damaged)
    try:
        load_analysis(path, talking_clip)
    except FacexError as error:
        assert "\n" not in error.message
