"""Blocks of large frames are mapped by themselves, so that what was freed is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from facexcli.memory import LARGE_BYTES, give_back_large_blocks

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Mallinfo
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def mapped(size):
    before = library.mallinfo2().hblks
    block = library.malloc(size)
    count = library.mallinfo2().hblks - before
    library.free(block)
    return count

mapped(4 * LARGE_BYTES)  # glibc raises its threshold when this is freed
print(sys.argv[1] == "ours" and give_back_large_blocks(), mapped(LARGE_BYTES + 1))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
@pytest.mark.parametrize(("whose", "told"), [("theirs", ["False", "0"]), ("ours", ["True", "1"])])
def test_large_blocks_are_mapped_even_after_larger_ones_were_freed(whose: str, told: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, whose], capture_output=True, text=True, check=False)
    if "mallinfo2" in ended.stderr:
        pytest.skip("a C library that does not tell what it maps")
    assert ended.stdout.split() == told, ended.stderr
