"""DiffFAE from the command line, with a network that is random, but works."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from facexcli.cli.app import main  # noqa: E402
from facexcli.engines.difffae.checkpoint import save_network  # noqa: E402
from facexcli.engines.difffae.config import PRESETS, DiffFAEConfig  # noqa: E402
from facexcli.engines.difffae.model import DiffFAENetwork  # noqa: E402
from facexcli.media.image import read_image  # noqa: E402
from facexcli.media.probe import probe  # noqa: E402
from facexcli.media.reader import FrameReader  # noqa: E402
from facexcli.types import Array  # noqa: E402


class Bench:
    """A portrait, two other people, a clip, a checkpoint, and the options that every command has."""

    def __init__(self, data: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.me, self.query, self.third = (
            str(data / "portraits" / f"faker_{number}.jpg") for number in ("0032", "0173", "0121")
        )
        self.clip = str(data / "talking" / "grid_brbk7n.mpg")
        self.folder, self.checkpoint, self._capsys = folder, checkpoint, capsys

    def run(self, *arguments: str, out: str = "out.png", code: int = 0, steps: str = "2") -> str:
        """What was said on standard error."""
        options = ["--engine", "difffae", "--weights", str(self.checkpoint), "--steps", steps, "--overwrite"]
        found = main([*arguments, *options, "-o", str(self.folder / out), "--progress", "none"])
        said = self._capsys.readouterr().err
        assert found == code, said
        return said

    def edited(self, *arguments: str) -> Array:
        self.run("edit", self.me, *arguments)
        return read_image(self.folder / "out.png").astype(int)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("difffae") / "tiny.safetensors"
    save_network(DiffFAENetwork(PRESETS["tiny"]), path)
    return path


@pytest.fixture
def bench(eval_data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(eval_data, checkpoint, tmp_path, capsys)


def test_each_attribute_comes_from_its_own_query(bench: Bench) -> None:
    plain = read_image(Path(bench.me)).astype(int)
    light = bench.edited("--lighting", bench.query)
    assert np.abs(light - plain).max() > 20
    posed = bench.edited("--pose", bench.query)
    spread = [int((np.abs(each - plain).max(axis=2) > 2).sum()) for each in (light, posed)]
    assert spread[0] < 0.9 * spread[1]  # light alone stays on the head
    haired = bench.edited("--pose", bench.query, "--hair", bench.third)
    lit = bench.edited("--pose", bench.query, "--lighting", bench.third)
    assert (haired != posed).any() and (lit != posed).any() and (lit != haired).any()


def test_an_amount_of_nothing_is_the_portrait_s_own(bench: Bench) -> None:
    plain = ("--watermark", "off")  # another plan has another mark
    none = bench.edited("--pose", bench.query, "--amount", "0", *plain)
    again = bench.edited("--pose", bench.third, "--amount", "pose=0", *plain)
    np.testing.assert_array_equal(none, again)
    assert (bench.edited("--pose", bench.query, "--amount", "1", *plain) != none).any()


def test_slots_are_shown(bench: Bench) -> None:
    place = bench.folder / "slots.png"
    bench.run("edit", bench.me, "--lighting", bench.query, "--show-slots", str(place))
    assert read_image(place).shape == (256, 6 * 256, 3)  # the face, four slots, and all in colours
    assert main(["edit", bench.me, "--lighting", bench.query, "--show-slots", str(place), "--overwrite",
                 "--engine", "mesh", "-o", str(bench.folder / "o.png"), "--progress", "none"]) == 2  # fmt: skip


def test_a_portrait_is_reenacted(bench: Bench) -> None:
    bench.run("reenact", bench.me, "--driving", bench.clip, "--trim", "#0..#3", out="out.mkv")
    with FrameReader(bench.folder / "out.mkv", probe(bench.folder / "out.mkv")) as reader:
        assert sum(1 for _ in reader) == 3


def test_ddim_walks_too(bench: Bench) -> None:
    bench.run("edit", bench.me, "--pose", bench.query, "--sampler", "ddim", steps="3")


def test_mistakes_are_told(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    empty = bench.folder / "empty.png"
    cv2.imwrite(str(empty), np.full((200, 200, 3), 90, np.uint8))
    assert "no face found" in bench.run("edit", bench.me, "--pose", str(empty), code=4)
    assert "gaze: --engine facex" in bench.run("edit", bench.me, "--gaze", bench.query, code=2)
    assert "is not a still" in bench.run("edit", bench.me, "--hair", bench.clip, code=2)
    assert "a part of hair" in bench.run("edit", bench.me, "--hair", bench.query, "--amount", "hair=0.5", code=2)
    assert "cannot do 'swap'" in bench.run("swap", bench.query, bench.me, code=2)


def test_two_slots_cannot_be_told_apart(bench: Bench) -> None:
    values = PRESETS["tiny"].model_dump()
    values["slots"]["count"] = 2
    bench.checkpoint = bench.folder / "two.safetensors"
    save_network(DiffFAENetwork(DiffFAEConfig.model_validate(values)), bench.checkpoint)
    assert "2 slots does not tell" in bench.run("edit", bench.me, "--hair", bench.query, code=2)
    bench.run("edit", bench.me, "--pose", bench.query)


def test_the_bench_walks_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "difffae", "--faces", "1", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(walk["sampler"], walk["steps"]) for walk in found["walks"]] == [("ddim", 50), ("dpm++", 10)]
    assert found["walks"][0]["gflop"] > 4 * found["walks"][1]["gflop"]
