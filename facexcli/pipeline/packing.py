"""Arrays as text in a JSON file: base64 of zlib-compressed little-endian numbers. Reading trusts nothing."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

from facexcli.types import Array


def pack(array: Array) -> str:
    """Any shape; the reader has to know it, and the dtype, which must be little-endian."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode("ascii")


def unpack(text: str, dtype: str, shape: tuple[int, ...]) -> Array:
    """An array of exactly this shape, read-only. At most its own size is ever decompressed.

    Raises ValueError for text that is no packed array, holds another number of bytes, or a number that is not finite.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        compressed = base64.b64decode(text, validate=True)
        stream = zlib.decompressobj()
        data = stream.decompress(compressed, size + 1)  # 0 would mean no limit
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError("is not a packed array") from error
    if len(data) != size or not stream.eof:
        raise ValueError(f"does not hold {' x '.join(map(str, shape))} numbers")
    array = np.frombuffer(data, dtype).reshape(shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("holds a number that is not finite")
    return array
