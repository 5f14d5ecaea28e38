"""What a file is and what its header says, found by content and never by name."""

from __future__ import annotations

import hashlib
import math
import statistics
import struct
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Literal

import av

from facexcli.errors import InputError
from facexcli.media.container import (
    av_reason,
    check_file,
    codec_name,
    open_input,
    os_reason,
    packets_of,
    picture_stream,
)
from facexcli.media.frames import SRGB, frame_color
from facexcli.media.hdr import read_chroma_location, read_hdr
from facexcli.media.image import NotAnImage, facts_of, opened
from facexcli.media.sequence import probe_sequence, sequence_fingerprint
from facexcli.media.webp import TIME_BASE, frame_durations_ms, mean_rate
from facexcli.types import MediaInfo, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream

_STREAM_KINDS: dict[str, Literal["video", "audio", "subtitle", "data", "attachment"]] = {
    "video": "video", "audio": "audio", "subtitle": "subtitle", "attachment": "attachment"
}  # fmt: skip
# Pictures that decode are looked for in this many packets; a file that shows none so far is not worth more.
_PACKETS_TO_FIRST_PICTURE = 2000
_PACKETS_FOR_RATE = 250
_INTERRUPTION_S = 10
# FFmpeg's default for 4:2:0 is left (H.264, H.265 and MPEG-2 without a signal); these formats put chroma in the middle.
_CENTERED_CHROMA = frozenset(("mpeg1video", "mjpeg", "h263", "h261", "flv1", "vp6", "theora", "webp"))
CHROMA_LEFT, CHROMA_CENTER = 1, 2


