"""The paper's tasks from the command line, with a network that is random, but works."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.cli.app import main
from facexcli.media.image import read_image, write_image
from facexcli.media.probe import probe
from facexcli.pipeline.plan import Plan


class Bench:
    """A portrait, a second and a third person, and a clip; the options that every command has."""

    def __init__(self, data: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.me, self.other, self.third = (
            str(data / "london" / f"{name}.jpg") for name in ("009_neutral", "033_neutral", "087_neutral")
        )
        self.clip = str(data / "talking" / "grid_brbk7n.mpg")
        self.out = folder / "out.png"
        self.checkpoint = checkpoint
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        """What was said on standard error; `out` is replaced."""
        options = ["--engine", "facex", "--weights", str(self.checkpoint), "--steps", "2"]
        found = main([*arguments, *options, "-o", str(self.out), "--overwrite", "--progress", "none"])
        said = self._capsys.readouterr().err
        assert found == code, said
        return said

    def changed(self) -> np.ndarray:
        """Where the result differs from the portrait: bool (H, W)."""
        return np.asarray((read_image(self.out).astype(int) != read_image(Path(self.me))).any(axis=2))


@pytest.fixture
def bench(eval_data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(eval_data, checkpoint, tmp_path, capsys)


def test_a_head_swap_changes_more_than_a_swap_and_single_lips_less(bench: Bench) -> None:
    shares = []
    for command in (["swap", "--regions", "lips"], ["swap"], ["head-swap"]):
        bench.run(command[0], bench.other, bench.me, *command[1:])
        shares.append(bench.changed().mean())
    assert 0 < 3 * shares[0] < shares[1] < shares[2] < 0.6


def test_attributes_are_taken_from_others_one_by_one_or_together(bench: Bench, tmp_path: Path) -> None:
    bench.run("edit", bench.me, "--take", f"lips={bench.other}")
    lips = bench.changed().mean()
    recipe = tmp_path / "mixture.toml"
    recipe.write_text(f'lips = "{bench.other}"\neyes = "{bench.third}"\n')
    bench.run("edit", bench.me, "--recipe", str(recipe))
    mixed = bench.changed().mean()
    assert 0 < lips < mixed < 0.1
    bench.run("edit", bench.me, "--recipe", str(recipe), "--pose", bench.third, "--gaze", bench.other)
    assert bench.changed().mean() > mixed


def test_a_hole_is_filled_where_the_mask_is_white(bench: Bench, tmp_path: Path) -> None:
    height, width = read_image(Path(bench.me)).shape[:2]
    mask = np.zeros((height, width, 3), np.uint8)
    mask[height // 2 : height // 2 + 60, width // 2 - 40 : width // 2 + 40] = 255
    write_image(tmp_path / "mask.png", mask)
    bench.run("edit", bench.me, "--inpaint", str(tmp_path / "mask.png"))
    changed = bench.changed()
    reach = 40  # a crop's pixel and the soft edge
    assert changed[height // 2 + 10 : height // 2 + 50, width // 2 - 30 : width // 2 + 30].mean() > 0.9
    assert not changed[: height // 2 - reach].any() and not changed[height // 2 + 60 + reach :].any()
    write_image(tmp_path / "small.png", mask[::2, ::2])
    assert "of the canvas's size" in bench.run("edit", bench.me, "--inpaint", str(tmp_path / "small.png"), code=2)


def test_a_gaze_leaves_all_but_the_eyes_and_an_edit_has_a_report(bench: Bench, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    bench.run("edit", bench.me, "--gaze", bench.other, "--report", str(page))
    gaze = bench.changed()
    assert 0 < gaze.mean() < 0.05
    assert "Report of a" in page.read_text("utf-8")
    bench.run("edit", bench.me, "--expression", bench.other)
    assert 2 * gaze.mean() < bench.changed().mean() < 0.4


def test_what_temporal_cannot_go_with_is_refused(bench: Bench) -> None:
    swap = ["swap", bench.other, bench.clip, "--temporal", "0.5"]
    assert "--workers" in bench.run(*swap, "--workers", "2", code=2)
    assert "pndm" in bench.run(*swap, "--sampler", "pndm", code=2)


def test_a_video_takes_its_expression_from_a_video(bench: Bench, eval_data: Path, tmp_path: Path) -> None:
    bench.out = tmp_path / "out.mkv"
    bench.run("edit", bench.clip, "--expression", bench.clip, "--trim", "#0..#3")
    assert probe(bench.out).kind == "video"
    bench.run("edit", bench.me, "--expression", bench.clip, "--trim", "#0..#2")
    assert probe(bench.out).frame_count_from_header in (2, None)


def test_a_plan_knows_the_weights_by_their_content(
    bench: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def planned() -> Plan:
        arguments = ["swap", bench.other, bench.me, "--engine", "facex", "--weights", str(bench.checkpoint)]
        assert main([*arguments, "-o", str(bench.out), "--dry-run"]) == 0
        return Plan.model_validate_json(capsys.readouterr().out)

    plan = planned()
    digest = hashlib.sha256(bench.checkpoint.read_bytes()).hexdigest()
    assert plan.weight_hashes == {"tiny.safetensors": digest}
    elsewhere = tmp_path / "moved.safetensors"
    bench.checkpoint.rename(elsewhere)
    bench.checkpoint = elsewhere
    assert planned().fingerprint == plan.fingerprint
    (tmp_path / "plan.json").write_text(planned().model_dump_json())
    assert main(["swap", "--plan", str(tmp_path / "plan.json"), "--json", "--progress", "none"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["weights"] == {"moved.safetensors": digest}
    elsewhere.write_bytes(elsewhere.read_bytes()[:-1] + b"x")
    assert main(["swap", "--plan", str(tmp_path / "plan.json"), "--overwrite"]) == 3
    assert "has changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["head-swap", "{other}", "{me}"], "--engine facex can do head-swap"),
        (["edit", "{me}", "--take", "lips={other}"], "lips: --engine facex"),
        (["swap", "{other}", "{me}", "--unet", "."], "takes no --unet"),
    ],
)
def test_another_engine_says_who_can(
    bench: Bench, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    filled = [each.format(me=bench.me, other=bench.other) for each in arguments]
    assert main([*filled, "--engine", "mesh", "-o", str(bench.out)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "changes nothing"),
        (["--take", "lips=source"], "has no source"),
        (["--take", "background={other}"], "cannot take background"),
        (["--recipe", "{me}"], "not a recipe"),
    ],
)
def test_an_edit_that_cannot_be_meant_is_refused(bench: Bench, arguments: list[str], message: str) -> None:
    filled = [each.format(me=bench.me, other=bench.other) for each in arguments]
    assert message in bench.run("edit", bench.me, *filled, code=2)
