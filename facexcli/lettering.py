"""The fonts that are there without asking the system for any."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib import resources
from typing import Any

from PIL import ImageFont

_FIRST_AFTER_LATIN = 0x250
_NO_LETTER = "\U0010ffff"


@lru_cache(maxsize=32)
def font_for(words: str, size_px: int) -> Any:
    """A Pillow font for these words: its own has Latin letters only; matplotlib brings one with many scripts.

    Neither has the scripts of Asia; `lacks` tells of them.
    """
    if max(map(ord, words), default=0) >= _FIRST_AFTER_LATIN:
        wide = resources.files("matplotlib") / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        with suppress(OSError):
            return ImageFont.truetype(str(wide), size_px)
    return ImageFont.load_default(size_px)


def lacks(words: str) -> str:
    """The letters of `words` for which `font_for` has only a box."""
    font = font_for(words, 24)
    box = _drawn(font, _NO_LETTER)
    return "".join(dict.fromkeys(letter for letter in words if not letter.isspace() and _drawn(font, letter) == box))


def _drawn(font: Any, letter: str) -> bytes:
    return bytes(font.getmask(letter))
