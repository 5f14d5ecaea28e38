"""Small upright RGB pictures of a whole video, for analysis; and single full-size ones, for thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from facexcli.errors import InputError
from facexcli.media.color import rgb_roi
from facexcli.media.orient import oriented
from facexcli.media.prefetch import Prefetch
from facexcli.media.probe import probe
from facexcli.media.reader import SEEK_FROM_FRAME, Position, decoded_frames
from facexcli.media.signal import sws_matrix
from facexcli.media.table import FrameTable, frame_table
from facexcli.media.tone import is_hdr, sdr_table
from facexcli.types import Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from facexcli.types import Frame, MediaInfo

SmallFrame = tuple[int, int, Array, tuple[float, float]]
"""(frame index, pts, rgb uint8 (h, w, 3), (x, y) frame pixels a small pixel)."""

_LEAST_GAP = 24
"""So many frames are decoded as fast as a decoder starts anew."""


class AnalysisReader(Prefetch[SmallFrame]):
    """Iterates over `SmallFrame`s: display-oriented, the longer side at most `max_side_px`; a context manager.

    Index and pts are those of `FrameReader`, by construction: both decode alike. With pixel centres at integers,
    x_frame = (x_small + 0.5) scale_x - 0.5. Decoding and scaling run in a thread, a few frames ahead.

    `backend` names the decoder; `warnings` is complete when the iteration ended. Raises as `FrameReader` does.
    """

    backend = "pyav"

    def __init__(
        self,
        path: Path,
        info: MediaInfo,
        *,
        max_side_px: int = 640,
        start: Position | None = None,
        stop: Position | None = None,
        ahead: int = 6,
    ) -> None:
        super().__init__(
            lambda: _small_frames(info, decoded_frames(path, info, self.warnings, start, stop), max_side_px),
            ahead=ahead,
            name="scan",
        )
        self.path = path
        self.info = info
        self.warnings: list[str] = []


def read_frames_rgb(path: Path, indices: Sequence[int]) -> list[Array]:
    """The frames at `indices` (any order, repeats allowed), whole and upright: uint8 (H, W, 3) RGB each.

    Seeks where the file allows it. Raises InputError for an index that the file has not.
    """
    info = probe(path)
    box = (0, 0, info.display_width_px, info.display_height_px)
    found = {frame.index: rgb_roi(frame, box) for frame in frames_at(path, indices)}
    return [found[index] for index in indices]


def frames_at(path: Path, indices: Sequence[int]) -> Iterator[Frame]:
    """The frames at `indices` (any order), in order and each once, one at a time in memory.

    Seeks where the file allows it. Raises InputError for an index that the file has not.
    """
    info = probe(path)
    wanted = sorted(set(indices))
    missing = set(wanted)
    table = frame_table(path, info) if wanted and wanted[-1] >= SEEK_FROM_FRAME else None
    for run in (
        _runs(wanted, table) if table else [[index] for index in wanted] if info.kind == "sequence" else [wanted]
    ):
        for frame in decoded_frames(path, info, [], start=run[0], stop=run[-1] + 1, table=table) if run else ():
            if frame.index in missing:
                missing.discard(frame.index)
                yield frame
    if missing:
        raise InputError(f"{path} has no frame {min(missing)}")


def _runs(indices: Sequence[int], table: FrameTable) -> list[list[int]]:
    """Ascending indices in groups that are worth a seek each."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and not _is_worth_a_seek(runs[-1][-1], index, table):
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _is_worth_a_seek(last: int, index: int, table: FrameTable) -> bool:
    keyframe = table.keyframe_before(index)
    return keyframe is not None and index - last > _LEAST_GAP and keyframe > table.pts[last]


def _small_frames(info: MediaInfo, frames: Iterator[Frame], max_side_px: int) -> Iterator[SmallFrame]:
    # Faces are looked for in square pixels; the scales give the sample aspect ratio back.
    square_width = float(info.width_px * info.sample_aspect_ratio)
    shrink = min(1.0, max_side_px / max(square_width, info.height_px))
    width, height = max(1, round(square_width * shrink)), max(1, round(info.height_px * shrink))
    scaler = VideoReformatter()
    for frame in frames:
        rgb = oriented(_shrunk(scaler, frame, width, height), frame.rotation_deg, frame.mirrored)
        scale = (info.display_width_px / rgb.shape[1], info.display_height_px / rgb.shape[0])
        yield frame.index, frame.pts, rgb, scale


def _shrunk(scaler: VideoReformatter, frame: Frame, width: int, height: int) -> Array:
    """Area means, in the decoder's orientation. swscale from YUV in one pass: the cheapest way to small RGB.

    HDR pictures are shown as SDR, as faces are looked for in those.
    """
    small = scaler.reformat(
        frame.native,
        width,
        height,
        "rgb24",
        src_colorspace=sws_matrix(frame),
        interpolation=Interpolation.AREA,
        threads=1,
    )
    rgb = np.ascontiguousarray(small.to_ndarray())
    return sdr_table(frame.color)[rgb] if is_hdr(frame.color) else rgb
