"""Opening containers with libav, and saying in one line why that failed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import av

from facexcli import journal
from facexcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream

# Demuxers that read text, or that open other files and addresses named in the one that was given.
_NOT_MEDIA = frozenset(
    ("tty", "ass", "srt", "webvtt", "microdvd", "subviewer", "subviewer1", "jacosub", "mpl2", "mpsub", "pjs",
     "realtext", "sami", "stl", "vplayer", "lrc", "aqtitle", "scc", "ffmetadata", "sbg", "tedcaptions",
     "concat", "hls", "dash", "imf", "image2", "sdp", "rtp", "rtsp", "lavfi", "bin", "xbin", "adf", "idf", "rawvideo")
)  # fmt: skip

MAX_PIXELS = 1 << 26
"""The largest picture of a video: 8192 x 8192, twice what the highest levels of H.265 and AV1 allow at 8K."""
_LIMITS = {"max_pixels": str(MAX_PIXELS)}


def check_file(path: Path) -> None:
    """Raises InputError unless `path` is a regular, readable file with something in it."""
    journal.reading(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder, not an image or a video")
        if not path.exists():
            raise InputError(f"{path} does not exist", "check the path")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty", "copy or download it again")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {os_reason(error)}") from error


def open_input(path: Path) -> InputContainer:
    """Open a media file by its content. Raises InputError for what is not one.

    The `file:` prefix keeps a colon in a name from being read as a protocol.
    """
    check_file(path)
    try:
        container = av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"protocol_whitelist": "file"},
            options=_LIMITS,  # for the decoders that are opened to find out what the streams are
        )
    except av.FFmpegError as error:
        raise InputError(f"{path} is not a media file, or is damaged beyond use ({av_reason(error)})") from error
    if _NOT_MEDIA & set(container.format.name.split(",")):
        container.close()
        raise InputError(f"{path} is not an image or a video, whatever its name says")
    return container


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is not a cover picture. Raises InputError where none can be decoded."""
    for stream in container.streams.video:
        if not is_cover(stream):
            if stream.codec_context is None:
                raise InputError(f"{path}: there is no decoder for its video")
            if stream.width * stream.height > MAX_PIXELS:
                raise InputError(
                    f"{path}: pictures of {stream.width}x{stream.height} are too large, or its header is damaged",
                    "scale it down to 8192x8192 pixels or less",
                )
            limit_pictures(stream)
            return stream
    if container.streams.audio:
        raise InputError(f"{path} has sound but no picture", "give a video or an image")
    raise InputError(f"{path} has no picture", "give a video or an image")


def packets_of(container: InputContainer, streams: Sequence[Any]) -> Iterator[Any]:
    """The packets of `streams`, and those that end them. Raises FFmpegError where the file cannot be read on."""
    while True:
        try:
            yield from container.demux(streams)
            return
        except IndexError:  # PyAV does not know a stream that begins in the middle of a file; its packets are passed by
            continue


def limit_pictures(stream: Any) -> None:
    """Keep a damaged header from asking the decoder for gigabytes; such pictures are errors of the decoder."""
    stream.codec_context.options = dict(_LIMITS)


def is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def codec_name(stream: Any) -> str:
    """FFmpeg's name of the stream's format ("av1", never the decoder's "libdav1d"); '' where it is unknown."""
    context = stream.codec_context
    if context is not None:
        return str(context.codec.canonical_name)
    return str(getattr(stream, "name", None) or "") if stream.type == "data" else ""


def av_reason(error: Exception) -> str:
    """libav's own words, without the file name that it repeats."""
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".").lower()


def os_reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the device"
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
