"""Where the frames of a run go: a video, a picture, or an unchanged copy. Complete or not at all."""

from __future__ import annotations

import shutil
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from facexcli.errors import InputError, OutputError
from facexcli.events import Informed, Reporter, Warned
from facexcli.media.atomic import AtomicFile
from facexcli.media.image import color_profile, write_image
from facexcli.media.picture_files import PicturePattern, PictureWriter
from facexcli.media.pipe import STANDARD, container_suffix
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.sequence import members
from facexcli.media.writer import VideoFormat, VideoWriter
from facexcli.pipeline.analyse import FrameRange, StageProgress, frame_total
from facexcli.pipeline.formats import encode_options
from facexcli.pipeline.labelling import LabelledSink, check_label
from facexcli.pipeline.marking import left_behind
from facexcli.pipeline.painter import Job
from facexcli.pipeline.part_encoder import OfAllParts, PartEncoder
from facexcli.pipeline.parts import JOINED, MakeJobs, total_counts
from facexcli.pipeline.picture_sink import PictureSink, losses_in_pictures
from facexcli.pipeline.render import RenderCounts, render
from facexcli.settings import EncodeSettings, parse_trim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from facexcli.media.atomic import Finish
    from facexcli.pipeline.marking import Marking
    from facexcli.pipeline.painter import Painter
    from facexcli.pipeline.parallel import StageClock
    from facexcli.pipeline.parts import Parts, Segment
    from facexcli.pipeline.plan import Plan
    from facexcli.pipeline.render import FrameSink
    from facexcli.types import Frame, MediaInfo, Shot


