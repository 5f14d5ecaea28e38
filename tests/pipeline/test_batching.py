"""Whole batches for engines that like them, and the frames that one face after the other would give."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from facexcli.engines.base import EngineSpec
from facexcli.faces.align import TEMPLATES, crop_from_frame
from facexcli.fusion.compose import Look
from facexcli.media.frames import frame_from_rgb
from facexcli.pipeline.batching import in_batches, turns
from facexcli.pipeline.painter import CanvasFace, CropShape, Job, Painter
from facexcli.pipeline.parallel import StageClock
from facexcli.pipeline.placing import PlacedFace
from facexcli.pipeline.render import RenderCounts, render
from facexcli.recipes import recipe_named
from facexcli.types import EditRequest, Face, Frame, Motion, Patch

CROP_PX, WIDTH_PX, HEIGHT_PX = 64, 320, 160
TEMPLATE_POINTS = TEMPLATES["ffhq"].points_px(CROP_PX)


def placed(track_id: int, x_px: float, y_px: float = 40.0, side_px: float = 80.0) -> PlacedFace:
    """A face whose crop is a square of the frame."""
    landmarks = (TEMPLATE_POINTS * (side_px / CROP_PX) + (x_px, y_px)).astype(np.float32)
    face = Face((x_px, y_px, x_px + side_px, y_px + side_px), landmarks, 1.0)
    return PlacedFace(track_id, face, crop_from_frame(landmarks, "ffhq", CROP_PX))


APART, CLOSE = (placed(1, 10), placed(2, 200)), (placed(1, 10), placed(2, 60))


def job(index: int, faces: Sequence[PlacedFace]) -> Job:
    noise = np.random.default_rng(index).integers(0, 256, (HEIGHT_PX // 8, WIDTH_PX // 8, 3), np.uint8)
    rgb = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    frame = frame_from_rgb(rgb, index, index, Fraction(1, 25), 1)
    return Job(frame, [CanvasFace(face, None) for face in faces])


class Inverting:
    """Turns colours round, so that what is painted twice shows; remembers how many it was asked for at once."""

    def __init__(self, batch: int) -> None:
        self.spec = EngineSpec(
            "inverting", frozenset({"reenact"}), (CROP_PX,), {"reenact": "ffhq"}, "", "", batch=batch
        )
        self.sizes: list[int] = []
        self.previous: list[tuple[int, int, bool]] = []

    def prepare(self, sources: Sequence[Any], motion: Motion | None = None) -> None:
        return None

    def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
        self.sizes.append(len(requests))
        for request in requests:
            canvas = request.canvas
            self.previous.append((canvas.frame_index, canvas.track_id, request.previous is not None))
        return [
            Patch(1 - request.canvas.rgb / np.float32(255), np.ones((CROP_PX, CROP_PX), np.float32))
            for request in requests
        ]

    def close(self) -> None:
        return None


def painter_of(engine: Inverting, temporal: float = 0.0) -> Painter:
    shape = CropShape("ffhq", CROP_PX, (WIDTH_PX, HEIGHT_PX))
    return Painter(engine, recipe_named("reenact"), Look(), shape, StageClock(), temporal=temporal)


class Kept:
    """Sink and progress."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)

    def advance(self) -> None: ...
    def finish(self) -> None: ...


def painted(jobs: Sequence[Job], engine: Inverting, temporal: float = 0.0) -> tuple[list[Frame], RenderCounts]:
    kept = Kept()
    counts = render(iter(jobs), painter_of(engine, temporal), kept, kept, StageClock())
    return kept.frames, counts


def test_faces_that_touch_wait_for_each_other() -> None:
    faces = [CanvasFace(face, None) for face in (*APART, placed(3, 60), placed(4, 120))]
    assert turns(faces[:1], CROP_PX) == (0,)
    assert turns(faces[:2], CROP_PX) == (0, 0)
    assert turns(faces, CROP_PX) == (0, 0, 1, 2)


def test_batches_are_filled_with_faces_and_bounded_in_frames() -> None:
    def sizes(faces: Sequence[Sequence[PlacedFace]], batch: int) -> list[int]:
        jobs = [job(index, each) for index, each in enumerate(faces)]
        return [len(frames) for frames in in_batches(jobs, batch, CROP_PX)]

    assert sizes([APART[:1]] * 10, 4) == [4, 4, 2]
    assert sizes([APART] * 5, 4) == [2, 2, 1]
    assert sizes([CLOSE] * 5, 4) == [4, 1], "only one of them can be painted at a time"
    assert sizes([()] * 9, 4) == [4, 4, 1]
    assert sizes([APART] * 3, 1) == [1, 1, 1]


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_frames_are_the_same_for_any_batch(batch: int) -> None:
    faces = [APART, CLOSE, (), APART[:1], (*CLOSE, placed(3, 110)), CLOSE, APART]
    jobs = [job(index, each) for index, each in enumerate(faces)]
    single, many = Inverting(1), Inverting(batch)
    expected, counts = painted(jobs, single)
    found, counts_of_many = painted(jobs, many)
    for one, other in zip(expected, found, strict=True):
        for plane, other_plane in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(plane, other_plane)
    assert counts == counts_of_many and counts.per_track == {1: 6, 2: 5, 3: 1}
    assert max(many.sizes) > max(single.sizes)
    assert sum(many.sizes) == sum(single.sizes) == 12


def test_decoding_goes_on_while_the_engine_has_the_first_batch() -> None:
    decoded: list[int] = []
    second_batch = threading.Event()

    class Waiting(Inverting):
        def render(self, requests: Sequence[EditRequest]) -> list[Patch]:
            assert second_batch.wait(20), "nothing was decoded while the engine worked"
            return super().render(requests)

    def jobs() -> Iterator[Job]:
        for index in range(12):
            decoded.append(index)
            if len(decoded) > 4:
                second_batch.set()
            yield job(index, APART[:1])

    kept = Kept()
    render(jobs(), painter_of(Waiting(4)), kept, kept, StageClock())
    assert [frame.index for frame in kept.frames] == list(range(12))


def test_the_previous_face_is_the_same_tracks_one_frame_before() -> None:
    engine = Inverting(4)
    faces = [APART, APART[:1], APART, APART]
    painted([job(index, each) for index, each in enumerate(faces)], engine, temporal=0.5)
    assert engine.previous == [
        (0, 1, False), (0, 2, False), (1, 1, True), (2, 1, True), (2, 2, False), (3, 1, True), (3, 2, True),
    ]  # fmt: skip
    without = Inverting(1)
    painted([job(index, each) for index, each in enumerate(faces)], without)
    assert not any(known for _, _, known in without.previous)
