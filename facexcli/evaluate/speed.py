"""How fast facex is, beside a plain transcode with the same encoder settings: whole processes, one after the other."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from av.packet import Packet

from facexcli.errors import DeviceError
from facexcli.media.color import rgb_roi
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facexcli.types import Array, MediaInfo

RATE = Fraction(25)
_POLL_S = 0.02
NOISE_CODES = 2.0
"""Standard deviation of the noise on the made clip: an upscaled clip alone would be too easy to encode."""


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """wall_s: from start to end. cpu_s: user and system. peak_rss_mib: largest resident sets of all its processes."""

    wall_s: float
    cpu_s: float
    peak_rss_mib: float


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One length of video. `transcode` is None where ffmpeg is not installed; costs are medians of the repeats."""

    frames: int
    height_px: int
    swap: ProcessCost
    transcode: ProcessCost | None

    @property
    def ratio(self) -> float | None:
        """Wall time of the swap over that of the transcode."""
        return self.swap.wall_s / self.transcode.wall_s if self.transcode else None


def make_clip(
    origin: Path, output: Path, height_px: int, seconds: float, face_px: tuple[float, float] | None = None
) -> None:
    """A clip of `seconds` at `height_px` lines out of a short one, played to and fro.

    The picture is enlarged, gets a margin and a little noise, so that decoder and encoder work as on a camera's video.
    `face_px`, (height in the short clip, height wanted), says how much it is enlarged; without, it fills the height.
    """
    scale = face_px[1] / face_px[0] if face_px else None
    frames = [_enlarged(rgb, height_px, scale or height_px / rgb.shape[0]) for rgb in _all_frames(origin)]
    width_px = frames[0].shape[1]
    noise = np.random.default_rng(0).normal(0, NOISE_CODES, (8, height_px, width_px, 1)).astype(np.int8)
    video = VideoFormat(width_px, height_px, "rgb24", 1 / RATE, RATE)
    there_and_back = [*frames, *frames[-2:0:-1]]
    with VideoWriter(output, video, EncodeOptions(codec="h264", crf=18, preset="veryfast")) as writer:
        for index in range(round(seconds * RATE)):
            rgb = cv2.add(
                there_and_back[index % len(there_and_back)], np.repeat(noise[index % 8], 3, 2), dtype=cv2.CV_8U
            )
            writer.write(frame_from_rgb(rgb, index, index, 1 / RATE, 1))


def loop_clip(clip: Path, output: Path, seconds: float) -> None:
    """A long video out of a short one, by its packets over and over: quick to make, and small.

    `clip` is a video of `make_clip`: at one rate, beginning with a key frame.
    """
    with av.open(str(clip)) as origin, av.open(str(output), "w") as target:
        video = origin.streams.video[0]
        assert video.time_base is not None
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.is_keyframe)
            for packet in origin.demux(video)
            if packet.pts is not None and packet.dts is not None
        ]
        tick = round(1 / (RATE * video.time_base))
        stream = target.add_stream_from_template(video, opaque=True)
        stream.time_base = video.time_base
        for index in range(round(seconds * RATE)):
            turn, place = divmod(index, len(packets))
            data, pts, dts, is_keyframe = packets[place]
            packet, later = Packet(data), turn * len(packets) * tick
            packet.stream, packet.time_base, packet.duration = stream, video.time_base, tick
            packet.pts, packet.dts, packet.is_keyframe = pts + later, dts + later, is_keyframe
            target.mux_one(packet)


def bench_speed(source: Path, clip: Path, folder: Path, repeats: int, options: Sequence[str] = ()) -> SpeedRow:
    """Swap and transcode `clip` in turn, `repeats` times. Raises DeviceError when one of them fails."""
    info = probe(clip)
    swaps, transcodes = [], []
    ffmpeg = shutil.which("ffmpeg")
    for _ in range(repeats):
        if ffmpeg:
            transcodes.append(process_cost([ffmpeg, *transcode_arguments(clip, folder / "transcode.mp4")]))
        command = [sys.executable, "-m", "facexcli", "swap", str(source), str(clip), "-o", str(folder / "swap.mp4")]
        swaps.append(process_cost([*command, "--overwrite", "--progress", "none", "--cache", "0", *options]))
    return SpeedRow(
        info.frame_count_from_header or 0,
        info.display_height_px,
        median_cost(swaps),
        median_cost(transcodes) if transcodes else None,
    )


def help_wall_s(repeats: int) -> float:
    """Median wall time of `facex --help`."""
    command = [sys.executable, "-m", "facexcli", "--help"]
    return statistics.median(process_cost(command).wall_s for _ in range(repeats))


def process_cost(command: Sequence[str]) -> ProcessCost:
    """Run a program to its end, without its output. Raises DeviceError when it fails."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints)
        peak_kib, status = 0, None
        while status is None:
            peak_kib = max(peak_kib, _peak_kib(process.pid))
            pid, code, usage = os.wait4(process.pid, os.WNOHANG)
            status = code if pid else None
            if not pid:
                time.sleep(_POLL_S)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        reason = (
            next((line for line in lines if "error:" in line), lines[-1])
            if lines
            else f"exit code {process.returncode}"
        )
        raise DeviceError(f"{Path(command[0]).name} failed: {reason}", "run it by hand to see why")
    return ProcessCost(wall_s, usage.ru_utime + usage.ru_stime, (peak_kib or usage.ru_maxrss) / 1024)


def _peak_kib(pid: int) -> int:
    """The largest resident sets so far of a process and those that it started; 0 where /proc does not tell.

    (ru_maxrss counts the parent at the fork.)
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
    return own + sum(_peak_kib(int(child)) for child in children)


def transcode_arguments(clip: Path, output: Path) -> list[str]:
    """ffmpeg's arguments for a plain transcode with the default encoder settings of the bench."""
    encoder = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-c:a", "copy"]
    return ["-v", "error", "-y", "-i", str(clip), *encoder, str(output)]


def median_cost(costs: Sequence[ProcessCost]) -> ProcessCost:
    """Medians of the times, the largest of the peaks."""
    return ProcessCost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.cpu_s for cost in costs),
        max(cost.peak_rss_mib for cost in costs),
    )


def _all_frames(path: Path) -> Iterator[Array]:
    info: MediaInfo = probe(path)
    with FrameReader(path, info, stop=100) as reader:
        for frame in reader:
            yield rgb_roi(frame, (0, 0, info.display_width_px, info.display_height_px))


def _enlarged(rgb: Array, height_px: int, scale: float) -> Array:
    """The picture, enlarged, in the lower middle of a 16:9 frame whose rest its border fills."""
    width_px = height_px * 16 // 9
    size = (min(width_px, round(rgb.shape[1] * scale)), min(height_px, round(rgb.shape[0] * scale)))
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
    left, top = (width_px - size[0]) // 2, height_px - size[1]
    return cv2.copyMakeBorder(picture, top, 0, left, width_px - size[0] - left, cv2.BORDER_REPLICATE)
