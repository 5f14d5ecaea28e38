"""Time stamps: kept where they are sane, put in order where they are not, and the same for every reader and start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facexcli.errors import InputError
from facexcli.media.clock import Clock
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader, Position
from facexcli.media.scan import AnalysisReader
from facexcli.media.table import frame_table

MS = Fraction(1, 1000)
WRAP = 1 << 33  # of the 33 bits that MPEG-TS has for a time stamp
DISORDERS = {
    "repeated": ([0, 40, 40, 120, 160], [0, 40, 80, 120, 160], 1),
    "repeated in a row": ([0, 40, 40, 40, 160], [0, 40, 80, 120, 160], 2),
    "exchanged": ([0, 40, 120, 80, 160], [0, 40, 120, 140, 160], 1),
    "too late": ([0, 40, 90000, 120, 160], [0, 40, 80, 120, 160], 1),
    "too early": ([0, 40, 1, 120, 160], [0, 40, 80, 120, 160], 1),
    "much too early": ([0, 40, -9000, 120, 160], [0, 40, 80, 120, 160], 1),
    "missing": ([None, 40, None, None, 160], [0, 40, 80, 120, 160], 3),
    "missing at the end": ([0, 40, None, None], [0, 40, 80, 120], 2),
    "begun again": ([0, 40, 80, 0, 40, 80], [0, 40, 80, 120, 160, 200], 3),
    "sane, variable and not from 0": ([-80, 0, 7, 9000, 9001], [-80, 0, 7, 9000, 9001], 0),
}


def timed(pts: Sequence[int | None], clock: Clock | None = None) -> list[int]:
    clock = clock or Clock(40, 0, MS)
    following = [*pts, None][1:]
    return [clock.next(own, 40, after)[0] for own, after in zip(pts, following, strict=True)]


@pytest.mark.parametrize("name", DISORDERS)
def test_disorder_is_repaired_and_told(name: str) -> None:
    given_pts, expected, repaired = DISORDERS[name]
    clock = Clock(40, 0, MS)
    assert timed(given_pts, clock) == expected
    assert [warning.split()[0] for warning in clock.warnings] == [str(repaired)] * bool(repaired)


@given(st.lists(st.none() | st.integers(-(10**6), 10**6), max_size=40))
def test_times_always_ascend(pts: list[int | None]) -> None:
    assert all(before < after for before, after in pairwise(timed(pts)))


@given(st.integers(1, 38), st.none() | st.integers(-(10**9), 10**9))
def test_one_bad_time_stamp_moves_no_more_than_its_neighbours(place: int, bad: int | None) -> None:
    pts: list[int | None] = [40 * index for index in range(40)]
    pts[place] = bad
    got = timed(pts)
    for index in {*range(40)} - {place - 1, place, place + 1}:
        assert got[index] == 40 * index, "sound stays in step"


def test_a_long_gap_is_kept_and_told() -> None:
    clock = Clock(40, 0, MS)
    assert timed([0, 40, 90_000, 90_040], clock) == [0, 40, 90_000, 90_040]
    assert clock.warnings == ["its time stamps leave a gap of 90.0 s"]


def clip(
    path: Path,
    pts: Sequence[int],
    *,
    time_base: Fraction = MS,
    codec: str = "ffv1",
    container: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A clip whose packets bear exactly these time stamps, in the order of decoding."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled", **(container or {})}) as output:
        stream = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = []
        for index in range(len(pts)):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([(index * 7) % 200 + 20]) * plane.buffer_size)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for index, packet in enumerate(packets):
            packet.stream, packet.time_base, packet.pts = stream, time_base, pts[index]
            packet.dts, packet.duration = min(pts) - len(pts) + index, round(Fraction(1, 25) / time_base)
            output.mux_one(packet)
    return path


def raw(path: Path) -> Path:
    """A bare stream, which has no time stamps."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(300):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([(index * 7) % 200 + 20]) * plane.buffer_size)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def steady(count: int = 300) -> list[int]:
    return [40 * index for index in range(count)]


def disturbed(places: dict[int, int]) -> list[int]:
    return [places.get(index, 40 * index) for index in range(300)]


