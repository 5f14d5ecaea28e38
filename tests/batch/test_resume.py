"""A run in parts gives the frames of a run in one, whatever ends it on the way."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import pytest

from facexcli.batch.ledger import work_folder
from facexcli.batch.resume import run_resumable
from facexcli.errors import FacexError, InputError, OutputError, UsageError
from facexcli.events import StageAdvanced, StageFinished, StageStarted
from facexcli.media.frames import frame_from_rgb
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.kept import KEPT
from facexcli.pipeline.part_encoder import PartEncoder
from facexcli.pipeline.run import run
from tests.batch.conftest import FRAMES, PART, decoded
from tests.heard import Heard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.batch.conftest import MakePlan


def _packets(path: Path, kind: str = "audio") -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(packet.pts, packet.dts) for packet in container.demux(**{kind: 0}) if packet.size]


def _failing_at(monkeypatch: pytest.MonkeyPatch, number: int, error: Exception) -> None:
    encode = PartEncoder.encode

    def failing(own: PartEncoder, segment, path):  # type: ignore[no-untyped-def]
        if segment.number == number:
            raise error
        return encode(own, segment, path)

    monkeypatch.setattr(PartEncoder, "encode", failing)


def test_parts_give_the_frames_and_the_sound_of_one_run(plan: MakePlan, tmp_path: Path) -> None:
    whole, parts, two = tmp_path / "whole.mkv", tmp_path / "parts.mkv", tmp_path / "two.mkv"
    wishes = {"analysis": None, "occlusion": "auto"}
    first = run(plan(whole, **wishes))
    second = run_resumable(plan(parts, **wishes, cache=0))
    heard = Heard()
    run_resumable(plan(two, **wishes, cache=0, workers=2), heard)
    assert len(decoded(whole)) == FRAMES
    assert decoded(parts) == decoded(whole) == decoded(two)
    assert _packets(parts) == _packets(whole) == _packets(two)
    assert second.faces_per_track == first.faces_per_track
    assert second.people == first.people
    assert not work_folder(parts).exists()
    # Workers are heard like the run that they belong to.
    stages = [event.stage for event in heard.events if isinstance(event, StageStarted)]
    assert stages == ["analyse", "render"], "nobody else analyses"
    (ended,) = [event for event in heard.events if isinstance(event, StageFinished) and event.stage == "render"]
    assert ended.done == FRAMES
    assert heard.messages().count("engine mesh") == heard.messages().count("encoder ffv1") == 1


@pytest.mark.parametrize(
    ("name", "codec"), [("o.mp4", "h264"), ("o.mp4", "hevc"), ("o.webm", "vp9"), ("o.mkv", "av1"), ("o.mov", "prores")]
)
def test_a_resumed_run_has_the_frames_of_an_uninterrupted_one(
    plan: MakePlan, tmp_path: Path, name: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_resumable(plan(tmp_path / f"once_{name}", codec=codec))
    output = tmp_path / name
    _failing_at(monkeypatch, 1, InputError("gone"))
    with pytest.raises(InputError):
        run_resumable(plan(output, codec=codec))
    monkeypatch.undo()
    run_resumable(plan(output, codec=codec))
    assert len(decoded(output)) == FRAMES
    assert decoded(output) == decoded(tmp_path / f"once_{name}")
    dts = [dts for _, dts in _packets(output, "video")]
    assert dts == sorted(set(dts))


def test_killed_runs_go_on_and_end_the_same(plan: MakePlan, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    wishes = {"codec": "h264", "analysis": None, "cache": 0}
    saved = tmp_path / "plan.json"
    saved.write_text(plan(output, **wishes).model_dump_json(), "utf-8")
    command = [sys.executable, "-m", "facexcli", "swap", "--plan", str(saved)]
    chance = random.Random(5)
    for parts in (1, 2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while len(list(work_folder(output).glob("0*.packets"))) < parts and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.03))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not output.exists()
    assert len(list(work_folder(output).glob("0*.packets"))) >= 2
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "are there from an earlier run" in done.stderr
    assert "analyse" not in done.stderr, "the faces are kept with the parts"
    uninterrupted = tmp_path / "other.mp4"
    run_resumable(plan(uninterrupted, **wishes))
    assert decoded(output) == decoded(uninterrupted)
    assert not work_folder(output).exists()


def test_ctrl_c_ends_all_workers_and_keeps_the_parts(plan: MakePlan, tmp_path: Path) -> None:
    output, saved = tmp_path / "out.mp4", tmp_path / "plan.json"
    saved.write_text(plan(output, codec="h264", workers=2, segment=2 / 25).model_dump_json(), "utf-8")
    command = [sys.executable, "-m", "facexcli", "swap", "--plan", str(saved)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while '"segment"' not in _ledger(output) and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"hint: finished parts are kept in {work_folder(output)}: the same command goes on" in said
    assert "Traceback" not in said
    assert '"segment"' in _ledger(output)
    assert not _alive_in_group(process.pid)


def _alive_in_group(group: int) -> list[str]:
    """Processes that have ended and wait for somebody to ask for their exit code do not count."""
    listed = subprocess.run(["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [" ".join(row) for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def _ledger(output: Path) -> str:
    path = work_folder(output) / "ledger.jsonl"
    return path.read_text("utf-8") if path.exists() else ""


def test_another_plan_is_refused_before_any_work_unless_fresh(plan: MakePlan, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    run_resumable(plan(output), keep_work=True)
    (work_folder(output) / "notes.txt").write_text("mine")
    heard = Heard()
    for changed, said in ({"strength": 0.5}, "the plan"), ({"segment": 0.3}, "--segment"):
        with pytest.raises(UsageError, match=f"{said}.* changed"):
            run_resumable(plan(output, analysis=None, **changed), heard, overwrite=True)
    assert not [event for event in heard.events if isinstance(event, StageStarted)]
    run_resumable(plan(output, strength=0.5), overwrite=True, fresh=True)
    assert [path.name for path in work_folder(output).iterdir()] == ["notes.txt"], "what is not ours stays"


def test_what_is_there_counts_as_done_at_once(plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.mkv"
    output.write_bytes(b"earlier")
    _failing_at(monkeypatch, 2, InputError("gone.mp4: it is not there any more"))
    with pytest.raises(InputError):
        run_resumable(plan(output), overwrite=True)
    assert output.read_bytes() == b"earlier"
    assert len(list(work_folder(output).glob("*.packets"))) == 2
    monkeypatch.undo()
    heard = Heard()
    run_resumable(plan(output), heard, overwrite=True)
    assert len(decoded(output)) == FRAMES
    advanced = [event.done for event in heard.events if isinstance(event, StageAdvanced) and event.stage == "render"]
    assert advanced[0] == 2 * PART


def test_damaged_keepings_are_found_again(plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, wishes = tmp_path / "out.mkv", {"analysis": None, "occlusion": "auto", "cache": 0}
    run_resumable(plan(output, **wishes), keep_work=True)
    frames = decoded(output)
    for name in KEPT:
        (work_folder(output) / name).write_bytes(b"PK")
    heard = Heard()
    run_resumable(plan(output, **wishes), heard, overwrite=True)
    assert decoded(output) == frames
    assert "again" in heard.messages()


def test_short_clips_have_no_work_folder(plan: MakePlan, tmp_path: Path) -> None:
    run_resumable(plan(tmp_path / "out.mkv", segment=10), keep_work=True)
    assert not work_folder(tmp_path / "out.mkv").exists()


def test_an_input_that_goes_is_told_and_the_work_kept(
    plan: MakePlan, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, output = tmp_path / "target.mp4", tmp_path / "out.mkv"
    shutil.copyfile(clip, target)
    made = plan(output, target)
    encode = PartEncoder.encode

    def losing(own: PartEncoder, segment, path):  # type: ignore[no-untyped-def]
        counts = encode(own, segment, path)
        own.close()
        target.unlink(missing_ok=True)
        return counts

    monkeypatch.setattr(PartEncoder, "encode", losing)
    output.write_bytes(b"earlier")
    with pytest.raises(InputError, match=r"target\.mp4") as raised:
        run_resumable(made, overwrite=True)
    assert raised.value.exit_code == 3
    assert output.read_bytes() == b"earlier"
    assert (work_folder(output) / "000000.packets").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 700 kB."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_work_kept(plan: MakePlan, small_disk: Path) -> None:
    output = small_disk / "out.mkv"
    output.write_bytes(b"earlier")
    (small_disk / "filler").write_bytes(bytes(300_000))
    with pytest.raises(OutputError, match="no space left") as raised:
        run_resumable(plan(output, segment=2 / 25), overwrite=True)
    assert raised.value.exit_code == 7
    assert str(small_disk) in raised.value.message
    assert list(work_folder(output).glob("*.packets"))
    assert output.read_bytes() == b"earlier"
    (small_disk / "filler").unlink()
    with pytest.raises(OutputError, match="no space left"):  # parts and the whole do not both fit
        run_resumable(plan(output, segment=2 / 25), overwrite=True)
    assert output.read_bytes() == b"earlier"


def test_a_folder_that_may_only_be_read_is_told_at_once(plan: MakePlan, small_disk: Path) -> None:
    output = small_disk / "out.mkv"
    output.write_bytes(b"earlier")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    heard = Heard()
    with pytest.raises(OutputError, match="cannot be written") as raised:
        run_resumable(plan(output), heard, overwrite=True)
    assert raised.value.exit_code == 7
    assert str(small_disk) in raised.value.message
    assert not [event for event in heard.events if isinstance(event, StageStarted)]
    assert output.read_bytes() == b"earlier"


def test_a_folder_that_cannot_be_made(plan: MakePlan, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    work_folder(output).write_bytes(b"a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written"):
        run_resumable(plan(output))


def test_runs_side_by_side_do_not_meet(plan: MakePlan, tmp_path: Path) -> None:
    outputs = [tmp_path / folder / "out.mp4" for folder in ("a", "b")] + [
        tmp_path / "a" / "out.mkv",
        tmp_path / "c.mp4",
    ]
    for output in outputs:
        output.parent.mkdir(exist_ok=True)
    running = []
    for number, output in enumerate(outputs):
        saved = tmp_path / f"{number}.json"
        saved.write_text(plan(output, codec="h264", segment=9 / 25).model_dump_json(), "utf-8")
        running.append(subprocess.Popen([sys.executable, "-m", "facexcli", "swap", "--plan", str(saved)],
                                        stderr=subprocess.DEVNULL))  # fmt: skip
    assert [process.wait() for process in running] == [0] * 4
    first, *others = [[content for _, content in decoded(output)] for output in outputs]
    assert all(other == first for other in others)
    assert not [path for path in tmp_path.rglob("*.facex")]


def test_uneven_times_stay_as_they_are(plan: MakePlan, tmp_path: Path, clip: Path) -> None:
    """Parts of a video with a varying rate, whose encoder reorders frames."""
    uneven = tmp_path / "uneven.mkv"
    times = [index * 40 + (index % 3) * 11 for index in range(FRAMES)]
    _restamp(clip, uneven, times)
    outputs = [tmp_path / "whole.mp4", tmp_path / "parts.mp4"]
    wishes = {"target": uneven, "analysis": None, "codec": "h264", "encoder_preset": "medium"}
    run(plan(outputs[0], **wishes))
    run_resumable(plan(outputs[1], **wishes))
    whole, parts = decoded(outputs[0]), decoded(outputs[1])
    assert [pts for pts, _ in parts] == [pts for pts, _ in whole]
    packets = _packets(outputs[1], "video")
    assert all(dts <= pts for pts, dts in packets)
    assert [dts for _, dts in packets] == sorted({dts for _, dts in packets})


def _restamp(origin: Path, output: Path, times_ms: list[int]) -> None:
    with av.open(str(origin)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    height, width, _ = pictures[0].shape
    video = VideoFormat(width, height, "rgb24", Fraction(1, 1000), Fraction(25), is_vfr=True)
    with VideoWriter(output, video, EncodeOptions("h264", 12, "medium")) as writer:
        for index, (picture, time_ms) in enumerate(zip(pictures, times_ms, strict=True)):
            writer.write(frame_from_rgb(picture, index, time_ms, Fraction(1, 1000), 40))


def test_a_failed_run_says_what_it_keeps(plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    _failing_at(monkeypatch, 0, InputError("gone"))
    with pytest.raises(FacexError):
        run_resumable(plan(tmp_path / "out.mkv"), heard)
    assert "kept" not in heard.messages()
    assert not work_folder(tmp_path / "out.mkv").exists()
