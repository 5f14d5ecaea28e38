"""Several people in one run: each gets their own face, and every way to say who is meant says it clearly or fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from facexcli.api import analyse, swap
from facexcli.config import resolve
from facexcli.errors import FacexError, InputError, NoFaceError, UsageError
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.embed import embedding_distance
from facexcli.faces.source import find_source_face
from facexcli.media.color import rgb_roi
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image, write_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.scan import read_frames_rgb
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analysis_io import save_analysis
from facexcli.pipeline.plan import Plan
from facexcli.pipeline.planning import plan_reenact, plan_swap
from facexcli.pipeline.run import run
from facexcli.settings import Settings
from facexcli.types import Array

FRAMES = 8
CUT = 4
"""The frame from which on only one of the two is there."""


class _Watched(DlibAnalyzer):
    """Remembers the shapes of the pictures in which it searched or followed a face."""

    shapes: ClassVar[list[tuple[int, ...]]] = []

    def detect(self, rgb: Array, *, thorough: bool = False) -> Any:
        self.shapes.append(rgb.shape)
        return super().detect(rgb, thorough=thorough)

    def follow(self, rgb: Array, landmarks_px: Array) -> Any:
        self.shapes.append(rgb.shape)
        return super().follow(rgb, landmarks_px)

    def looked_at_the_pair(self) -> bool:
        """The stills are square; the frames of the pair are much wider than high. Forgets what was seen."""
        wide = any(shape[1] > 2 * shape[0] for shape in self.shapes)
        self.shapes.clear()
        return wide


@pytest.fixture(scope="module")
def analyzer() -> _Watched:
    return _Watched()


@pytest.fixture(autouse=True)
def _shared_analyzer(analyzer: _Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("facexcli.pipeline.models", "facexcli.api"):
        monkeypatch.setattr(f"{user}.choose_analyzer", lambda name: (analyzer, "shared by the tests"))


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    """The clips of this module are analysed once for all its tests; where that matters, they say so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


def with_flags(**flags: object) -> Settings:
    nowhere = Path("/nonexistent")
    return resolve({"codec": "ffv1", **flags}, cwd=nowhere, home=nowhere)


def _rgb(path: Path, count: int, start: int = 0) -> Iterator[Array]:
    info = probe(path)
    with FrameReader(path, info, start=start, stop=start + count) as reader:
        for frame in reader:
            yield rgb_roi(frame, (0, 0, info.display_width_px, info.display_height_px))