def probe(path: Path, sequence_rate: Fraction | None = None) -> MediaInfo:
    """Tell image, animation, video and a folder of pictures apart, and read the facts.

    `sequence_rate` is the frame rate of a folder of pictures (25 for None); other media have their own. A picture is
    decoded, so that an InputError comes from here and not from the middle of a run. Raises InputError, one line that
    names the file, for what is missing, empty, damaged beyond use, not media, without a picture, or encrypted.

    A file whose size and times have not changed is looked at once in a process, however often it is asked for.
    """
    if path.is_dir():
        return probe_sequence(path, sequence_rate)
    check_file(path)
    try:
        facts = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {os_reason(error)}") from error
    return _probed(path, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@lru_cache(maxsize=256)
def _probed(path: Path, inode: int, size: int, modified_ns: int, changed_ns: int) -> MediaInfo:
    del inode, size, modified_ns, changed_ns  # they are what tells one content of a path from another
    picture = _probe_picture(path)
    if picture is not None:
        return picture
    with open_input(path) as container:
        return _probe_video(path, container)


def fingerprint(path: Path) -> str:
    """Content identity of a file, or of a folder's pictures: size and SHA-256, "<bytes>-<hex>". Raises InputError.

    A file whose size and times have not changed is read once in a process, however often it is asked for.
    """
    if path.is_dir():
        return sequence_fingerprint(path)
    check_file(path)
    try:
        facts = path.stat()
        return _hashed(path.resolve(), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {os_reason(error)}") from error


@lru_cache(maxsize=256)
def _hashed(path: Path, inode: int, size: int, modified_ns: int, changed_ns: int) -> str:
    del inode, modified_ns, changed_ns  # they are what tells one content of a path from another
    with path.open("rb") as file:
        return f"{size}-{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _probe_picture(path: Path) -> MediaInfo | None:
    """The facts of a still image or an animated WebP, which libav does not decode; None for all other files."""
    try:
        with opened(path) as picture:
            frames = getattr(picture, "n_frames", 1) if picture.format in ("GIF", "PNG", "WEBP") else 1
            if frames > 1 and picture.format != "WEBP":
                return None
            facts = facts_of(picture)
            picture.load()
            codec = (picture.format or "").lower()
    except NotAnImage:
        return None
    still = MediaInfo(
        path=path,
        kind="image",
        width_px=facts.width_px,
        height_px=facts.height_px,
        frame_count_from_header=1,
        pix_fmt=facts.pix_fmt,
        bit_depth=facts.bits,
        color=SRGB,
        container=codec,
        video_codec=codec,
        streams=(StreamInfo(0, "video", codec),),
    )
    return still if frames == 1 else _animated_webp(still)


def _animated_webp(still: MediaInfo) -> MediaInfo:
    durations_ms = frame_durations_ms(still.path)
    return replace(
        still,
        kind="animation",
        frame_rate=mean_rate(durations_ms),
        time_base=TIME_BASE,
        duration_s=sum(durations_ms) * TIME_BASE,
        frame_count_from_header=len(durations_ms),
        is_vfr=len(set(durations_ms)) > 1,
    )


def _probe_video(path: Path, container: InputContainer) -> MediaInfo:
    stream = picture_stream(container, path)
    first, packet_pts = _first_picture(container, stream, path)
    time_base = stream.time_base or Fraction(1, 1000)
    packet_pts = _shown(packet_pts, time_base) if codec_name(stream) in ("vp8", "vp9") else packet_pts
    rate = _frame_rate(stream, packet_pts, time_base)
    matrix = _display_matrix(first)
    rotation_deg, mirrored = orientation(matrix)
    codec = codec_name(stream)
    chroma = read_chroma_location(stream) or (CHROMA_CENTER if codec in _CENTERED_CHROMA else CHROMA_LEFT)
    duration_s = _duration_s(container, stream)
    names = container.format.name
    return MediaInfo(
        path=path,
        kind="animation" if codec in ("gif", "apng") else "video",
        width_px=first.width,
        height_px=first.height,
        rotation_deg=rotation_deg,
        mirrored=mirrored,
        sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or 1),
        frame_rate=rate,
        time_base=time_base,
        start_pts=first.pts if first.pts is not None else stream.start_time or 0,
        duration_s=duration_s,
        frame_count_from_header=stream.frames or None,
        is_vfr=_is_vfr(packet_pts, time_base),
        pix_fmt=first.format.name,
        bit_depth=max(component.bits for component in first.format.components),
        color=frame_color(first, chroma if _is_subsampled(first) else 0),
        container=names,
        video_codec=codec,
        streams=tuple(_stream_info(each) for each in container.streams),
        stream_index=stream.index,
        display_matrix=matrix,
        hdr=read_hdr(_side_data(first)),
    )


def _first_picture(container: InputContainer, stream: VideoStream, path: Path) -> tuple[Any, list[int]]:
    """The first frame that decodes, and the time stamps of the first packets, in display order."""
    stream.codec_context.thread_type = "SLICE"
    first = None
    pts: list[int] = []
    reason = "no packet has a picture"
    try:
        for packet in islice(packets_of(container, [stream]), _PACKETS_TO_FIRST_PICTURE):
            if packet.pts is not None and packet.size and not packet.is_discard:
                pts.append(packet.pts)
            if first is None:
                try:
                    first = next(iter(packet.decode()), None)
                except (av.FFmpegError, EOFError) as error:
                    reason = av_reason(error)
            if first is not None and len(pts) >= _PACKETS_FOR_RATE:
                break
    except av.FFmpegError as error:
        reason = av_reason(error)
    if first is None:
        codec = codec_name(stream) or "unknown format"
        raise InputError(
            f"{path}: no frame of its video ({codec}) can be decoded: {reason}",
            "it is damaged, encrypted, incomplete, or larger than 8192x8192 pixels",
        )
    return first, sorted(pts)


def _shown(pts: Sequence[int], time_base: Fraction) -> list[int]:
    """Without VP9's hidden frames, whose packets come up to 1 ms before the one that shows them."""
    least = max(Fraction(1), Fraction(1, 1000) / time_base)
    return [*(this for this, after in pairwise(pts) if after - this > least), *pts[-1:]]


def _frame_rate(stream: VideoStream, pts: Sequence[int], time_base: Fraction) -> Fraction | None:
    """The header's rate when the packets bear it out to 5 per cent, else theirs."""
    claims = [Fraction(rate) for rate in (stream.guessed_rate, stream.average_rate) if rate]
    if len(pts) < 3 or pts[-1] == pts[0]:
        return claims[0] if claims else None
    # Without interruptions: a single long one would make a slow video of any.
    gaps = [gap for gap in ((after - before) * time_base for before, after in pairwise(pts)) if gap < _INTERRUPTION_S]
    if not any(gaps):
        return claims[0] if claims else None
    measured = len(gaps) / sum(gaps, Fraction(0))
    for claim in claims:
        if abs(claim / measured - 1) < Fraction(1, 20):
            return claim
    return measured.limit_denominator(1001)


def _is_vfr(pts: Sequence[int], time_base: Fraction) -> bool:
    gaps = [after - before for before, after in pairwise(pts)]
    if not gaps:
        return False
    tolerance = max(1.0, float(Fraction(1, 1000) / time_base))
    middle = float(statistics.median(gaps))
    return any(abs(gap - middle) > tolerance for gap in gaps)


def _side_data(frame: Any) -> Iterable[Any]:
    """The frame's side data; none where one is of a kind (EXIF) that PyAV does not know, for then it gives none."""
    try:
        return list(frame.side_data)
    except ValueError:
        return []


def _display_matrix(frame: Any) -> tuple[int, ...]:
    for side_data in _side_data(frame):
        if side_data.type.name == "DISPLAYMATRIX":
            return struct.unpack("=9i", bytes(side_data)[:36])
    return ()


def orientation(matrix: Sequence[int]) -> tuple[int, bool]:
    """(clockwise turn in degrees, then mirrored left to right) of a display matrix; (0, False) for none.

    The matrix takes decoded to displayed pixels, row vectors, y down (ISO/IEC 14496-12, 8.2.2). Angles between are
    taken to the nearest quarter turn.
    """
    if len(matrix) != 9:
        return 0, False
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    mirrored = a * d - b * c < 0
    turn = math.degrees(math.atan2(b, -a if mirrored else a))
    return round(turn / 90) * 90 % 360, mirrored


def _duration_s(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    if container.duration is not None:
        return Fraction(container.duration, av.time_base)
    return None


def _is_subsampled(frame: Any) -> bool:
    return any(part.width < frame.width for part in frame.format.components)


def _stream_info(stream: Any) -> StreamInfo:
    return StreamInfo(
        stream.index,
        _STREAM_KINDS.get(stream.type, "data"),
        codec_name(stream),
        str(stream.metadata.get("language", "")),
    )
