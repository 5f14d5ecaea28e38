"""A run in parts gives the frames of a run in one, whatever ends it on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import av
import pytest

from facexcli.batch.ledger import work_folder
from facexcli.batch.resume import run_resumable
from facexcli.config import resolve
from facexcli.errors import InputError, UsageError
from facexcli.pipeline.plan import plan_swap
from facexcli.pipeline.run import run

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.pipeline.plan import Plan

FRAMES = 30


def _plan(eval_data: Path, output: Path, **flags: object) -> Plan:
    values = {"trim": f"#0..#{FRAMES}", "segment": 0.3, "codec": "ffv1", "provenance": "off", **flags}
    settings = resolve(flags=values)
    source, target = eval_data / "london" / "087_neutral.jpg", eval_data / "talking" / "grid_brbk7n.mpg"
    return plan_swap([source], target, output, settings)


def _decoded(path: Path) -> list[tuple[int, str]]:
    with av.open(str(path)) as container:
        return [(frame.pts, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
                for frame in container.decode(video=0)]  # fmt: skip


def _packets(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(packet.pts, packet.dts) for packet in container.demux(audio=0) if packet.size]


def test_parts_give_the_frames_and_the_sound_of_one_run(eval_data: Path, tmp_path: Path) -> None:
    whole, parts, two = tmp_path / "whole.mkv", tmp_path / "parts.mkv", tmp_path / "two.mkv"
    first = run(_plan(eval_data, whole))
    second = run_resumable(_plan(eval_data, parts))
    run_resumable(_plan(eval_data, two, workers=2))
    assert len(_decoded(whole)) == FRAMES
    assert _decoded(parts) == _decoded(whole) == _decoded(two)
    assert _packets(parts) == _packets(whole) == _packets(two)
    assert second.faces_per_track == first.faces_per_track
    assert second.people == first.people
    assert not work_folder(parts).exists()


@pytest.mark.parametrize(
    ("name", "codec"), [("o.mp4", "h264"), ("o.mp4", "hevc"), ("o.webm", "vp9"), ("o.mkv", "av1"), ("o.mov", "prores")]
)
def test_every_codec_can_be_joined(eval_data: Path, tmp_path: Path, name: str, codec: str) -> None:
    run(_plan(eval_data, tmp_path / f"whole_{name}", codec=codec))
    run_resumable(_plan(eval_data, tmp_path / name, codec=codec))
    whole, joined = _decoded(tmp_path / f"whole_{name}"), _decoded(tmp_path / name)
    assert [pts for pts, _ in joined] == [pts for pts, _ in whole]
    with av.open(str(tmp_path / name)) as container:
        dts = [packet.dts for packet in container.demux(video=0) if packet.size]
    assert dts == sorted(set(dts))


def test_killed_runs_go_on_and_end_the_same(eval_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    plan = tmp_path / "plan.json"
    plan.write_text(_plan(eval_data, output, codec="h264").model_dump_json(), "utf-8")
    command = [sys.executable, "-m", "facexcli", "swap", "--plan", str(plan)]
    for parts in (1, 2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "FACEX_GUARD": "off"})
        while len(list(work_folder(output).glob("0*.packets"))) < parts and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not output.exists()
    assert len(list(work_folder(output).glob("0*.packets"))) >= 2
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "are there from an earlier run" in done.stderr
    uninterrupted = tmp_path / "other.mp4"
    run_resumable(_plan(eval_data, uninterrupted, codec="h264"))
    assert _decoded(output) == _decoded(uninterrupted)
    assert not work_folder(output).exists()


def test_another_plan_is_refused_unless_fresh(eval_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    run_resumable(_plan(eval_data, output), keep_work=True)
    assert work_folder(output).is_dir()
    other = _plan(eval_data, output, strength=0.5)
    with pytest.raises(UsageError, match="another run"):
        run_resumable(other, overwrite=True)
    run_resumable(other, overwrite=True, fresh=True)
    assert not work_folder(output).exists()


def test_a_worker_that_dies_is_replaced(eval_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facexcli.batch import local

    started: list[local._Worker] = []
    start = local._Pool._start

    def watched(pool: local._Pool, number: int) -> None:
        start(pool, number)
        started.append(list(pool._workers.values())[-1])
        if len(started) == 1:
            started[0]._process.kill()

    monkeypatch.setattr(local._Pool, "_start", watched)
    result = run_resumable(_plan(eval_data, tmp_path / "out.mkv", workers=2))
    assert result.frames == FRAMES
    assert len(started) == 3
    assert not any(worker._process.is_alive() for worker in started)


def test_short_clips_have_no_work_folder(eval_data: Path, tmp_path: Path) -> None:
    run_resumable(_plan(eval_data, tmp_path / "out.mkv", segment=10), keep_work=True)
    assert not work_folder(tmp_path / "out.mkv").exists()


def test_a_failure_keeps_the_work_and_the_earlier_output(
    eval_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facexcli.pipeline.part_encoder import PartEncoder

    output = tmp_path / "out.mkv"
    output.write_bytes(b"earlier")
    encode = PartEncoder.encode

    def failing(own: PartEncoder, segment, path):  # type: ignore[no-untyped-def]
        if segment.number == 2:
            raise InputError("gone.mp4: it is not there any more")
        return encode(own, segment, path)

    monkeypatch.setattr(PartEncoder, "encode", failing)
    with pytest.raises(InputError):
        run_resumable(_plan(eval_data, output), overwrite=True)
    assert output.read_bytes() == b"earlier"
    assert len(list(work_folder(output).glob("*.packets"))) == 2
    monkeypatch.undo()
    run_resumable(_plan(eval_data, output), overwrite=True)
    assert len(_decoded(output)) == FRAMES