def _write(path: Path, frames: Iterator[Array]) -> Path:
    first = next(frames)
    form = VideoFormat(first.shape[1], first.shape[0], "yuv420p", Fraction(1, 25), Fraction(25))
    with VideoWriter(path, form, EncodeOptions("h264", crf=10)) as writer:
        for index, rgb in enumerate([first, *frames]):
            writer.write(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
        writer.commit()
    return path


@pytest.fixture(scope="module")
def woman(eval_data: Path) -> Path:
    return eval_data / "talking" / "grid_brbk7n.mpg"


@pytest.fixture(scope="module")
def man(eval_data: Path) -> Path:
    return eval_data / "talking" / "grid_sbia1a.mpg"


@pytest.fixture(scope="module")
def pair(woman: Path, man: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A woman on the left and a man on the right."""
    frames = (np.hstack(both) for both in zip(_rgb(woman, FRAMES), _rgb(man, FRAMES), strict=True))
    return _write(tmp_path_factory.mktemp("pair") / "pair.mkv", frames)


@pytest.fixture(scope="module")
def sources(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two portraits, reduced, because faces are found sooner in small pictures."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("087_neutral", "013_neutral"):
        write_image(folder / f"{name}.png", read_image(eval_data / "london" / f"{name}.jpg")[::3, ::3])
    return folder / "087_neutral.png", folder / "013_neutral.png"


@pytest.fixture(scope="module")
def references(woman: Path, man: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A still of each, from another moment than those of the clip."""
    folder = tmp_path_factory.mktemp("references")
    for name, clip in (("woman.png", woman), ("man.png", man)):
        write_image(folder / name, read_frames_rgb(clip, [60])[0])
    return folder / "woman.png", folder / "man.png"


@pytest.fixture(scope="module")
def numbers(pair: Path) -> dict[str, int]:
    """Who has which number in `pair`."""
    analysis = analyse(pair)
    middle = {
        person.number: float(
            np.mean([track.faces[0].box_px[0] for track in analysis.tracks if track.id in person.track_ids])
        )
        for person in analysis.people
    }
    woman, man = sorted(middle, key=lambda number: middle[number])
    return {"woman": woman, "man": man}


def _nearest_source(result: Path, sources: tuple[Path, Path], analyzer: DlibAnalyzer) -> list[int]:
    """For the left and the right face of the last frame: which of the sources it is like."""
    known = [find_source_face(read_image(path), analyzer).embedding for path in sources]
    rgb = list(_rgb(result, FRAMES))[-1]
    nearest = []
    for half in np.split(rgb, 2, axis=1):
        embedding = find_source_face(np.ascontiguousarray(half), analyzer).embedding
        assert embedding is not None
        nearest.append(int(np.argmin([embedding_distance(embedding, item) for item in known if item is not None])))
    return nearest


def test_each_person_gets_their_own_face_in_one_pass(
    pair: Path, sources: tuple[Path, Path], numbers: dict[str, int], analyzer: _Watched, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    maps = [f"{sources[0]}={numbers['woman']}", f"{sources[1]}=person {numbers['man']}"]
    result = swap([], pair, output, settings=with_flags(map=maps))
    assert _nearest_source(output, sources, analyzer) == [0, 1]
    assert [(person.frames, person.painted, person.swap_rate) for person in result.people] == [
        (FRAMES, FRAMES, 1.0)
    ] * 2
    given = {person.number: person.sources for person in result.people}
    assert given == {numbers["woman"]: (sources[0],), numbers["man"]: (sources[1],)}
    told = result.as_json()["people"]
    assert told[0]["name"] == "person 1"
    assert told[0]["swap_rate"] == 1.0


def test_people_are_meant_by_reference_stills_without_looking_first(
    pair: Path, sources: tuple[Path, Path], references: tuple[Path, Path], analyzer: _Watched, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    swap({references[0]: sources[1], references[1]: [sources[0]]}, pair, output, settings=with_flags())
    assert _nearest_source(output, sources, analyzer) == [1, 0]


def test_one_may_be_left_alone(pair: Path, sources: tuple[Path, Path], numbers: dict[str, int], tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    result = swap({numbers["man"]: sources[0]}, pair, output, settings=with_flags())
    alone = next(person for person in result.people if person.number == numbers["woman"])
    assert (alone.sources, alone.frames, alone.painted) == ((), FRAMES, 0)
    for before, after in zip(_rgb(pair, FRAMES), _rgb(output, FRAMES), strict=True):
        width = before.shape[1] // 2
        assert np.array_equal(before[:, : width - 20], after[:, : width - 20])
        assert not np.array_equal(before[:, width:], after[:, width:])


def test_a_group_picture_too(pair: Path, sources: tuple[Path, Path], tmp_path: Path) -> None:
    group, output = tmp_path / "group.png", tmp_path / "out.png"
    write_image(group, read_frames_rgb(pair, [2])[0])
    result = swap({1: sources[0], 2: sources[1]}, group, output, settings=with_flags())
    assert [person.painted for person in result.people] == [1, 1]


def test_a_plan_with_maps_survives_json(
    pair: Path, sources: tuple[Path, Path], references: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = with_flags(map=[f"{sources[0]}=1", f"{sources[1]}={references[0]}"])
    plan = plan_swap([], pair, tmp_path / "out.mkv", settings)
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json(indent=2))
    assert Plan.load(file) == plan
    assert {item.path for item in plan.inputs} == {*sources, references[0], pair}
    assert [row.who for row in plan.maps] == ["1", str(references[0])]


@pytest.mark.parametrize(
    "edit",
    [
        lambda plan: plan["maps"][0].update(person=""),
        lambda plan: plan["maps"][0].update(sources=[]),
        lambda plan: plan["maps"].append(plan["maps"][0]),
        lambda plan: plan["maps"][0].update(reference=plan["canvas"]),
        lambda plan: plan.update(sources=[plan["canvas"]]),
        lambda plan: plan["settings"]["people"].update(faces="all"),
        lambda plan: plan["settings"]["people"].update(map=["a.jpg=1"]),
        lambda plan: plan.update(maps=[]),
    ],
)
def test_a_plan_whose_maps_contradict_it_is_refused(
    edit: Any, pair: Path, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    plan = plan_swap([], pair, tmp_path / "out.mkv", with_flags(map=[f"{sources[0]}=1"]))
    document = json.loads(plan.model_dump_json())
    edit(document)
    (tmp_path / "plan.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="not a plan"):
        Plan.load(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("maps", "flags", "error", "message"),
    [
        (["{a}=3"], {}, UsageError, "no person 3"),
        (["{a}=Alice"], {}, UsageError, "'Alice' is not the number of a person, and without --analysis"),
        (["{a}=missing.jpg"], {}, InputError, r"missing\.jpg does not exist"),
        (["missing.jpg=1"], {}, InputError, r"missing\.jpg"),
        (["{a}=1", "{b}=1"], {}, UsageError, "two faces to 1"),
        (["{a}=1", "{b}=Person 1"], {}, UsageError, "two faces to Person 1"),
        (["{a}={woman}", "{b}={woman}"], {}, UsageError, "two faces to"),
        (["{a}=1", "{b}=2", "{a}={woman}"], {}, UsageError, "two faces to person"),
        (["{a}=1"], {"faces": "all"}, UsageError, "leave out --faces"),
        (["{a}=1"], {"match": "{woman}"}, UsageError, "leave out --match"),
        (["{pair}=1"], {}, UsageError, "not a still picture"),
        (["{a}={pair}"], {}, UsageError, "not a still picture"),
        (["{blank}=1"], {}, NoFaceError, r"blank\.png: no face found"),
        (["{a}={blank}"], {}, NoFaceError, r"blank\.png: no face found"),
        (["{a}={group}"], {}, NoFaceError, r"group\.png: 2 faces on a reference still"),
        (["{a}={b}"], {}, NoFaceError, r"pair\.mkv: nobody looks like .*013_neutral\.png"),
        ([], {"match": "{group}"}, NoFaceError, r"group\.png: 2 faces on a reference still"),
        ([], {"match": "{blank}"}, NoFaceError, r"blank\.png: no face found"),
        ([], {"faces": "3"}, UsageError, "no person 3"),
        ([], {"faces": "largst"}, UsageError, "'largst'"),
    ],
)
def test_who_is_meant_is_clear_or_an_error(
    maps: list[str],
    flags: dict[str, str],
    error: type[FacexError],
    message: str,
    pair: Path,
    sources: tuple[Path, Path],
    references: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    names = {"a": sources[0], "b": sources[1], "woman": references[0], "pair": pair}
    names |= {"blank": tmp_path / "blank.png", "group": tmp_path / "group.png"}
    write_image(names["blank"], np.full((60, 80, 3), 128, np.uint8))
    write_image(names["group"], read_frames_rgb(pair, [2])[0])
    given = with_flags(
        map=[text.format(**names) for text in maps] or None,
        **{name: text.format(**names) for name, text in flags.items()},
    )
    with pytest.raises(error, match=message) as caught:
        swap([] if maps else sources[0], pair, tmp_path / "out.mkv", settings=given)
    assert "\n" not in caught.value.message + caught.value.hint
    if "no person" in message or "nobody" in message:
        assert "person 1, person 2" in caught.value.hint
    assert not (tmp_path / "out.mkv").exists()


def test_sources_beside_a_map_and_maps_of_a_portrait_are_refused(
    pair: Path, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = with_flags(map=[f"{sources[0]}=1"])
    with pytest.raises(UsageError, match="leave out"):
        plan_swap([sources[1]], pair, tmp_path / "out.mkv", settings)
    with pytest.raises(UsageError, match="--map is for"):
        plan_reenact(sources[1], pair, tmp_path / "out.mkv", settings)


@pytest.fixture(scope="module")
def late(man: Path, woman: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with a cut: the man, large; then the woman, small. So person 1 is the man."""
    small = (rgb[::2, ::2] for rgb in _rgb(woman, FRAMES))
    bordered = (np.pad(rgb, ((72, 72), (90, 90), (0, 0)), mode="edge") for rgb in small)
    both = [*_rgb(man, CUT), *list(bordered)[CUT:]]
    return _write(tmp_path_factory.mktemp("late") / "late.mkv", iter(both))


def test_numbers_are_those_of_the_whole_clip_whatever_the_range(
    late: Path, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = with_flags(trim=f"#{CUT}..", map=[f"{sources[0]}=2"])
    result = swap([], late, tmp_path / "out.mkv", settings=settings)
    assert [(person.number, person.frames, person.painted) for person in result.people] == [(2, CUT, CUT)]
    settings = with_flags(trim=f"#{CUT}..", map=[f"{sources[0]}=2", f"{sources[1]}=1"])
    (absent,) = swap([], late, tmp_path / "again.mkv", settings=settings).warnings
    assert "=1: not seen in #4.." in absent
    with pytest.raises(NoFaceError, match=r"late\.mkv"):
        swap(sources[0], late, tmp_path / "other.mkv", settings=with_flags(trim=f"#{CUT}..", faces="1"))


def test_a_rule_is_about_the_range_even_with_an_analysis_of_everything(
    late: Path, sources: tuple[Path, Path], references: tuple[Path, Path], tmp_path: Path
) -> None:
    """The man is the largest of the clip, but there is only the woman in its second half."""
    file = tmp_path / "late.json"
    save_analysis(analyse(late), file)
    for number, flags in enumerate(({}, {"faces": "first"}, {"match": str(references[0])})):
        settings = with_flags(analysis=str(file), trim=f"#{CUT}..", **flags)
        (person,) = swap(sources[0], late, tmp_path / f"{number}.mkv", settings=settings).people
        assert (person.number, person.painted) == (2, CUT)
    absent = with_flags(analysis=str(file), trim=f"#{CUT}..", match=str(references[1]))
    with pytest.raises(NoFaceError, match=r"late\.mkv"):
        swap(sources[0], late, tmp_path / "absent.mkv", settings=absent)


@pytest.fixture
def watched(analyzer: _Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Watched:
    """The analyzer of the runs of a test that begins with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    analyzer.shapes.clear()
    return analyzer


def _same_frames(one: Path, other: Path) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(_rgb(one, FRAMES), _rgb(other, FRAMES), strict=True))


def test_a_saved_analysis_renders_the_same_frames_and_nobody_is_looked_for(
    pair: Path, sources: tuple[Path, Path], tmp_path: Path, watched: _Watched
) -> None:
    fresh, saved, file = tmp_path / "fresh.mkv", tmp_path / "saved.mkv", tmp_path / "faces.json"
    plain = {"cache": "0", "watermark": "off"}  # another plan has another mark
    swap({1: sources[0]}, pair, fresh, settings=with_flags(**plain))
    assert watched.looked_at_the_pair()
    save_analysis(analyse(pair), file)
    watched.shapes.clear()
    swap({1: sources[0]}, pair, saved, settings=with_flags(**plain, analysis=str(file)))
    assert not watched.looked_at_the_pair()
    assert _same_frames(fresh, saved)


def test_the_second_run_knows_the_faces_of_the_first(
    pair: Path, sources: tuple[Path, Path], tmp_path: Path, watched: _Watched
) -> None:
    one, other = tmp_path / "one.mkv", tmp_path / "other.mkv"
    swap(sources[0], pair, one, settings=with_flags())
    assert watched.looked_at_the_pair()
    copy = shutil.copy(pair, tmp_path / "another name.mkv")
    swap(sources[0], copy, other, settings=with_flags())
    assert not watched.looked_at_the_pair()
    assert _same_frames(one, other)
    swap(sources[0], pair, other, settings=with_flags(smooth="0.9"), overwrite=True)
    assert watched.looked_at_the_pair(), "other settings need another analysis"


def test_names_of_an_edited_analysis_are_understood(
    pair: Path, sources: tuple[Path, Path], numbers: dict[str, int], analyzer: _Watched, tmp_path: Path
) -> None:
    file, output = tmp_path / "faces.json", tmp_path / "out.mkv"
    save_analysis(analyse(pair), file)
    named = file.read_text().replace(f'"person {numbers["man"]}"', '"Bob"')
    file.write_text(named.replace(f'"person {numbers["woman"]}"', '"Alice"'))
    settings = with_flags(analysis=str(file), map=[f"{sources[0]}=alice", f"{sources[1]}=Bob"])
    result = swap([], pair, output, settings=settings)
    assert {person.name for person in result.people} == {"Alice", "Bob"}
    assert _nearest_source(output, sources, analyzer) == [0, 1]
    with pytest.raises(UsageError, match="nobody is called 'Carol'") as caught:
        swap(sources[0], pair, output, settings=with_flags(analysis=str(file), faces="Carol"), overwrite=True)
    assert "(Alice)" in caught.value.hint
    assert "(Bob)" in caught.value.hint


def test_a_part_that_was_saved_is_not_used_for_more(pair: Path, sources: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "part.json"
    save_analysis(analyse(pair, settings=with_flags(trim="0.08..0.24")), file)
    with pytest.raises(UsageError, match=r"only the part 0\.08\.\.0\.24 of pair\.mkv, frames 2 to 5"):
        swap(sources[0], pair, tmp_path / "out.mkv", settings=with_flags(analysis=str(file)))
    for trim in ("0.08..0.24", "#2..#6", "0.09..#5"):
        result = swap(
            sources[0], pair, tmp_path / "out.mkv", settings=with_flags(analysis=str(file), trim=trim), overwrite=True
        )
        assert result.swap_rate == 1


def test_a_trim_beyond_a_whole_analysis_says_who_is_there(
    pair: Path, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "faces.json"
    save_analysis(analyse(pair), file)
    plan = plan_swap([sources[0]], pair, tmp_path / "out.mkv", with_flags(analysis=str(file), trim="#3..#5"))
    assert [person.frames for person in run(plan).people] == [2, 2]
