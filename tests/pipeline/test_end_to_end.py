"""Real files in, real files out: what a user can rely on, whatever the engine."""

from __future__ import annotations

import hashlib
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from facexcli.api import reenact, swap
from facexcli.config import resolve
from facexcli.errors import InputError, NoFaceError, OutputError
from facexcli.events import Event, StageFinished, StageStarted
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image, write_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.settings import Settings
from facexcli.types import Array, Frame
from tests.heard import Heard
from tests.pipeline.conftest import CLIP_FRAMES, cut

MIN_CHANGE_CODES = 4.0
"""Mean change of luma that a swap makes inside the face; recompression alone makes less than one."""


def with_flags(**flags: object) -> Settings:
    nowhere = Path("/nonexistent")
    return resolve(flags, cwd=nowhere, home=nowhere)


def frames_of(path: Path) -> list[Frame]:
    with FrameReader(path, probe(path)) as reader:
        return list(reader)


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and content hash of every audio packet."""
    packets = []
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            if packet.size:
                time_s = round(packet.pts * packet.time_base, 3)
                packets.append((time_s, hashlib.sha256(bytes(packet)).digest()))
    return packets


@pytest.fixture(scope="module")
def lossless_swap(talking_clip: Path, portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("swap") / "out.mkv"
    result = swap(portrait, talking_clip, output, settings=with_flags(codec="ffv1"))
    assert result.frames == CLIP_FRAMES
    assert result.swap_rate == 1.0
    assert result.engine == "mesh"
    return output


def test_a_swap_keeps_every_frame_and_its_time(talking_clip: Path, lossless_swap: Path) -> None:
    before, after = frames_of(talking_clip), frames_of(lossless_swap)
    assert [frame.time_s for frame in after] == [frame.time_s for frame in before]
    assert [frame.pix_fmt for frame in after] == [frame.pix_fmt for frame in before]
    assert [frame.planes[0].shape for frame in after] == [frame.planes[0].shape for frame in before]


def test_a_swap_keeps_the_sound(talking_clip: Path, lossless_swap: Path) -> None:
    assert sound_of(lossless_swap) == sound_of(talking_clip)
    assert sound_of(lossless_swap)


def test_a_swap_changes_the_face_and_not_one_bit_far_from_it(talking_clip: Path, lossless_swap: Path) -> None:
    for before, after in zip(frames_of(talking_clip), frames_of(lossless_swap), strict=True):
        difference = np.abs(before.planes[0].astype(int) - after.planes[0].astype(int))
        rows, columns = np.nonzero(difference)
        height, width = difference.shape
        changed = difference[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert changed.mean() > MIN_CHANGE_CODES
        assert changed.size < 0.25 * height * width  # a face of a third of the height, with its forehead
        for plane_before, plane_after in zip(before.planes[1:], after.planes[1:], strict=True):
            assert np.array_equal(plane_before[: rows.min() // 2 - 1], plane_after[: rows.min() // 2 - 1])


def test_the_result_says_that_it_is_synthetic(lossless_swap: Path) -> None:
    with av.open(str(lossless_swap)) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
    assert "compositeSynthetic" in metadata["comment"]
    assert "Synthetic media" in metadata["description"]


def test_the_same_plan_gives_the_same_frames(
    talking_clip: Path, portrait: Path, lossless_swap: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.mkv"
    swap(portrait, talking_clip, again, settings=with_flags(codec="ffv1"))
    for one, other in zip(frames_of(lossless_swap), frames_of(again), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def test_no_strength_changes_nothing(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    swap(portrait, talking_clip, output, settings=with_flags(codec="ffv1", strength="0"))
    for before, after in zip(frames_of(talking_clip), frames_of(output), strict=True):
        assert np.array_equal(before.planes[0], after.planes[0])


def test_trim_cuts_the_same_frames_out_of_picture_and_sound(
    talking_clip: Path, portrait: Path, lossless_swap: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    result = swap(portrait, talking_clip, output, settings=with_flags(codec="ffv1", trim="#4..#10"))
    assert result.frames == 6
    for whole, part in zip(frames_of(lossless_swap)[4:10], frames_of(output), strict=True):
        # Smoothing sees less of the track, so the faces are alike and not the same.
        assert np.abs(whole.planes[0].astype(int) - part.planes[0]).mean() < 0.5
    times = [time_s for time_s, _ in sound_of(output)]
    assert 0 <= times[0] < 0.05
    assert times[-1] < 6 / 25 + 0.05


def test_a_range_beyond_the_end_is_an_input_error(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame in"):
        swap(portrait, talking_clip, tmp_path / "out.mkv", settings=with_flags(trim="60..70"))
    assert list(tmp_path.iterdir()) == []


def test_single_features_leave_the_rest_of_the_face(
    talking_clip: Path, portrait: Path, lossless_swap: Path, tmp_path: Path
) -> None:
    output = tmp_path / "lips.mkv"
    swap(portrait, talking_clip, output, settings=with_flags(codec="ffv1", regions="lips", trim="#0..#1"))
    before, whole = frames_of(talking_clip)[0].planes[0], frames_of(lossless_swap)[0].planes[0]
    lips = frames_of(output)[0].planes[0]
    assert 0 < np.count_nonzero(lips != before) < 0.25 * np.count_nonzero(whole != before)


def test_a_still_can_be_swapped_into_a_still(eval_data: Path, portrait: Path, tmp_path: Path) -> None:
    target, output = eval_data / "london" / "009_neutral.jpg", tmp_path / "out.png"
    assert swap(portrait, target, output).frames == 1
    before, after = read_image(target), read_image(output)
    assert before.shape == after.shape
    changed = np.any(before != after, axis=2)
    assert 0.03 < changed.mean() < 0.3
    assert b"compositeSynthetic" in output.read_bytes()


def test_a_reenactment_has_the_picture_of_the_source_and_the_time_and_sound_of_the_driving_video(
    talking_clip: Path, portrait: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    result = reenact(portrait, talking_clip, output, settings=with_flags(codec="ffv1"))
    assert result.frames == CLIP_FRAMES
    frames, info = frames_of(output), probe(portrait)
    assert [frame.time_s for frame in frames] == [frame.time_s for frame in frames_of(talking_clip)]
    assert sound_of(output) == sound_of(talking_clip)
    assert (probe(output).width_px, probe(output).height_px) == (info.width_px, info.height_px)
    movement = [np.abs(a.planes[0].astype(int) - b.planes[0]).mean() for a, b in pairwise(frames)]
    assert max(movement) > 0.05
    corners = [frame.planes[0][:40, :40] for frame in frames]
    assert all(np.array_equal(corners[0], corner) for corner in corners)  # the background keeps still


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture without a face."""
    gradient: Array = np.linspace(0, 255, 320, dtype=np.uint8)[None, :, None].repeat(240, 0).repeat(3, 2)
    path = tmp_path_factory.mktemp("stills") / "landscape.png"
    write_image(path, gradient)
    return path


