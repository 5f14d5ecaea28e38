"""What workers give: by Amdahl's law, from rates that were measured somewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.batch.cost import Rates, Work, measure_rates, predict, rates_of, read_rates, shown_workers, work_of
from facexcli.cli.app import main
from facexcli.config import resolve
from facexcli.errors import InputError, UsageError
from facexcli.pipeline.plan import Plan
from facexcli.pipeline.planning import plan_reenact, plan_swap

SECONDS = st.floats(0.001, 10)
RATES = st.builds(Rates, SECONDS, SECONDS, SECONDS, SECONDS, SECONDS, st.just("made up"))
WORK = st.builds(Work, st.integers(1, 10**5), st.integers(1, 500))


@pytest.fixture(scope="module")
def plan(eval_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    still, clip = eval_data / "london" / "087_neutral.jpg", eval_data / "talking" / "grid_brbk7n.mpg"
    folder = tmp_path_factory.mktemp("plan")
    return plan_swap([still], clip, folder / "out.mp4", resolve({"segment": 0.5}))


def _line(**changes: object) -> dict[str, object]:
    line: dict[str, object] = {
        "format": 1, "engine": "mesh", "command": "swap", "output": "o.mp4", "frames": 100, "seconds": 20.0,
        "stages": {"analyse": [100, 4.0], "render": [100, 10.0]},
        "result": {"stage_s": {"prepare": 1.0, "finish": 2.0}},
    }  # fmt: skip
    return {**line, **changes}


def test_the_parts_add_up() -> None:
    rates = Rates(start_s=2, prepare_s=1, analyse_s=0.01, render_s=0.1, join_s=0.001, origin="")
    one, four, eight = predict(rates, Work(1000, 6), [1, 4, 8])
    assert one.total_s == pytest.approx(3 + 10 + 100 + 1) and one.speedup == 1
    # Six segments on four workers: two of them have two. The workers' start comes after the parent's.
    assert four.total_s == pytest.approx(6 + 10 + 100 * 2 / 6 + 1)
    assert eight.total_s == pytest.approx(6 + 10 + 100 / 6 + 1)
    assert four.efficiency == pytest.approx(one.total_s / four.total_s / 4)


@given(rates=RATES, work=WORK, workers=st.integers(2, 1000))
def test_nobody_is_faster_than_the_serial_parts(rates: Rates, work: Work, workers: int) -> None:
    one, many, more = predict(rates, work, [1, workers, workers + 1])
    serial_s = one.total_s - one.render_s
    assert many.total_s >= serial_s
    assert more.total_s <= many.total_s + 1e-9, "another worker never costs time"
    assert many.speedup <= one.total_s / serial_s + 1e-9
    assert many.speedup <= workers + 1e-9


def test_the_work_of_a_plan(eval_data: Path, plan: Plan, tmp_path: Path) -> None:
    whole = work_of(plan)
    assert whole.frames in range(70, 80) and whole.segments == 6
    trim = plan_swap([plan.sources[0].path], plan.canvas.path, tmp_path / "o.gif", resolve({"trim": "#10..#40"}))
    assert work_of(trim) == Work(30, 1), "a GIF is written in one go"
    clip = plan.canvas.path
    moving = plan_reenact(
        clip, eval_data / "talking" / "grid_lbax4n.mpg", tmp_path / "o.mp4", resolve({"segment": 0.5})
    )
    assert work_of(moving).segments == 1


def test_rates_come_from_results_of_the_same_engine_and_task(plan: Plan, tmp_path: Path) -> None:
    lines = [_line(), _line(seconds=17.5), _line(engine="facex", frames=1), _line(command="reenact"), _line(frames=0)]
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    rates = read_rates(path, plan)
    assert (rates.analyse_s, rates.render_s, rates.join_s, rates.prepare_s) == (0.04, 0.1, 0.02, 1.0)
    assert rates.start_s == 3.0, "that of the job that opened the models"
    assert str(path) in rates.origin and "3 jobs" in rates.origin


def test_results_without_an_analysis_are_refused(plan: Plan) -> None:
    known = _line(stages={"analyse": [1, 0.1], "render": [100, 10.0]})  # only a still was searched: the clip was known
    with pytest.raises(UsageError, match="an analysis by engine 'mesh' was not measured"):
        rates_of([known], "r.jsonl", plan)
    with pytest.raises(UsageError, match="a render"):
        rates_of([], "r.jsonl", plan)


def test_rates_that_cannot_be_read(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_rates(tmp_path / "none", plan)


def test_rates_are_measured_on_the_plans_first_seconds(plan: Plan) -> None:
    rates = measure_rates(plan, 0.5)
    assert rates.analyse_s > 0 and rates.render_s > 0 and rates.join_s > 0
    assert "measured here" in rates.origin
    assert not plan.output.exists(), "the plan itself was not run"


def test_the_command_shows_the_serial_parts(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, results = tmp_path / "plan.json", tmp_path / "r.jsonl"
    path.write_text(plan.model_dump_json(), "utf-8")
    results.write_text(json.dumps(_line()), "utf-8")
    command = ["plan-cost", str(path), "--gpus", "3", "--rates", str(results)]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "analysis" in text and "join" in text and "serial:" in text and str(results) in text
    assert main([*command, "--json"]) == 0
    saved = tmp_path / "rates.json"
    saved.write_text(capsys.readouterr().out, "utf-8")
    told = json.loads(saved.read_text("utf-8"))
    assert [cost["workers"] for cost in told["costs"]] == [1, 2, 3]
    assert read_rates(saved, plan).render_s == told["rates"]["render_s"]


def test_many_workers_are_shown_by_doubling() -> None:
    assert shown_workers(1) == [1]
    assert shown_workers(8) == list(range(1, 9))
    assert shown_workers(40) == [*range(1, 9), 16, 32, 40]
    assert shown_workers(16) == [*range(1, 9), 16]
