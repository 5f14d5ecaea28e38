"""Messages of protocol buffers, read in place and within their own bounds: for files that are somebody else's.

See https://protobuf.dev/programming-guides/encoding. All functions raise ValueError for bytes that are no message.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10

Data = mmap.mmap | memoryview


def varint(data: Data, at: int, stop: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing begins."""
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= stop:
            break
        byte = int(data[at + place])
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("it is cut off or damaged")


def fields(data: Data, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Each field of a message: its number and where its content lies; for a number, where the varint lies."""
    while at < stop:
        key, start = varint(data, at, stop)
        kind = key & 7
        if kind == _VARINT:
            _, end = varint(data, start, stop)
        elif kind == _BYTES:
            length, start = varint(data, start, stop)
            end = start + length
        elif kind in (_FIXED32, _FIXED64):
            end = start + (4 if kind == _FIXED32 else 8)
        else:
            raise ValueError("it is cut off or damaged")
        if end > stop:
            raise ValueError("it is cut off or damaged")
        yield key >> 3, start, end
        at = end


def inner(data: Data, start: int, stop: int, *path: int) -> tuple[int, int] | None:
    """Where the message lies to which the field numbers `path` lead."""
    for number in path:
        found = next((part[1:] for part in fields(data, start, stop) if part[0] == number), None)
        if found is None:
            return None
        start, stop = found
    return start, stop


def text(data: Data, start: int, stop: int, *path: int) -> str:
    part = inner(data, start, stop, *path)
    return bytes(data[part[0] : part[1]]).decode("utf-8", "replace") if part else ""


def number(data: Data, start: int, stop: int, *path: int) -> int | None:
    part = inner(data, start, stop, *path)
    return varint(data, *part)[0] if part else None


def framed(field: int, content: bytes | memoryview) -> bytes:
    """Bytes as field number `field` of a message."""
    return _varint_of(field << 3 | _BYTES) + _varint_of(len(content)) + bytes(content)


def _varint_of(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
