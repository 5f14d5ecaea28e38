"""A file of jobs: three formats, one meaning; products, names and every mistake."""

from __future__ import annotations

import csv
import json
import os
from inspect import signature
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.batch.job import Job
from facexcli.batch.jobfile import JobsError, Problem, keys_of, merged
from facexcli.batch.jobs import planned, read_jobs
from facexcli.batch.outputs import expand_name
from facexcli.cli.edit_canvas import edit as edit_command
from facexcli.errors import InputError, UsageError
from facexcli.settings import COMMAND_SETTINGS, declarations_in

NAMES = st.text("abc.%{}-_ é", min_size=1, max_size=8).filter(lambda name: Path(name).stem.strip(". ") != "")
HOSTILE = st.text("./\\a\0", min_size=1, max_size=6)


def _folder(tmp_path: Path) -> Path:
    """Empty files where jobs look for pictures and videos."""
    for name in ("people/bob.jpg", "people/anna.jpg", "clips/b.mp4", "clips/a.mp4", "clips/c.mov", "stills/1.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def _jobs(folder: Path, text: str, name: str = "jobs.toml") -> list[Job]:
    path = folder / name
    path.write_text(text, "utf-8")
    return read_jobs(path)


def _problems(folder: Path, text: str, name: str = "jobs.toml") -> list[tuple[str, str, str]]:
    with pytest.raises(JobsError) as raised:
        _jobs(folder, text, name)
    assert raised.value.exit_code == 2
    return [(p.where.removeprefix(str(folder)), p.message, p.hint) for p in raised.value.problems]


ROWS = [
    {"source": "people/*.jpg", "target": ["clips/*.mp4", "clips/c.mov"], "output": "out/{source}-{target}.mp4",
     "feather": "0.25", "map": None, "min-face": "64"},
    {"command": "reenact", "source": "people/anna.jpg", "driving": "clips/a.mp4", "output": "out/{index:03d}.mkv",
     "preset": "fast"},
    {"sources": ["people/bob.jpg", "people/anna.jpg"], "target": "clips/a.mp4", "output": "frames/%05d.png",
     "take": ["lips=stills/1.jpg", "eyes=canvas"], "regions": "lips,eyes"},
    {"map": ["people/bob.jpg=1", "people/anna.jpg=stills/1.jpg"], "target": "clips/a.mp4", "output": "maps/",
     "match": None},
    {"command": "edit", "canvas": "clips/b.mp4", "output": "lit/{canvas}.mp4", "take": "lips=stills/1.jpg",
     "lighting": "clips/a.mp4", "hair": "people/anna.jpg", "background": "stills/1.jpg", "clothes": "people/bob.jpg",
     "inpaint": "stills/1.jpg", "loop": True},
]  # fmt: skip


def _toml(rows: list[dict[str, object]]) -> str:
    lines = []
    for row in rows:
        lines.append("[[job]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in row.items() if value is not None]
    return "\n".join(lines)


def _csv(rows: list[dict[str, object]], path: Path) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: ";".join(value) if isinstance(value, list) else value for key, value in row.items()})


