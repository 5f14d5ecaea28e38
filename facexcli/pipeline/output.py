"""Where the frames of a run go: a video, a picture, or an unchanged copy. Complete or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from facexcli.config import parse_trim
from facexcli.errors import InputError, OutputError
from facexcli.events import Informed, Reporter, Warned
from facexcli.media.atomic import AtomicFile
from facexcli.media.color import rgb_roi
from facexcli.media.frames import SRGB
from facexcli.media.image import color_profile, write_image
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analyse import FrameRange, StageProgress, frame_total
from facexcli.pipeline.painter import Job
from facexcli.pipeline.render import RenderCounts, render
from facexcli.provenance import synthetic_tags, synthetic_xmp
from facexcli.settings import EncodeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from facexcli.pipeline.painter import Painter
    from facexcli.pipeline.parallel import StageClock
    from facexcli.pipeline.plan import Plan
    from facexcli.settings import Settings
    from facexcli.types import Frame, MediaInfo


class Output:
    """Writes what a plan renders. `timeline` is the file that gives times and sound."""

    edited = True

    def __init__(self, plan: Plan, timeline: MediaInfo, reporter: Reporter, clock: StageClock) -> None:
        self._plan, self._timeline, self._reporter, self._clock = plan, timeline, reporter, clock
        self._start, self._stop = parse_trim(plan.settings.range.trim)

    def write(
        self, video: VideoFormat, make_jobs: Callable[[Iterator[Frame]], Iterator[Job]], painter: Painter
    ) -> RenderCounts:
        """Decode the timeline's range, paint it, encode it. Raises InputError for a range without a frame."""
        info = self._timeline
        with FrameReader(info.path, info, start=self._start, stop=self._stop) as reader:
            first = next(reader, None)
            if first is None:
                raise InputError(f"{info.path}: there is no frame in {self._plan.settings.range.trim}",
                                 "look at its length with `facex faces`")  # fmt: skip
            jobs = make_jobs(chain((first,), reader))
            counts = self._picture(jobs, painter) if info.kind == "image" else self._video(video, first, jobs, painter)
            self._warn(reader.warnings)
        return counts

    @property
    def provenance(self) -> Mapping[str, str]:
        """How the output is marked: as synthetic, or not at all when nothing was edited."""
        return synthetic_tags(self._plan.task, self._plan.engine) if self.edited else {}

    def unedited(self, painter: Painter) -> RenderCounts:
        """The timeline as it is: its file, or its range in another encoding where the user asked for one."""
        self.edited = False
        settings = self._plan.settings
        if not settings.range.trim and settings.output == EncodeSettings():
            return self._copy()
        return self.write(
            VideoFormat.from_media(self._timeline), lambda frames: (Job(frame, ()) for frame in frames), painter
        )

    def _copy(self) -> RenderCounts:
        """Raises OutputError where the file's kind is not what the output's name says."""
        output, origin = self._plan.output, self._timeline.path
        if output.suffix.lower() != origin.suffix.lower():
            raise OutputError(f"{output}: {origin.name} cannot be passed on unchanged as another kind of file",
                              f"name the output *{origin.suffix}")  # fmt: skip
        with AtomicFile(output) as file:
            try:
                shutil.copyfile(origin, file.temporary)
            except OSError as error:
                raise OutputError(f"{output} cannot be written: {error.strerror}") from error
            file.commit()
        return RenderCounts(0, 0, {}, {})

    def _video(self, video: VideoFormat, first: Frame, jobs: Iterator[Job], painter: Painter) -> RenderCounts:
        start_s, stop_s = self._range_s(first)
        with VideoWriter(
            self._plan.output,
            video,
            encode_options(self._plan.settings),
            audio_from=self._timeline.path,
            start_s=start_s,
            stop_s=stop_s,
            tags=self.provenance,
        ) as writer:
            self._reporter.emit(Informed(f"encoder {writer.encoder}"))
            counts = render(jobs, painter, writer, self._progress(), self._clock)
            with self._clock.measure("finish"):
                writer.commit()
            self._warn(writer.warnings)
        return counts

    def _picture(self, jobs: Iterator[Job], painter: Painter) -> RenderCounts:
        xmp = synthetic_xmp(self._plan.task, self._plan.engine) if self.edited else ""
        sink = _PictureSink(self._plan.output, xmp, color_profile(self._timeline.path))
        return render(jobs, painter, sink, self._progress(), self._clock)

    def _progress(self) -> StageProgress:
        return StageProgress(self._reporter, "render", frame_total(self._timeline, FrameRange(self._start, self._stop)))

    def _range_s(self, first: Frame) -> tuple[Fraction | None, Fraction | None]:
        """Start and end of the range on the timeline's clock; None where nothing is cut off."""
        info = self._timeline
        start_s = first.time_s if self._start is not None else None
        stop_s = None
        if isinstance(self._stop, Fraction):
            stop_s = info.start_pts * info.time_base + self._stop
        elif self._stop is not None:
            stop_s = first.time_s + (self._stop - first.index) / (info.frame_rate or Fraction(25))
        return start_s, stop_s

    def _warn(self, warnings: list[str]) -> None:
        for warning in warnings:
            self._reporter.emit(Warned(f"{self._timeline.path}: {warning}"))


class _PictureSink:
    """Writes the one frame of a still."""

    def __init__(self, path: Path, xmp: str, profile: bytes) -> None:
        self._path, self._xmp, self._profile = path, xmp, profile

    def write(self, frame: Frame) -> None:
        height, width = frame.planes[0].shape[:2]
        write_image(self._path, rgb_roi(frame, (0, 0, width, height)), xmp=self._xmp, icc_profile=self._profile)


def encode_options(settings: Settings) -> EncodeOptions:
    """What the user chose for the encoder."""
    chosen = settings.output
    return EncodeOptions(chosen.codec, chosen.crf, chosen.encoder_preset, chosen.pix_fmt, chosen.audio)


def canvas_format(canvas: MediaInfo, timeline: MediaInfo) -> VideoFormat:
    """The canvas's pictures on the timeline's clock."""
    rate = timeline.frame_rate or Fraction(25)
    if canvas.kind == "image":
        size = (canvas.display_width_px, canvas.display_height_px)
        return VideoFormat(*size, "rgb24", timeline.time_base, rate, color=SRGB, is_vfr=timeline.is_vfr)
    video = VideoFormat.from_media(canvas)
    return replace(video, time_base=timeline.time_base, frame_rate=rate, is_vfr=timeline.is_vfr)