def test_a_source_without_a_face_is_named(talking_clip: Path, landscape: Path, tmp_path: Path) -> None:
    with pytest.raises(NoFaceError, match=r"landscape\.png"):
        swap(landscape, talking_clip, tmp_path / "out.mkv")
    assert list(tmp_path.iterdir()) == []


def test_a_target_without_a_face_is_an_error_or_a_copy(portrait: Path, landscape: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    with pytest.raises(NoFaceError, match=r"landscape\.png"):
        swap(portrait, landscape, output)
    assert not output.exists()
    result = swap(portrait, landscape, output, settings=with_flags(no_face="pass"))
    assert output.read_bytes() == landscape.read_bytes()
    assert any("copied unchanged" in warning for warning in result.warnings)
    assert not result.provenance  # nothing was edited


def test_a_target_without_a_face_can_still_be_cut_and_encoded(portrait: Path, landscape: Path, tmp_path: Path) -> None:
    rgb, clip = read_image(landscape), tmp_path / "clip.mkv"
    with VideoWriter(clip, VideoFormat(320, 240, "rgb24", Fraction(1, 25)), EncodeOptions("ffv1")) as writer:
        for index in range(8):
            writer.write(frame_from_rgb(rgb, index, index, Fraction(1, 25), 1))
    output = tmp_path / "out.mkv"
    result = swap(portrait, clip, output, settings=with_flags(no_face="pass", trim="#2..#5", codec="ffv1"))
    assert result.frames == len(frames_of(output)) == 3
    assert result.swap_rate == 0


def test_a_still_keeps_its_colour_profile(eval_data: Path, portrait: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    target, output = tmp_path / "target.jpg", tmp_path / "out.jpg"
    write_image(target, read_image(eval_data / "london" / "009_neutral.jpg"), icc_profile=profile)
    swap(portrait, target, output)
    with Image.open(output) as picture:
        assert picture.info["icc_profile"] == profile


def test_a_video_can_be_reenacted(eval_data: Path, talking_clip: Path, tmp_path: Path) -> None:
    canvas = cut(eval_data / "talking" / "grid_sbia1a.mpg", tmp_path / "canvas.mkv")
    output = tmp_path / "out.mkv"
    result = reenact(canvas, talking_clip, output, settings=with_flags(codec="ffv1", trim="#0..#6"))
    assert result.frames == 6
    assert sound_of(output)[:3] == sound_of(talking_clip)[:3]
    for before, after in zip(frames_of(canvas), frames_of(output), strict=False):
        assert before.planes[0].shape == after.planes[0].shape
        assert 0.05 < np.abs(before.planes[0].astype(int) - after.planes[0]).mean() < 20


def test_an_existing_file_is_kept_unless_asked_otherwise(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    output.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        swap(portrait, talking_clip, output)
    assert output.read_bytes() == b"precious"


class _Interrupting:
    """Asks to stop, as Ctrl-C does, in the middle of the render."""

    def emit(self, event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "render":
            raise KeyboardInterrupt


def test_an_interrupted_run_leaves_nothing_and_no_thread(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    output.write_bytes(b"precious")
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        swap(portrait, talking_clip, output, overwrite=True, reporter=_Interrupting())
    assert output.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [output]
    assert threading.active_count() == before


def test_stages_are_reported_with_their_counts(talking_clip: Path, portrait: Path, tmp_path: Path) -> None:
    reporter = Heard()
    swap(portrait, talking_clip, tmp_path / "out.mp4", reporter=reporter)
    finished = {event.stage: event.done for event in reporter.events if isinstance(event, StageFinished)}
    assert finished == {"analyse": CLIP_FRAMES, "render": CLIP_FRAMES}
