"""Clips and stills as arrays, one analyzer for all, and tracks with chosen landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.types import Array

Clip = list[Array]


@pytest.fixture(scope="session")
def analyzer() -> Iterator[DlibAnalyzer]:
    made = DlibAnalyzer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def clip(eval_data: Path) -> Callable[[str], Clip]:
    """The RGB frames of a clip of talking/."""
    cache: dict[str, Clip] = {}

    def read(name: str) -> Clip:
        if name not in cache:
            with av.open(str(eval_data / "talking" / name)) as container:
                cache[name] = [np.ascontiguousarray(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
        return cache[name]

    return read


@pytest.fixture(scope="session")
def still(eval_data: Path) -> Callable[[str], Array]:
    """A still as RGB, by its path below the data folder."""

    def read(name: str) -> Array:
        bgr = cv2.imread(str(eval_data / name))
        assert bgr is not None
        return np.ascontiguousarray(bgr[..., ::-1])

    return read