def test_three_formats_give_the_same_jobs(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    toml = _jobs(folder, _toml(ROWS))
    lines = _jobs(folder, "\n".join(json.dumps(row) for row in ROWS), "jobs.jsonl")
    _csv(ROWS, folder / "jobs.csv")
    table = read_jobs(folder / "jobs.csv")

    def plain(jobs: list[Job]) -> list[tuple[object, ...]]:
        return [(job.number, job.command, job.sources, job.moving, job.output, job.settings, job.mask, job.loop)
                for job in jobs]  # fmt: skip

    assert plain(toml) == plain(lines) == plain(table)
    assert len(toml) == 2 * 3 + 1 + 1 + 1 + 1


def test_rows_are_products_in_order_with_paths_from_the_file(tmp_path: Path) -> None:
    jobs = _jobs(_folder(tmp_path), _toml(ROWS))
    first = [(job.sources[0].name, job.moving.name, job.output.name) for job in jobs[:6]]
    assert first == [(f"{person}.jpg", clip, f"{person}-{clip[0]}.mp4")
                     for person, clip in product(("anna", "bob"), ("a.mp4", "b.mp4", "c.mov"))]  # fmt: skip
    assert jobs[0].settings.look.feather == 0.25 and jobs[0].settings.people.min_face_px == 64
    assert jobs[6].output == tmp_path / "out" / "007.mkv" and jobs[6].command == "reenact"
    assert [path.name for path in jobs[7].sources] == ["bob.jpg", "anna.jpg"]
    assert jobs[7].settings.recipe.take == (f"lips={tmp_path / 'stills/1.jpg'}", "eyes=canvas")
    assert jobs[8].sources == () and jobs[8].output == tmp_path / "maps" / "%05d.png"
    assert jobs[8].settings.people.map == (f"{tmp_path}/people/bob.jpg=1",
                                           f"{tmp_path}/people/anna.jpg={tmp_path}/stills/1.jpg")  # fmt: skip


def test_an_edit_takes_what_its_options_take(tmp_path: Path) -> None:
    edit = _jobs(_folder(tmp_path), _toml(ROWS))[-1]
    assert edit.settings.recipe.take == tuple(
        f"{attribute}={tmp_path / path}"
        for attribute, path in (
            ("lips", "stills/1.jpg"), ("lighting", "clips/a.mp4"), ("hair", "people/anna.jpg"),
            ("clothes", "people/bob.jpg"), ("background", "stills/1.jpg"),
        )
    )  # fmt: skip
    assert edit.loop and edit.mask == tmp_path / "stills/1.jpg"
    assert {tmp_path / "clips/a.mp4", tmp_path / "people/anna.jpg", edit.mask} <= set(edit.inputs)
    apart = {"canvas", "output", "overwrite", "dry_run", "plan", "report", "fresh", "keep_work", "show_slots",
             "verbose", "quiet", "as_json"}  # fmt: skip
    settings = {item.parameter for item in declarations_in(COMMAND_SETTINGS["edit"])}
    own = set(signature(edit_command).parameters) - settings - apart
    assert own <= {key.replace("-", "_") for key in keys_of("edit")}, "an option has no key"


def test_defaults_hold_where_a_job_does_not_say_otherwise(tmp_path: Path) -> None:
    jobs = _jobs(_folder(tmp_path), """
        [defaults]
        source = "people/anna.jpg"
        target = "clips/a.mp4"
        output = "out/{index}.mp4"
        feather = 0.1
        inpaint = "stills/1.jpg"
        lighting = "stills/1.jpg"
        loop = true
        [[job]]
        [[job]]
        feather = 0.9
        sources = ["people/bob.jpg"]
        [[job]]
        command = "reenact"
        driving = "clips/b.mp4"
    """)  # fmt: skip
    assert [job.sources[0].stem for job in jobs] == ["anna", "bob", "anna"]
    assert not any(job.inputs[-1].name == "1.jpg" or job.mask or job.loop for job in jobs)
    assert [job.moving.stem for job in jobs] == ["a", "a", "b"]
    assert [job.settings.look.feather for job in jobs] == [0.1, 0.9, 0.5]


ROW = {"source": "people/anna.jpg", "target": "clips/a.mp4", "output": "out.mp4"}
EDIT = {"command": "edit", "canvas": "clips/a.mp4", "source": None, "target": None}


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"traget": "x"}, "unknown key 'traget'", "did you mean 'target'?"),
        ({"min_fase": 3}, "unknown key 'min-fase'", "did you mean 'min-face'?"),
        ({"progress": "rich"}, "'progress' is no matter of one job", "--progress"),
        ({"timestamp": "https://a.example"}, "'timestamp' is not taken from jobs files", "configuration"),
        ({"command": "swop"}, "unknown command 'swop'", "did you mean 'swap'?"),
        ({"command": "reenact", "target": None}, "missing 'driving'", "facex reenact"),
        ({"driving": "clips/b.mp4"}, "'swap' has no 'driving'", "facex swap --help"),
        ({"source": None}, "missing 'source'", "wildcard"),
        ({"target": None}, "missing 'target'", "wildcard"),
        ({"output": None}, "missing 'output'", "{source}-{target}"),
        ({"sources": ["people/bob.jpg"]}, "both 'source' and 'sources'", "one person"),
        ({"source": "people/*.png"}, "finds no file", "wildcard"),
        ({"target": "-"}, "target = '-' is not a path", "reads files"),
        ({"output": "-"}, "output = '-' is not a path", "writes files"),
        ({"output": "{sourse}.mp4"}, "unknown field {sourse}", "did you mean 'source'?"),
        ({"output": "{index:x}.mp4"}, "{index} takes no 'x'", "{index:04d}"),
        ({"output": "{target!r}.mp4"}, "{target} takes no 'r'", "digits"),
        ({"output": "{target.mp4"}, "output = '{target.mp4'", "{index:04d}"),
        ({"output": "clips/a.mp4"}, "is, or lies in, an input of job 1", "folder of their own"),
        ({"feather": 3}, "--feather = 3: should be less than or equal to 1", "--feather 0..1"),
        ({"blend": "poison"}, "--blend = 'poison'", "did you mean 'poisson'?"),
        ({"preset": "fats"}, "unknown preset 'fats'", "did you mean 'fast'?"),
        ({"preset": "own.toml"}, "own.toml: cannot be read", "TOML file"),
        ({**EDIT, "loop": "perhaps"}, "loop = 'perhaps': is neither true nor false", "shorter videos"),
        ({**EDIT, "lighting": ["a.jpg", "b.jpg"]}, "lighting = ['a.jpg', 'b.jpg'] is not a path", "one file"),
        ({**EDIT, "inpaint": "-"}, "inpaint = '-' is not a path", "one file"),
        ({**EDIT, "lightning": "a.jpg"}, "unknown key 'lightning'", "did you mean 'lighting'?"),
        ({"lighting": "a.jpg"}, "'swap' has no 'lighting'", "facex swap --help"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_each_mistake_is_told_with_its_place(
    tmp_path: Path, changes: dict[str, object], message: str, hint: str
) -> None:
    folder = _folder(tmp_path)
    row = {key: value for key, value in {**ROW, **changes}.items() if value is not None}
    for name, text, place in (
        ("jobs.toml", _toml([row]), "job 1"),
        ("jobs.jsonl", f"\n{json.dumps(row)}\n", "line 2"),
    ):
        ((where, told, help_line),) = _problems(folder, text, name)
        assert where == f"/{name}, {place}"
        assert message in told and hint in help_line


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    text = _toml([{**ROW, "traget": "x"}, {**ROW, "feather": 3, "crf": "best", "preset": "fats"}, ROW, ROW])
    found = _problems(_folder(tmp_path), f"[defaults]\nblent = 1\n{text}\n[nothing]\n")
    assert [(where, message.split(":")[0]) for where, message, _ in found] == [
        ("/jobs.toml", "unknown table 'nothing'"),
        ("/jobs.toml, [defaults]", "unknown key 'blent'"),
        ("/jobs.toml, job 1", "unknown key 'traget'"),
        ("/jobs.toml, job 2", "unknown preset 'fats'"),
        ("/jobs.toml, job 2", "--feather = 3"),
        ("/jobs.toml, job 2", "--crf = 'best'"),
        ("/jobs.toml, job 4", f"{tmp_path}/out.mp4 is also the output of job 1 (job 3)"),
    ]


def test_mistakes_of_tables_name_the_line(tmp_path: Path) -> None:
    text = "source,target,output,traget\n\npeople/anna.jpg,clips/a.mp4,o.mp4,x,y\n"
    assert [(where, message) for where, message, _ in _problems(_folder(tmp_path), text, "jobs.csv")] == [
        ("/jobs.csv, line 1", "unknown key 'traget'"),
        ("/jobs.csv, line 3", "5 cells under 4 columns"),
    ]
    found = _problems(tmp_path, '{"source": 1\n[]\n', "jobs.jsonl")
    assert [(where, message.split(":")[0]) for where, message, _ in found] == [
        ("/jobs.jsonl, line 1", "not JSON"),
        ("/jobs.jsonl, line 2", "not an object"),
    ]


def test_a_mistake_that_many_rows_share_is_told_once() -> None:
    problems = [Problem(f"line {n}", "no such preset", "name one") for n in (1, 2, 3)]
    assert merged(problems) == (Problem("line 1 and 2 more", "no such preset", "name one"),)


@pytest.mark.parametrize(
    ("name", "text", "kind", "message"),
    [
        ("jobs.txt", "", UsageError, "suffix"),
        ("jobs.toml", "[[job", UsageError, "not TOML"),
        ("jobs.toml", "job = " + "[" * 999, UsageError, "not TOML"),
        ("jobs.jsonl", "[" * 9999, JobsError, "1 problem"),
        ("jobs.toml", "job = 3", UsageError, "[[job]]"),
        ("jobs.toml", "[defaults]", UsageError, "no job"),
        ("jobs.csv", 'source,target\n"a', UsageError, "line 2: not CSV"),
        ("jobs.csv", "source,target\n", UsageError, "no job"),
    ],
)
def test_what_is_no_jobs_file_is_an_error(
    tmp_path: Path, name: str, text: str, kind: type[Exception], message: str
) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(kind) as raised:
        read_jobs(tmp_path / name)
    assert message in str(raised.value) and str(tmp_path / name) in str(raised.value)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_jobs(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("output", "is_refused"),
    [("people/new.mp4", True), ("clips/x.mp4", False), ("stills/%d.jpg", True), ("more/%d.jpg", False)],
)
def test_results_may_not_lie_in_inputs(tmp_path: Path, output: str, is_refused: bool) -> None:
    folder = _folder(tmp_path)
    rows = [{**ROW, "source": "people", "output": output}, {**ROW, "source": "stills/1.jpg", "output": "b.mp4"}]
    if is_refused:
        ((_, message, _),) = _problems(folder, _toml(rows))
        assert "an input of job" in message
    else:
        assert len(_jobs(folder, _toml(rows))) == 2


def test_one_output_written_in_two_ways_is_one(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "link").symlink_to(folder / "people")
    rows = [{**ROW, "output": "people/o.mp4"}, {**ROW, "output": "clips/../link/o.mp4"}]
    ((_, message, _),) = _problems(folder, _toml(rows))
    assert "also the output of job 1" in message


@given(source=NAMES, target=NAMES, index=st.integers(1, 10**6))
def test_names_are_put_together_as_they_are(source: str, target: str, index: int) -> None:
    name = expand_name("o/{{{source}}}/{target}-{index:04d}.mp4", Path(source), Path(target), index)
    assert name == f"o/{{{Path(source).stem}}}/{Path(target).stem}-{index:04d}.mp4"


@given(source=HOSTILE, target=HOSTILE, template=st.sampled_from(("out/{source}/{target}.mp4", "{source}{target}/x.mp4",
                                                                 "out/.{source}/x", "out/{target}")))  # fmt: skip
def test_no_name_leads_out_of_its_folder(source: str, target: str, template: str) -> None:
    class Named(type(Path())):  # type: ignore[misc]
        """A file whose name holds what no file system allows."""

        stem = ""

    paths = []
    for text in (source, target):
        path = Named("x")
        path.stem = text
        paths.append(path)
    try:
        name = expand_name(template, *paths, 1)
    except UsageError as error:
        assert "leads elsewhere" in error.message
        return
    root = os.path.join(os.sep, "root")
    assert os.path.normpath(os.path.join(root, name)).startswith(root + os.sep)
    assert len(Path(name).parts) == len(Path(template).parts)


@given(people=st.integers(1, 4), clips=st.integers(1, 4), rows=st.integers(1, 3))
def test_every_source_meets_every_target_once(
    tmp_path_factory: pytest.TempPathFactory, people: int, clips: int, rows: int
) -> None:
    folder = tmp_path_factory.mktemp("jobs")
    for kind, count in (("p", people), ("c", clips)):
        for number in range(count):
            (folder / f"{kind}{number}").write_bytes(b"")
    row = {"source": "p*", "target": "c*", "output": "o/{index:02d}-{source}-{target}.mp4"}
    jobs = _jobs(folder, _toml([row] * rows))
    pairs = [(job.sources[0].name, job.moving.name) for job in jobs]
    assert pairs == [(f"p{p}", f"c{c}") for p, c in product(range(people), range(clips))] * rows
    assert [job.number for job in jobs] == list(range(1, len(jobs) + 1))
    assert len({job.output for job in jobs}) == len(jobs)


def test_plans_of_all_jobs_are_made_and_all_that_cannot_be_told(eval_data: Path, tmp_path: Path) -> None:
    still, clip = eval_data / "london" / "087_neutral.jpg", eval_data / "talking" / "grid_brbk7n.mpg"
    good = {"source": str(still), "target": str(clip), "output": "out/deep/{index}.mp4"}
    path = tmp_path / "jobs.toml"
    lit = {"command": "edit", "canvas": str(still), "output": "out/{index}.png", "lighting": str(clip), "loop": True,
           "engine": "mesh"}  # fmt: skip
    bad = [{**good, "target": "gone.mp4"}, {**good, "output": "out/{index}.txt"}, {**lit, "lighting": "gone.jpg"}]
    path.write_text(_toml([good, *bad]), "utf-8")
    with pytest.raises(JobsError) as raised, planned(path):
        raise AssertionError("not reached")
    first, second, third = raised.value.problems
    assert first.where.endswith("job 2") and "gone.mp4" in first.message
    assert second.where.endswith("job 3") and ".txt" in second.message
    assert third.where.endswith("job 4") and f"{tmp_path / 'gone.jpg'}" in third.message
    assert not (tmp_path / "out").exists(), "a folder that was made for nothing stays"
    path.write_text(_toml([good, {**lit, "output": "out/lit.mp4"}]), "utf-8")
    with planned(path) as found:
        assert found[1].plan.loop and clip in [item.path for item in found[1].plan.inputs]
        assert found[0].plan.output == tmp_path / "out" / "deep" / "1.mp4"
