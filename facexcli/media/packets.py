"""Encoded packets in a file of their own: a part of a video, as its encoder gave it, until the parts are joined.

No container is needed between an encoder and the file that is made in the end, and none rounds the time stamps. The
file is a header (magic, time base) and records: pts, dts, duration, size and a key frame mark, then the bytes.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from av.packet import Packet

from facexcli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

SUFFIX = ".packets"
_MAGIC = b"facexpk1"
_HEADER = struct.Struct("<8sqq")
_RECORD = struct.Struct("<qqqIB")


class PacketWriter:
    """Writes packets, whose times are in `time_base`, into an open binary file."""

    def __init__(self, file: BinaryIO, time_base: Fraction) -> None:
        self._file = file
        self._time_base = time_base
        file.write(_HEADER.pack(_MAGIC, time_base.numerator, time_base.denominator))

    def write(self, packet: Any) -> None:
        """Raises OSError."""
        data = bytes(packet)
        pts, dts, duration = (round(ticks * packet.time_base / self._time_base)
                              for ticks in (packet.pts, packet.dts, packet.duration or 0))  # fmt: skip
        self._file.write(_RECORD.pack(pts, dts, duration, len(data), packet.is_keyframe))
        self._file.write(data)


def read_packets(path: Path) -> Iterator[Any]:
    """The packets of a file that `PacketWriter` wrote. Raises InputError for a damaged one."""
    try:
        with path.open("rb") as file:
            magic, numerator, denominator = _HEADER.unpack(file.read(_HEADER.size))
            if magic != _MAGIC:
                raise ValueError
            while head := file.read(_RECORD.size):
                pts, dts, duration, size, is_key = _RECORD.unpack(head)
                data = file.read(size)
                if len(data) != size:
                    raise ValueError
                packet = Packet(data)
                packet.pts, packet.dts, packet.duration = pts, dts, duration
                packet.time_base = Fraction(numerator, denominator)
                packet.is_keyframe = bool(is_key)
                yield packet
    except (OSError, ValueError, struct.error) as error:
        raise InputError(f"{path}: this part of the video is damaged", "start anew with --fresh") from error