def damaged(path: Path) -> Path:
    """Some packets in the middle cannot be decoded."""
    clip(path, steady(), codec="libx264", options={"g": "10", "tune": "zerolatency", "preset": "ultrafast"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    place = 0
    for index, packet in enumerate(packets):
        place = data.index(packet, place)
        if index in (100, 101, 102, 200):
            data[place : place + len(packet)] = b"\xff" * len(packet)
        place += len(packet)
    path.write_bytes(data)
    return path


BROKEN: dict[str, Callable[[Path], Path]] = {
    "repeated.mkv": lambda path: clip(path, disturbed({100: 99 * 40})),
    "backward.mkv": lambda path: clip(path, disturbed({100: 3, 280: 7})),
    "late.mkv": lambda path: clip(path, disturbed({100: 10**7})),
    "gap.mkv": lambda path: clip(path, [ticks + 10**6 * (ticks > 6000) for ticks in steady()]),
    "negative.mkv": lambda path: clip(path, [ticks - 800 for ticks in steady()]),
    "again.mkv": lambda path: clip(path, [*steady(150), *steady(150)]),
    "interleaved.mkv": lambda path: clip(path, [*steady(150), *(ticks + 20 for ticks in steady(150))]),
    "damaged.mkv": damaged,
    "offset.mp4": lambda path: clip(path, [ticks + 40_000 for ticks in steady()], codec="mpeg4"),
    "wrap.ts": lambda path: clip(
        path, [WRAP - 3600 * 20 + 3600 * index for index in range(300)], codec="mpeg2video",
        time_base=Fraction(1, 90_000), container={"mpegts_copyts": "1"},
    ),
    "bare.h264": raw,
}  # fmt: skip
Seen = list[tuple[int, int]]


def both(path: Path, start: Position | None = None, stop: Position | None = None) -> Seen:
    """(index, pts) as rendering sees them; analysis has to see the same."""
    info = probe(path)
    with FrameReader(path, info, start=start, stop=stop) as frames:
        seen = [(frame.index, frame.pts) for frame in frames]
    with AnalysisReader(path, info, max_side_px=16, start=start, stop=stop) as small:
        assert [(index, pts) for index, pts, _, _ in small] == seen
        assert small.warnings == frames.warnings
    return seen


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Seen]]:
    """A made file and all that is to be seen in it, made once."""
    folder = tmp_path_factory.mktemp("broken")

    @cache
    def make(name: str) -> tuple[Path, Seen]:
        path = BROKEN[name](folder / name)
        return path, both(path)

    return make


@pytest.mark.parametrize("name", BROKEN)
def test_broken_times_ascend_for_both_readers(broken: Callable[[str], tuple[Path, Seen]], name: str) -> None:
    path, seen = broken(name)
    assert all(before[0] < after[0] and before[1] < after[1] for before, after in pairwise(seen))
    assert len(seen) == 300 or name == "damaged.mkv"
    assert seen[0] == (0, probe(path).start_pts)
    span_s = (seen[-1][1] - seen[0][1]) * probe(path).time_base
    assert span_s == pytest.approx(299 / 25 + 1000 * (name == "gap.mkv"), abs=0.05), "nothing drifts"


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", BROKEN)
@given(data=st.data())
def test_any_start_and_stop_give_the_same_frames(
    broken: Callable[[str], tuple[Path, Seen]], name: str, data: st.DataObject
) -> None:
    path, seen = broken(name)
    info = probe(path)
    origin = seen[0][1]
    first, last = sorted(data.draw(st.lists(st.integers(240, 305), min_size=2, max_size=2)))
    assert both(path, first, last) == [item for item in seen if first <= item[0] < last]
    start_s, stop_s = first * Fraction(1, 25) - Fraction(1, 100), last * Fraction(1, 25)
    wanted = [item for item in seen if start_s <= (item[1] - origin) * info.time_base < stop_s]
    assert both(path, start_s, stop_s) == wanted


def test_times_that_packets_do_not_tell_in_order_are_not_sought(
    broken: Callable[[str], tuple[Path, Seen]],
) -> None:
    for name in BROKEN:
        path, _ = broken(name)
        tells = frame_table(path, probe(path)) is not None
        assert tells == (name in ("gap.mkv", "negative.mkv", "offset.mp4", "damaged.mkv")), name


def test_frames_behind_damage_keep_their_numbers(broken: Callable[[str], tuple[Path, Seen]]) -> None:
    _, seen = broken("damaged.mkv")
    assert 200 < len(seen) < 300, "the test wants frames that are lost"
    assert all(pts == 40 * index for index, pts in seen)


def test_warnings_are_told_when_only_a_part_is_read(broken: Callable[[str], tuple[Path, Seen]]) -> None:
    path, _ = broken("repeated.mkv")
    info = probe(path)
    with FrameReader(path, info, start=50, stop=150) as reader:
        assert len(list(reader)) == 100
    assert reader.warnings == ["1 time stamps were missing, repeated or out of order; repaired"]
    with FrameReader(path, info) as reader:
        for _ in range(150):
            next(reader)
    assert reader.warnings == ["1 time stamps were missing, repeated or out of order; repaired"], "closed early"
    with FrameReader(path, info, stop=50) as reader:
        list(reader)
    assert reader.warnings == [], "what lies behind the part is not read"


def test_both_readers_agree_on_every_real_file(eval_data: Path) -> None:
    count = 0
    for path in sorted([*(eval_data / "talking").iterdir(), *(eval_data / "media").iterdir()]):
        if path.is_file() and path.suffix != ".json":
            try:
                seen = both(path, stop=30)
            except InputError:
                continue
            count += 1
            assert [index for index, _ in seen] == list(range(len(seen))), path
            middle = len(seen) // 2
            assert both(path, middle, middle + 5) == seen[middle : middle + 5], path
    assert count > 35
