"""Frames before and after, as small JPEG pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facexcli.affine import resample
from facexcli.media.color import rgb_roi
from facexcli.media.image import encode_image, read_image
from facexcli.media.picture_files import PicturePattern
from facexcli.media.probe import probe
from facexcli.media.scan import frames_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from facexcli.evaluate.report.choice import Span
    from facexcli.types import Array, Box

_SAMPLE_SIDE_PX = 960
_SAMPLE_BYTES = 140_000
_LOOK_PX = 208
_LOOK_BYTES = 14_000
_AROUND = 0.4
"""How much is shown around the landmarks of a face, in sides of their box."""
_QUALITIES = (88, 80, 72, 62, 50)
_JPEG = Path("picture.jpg")


@dataclass(frozen=True, slots=True)
class Pair:
    """A frame before and after, as JPEG files, shown at (width, height) `size_px`.

    time_s: from the result's first frame on; None where its file does not tell. driving: what moved the portrait of a
    reenactment.
    """

    frame_index: int
    time_s: float | None
    before: bytes
    after: bytes
    size_px: tuple[int, int]
    driving: bytes | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where pictures come from. Frame i of the result belongs to frame `start` + i of the timeline.

    The timeline is the canvas, or in a reenactment the driving video; the canvas is then a still that stays the same,
    or a video whose first frame is the result's. `result` may be a pattern of numbered pictures.
    """

    result: Path
    canvas: Path
    driving: Path | None = None
    start: int = 0


@dataclass(frozen=True, slots=True)
class Pictures:
    """samples: in order. looks: of each span the face, a small picture before and one after."""

    samples: tuple[Pair, ...] = ()
    looks: Mapping[Span, tuple[bytes, bytes]] = field(default_factory=dict)


def take_pictures(
    origin: Origin, samples: Sequence[int], spans: Sequence[Span], advance: Callable[[], None] = lambda: None
) -> Pictures:
    """Read and reduce the frames `samples`, and a look at each span. One whole frame at a time is in memory.

    `advance` is called for each frame that was read. Raises InputError for a file that cannot be read, or that ends
    before a frame that is asked for.
    """
    wanted = sorted({*samples, *(span.shown for span in spans)})
    canvas_start = origin.start if origin.driving is None else 0
    after, before = _Views(samples, spans), _Views(samples, spans)
    for view in _result_frames(origin.result, wanted):
        after.add(view)
        advance()
    for view in _frames(origin.canvas, wanted, canvas_start):
        before.add(view)
        advance()
    driving = {}
    for view in _frames(origin.driving, samples, origin.start) if origin.driving else ():
        driving[view.index] = _look(view, None)
        advance()
    pairs = []
    for index in sorted(set(samples)):
        time_s, jpeg, size_px = after.whole[index]
        pairs.append(Pair(index, time_s, before.whole[index][1], jpeg, size_px, driving.get(index)))
    return Pictures(tuple(pairs), {span: (before.looks[span], after.looks[span]) for span in spans})


@dataclass(frozen=True, slots=True)
class _View:
    """A frame of the result, or what belongs to it. aspect: width of a pixel over its height. rgb: uint8 (H, W, 3)."""

    index: int
    time_s: float | None
    rgb: Array
    aspect: float


class _Views:
    """What is kept of the frames of one file."""

    def __init__(self, samples: Sequence[int], spans: Sequence[Span]) -> None:
        self._samples, self._spans = samples, spans
        self.whole: dict[int, tuple[float | None, bytes, tuple[int, int]]] = {}
        self.looks: dict[Span, bytes] = {}

    def add(self, view: _View) -> None:
        if view.index in self._samples:
            small = _fitted(view.rgb, view.aspect, _SAMPLE_SIDE_PX)
            self.whole[view.index] = view.time_s, _jpeg(small, _SAMPLE_BYTES), (small.shape[1], small.shape[0])
        for span in self._spans:
            if span.shown == view.index:
                self.looks[span] = _look(view, span.box_px)


def _result_frames(result: Path, indices: Sequence[int]) -> Iterator[_View]:
    pattern = PicturePattern.of(result)
    if pattern is None:
        yield from _frames(result, indices, 0)
        return
    for index in indices:
        yield _View(index, None, read_image(pattern.folder / pattern.name(index + 1)), 1.0)


def _frames(path: Path, indices: Sequence[int], start: int) -> Iterator[_View]:
    """The frames `start` + index of a file; a still is the same for all."""
    info = probe(path)
    aspect = float(info.display_aspect_ratio)
    if info.kind == "image":
        rgb = read_image(path)
        yield from (_View(index, None, rgb, aspect) for index in indices)
        return
    box = (0, 0, info.display_width_px, info.display_height_px)
    for frame in frames_at(path, [start + index for index in indices]):
        time_s = float(frame.time_s - info.start_pts * info.time_base)
        yield _View(frame.index - start, time_s, rgb_roi(frame, box), aspect)


def _look(view: _View, box_px: Box | None) -> bytes:
    """A small square around a face; the whole picture where nobody knows the face."""
    if box_px is None:
        return _jpeg(_fitted(view.rgb, view.aspect, _LOOK_PX), _LOOK_BYTES)
    x0, y0, x1, y1 = box_px
    side_px = max((x1 - x0) * view.aspect, y1 - y0, 1.0) * (1 + 2 * _AROUND)
    y_scale = _LOOK_PX / side_px
    x_scale, centre = y_scale * view.aspect, (_LOOK_PX - 1) / 2
    look_from_frame = np.array(
        [[x_scale, 0, centre - x_scale * (x0 + x1) / 2], [0, y_scale, centre - y_scale * (y0 + y1) / 2], [0, 0, 1]]
    )
    return _jpeg(resample(view.rgb, look_from_frame, (_LOOK_PX, _LOOK_PX)), _LOOK_BYTES)


def _fitted(rgb: Array, aspect: float, side_px: int) -> Array:
    """With square pixels, and the longer side at most `side_px`."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side_px / max(width * aspect, height))
    size = max(1, round(width * aspect * scale)), max(1, round(height * scale))
    if size == (width, height):
        return rgb
    x, y = size[0] / width, size[1] / height
    return resample(rgb, np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]]), size)


def _jpeg(rgb: Array, most_bytes: int) -> bytes:
    """The best quality that is not larger; of a picture that is mostly noise, a smaller one."""
    while True:
        for quality in _QUALITIES:
            encoded = encode_image(_JPEG, rgb, quality)
            if len(encoded) <= most_bytes:
                return encoded
        rgb = _fitted(rgb, 1.0, max(rgb.shape[:2]) // 2)
