"""A folder of pictures as a video: in the natural order of their names, at a frame rate that the user gives."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facexcli import journal
from facexcli.errors import InputError
from facexcli.media.container import os_reason
from facexcli.media.frames import SRGB, frame_from_rgb
from facexcli.media.image import PIXEL_FORMATS, picture_facts, read_picture
from facexcli.types import MediaInfo, StreamInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facexcli.media.image import PictureFacts
    from facexcli.types import Array, Frame

SEQUENCE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"))
DEFAULT_RATE = Fraction(25)
_DIGITS = re.compile(r"(\d+)", re.ASCII)


class Member(NamedTuple):
    """One picture of a folder, and what tells that it has changed."""

    path: Path
    size_bytes: int
    changed_ns: int


def members(folder: Path) -> tuple[Member, ...]:
    """The pictures of a folder in natural order: frame2 before frame10. Hidden files are no pictures.

    Raises InputError for a folder that cannot be read or has no picture.
    """
    journal.reading(folder)
    try:
        found = [
            Member(path, (facts := path.stat()).st_size, max(facts.st_mtime_ns, facts.st_ctime_ns))
            for path in folder.iterdir()
            if path.suffix.lower() in SEQUENCE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {os_reason(error)}") from error
    if not found:
        kinds = ", ".join(sorted(SEQUENCE_SUFFIXES))
        raise InputError(f"{folder}: there is no picture in this folder", f"give a video, or a folder with {kinds}")
    return tuple(sorted(found, key=lambda member: natural_key(member.path.name)))


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """A key that sorts names as people count: numbers by value, letters without regard to case."""
    parts = _DIGITS.split(name)
    texts = [part.casefold() for part in parts[::2]]
    numbers = [int(part) for part in parts[1::2]]
    return tuple(value for pair in zip(texts, [*numbers, -1], strict=True) for value in pair), name


def probe_sequence(folder: Path, rate: Fraction | None = None) -> MediaInfo:
    """The folder as a video of `rate` frames a second (25 for None). Every header is read, no picture decoded.

    Pictures of 8 and 16 bits, with and without alpha may be mixed: the deepest says how all are read. Raises
    InputError for a folder without pictures, or naming the first picture that is damaged or of another size.
    """
    return _probed(folder, rate or DEFAULT_RATE, members(folder))


@lru_cache(maxsize=8)
def _probed(folder: Path, rate: Fraction, found: tuple[Member, ...]) -> MediaInfo:
    facts = [picture_facts(member.path) for member in found]
    _check_sizes(folder, found, facts)
    bits, channels = max(each.bits for each in facts), max(each.channels for each in facts)
    suffixes = Counter(member.path.suffix.lower().removeprefix(".") for member in found)
    codec = {"jpg": "jpeg", "tif": "tiff"}.get(kind := suffixes.most_common(1)[0][0], kind)
    return MediaInfo(
        path=folder,
        kind="sequence",
        width_px=facts[0].width_px,
        height_px=facts[0].height_px,
        frame_rate=rate,
        time_base=1 / rate,
        duration_s=len(found) / rate,
        frame_count_from_header=len(found),
        pix_fmt=PIXEL_FORMATS[bits, channels],
        bit_depth=bits,
        color=SRGB,
        container="folder",
        video_codec=codec,
        streams=(StreamInfo(0, "video", codec),),
    )


def _check_sizes(folder: Path, found: tuple[Member, ...], facts: list[PictureFacts]) -> None:
    """The size that most have is taken to be meant."""
    sizes = [(each.width_px, each.height_px) for each in facts]
    (width, height), _ = Counter(sizes).most_common(1)[0]
    for member, size in zip(found, sizes, strict=True):
        if size != (width, height):
            raise InputError(
                f"{member.path} has {size[0]}x{size[1]} pixels, the other pictures of {folder} have {width}x{height}",
                "all pictures of a sequence need one size; take it out, or scale it",
            )


def sequence_fingerprint(folder: Path) -> str:
    """Content identity of all pictures and of their order, as `probe.fingerprint` gives it of a file."""
    return _hashed(members(folder))


@lru_cache(maxsize=8)
def _hashed(found: tuple[Member, ...]) -> str:
    digest = hashlib.sha256()
    for member in found:
        try:
            with member.path.open("rb") as file:
                own = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{member.path} cannot be read: {os_reason(error)}") from error
        digest.update(f"{own} {member.path.name}\n".encode("utf-8", "surrogateescape"))
    return f"{sum(member.size_bytes for member in found)}-{digest.hexdigest()}"


def sequence_frames(info: MediaInfo, warnings: list[str], first: int = 0) -> Iterator[Frame]:
    """The pictures from number `first` on, as frames that follow each other evenly; pts count frames.

    Raises InputError that names the picture which is damaged, or no longer what `info` says.
    """
    found = members(info.path)
    if missing := _missing_numbers(found):
        warnings.append(f"the numbers of its pictures skip {missing}; they are shown one after the other")
    for index, member in enumerate(found[first:], start=first):
        pixels = read_picture(member.path)
        if pixels.shape[:2] != (info.height_px, info.width_px):
            raise InputError(f"{member.path} has changed its size since the run began", "run the command again")
        yield frame_from_rgb(_like(pixels, info.pix_fmt), index, index, info.time_base, 1)


def _like(pixels: Array, pix_fmt: str) -> Array:
    """8 bits as 16, and an opaque alpha channel, where the sequence has them."""
    bits, channels = next(key for key, name in PIXEL_FORMATS.items() if name == pix_fmt)
    if bits == 16 and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
    if channels == 4 and pixels.shape[2] == 3:
        opaque = np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return pixels


def _missing_numbers(found: tuple[Member, ...]) -> str:
    """The first gap in names that are alike but for their last number; '' for none, or where names differ."""
    split = [re.fullmatch(r"(.*?)(\d+)(\D*)", member.path.name, re.ASCII) for member in found]
    numbers = [int(match[2]) for match in split if match]
    if len(numbers) != len(found) or len({(match[1], match[3]) for match in split if match}) != 1:
        return ""
    gaps = [(before + 1, after - 1) for before, after in pairwise(numbers) if after > before + 1]
    if not gaps:
        return ""
    first, last = gaps[0]
    more = f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
    return f"{first if first == last else f'{first} to {last}'}{more}"
