"""Frames in order, bounded, repaired, and a thread that always ends."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facexcli.errors import InputError
from facexcli.media.color import rgb_roi
from facexcli.media.frames import frame_from_native
from facexcli.media.prefetch import Prefetch
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.scan import AnalysisReader, read_frames_rgb
from facexcli.media.tone import is_hdr
from tests.media.conftest import ClipMaker


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_planes_are_the_decoders_own_samples(make_clip: ClipMaker) -> None:
    path = make_clip("clip.mkv", pix_fmt="yuv420p10le")
    with av.open(str(path)) as container, FrameReader(path, probe(path)) as reader:
        for native, frame in zip(container.decode(video=0), reader, strict=True):
            expected = native.to_ndarray()  # (height * 3 / 2, width), planes one after the other
            got = np.concatenate([plane.reshape(-1, 64) for plane in frame.planes])
            assert np.array_equal(got, expected)
            assert (frame.pts, frame.time_base, frame.pix_fmt) == (native.pts, native.time_base, "yuv420p10le")


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(3, 7, [3, 4, 5, 6]), (None, 2, [0, 1]), (8, None, [8, 9]), (Fraction(1, 5), Fraction(2, 5), [5, 6, 7, 8, 9]),
     (5, 5, []), (20, None, [])],
)  # fmt: skip
def test_a_range_is_exact_and_keeps_frame_numbers(
    make_clip: ClipMaker, start: int | Fraction | None, stop: int | Fraction | None, expected: list[int]
) -> None:
    path = make_clip("clip.mkv", pts=range(7, 17))  # the first frame is not at 0: seconds count from it
    with FrameReader(path, probe(path), start=start, stop=stop) as reader:
        assert [frame.index for frame in reader] == expected


def test_closing_early_ends_the_thread(make_clip: ClipMaker) -> None:
    path = make_clip("clip.mkv", pts=range(60))
    reader = FrameReader(path, probe(path))
    assert next(reader).index == 0
    reader.close()
    reader.close()
    assert threads_named("decode") == []
    assert list(reader) == []


def test_a_producers_exception_reaches_the_consumer_after_its_items() -> None:
    def produce():  # type: ignore[no-untyped-def]
        yield 1
        raise InputError("broken")

    with Prefetch(produce, ahead=2, name="test") as items:
        assert next(items) == 1
        with pytest.raises(InputError, match="broken"):
            next(items)
        assert list(items) == []


def test_an_image_is_a_stream_of_one_frame(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (21, 33, 3), np.uint8)
    Image.fromarray(rgb).save(tmp_path / "still.png")
    info = probe(tmp_path / "still.png")
    with FrameReader(info.path, info) as reader:
        (frame,) = reader
    assert np.array_equal(rgb_roi(frame, (0, 0, 33, 21)), rgb)


def test_an_animated_webp_keeps_its_times(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (10, 100, 200)]
    path = tmp_path / "moving.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[40, 70, 50], lossless=True)
    with FrameReader(path, probe(path)) as reader:
        frames = [(frame.pts, frame.duration, int(frame.planes[0].mean())) for frame in reader]
    assert frames == [(0, 40, 10), (40, 70, 100), (110, 50, 200)]


def test_repeated_time_stamps_are_put_in_order(make_clip: ClipMaker) -> None:
    path = make_clip("repeated.mkv", time_base=Fraction(1, 1000), pts=[0, 40, 40, 120, 160, 160, 240])
    with FrameReader(path, probe(path)) as reader:
        assert [frame.pts for frame in reader] == [0, 40, 80, 120, 160, 200, 240]
    assert any("2 time stamps" in warning for warning in reader.warnings)


def test_time_stamps_that_start_again_go_on(tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(ts_clip(tmp_path / "a.ts", (64, 48), 0) + ts_clip(tmp_path / "b.ts", (64, 48), 0))
    with FrameReader(path, probe(path)) as reader:
        pts = [frame.pts for frame in reader]
    assert np.diff(pts).tolist() == [3600] * 19
    assert any("time stamps" in warning for warning in reader.warnings)


def ts_clip(path: Path, size: tuple[int, int], first: int) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(first, first + 10):
            frame = av.VideoFrame(*size, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_frames_before_and_after_damage_are_kept(make_clip: ClipMaker) -> None:
    path = make_clip("damaged.mkv", codec="libx264", pts=range(50), size=(128, 96))
    info = probe(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with FrameReader(path, info) as reader:
        count = sum(1 for _ in reader)
    assert 10 < count <= 50


def test_a_file_cut_short_gives_what_is_there(make_clip: ClipMaker) -> None:
    path = make_clip("cut.mkv", pts=range(40))
    info = probe(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with FrameReader(path, info) as reader:
        assert 15 < sum(1 for _ in reader) < 40


def test_a_picture_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sizes.ts"
    path.write_bytes(ts_clip(tmp_path / "a.ts", (64, 48), 0) + ts_clip(tmp_path / "b.ts", (96, 64), 10))
    with FrameReader(path, probe(path)) as reader, pytest.raises(InputError, match="64x48 to 96x64"):
        list(reader)


def test_analysis_sees_the_frames_that_rendering_sees(eval_data: Path) -> None:
    for path in sorted([*(eval_data / "talking").iterdir(), *(eval_data / "media").glob("*.mp4")]):
        try:
            info = probe(path)
        except InputError:
            continue
        with FrameReader(path, info, stop=25) as frames, AnalysisReader(path, info, max_side_px=96) as small:
            for frame, (index, pts, rgb, scale) in zip(frames, small, strict=False):
                assert (frame.index, frame.pts) == (index, pts)
                assert rgb.shape[1] * scale[0] == pytest.approx(info.display_width_px)
                assert rgb.shape[0] * scale[1] == pytest.approx(info.display_height_px)
                if index % 13 == 0:
                    whole = rgb_roi(frame, (0, 0, info.display_width_px, info.display_height_px))
                    # The same picture, seen from afar: block means over a quarter of the small one's size.
                    # That of an HDR video keeps its primaries.
                    limit = 20 if is_hdr(info.color) else 4
                    assert np.abs(_blocks(whole) - _blocks(rgb)).mean() < limit, path


def _blocks(rgb: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(Image.fromarray(rgb).resize((16, 16), Image.Resampling.BOX)).astype(float)


def test_single_frames_come_in_the_order_asked_for(make_clip: ClipMaker) -> None:
    path = make_clip("clip.mkv")
    info = probe(path)
    with FrameReader(path, info) as reader:
        whole = [rgb_roi(frame, (0, 0, 64, 48)) for frame in reader]
    picked = read_frames_rgb(path, [7, 2, 7])
    assert all(np.array_equal(got, whole[index]) for got, index in zip(picked, (7, 2, 7), strict=True))
    with pytest.raises(InputError, match="no frame 10"):
        read_frames_rgb(path, [10])


@pytest.mark.parametrize("options", [{}, {"bf": "3", "g": "40"}, {"x264-params": "open-gop=1:keyint=30"}])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_late_start_gives_the_same_frames_as_decoding_all(
    make_clip: ClipMaker, tmp_path: Path, suffix: str, options: dict[str, str]
) -> None:
    path = make_clip(f"long{suffix}", codec="libx264", pts=range(400), options=options)
    info = probe(path)
    with FrameReader(path, info) as reader:
        whole = [(frame.index, frame.pts, frame.planes[0].tobytes()) for frame in reader]
    assert len(whole) == 400
    for start in (260, 317, 360, 399):
        for place in (start, (whole[start][1] - whole[0][1]) * info.time_base):
            with FrameReader(path, info, start=place, stop=None) as reader:
                late = [(frame.index, frame.pts, frame.planes[0].tobytes()) for frame in reader]
            assert late == whole[start:]
    wanted = (390, 5, 131, 300)
    picked = read_frames_rgb(path, wanted)
    with FrameReader(path, info) as reader:
        frames = {frame.index: rgb_roi(frame, (0, 0, 64, 48)) for frame in reader if frame.index in wanted}
    assert all(np.array_equal(got, frames[index]) for got, index in zip(picked, wanted, strict=True))


def test_a_late_start_is_sought_not_decoded(make_clip: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip("long.mp4", codec="libx264", pts=range(600), options={"g": "25"})
    decoded = []
    monkeypatch.setattr(
        "facexcli.media.reader.frame_from_native",
        lambda native, index, *rest: decoded.append(index) or frame_from_native(native, index, *rest),
    )
    with FrameReader(path, probe(path), start=580) as reader:
        assert [frame.index for frame in reader] == list(range(580, 600))
    assert decoded[0] >= 550
