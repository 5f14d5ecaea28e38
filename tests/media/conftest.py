"""Made clips: small, exact, with the colours, times and streams that a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.context import Flags

from facexcli.media.pixels import plane_views

ClipMaker = Callable[..., Path]


def noise_planes(native: Any, pix_fmt: str, seed: int) -> None:
    """Fill a libav frame with smooth random samples of legal code values."""
    rng = np.random.default_rng(seed)
    for plane in plane_views(native, pix_fmt, writable=True):
        peak = 1 << (10 if "10" in pix_fmt else 12 if "12" in pix_fmt else 8)
        coarse = rng.uniform(peak * 0.2, peak * 0.8, (*(-(-n // 8) + 1 for n in plane.shape[:2]), *plane.shape[2:]))
        blocks = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[: plane.shape[0], : plane.shape[1]]
        plane[...] = blocks.astype(plane.dtype)


@pytest.fixture
def make_clip(tmp_path: Path) -> ClipMaker:
    """make_clip(name, ...) writes a clip into tmp_path and returns its path.

    `pts` are time stamps in `time_base`; `matrix9` a display matrix; `audio_s` seconds of a tone.
    """

    def make(
        name: str,
        *,
        codec: str = "ffv1",
        pix_fmt: str = "yuv420p",
        size: tuple[int, int] = (64, 48),
        pts: Sequence[int] = tuple(range(10)),
        time_base: Fraction = Fraction(1, 25),
        rate: Fraction = Fraction(25),
        color: tuple[int, int, int, int] = (2, 2, 2, 0),
        sample_aspect_ratio: Fraction = Fraction(1),
        matrix9: Sequence[int] | None = None,
        audio_s: float = 0.0,
        audio_codec: str = "aac",
        audio_streams: int = 1,
        metadata: dict[str, str] | None = None,
        chapters: Sequence[Any] = (),
        options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options)
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = *size, pix_fmt
            context.time_base = stream.time_base = time_base
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = color
            context.sample_aspect_ratio = sample_aspect_ratio
            context.flags |= Flags.frame_duration
            if matrix9 is not None:
                stream.set_display_matrix(matrix9)
            sounds = [container.add_stream(audio_codec, rate=48000) for _ in range(audio_streams if audio_s else 0)]
            container.metadata.update(metadata or {})
            container.set_chapters(list(chapters))
            for index, ticks in enumerate(pts):
                native = av.VideoFrame(*size, pix_fmt)
                noise_planes(native, pix_fmt, index)
                native.pts, native.time_base = ticks, time_base
                native.duration = pts[index + 1] - ticks if index + 1 < len(pts) else round(1 / (rate * time_base))
                container.mux(stream.encode(native))
            container.mux(stream.encode(None))
            for number, sound in enumerate(sounds):
                _tone(container, sound, audio_s, 300.0 * (number + 1))
        return path

    return make


def _tone(container: Any, stream: Any, length_s: float, hertz: float) -> None:
    samples = round(length_s * 48000)
    wave = (0.3 * np.sin(np.arange(samples) * hertz * 2 * np.pi / 48000)).astype(np.float32)
    resampler = av.AudioResampler(stream.codec_context.format.name, "stereo", 48000)
    for first in range(0, samples, 1024):
        piece = np.tile(wave[first : first + 1024], (2, 1))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, first, Fraction(1, 48000)
        for converted in resampler.resample(frame):
            container.mux(stream.encode(converted))
    container.mux(stream.encode(None))