class Output:
    """Writes what a plan renders. `timeline` is the file that gives times and sound; `marking` says what it is."""

    edited = True

    def __init__(
        self,
        plan: Plan,
        timeline: MediaInfo,
        reporter: Reporter,
        clock: StageClock,
        marking: Marking,
        parts: Parts | None = None,
    ) -> None:
        can_be_joined = timeline.kind != "image" and container_suffix(plan.output) in JOINED
        self._parts = parts if can_be_joined else None
        self._plan, self._timeline, self._reporter, self._clock = plan, timeline, reporter, clock
        self._marking = marking
        check_label(plan.settings.label)
        self._start, self._stop = parse_trim(plan.settings.range.trim)

    def begin(self, weights: Mapping[str, str]) -> None:
        """Before all work. weights: SHA-256 by name. Raises UsageError and OutputError as `Parts.begin` does."""
        if self._parts is not None:
            total = frame_total(self._timeline, FrameRange(self._start, self._stop))
            self._parts.begin(total, self._timeline.frame_rate or Fraction(25), weights)

    def place(self, name: str) -> Path | None:
        """Where to keep what was found out; None where nothing is kept."""
        return self._parts.place(name) if self._parts is not None else None

    def write(
        self,
        video: VideoFormat,
        make_jobs: MakeJobs,
        painter: Painter,
        shots: Sequence[Shot] = (),
    ) -> RenderCounts:
        """Decode the timeline's range, paint it, encode it. Raises InputError for a range without a frame.

        With the `shots` of the timeline it may be done in parts, where somebody keeps them.
        """
        info = self._timeline
        with FrameReader(info.path, info, start=self._start, stop=self._stop) as reader:
            first = next(reader, None)
            if first is None:
                raise InputError(f"{info.path}: there is no frame in {self._plan.settings.range.trim}",
                                 "look at its length with `facex faces`")  # fmt: skip
            segments = self._cut(first, shots)
            told = self._marking.warnings if self.edited else []
            self._tell(told)  # before the work, so that it can be stopped
            if len(segments) > 1:
                reader.close()
                counts = self._in_parts(segments, video, first, make_jobs, painter)
            else:
                counts = self._written(video, first, make_jobs(chain((first,), reader)), painter)
        self._warn(reader.warnings)  # complete now, also where the jobs ended before the frames did
        if self.edited:
            self._marking.commit()
            self._tell(self._marking.warnings[len(told) :])
        if self._parts is not None:
            self._parts.finish()
        return counts

    def _written(self, video: VideoFormat, first: Frame, jobs: Iterator[Job], painter: Painter) -> RenderCounts:
        if self._timeline.kind == "image":
            return self._picture(jobs, painter)
        pattern = PicturePattern.of(self._plan.output)
        if pattern is None:
            return self._video(video, first, jobs, painter)
        return self._pictures(pattern, video, jobs, painter)

    @property
    def provenance(self) -> Mapping[str, str]:
        """How the output is marked: as synthetic, or not at all when nothing was edited."""
        return self._marking.facts() if self.edited else {}

    def unedited(self, painter: Painter) -> RenderCounts:
        """The timeline as it is: its file, or its range in another encoding where the user asked for one."""
        self.edited = False
        self._tell(left_behind(self._plan.output))
        if self._stays_as_it_is():
            return self._copy()
        return self.write(
            VideoFormat.from_media(self._timeline), lambda frames: (Job(frame, ()) for frame in frames), painter
        )

    def _stays_as_it_is(self) -> bool:
        """Whether nothing asks for another encoding. What came through a pipe has no name that says its kind."""
        origin, output, settings = self._timeline.path, self._plan.output, self._plan.settings
        from_file = origin.is_file() and bool(origin.suffix)
        to_file = output != STANDARD and PicturePattern.of(output) is None
        return from_file and to_file and not settings.range.trim and settings.output == EncodeSettings()

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
        with self._writer(video, start_s, stop_s) as writer:
            self._reporter.emit(Informed(f"encoder {writer.encoder}"))
            told = len(writer.warnings)
            self._warn(writer.warnings)  # before the work, so that it can be stopped
            counts = render(jobs, painter, self._labelled(writer), self._progress(), self._clock)
            with self._clock.measure("finish"):
                writer.commit()
            self._warn(writer.warnings[told:])
        return counts

    def _cut(self, first: Frame, shots: Sequence[Shot]) -> Sequence[Segment]:
        if self._parts is None or not shots:
            return ()
        stop = self._stop if isinstance(self._stop, int) else shots[-1].stop
        return self._parts.cut(
            first.index, min(stop, shots[-1].stop), self._timeline.frame_rate or Fraction(25), [s.start for s in shots]
        )

    def _in_parts(
        self, segments: Sequence[Segment], video: VideoFormat, first: Frame, make_jobs: MakeJobs, painter: Painter
    ) -> RenderCounts:
        """Render each part into a file of its own, and copy their packets into one."""
        assert self._parts is not None
        start_s, stop_s = self._range_s(first)
        progress = self._progress()
        encoder = PartEncoder(
            self._timeline,
            self._stop,
            lambda path: self._part_writer(video, start_s, path),
            lambda writer: self._labelled(writer, first.time_s),
            make_jobs,
            painter,
            OfAllParts(progress),
            self._clock,
            self._reporter,
            self._warn,
        )
        with encoder:
            parts = self._parts.render(segments, encoder.encode, progress, self._reporter)
        progress.finish()
        with self._writer(video, start_s, stop_s) as writer, self._clock.measure("finish"):
            for path, counts in parts:
                if counts.frames:
                    writer.write_packets(path)
            writer.commit()
            self._warn(writer.warnings)
        return total_counts([counts for _, counts in parts])

    def _part_writer(self, video: VideoFormat, start_s: Fraction | None, path: Path) -> VideoWriter:
        options = encode_options(self._plan.settings)
        writer = VideoWriter(self._plan.output, video, options, start_s=start_s, packets_to=path)
        self._reporter.emit(Informed(f"encoder {writer.encoder}"))
        return writer

    def _writer(self, video: VideoFormat, start_s: Fraction | None, stop_s: Fraction | None) -> VideoWriter:
        return VideoWriter(
            self._plan.output,
            video,
            encode_options(self._plan.settings),
            audio_from=self._timeline.path if self._timeline.kind == "video" else None,
            start_s=start_s,
            stop_s=stop_s,
            tags=self._marking.tags if self.edited else {},
            finish=self._finish,
        )

    def _picture(self, jobs: Iterator[Job], painter: Painter) -> RenderCounts:
        output, xmp, profile = self._plan.output, self._xmp(), self._profile()
        sink = PictureSink(output, lambda pixels: write_image(output, pixels, 95, xmp, profile, self._finish))
        counts = render(jobs, painter, self._labelled(sink), self._progress(), self._clock)
        self._warn(sink.warnings)
        return counts

    def _pictures(
        self, pattern: PicturePattern, video: VideoFormat, jobs: Iterator[Job], painter: Painter
    ) -> RenderCounts:
        self._reporter.emit(Informed(f"pictures of {video.frame_rate} frames a second, from {pattern.name(1)} on"))
        self._warn(losses_in_pictures(self._timeline, video, self._plan.settings.output.audio))
        with PictureWriter(pattern, xmp=self._xmp(), icc_profile=self._profile(), finish=self._finish) as writer:
            sink = PictureSink(pattern.path, writer.write)
            counts = render(jobs, painter, self._labelled(sink), self._progress(), self._clock)
            with self._clock.measure("finish"):
                writer.commit()
        self._warn(sink.warnings)
        return counts

    def _profile(self) -> bytes:
        """What the RGB values of the canvas mean, where its pictures say so."""
        path = self._plan.canvas.path
        kind = self._canvas.kind
        if kind == "sequence":
            path = members(path)[0].path
        return color_profile(path) if kind in ("image", "sequence") else b""

    def _xmp(self) -> str:
        return self._marking.xmp if self.edited else ""

    @property
    def _finish(self) -> Finish | None:
        return self._marking.finish if self.edited else None

    def _labelled(self, sink: FrameSink, start_s: Fraction | None = None) -> FrameSink:
        """`sink` behind the label, where one is to be seen."""
        label = self._plan.settings.label
        if not self.edited or not label.text or label.style != "picture":
            return sink
        return LabelledSink(sink, label, float(self._canvas.display_aspect_ratio), start_s)

    @property
    def _canvas(self) -> MediaInfo:
        """What is painted on; mostly the timeline itself."""
        path = self._plan.canvas.path
        return self._timeline if path == self._timeline.path else probe(path)

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

    def _tell(self, warnings: list[str]) -> None:
        for warning in warnings:
            self._reporter.emit(Warned(warning))

    def _warn(self, warnings: list[str]) -> None:
        for warning in warnings:
            self._reporter.emit(Warned(f"{self._timeline.path}: {warning}"))
