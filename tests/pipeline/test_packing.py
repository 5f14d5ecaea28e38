"""Arrays in JSON files: the same numbers back, wherever the blocks end in which they are written and read."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexcli.pipeline import packing
from facexcli.pipeline.packing import PackedFile, packed
from facexcli.types import Array

BLOCK, LONG = 64, 24


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_BLOCK", BLOCK)
        patch.setattr(packing, "_LONG", LONG)
        yield


def opened(values: object) -> tuple[PackedFile, Any]:
    file = PackedFile(io.BytesIO(json.dumps(values, ensure_ascii=False).encode()))
    return file, json.loads(file.text)


@given(st.integers(0, 300), st.integers(0, 150), st.booleans())
def test_numbers_come_back_wherever_blocks_end(count: int, shift: int, even: bool) -> None:
    array = np.zeros(count, "<f4") if even else np.random.default_rng(count).normal(size=count).astype("<f4")
    texts = ["".join(packed(array)), "".join(packed(np.arange(count, dtype="<i4")))]
    name = "x" * shift
    file, (known, before, (first, second)) = opened([{name: 'ä"'}, "short", texts])
    assert known == {name: 'ä"'} if shift <= LONG else True
    assert before == "short"
    np.testing.assert_array_equal(file.unpack(first, "<f4", (count,)), array)
    np.testing.assert_array_equal(file.unpack(second, "<i4", (count,)), np.arange(count))
    assert len(file.text) < 120 + shift


def test_the_text_is_that_of_the_whole_array() -> None:
    """As base64 and zlib write it at once, so that other programs can."""
    array = np.random.default_rng(1).normal(size=(50, 3))
    assert zlib.decompress(base64.b64decode("".join(packed(array)))) == array.tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-8], "does not hold 100 numbers"),
        (lambda text: text[: len(text) // 2 // 4 * 4] + "!!!!" + text[-8:], "is not a packed array"),
        (lambda text: "A" + text[1:], "is not a packed array"),
        (lambda text: "".join(packed(np.zeros(101, "<f4"))), "does not hold 100 numbers"),
        (lambda text: "".join(packed(np.zeros(10**6, "<f4"))), "does not hold 100 numbers"),
        (lambda text: "".join(packed(np.full(100, np.inf, "<f4"))), "a number that is not finite"),
        (lambda text: "\ue0001", "is not a packed array"),
        (lambda text: "\ue000", "is not a packed array"),
        (lambda text: "ä", "is not a packed array"),
        (lambda text: "", "does not hold 100 numbers"),
    ],
)
def test_damage_is_told(change: Callable[[str], str], message: str) -> None:
    text = "".join(packed(np.random.default_rng(2).normal(size=100).astype("<f4")))
    file, (found,) = opened([change(text)])
    with pytest.raises(ValueError, match=message):
        file.unpack(found, "<f4", (100,))


def test_what_is_read_cannot_be_written_to() -> None:
    file, (text,) = opened(["".join(packed(np.zeros(3)))])
    array: Array = file.unpack(text, "<f8", (3,))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
