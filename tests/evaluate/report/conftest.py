"""Made-up contents of a report."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from facexcli.evaluate.report.choice import choose_samples, shown_spans, spans_of
from facexcli.evaluate.report.content import Content
from facexcli.evaluate.report.pictures import Pair, Pictures
from facexcli.evaluate.values import DoubtfulFrame, Evaluation, Metric, PersonSeries
from facexcli.media.image import encode_image
from facexcli.pipeline.inputs import InputFile
from facexcli.pipeline.parallel import Pace
from facexcli.pipeline.plan import Plan
from facexcli.pipeline.result import PersonResult, RunResult
from facexcli.recipes import recipe_named
from facexcli.settings import Settings

RATE = 25
MakeContent = Callable[..., Content]


@pytest.fixture(scope="session")
def make_content() -> MakeContent:
    """Makes up what a report tells: of two people over `frames` frames, with a cut, and two spans of doubts."""
    return _content


def _content(
    frames: int = 300, people: tuple[str, ...] = ("Anna", "Bo"), name: str = "out.mp4", *, evaluated: bool = True
) -> Content:
    random = np.random.default_rng(3)
    doubtful = tuple(
        DoubtfulFrame(frame, frame / RATE, people[0], "the face flickers", (20.0, 20.0, 60.0, 60.0))
        for frame in (*range(40, 52), *range(frames - 60, frames - 58))
        if 0 <= frame < frames
    )
    spans = spans_of(doubtful)
    evaluation = Evaluation(
        result=Path(name),
        sources=(Path("alice.jpg"),),
        canvas=Path("clip.mp4"),
        driving=None,
        frame_count=frames,
        metrics={
            "swap_rate": Metric(0.984, "share", "higher", "frames with a changed face"),
            "identity_distance": Metric(0.41, "dlib", "lower", "result and source"),
            "flicker_ratio": Metric(1.02, "", "lower", "result and canvas"),
            "untouched_psnr": Metric(float("inf"), "dB", "higher", "outside"),
        },
        missing={"fid": "needs weights"},
        people=tuple(_series(person, frames, random) for person in people),
        doubtful=doubtful,
        judge="dlib",
        warnings=("a warning of the evaluation",),
        shots=((0, frames // 3), (frames // 3, frames)),
    )
    seen = [_picture(light) for light in (90, 170)]
    samples = [Pair(frame, frame / RATE, *seen, (160, 90)) for frame in choose_samples(frames, spans)]
    run = _run(name, frames, people)
    return Content(
        result=Path(name),
        canvas=run.plan.canvas.path,
        driving=None,
        sources=(Path("alice.jpg"),),
        frame_count=frames,
        duration_s=frames / RATE if frames > 1 else None,
        run=run,
        evaluation=evaluation if evaluated else None,
        problems=() if evaluated else ("Not measured: no judge is installed (see facex doctor)",),
        doubtful=doubtful if evaluated else (),
        painted={},
        pictures=Pictures(tuple(samples), {span: (seen[0], seen[1]) for span in shown_spans(spans)}),
        versions={"facex": "0.1.0", "Python": "3.11"},
        made_at=datetime(2026, 11, 21, 6, 30, tzinfo=UTC),
    )


def _series(person: str, frames: int, random: np.random.Generator) -> PersonSeries:
    index = np.arange(frames)
    waves = {
        "yaw_deg": 14 * np.sin(index / 30), "pitch_deg": 6 * np.cos(index / 21), "roll_deg": 3 * np.sin(index / 50),
        "expression_error": 0.02 + 0.01 * np.sin(index / 9), "flicker": 2 + np.sin(index / 5),
        "flicker_reference": 2 + np.cos(index / 5), "strength": np.ones(frames),
    }  # fmt: skip
    values = {
        key: (wave + 0.05 * wave.std() * random.normal(size=frames)).astype(np.float32) for key, wave in waves.items()
    }
    values |= {f"{key}_reference": values[key] + np.float32(0.5) for key in ("yaw_deg", "pitch_deg", "roll_deg")}
    for key, middle in (("identity_similarity", 0.95), ("identity_distance", 0.4), ("canvas_distance", 0.8)):
        judged = (middle + 0.01 * random.normal(size=frames)).astype(np.float32)
        judged[index % 5 != 0] = np.nan
        values[key] = judged
    return PersonSeries(person, (0,), index, index / RATE, values)


def _picture(light: int) -> bytes:
    ramp = np.linspace(0, 80, 160, dtype=np.uint8)[None, :, None] + np.uint8(light)
    return encode_image(Path("x.jpg"), np.broadcast_to(ramp, (90, 160, 3)), 80)


def _run(name: str, frames: int, people: tuple[str, ...]) -> RunResult:
    alice, clip = (InputFile(path=Path(file), fingerprint="0") for file in ("alice.jpg", "/home/zoe/clip.mp4"))
    recipe = recipe_named("swap")
    plan = Plan(
        task="swap", sources=(alice,), canvas=clip, output=Path(name), recipe_name="swap", recipe=dict(recipe.rows),
        engine="mesh", engine_reason="the embedded engine", settings=Settings(),
    )  # fmt: skip
    stages = {"decode": 0.004, "engine": 0.02, "encode": 0.01}
    pace = (
        Pace(at, at * 0.03, {stage: at * spent for stage, spent in stages.items()}) for at in range(0, frames + 1, 3)
    )
    return RunResult(
        output=Path(name),
        engine="mesh",
        perception=("dlib",),
        frames=frames,
        faces_per_track={0: frames},
        swap_rate=1.0,
        stage_s={"analyse": 3.0, **{stage: frames * spent for stage, spent in stages.items()}},
        warnings=("/home/zoe/clip.mp4: something was repaired",),
        provenance={"description": "Synthetic media"},
        plan=plan,
        people=tuple(
            PersonResult(number, person, (Path("alice.jpg"),), frames, frames)
            for number, person in enumerate(people, start=1)
        ),
        pace=tuple(pace),
    )
