"""Still pictures: reading with EXIF orientation, and writing that is complete or not at all."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from facexcli.errors import InputError, OutputError
from facexcli.media.atomic import write_whole
from facexcli.media.container import check_file
from facexcli.media.orient import oriented

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facexcli.media.atomic import Finish
    from facexcli.types import Array

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
IMAGE_SUFFIXES = frozenset(_FORMATS)
_READABLE = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
# Errors that Pillow's decoders raise for damaged files; it promises no common base.
_DAMAGED = (OSError, SyntaxError, ValueError, LookupError, EOFError, TypeError, ArithmeticError, RuntimeError,
            struct.error, Image.DecompressionBombError)  # fmt: skip
_WITH_ALPHA = frozenset(("RGBA", "LA", "PA", "La", "RGBa"))
# (clockwise turn, then mirrored) by EXIF orientation (CIPA DC-008, 4.6.5.1.6).
_EXIF_TURNS = {2: (0, True), 3: (180, False), 4: (180, True), 5: (90, True), 6: (90, False), 7: (270, True),
               8: (270, False)}  # fmt: skip
_ORIENTATION_TAG = 0x0112
PIXEL_FORMATS = {(8, 3): "rgb24", (8, 4): "rgba", (16, 3): "rgb48le", (16, 4): "rgba64le"}
"""FFmpeg's name of what `read_picture` returns, by bits and channels."""


@cache
def readable_formats() -> tuple[str, ...]:
    """What may be read, in Pillow's names. Pillow knows more, and starts other programs for some of it."""
    Image.init()
    return tuple(name for name in _READABLE if name in Image.OPEN)


def read_image(path: Path) -> Array:
    """An image file as uint8 (H, W, 3) RGB, upright: EXIF orientation applied.

    Of an animation the first frame. 16-bit and grey pictures are converted, CMYK too; transparency is laid on white.
    Raises InputError for what is missing, empty, truncated or not an image.
    """
    with opened(path) as picture:
        picture.seek(0)
        picture.load()
        return np.asarray(_to_rgb(ImageOps.exif_transpose(picture)))


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture's header says. The size is that of the upright picture; bits are 8 or 16, channels 3 or 4."""

    width_px: int
    height_px: int
    bits: int
    channels: int

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name of what `read_picture` returns."""
        return PIXEL_FORMATS[self.bits, self.channels]


def picture_facts(path: Path) -> PictureFacts:
    """The facts of an image file, without decoding it. Raises InputError as `read_image` does."""
    with opened(path) as picture:
        return facts_of(picture)


def facts_of(picture: Image.Image) -> PictureFacts:
    """The facts of a picture that Pillow has opened and not yet loaded."""
    bits = 16 if _is_deep(picture) else 8
    width, height = picture.size
    if _turn(picture)[0] % 180:
        width, height = height, width
    return PictureFacts(width, height, bits, 4 if _has_alpha(picture) else 3)


def read_picture(path: Path) -> Array:
    """An image file as it is, upright: uint8 or uint16 (H, W, 3), or (H, W, 4) with its alpha channel.

    16 bits are kept of PNG and TIFF; palettes, grey and CMYK pictures become RGB. Of an animation the first frame.
    Raises InputError as `read_image` does.
    """
    with opened(path) as picture:
        is_deep = _is_deep(picture)
        turn_deg, mirrored = _turn(picture)
        if not is_deep:
            return oriented(np.asarray(_to_rgb(picture, keep_alpha=True)), turn_deg, mirrored)
        if picture.mode.startswith("I;16"):
            grey = np.asarray(picture).astype(np.uint16)
            return oriented(np.repeat(grey[..., None], 3, axis=2), turn_deg, mirrored)
    return oriented(_deep_colours(path), turn_deg, mirrored)


def _deep_colours(path: Path) -> Array:
    """uint16 (H, W, 3) or (H, W, 4), as stored. Pillow has no such mode, but it finds damage, where OpenCV may not."""
    with opened(path) as picture:
        picture.verify() if picture.format == "PNG" else picture.load()
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.ndim != 3:
        raise InputError(f"{path} is a damaged image")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB))


def read_animation(path: Path) -> Iterator[Array]:
    """The pictures of an animation that Pillow reads (WebP), composed: uint8 (H, W, 3), or (H, W, 4) with alpha.

    Raises as `read_image` does.
    """
    with opened(path) as animation:
        for picture in ImageSequence.Iterator(animation):
            picture.load()
            yield np.asarray(_to_rgb(picture, keep_alpha=True))


def color_profile(path: Path) -> bytes:
    """The ICC profile of an image file for RGB values, or nothing. Raises as `read_image` does."""
    with opened(path) as picture:
        profile = bytes(picture.info.get("icc_profile") or b"")
    return profile if profile[16:20] == b"RGB " else b""


def write_image(
    path: Path, pixels: Array, quality: int = 95, xmp: str = "", icc_profile: bytes = b"", finish: Finish | None = None
) -> None:
    """Write a picture as .png, .jpg or .webp, by suffix. An existing file is replaced when all is written.

    `finish` gets the finished file before it gets its name. Takes what `encode_image` takes, and raises OutputError as
    it does, or for a place that cannot be written.
    """
    if path.suffix.lower() not in _FORMATS:
        raise OutputError(f"{path}: cannot write images of this kind", f"use one of {', '.join(sorted(_FORMATS))}")
    write_whole(path, encode_image(path, pixels, quality, xmp, icc_profile), finish)


def encode_image(path: Path, pixels: Array, quality: int = 95, xmp: str = "", icc_profile: bytes = b"") -> bytes:
    """A picture as a file of the kind that the suffix of `path` says, one of `IMAGE_SUFFIXES`.

    `pixels`: uint8 or uint16 RGB (H, W, 3), or (H, W, 4) with alpha. PNG keeps all of it, WebP 8 bits and the alpha,
    JPEG 8 bits, laid on white. `xmp`, an XMP packet (ISO 16684-1), is put where each format keeps it; `icc_profile`
    says what the RGB values mean. Raises OutputError for a size that the format does not have.
    """
    kind = _FORMATS[path.suffix.lower()]
    if kind == "PNG":
        return _png(path, pixels, xmp, icc_profile)
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    if kind == "JPEG" and pixels.shape[2] == 4:
        pixels = on_white(pixels)
    arguments: dict[str, Any] = {"quality": quality, "icc_profile": icc_profile or None}
    if kind == "JPEG":
        arguments["subsampling"] = 0
    if xmp:
        arguments["xmp"] = xmp.encode()
    encoded = BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, kind, **arguments)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be written: {_short(error)}") from error
    return encoded.getvalue()


def on_white(pixels: Array) -> Array:
    """(H, W, 4) RGB with alpha, uint8 or uint16, as (H, W, 3) on a white ground."""
    peak = np.iinfo(pixels.dtype).max
    share = pixels[..., 3:].astype(np.float32) / np.float32(peak)
    laid: Array = np.round(pixels[..., :3] * share + np.float32(peak) * (1 - share)).astype(pixels.dtype)
    return laid


def _png(path: Path, pixels: Array, xmp: str, icc_profile: bytes) -> bytes:
    """OpenCV's encoder is three times as fast as Pillow's and has 16 bits; what it leaves out is put in here."""
    code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    try:
        _, made = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), code))
    except cv2.error as error:
        raise OutputError(f"{path} cannot be written: its size is {pixels.shape[1]}x{pixels.shape[0]}") from error
    encoded = made.tobytes()
    chunks = b""
    if icc_profile:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
    if xmp:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode())
    return encoded[:_PNG_HEADER_BYTES] + chunks + encoded[_PNG_HEADER_BYTES:]


_PNG_HEADER_BYTES = 8 + 25
"""The signature and the chunk IHDR (ISO/IEC 15948, 5.2 and 11.2.2); most others have to come before the pixels."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class NotAnImage(InputError):
    """A file that is nothing that Pillow reads here; it may still be a video."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose pixels are not yet read. Pillow's errors inside the block become InputErrors."""
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(path, formats=readable_formats())
        with picture:
            yield picture
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise NotAnImage(f"{path} is not an image that can be read") from error
    except _DAMAGED as error:
        raise InputError(f"{path} is a damaged image ({_short(error)})") from error


