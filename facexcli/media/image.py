"""Still pictures: reading with EXIF orientation, and writing that is complete or not at all."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, ImageSequence, PngImagePlugin, UnidentifiedImageError

from facexcli.errors import InputError, OutputError
from facexcli.media.atomic import AtomicFile
from facexcli.media.container import check_file, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from facexcli.types import Array

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
IMAGE_SUFFIXES = frozenset(_FORMATS)
_READABLE = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
# Errors that Pillow's decoders raise for damaged files; it promises no common base.
_DAMAGED = (OSError, SyntaxError, ValueError, IndexError, EOFError, TypeError, Image.DecompressionBombError)


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
    check_file(path)
    try:
        with Image.open(path, formats=readable_formats()) as picture:
            picture.seek(0)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(_to_rgb(upright))
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that can be read") from error
    except _DAMAGED as error:
        raise InputError(f"{path} is a damaged image ({_short(error)})") from error


def read_animation(path: Path) -> Iterator[tuple[Array, int]]:
    """The pictures of an animation that Pillow reads (WebP), with durations in ms. Raises as `read_image` does."""
    check_file(path)
    try:
        with Image.open(path, formats=readable_formats()) as animation:
            for picture in ImageSequence.Iterator(animation):
                picture.load()
                yield np.asarray(_to_rgb(picture)), int(picture.info.get("duration", 0)) or 100
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that can be read") from error
    except _DAMAGED as error:
        raise InputError(f"{path} is a damaged image ({_short(error)})") from error


def color_profile(path: Path) -> bytes:
    """The ICC profile of an image file, or nothing. Raises as `read_image` does."""
    check_file(path)
    try:
        with Image.open(path, formats=readable_formats()) as picture:
            return bytes(picture.info.get("icc_profile") or b"")
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that can be read") from error
    except _DAMAGED as error:
        raise InputError(f"{path} is a damaged image ({_short(error)})") from error


def write_image(path: Path, rgb: Array, quality: int = 95, xmp: str = "", icc_profile: bytes = b"") -> None:
    """Write uint8 (H, W, 3) RGB as .png, .jpg or .webp, by suffix. An existing file is replaced when all is written.

    `xmp`, an XMP packet (ISO 16684-1), is put where each format keeps it; `icc_profile` says what the RGB values mean.

    Raises OutputError for an unknown suffix or a place that cannot be written.
    """
    if path.suffix.lower() not in _FORMATS:
        raise OutputError(f"{path}: cannot write images of this kind", f"use one of {', '.join(sorted(_FORMATS))}")
    with AtomicFile(path) as target:
        try:
            picture = Image.fromarray(np.ascontiguousarray(rgb))
            kind = _FORMATS[path.suffix.lower()]
            picture.save(
                target.temporary, format=kind, quality=quality, subsampling=0, **_metadata(kind, xmp, icc_profile)
            )
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {os_reason(error)}") from error
        target.commit()


def _metadata(kind: str, xmp: str, icc_profile: bytes) -> dict[str, Any]:
    arguments: dict[str, Any] = {"icc_profile": icc_profile} if icc_profile else {}
    if xmp and kind == "PNG":
        arguments["pnginfo"] = PngImagePlugin.PngInfo()
        arguments["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif xmp:
        arguments["xmp"] = xmp.encode()
    return arguments


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I;16", "I", "F")):
        # Pillow clips 16-bit samples to 8 bits; they have to be scaled.
        samples = np.asarray(picture).astype(np.float64)
        peak = 65535.0 if samples.max(initial=0) > 255 else 255.0
        grey = np.clip(np.round(samples * (255.0 / peak)), 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
