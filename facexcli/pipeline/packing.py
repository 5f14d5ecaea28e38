"""Arrays as text in a JSON file: base64 of zlib-compressed little-endian numbers. Reading trusts nothing.

Neither the text of an array nor its bytes are ever held a second time: a column of a film has tens of megabytes.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from facexcli.types import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 18
"""Bytes or numbers at once; a multiple of 4, because base64 has groups of four characters."""
_LONG = 1 << 12
_CHARACTERS = re.compile(rb"[A-Za-z0-9+/=]*")
_STRING = re.compile(rb'"[A-Za-z0-9+/=]*')
_MARK = "\ue000"
"""For private use, and not printable: nothing else in an analysis may begin with it."""


def packed(array: Array) -> Iterator[str]:
    """The text of an array of any shape, piece by piece; the reader has to know the shape, and the dtype, which must
    be little-endian."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    compressor = zlib.compressobj()
    rest = b""
    for start in range(0, len(data), _BLOCK):
        rest += compressor.compress(data[start : start + _BLOCK].data)
        whole = len(rest) // 3 * 3  # base64 makes four characters of three bytes
        yield base64.b64encode(rest[:whole]).decode("ascii")
        rest = rest[whole:]
    yield base64.b64encode(rest + compressor.flush()).decode("ascii")


class PackedFile:
    """A JSON file with packed arrays, open.

    text: what is in it, but for long strings of base64 characters: in place of each stands a mark. Such strings are
    nothing but arrays, which `unpack` reads one by one.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Raises OSError, and UnicodeDecodeError for what is not UTF-8."""
        self._file = file
        self._spans: list[tuple[int, int]] = []
        self.text = b"".join(self._short_texts()).decode("utf-8")

    def unpack(self, text: str, dtype: str, shape: tuple[int, ...]) -> Array:
        """The array of exactly this shape that a string of the file stands for, read-only. At most its own size is
        ever decompressed.

        Raises ValueError for what is no packed array, holds another number of bytes, or a number that is not finite,
        and OSError.
        """
        array = np.empty(shape, dtype)
        flat = array.reshape(-1)
        data, filled, wrong = flat.view(np.uint8), 0, f"does not hold {' x '.join(map(str, shape))} numbers"
        try:
            for part in _inflated(self._characters(text)):
                if filled + len(part) > len(data):
                    raise ValueError(wrong)
                data[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
                filled += len(part)
        except (binascii.Error, zlib.error) as error:
            raise ValueError("is not a packed array") from error
        except EOFError as error:
            raise ValueError(wrong) from error
        if filled != len(data):
            raise ValueError(wrong)
        if array.dtype.kind == "f":
            for start in range(0, len(flat), _BLOCK):
                if not np.isfinite(flat[start : start + _BLOCK]).all():
                    raise ValueError("holds a number that is not finite")
        array.setflags(write=False)
        return array

    def _characters(self, text: str) -> Iterator[bytes]:
        """Of a string of the file, block by block."""
        if not text.startswith(_MARK):
            yield text.encode("ascii", "replace")
            return
        number = text[1:]
        if not number.isdecimal() or int(number) >= len(self._spans):
            raise binascii.Error("there is no such mark")
        start, stop = self._spans[int(number)]
        self._file.seek(start)
        for place in range(start, stop, _BLOCK):
            yield self._file.read(min(_BLOCK, stop - place))

    def _short_texts(self) -> Iterator[bytes]:
        """The file with marks; notes where that is for which they stand."""
        rest, offset, is_inside = b"", 0, False
        for block in iter(lambda: self._file.read(_BLOCK), b""):
            data = rest + block
            place, end = 0, len(data)
            if is_inside and (match := _CHARACTERS.match(data)):  # a string that began in a block before
                place = match.end()
                self._spans[-1] = self._spans[-1][0], offset + place
                is_inside = place == end
            for match in _STRING.finditer(data, place):
                goes_on = match.end() == len(data)
                if match.end() - match.start() > _LONG:
                    yield data[place : match.start() + 1] + f"{_MARK}{len(self._spans)}".encode()
                    self._spans.append((offset + match.start() + 1, offset + match.end()))
                    place, is_inside = match.end(), goes_on
                elif goes_on:
                    end = match.start()
            yield data[place:end]
            rest, offset = data[end:], offset + end
        yield rest


def _inflated(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What blocks of base64 text hold, block by block. Raises binascii.Error, zlib.error, and EOFError where the end
    is missing."""
    stream = zlib.decompressobj()
    for block in chain(blocks, (b"",)):
        data = base64.b64decode(block, validate=True)
        while not stream.eof:
            part = stream.decompress(data, _BLOCK)
            data = stream.unconsumed_tail
            if not part:
                break
            yield part
    if not stream.eof:
        raise EOFError