def _turn(picture: Image.Image) -> tuple[int, bool]:
    """(clockwise turn in degrees, then mirrored) that makes the picture upright; its pixels are not decoded for it."""
    file: Any = picture
    if picture.format != "PNG" or "exif" in picture.info:
        exif = picture.getexif()
    else:  # Pillow would decode it to look behind the pixels
        exif = Image.Exif()
        exif.load(_png_exif(file.filename))
    return _EXIF_TURNS.get(exif.get(_ORIENTATION_TAG, 1), (0, False))


def _png_exif(path: str) -> bytes:
    """The chunk eXIf of a PNG file, which may come last (PNG third edition, 5.6), or nothing."""
    with open(path, "rb") as file:
        file.seek(_PNG_HEADER_BYTES)
        while len(header := file.read(8)) == 8:
            length = int.from_bytes(header[:4], "big")
            if header[4:] == b"eXIf":
                return file.read(length)
            file.seek(length + 4, os.SEEK_CUR)
    return b""


def _is_deep(picture: Image.Image) -> bool:
    """Whether the file has 16 bits a sample; Pillow has no such mode for colours."""
    tiles: Any = getattr(picture, "tile", ())
    return picture.format in ("PNG", "TIFF") and any(";16" in str(tile[3]) for tile in tiles)


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in _WITH_ALPHA or (not picture.mode.startswith("I") and "transparency" in picture.info)


def _to_rgb(picture: Image.Image, *, keep_alpha: bool = False) -> Image.Image:
    if picture.mode.startswith(("I;16", "I", "F")):
        # Pillow clips 16-bit samples to 8 bits; they have to be scaled.
        samples = np.asarray(picture).astype(np.float64)
        peak = 65535.0 if samples.max(initial=0) > 255 else 255.0
        grey = np.clip(np.round(samples * (255.0 / peak)), 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if _has_alpha(picture):
        layer = picture.convert("RGBA")
        if keep_alpha:
            return layer
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
