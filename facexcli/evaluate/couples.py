"""Made clips of two talkers: side by side, or walking past each other, with the truth of who is where.

The talkers of GRID sit before a blue wall, so each can be cut out by colour and put beside the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facexcli.errors import NoFaceError
from facexcli.events import SilentReporter
from facexcli.fusion.mask import face_outline
from facexcli.media.color import rgb_roi
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import write_image
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analyse import analyse_media

if TYPE_CHECKING:
    from facexcli.faces.base import Analyzer
    from facexcli.types import Array

_RATE = Fraction(25)
_SIZE_PX = (720, 288)
_WALL_RGB = ((96, 150, 176), (60, 112, 140))
"""At its top and at its bottom."""
_KEY = (22.0, 48.0)
"""The wall's green or blue exceeds its red by more than this, in code values; skin, hair and black cloth do not."""
_ENCODE = EncodeOptions(codec="h264", crf=12, preset="veryfast")


@dataclass(frozen=True, slots=True)
class Truth:
    """One person of a couple.

    still: a picture of the person alone. landmarks_px: float32 (T, 68, 2). visible: float64 (T,), the share of the face
    in 0..1 that the other person does not cover.
    """

    still: Path
    landmarks_px: Array
    visible: Array


@dataclass(frozen=True, slots=True)
class Couple:
    """A made clip, and the two people in it; the second is the one in front."""

    path: Path
    people: tuple[Truth, Truth]


@dataclass(frozen=True, slots=True)
class _Talker:
    """A person cut out. rgb: uint8 (T, H, W, 3). alpha: float32 (T, H, W) in 0..1. landmarks_px: (T, 68, 2)."""

    rgb: Array
    alpha: Array
    landmarks_px: Array

    @property
    def middle_x(self) -> float:
        return float(np.median(self.landmarks_px[:, :, 0]))


def make_couple(clips: tuple[Path, Path], folder: Path, name: str, crossing: bool, analyzer: Analyzer) -> Couple:
    """Write `name`.mkv into `folder`, and a still of each person.

    Side by side they stay where they are; crossing, they change places in the length of the clip, the second passing
    in front of the first, whose face is covered for about half a second. Raises NoFaceError for a clip in which the
    face is not seen all the time.
    """
    talkers = [_talker(clip, analyzer) for clip in clips]
    count = min(len(talker.rgb) for talker in talkers)
    quarter = _SIZE_PX[0] / 4
    way = (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2 if crossing else np.zeros(count)
    middles = [quarter + 2 * quarter * way, 3 * quarter - 2 * quarter * way]
    shifts = [np.round(middle - talker.middle_x).astype(int) for middle, talker in zip(middles, talkers, strict=True)]
    visible = np.ones((2, count))
    path = folder / f"{name}.mkv"
    video = VideoFormat(*_SIZE_PX, "rgb24", 1 / _RATE, _RATE)
    with VideoWriter(path, video, _ENCODE) as writer:
        for index in range(count):
            picture, shares = _composite(talkers, shifts, index)
            visible[:, index] = shares
            writer.write(frame_from_rgb(picture, index, index, 1 / _RATE, 1))
    truths = []
    for number, (talker, shift) in enumerate(zip(talkers, shifts, strict=True)):
        still = folder / f"{name}-{number + 1}.png"
        write_image(still, talker.rgb[0])
        drop = np.full(count, _SIZE_PX[1] - talker.rgb.shape[1])
        placed = talker.landmarks_px[:count] + np.stack([shift, drop], axis=-1)[:, None]
        truths.append(Truth(still, placed.astype(np.float32), visible[number]))
    return Couple(path, (truths[0], truths[1]))


def _talker(clip: Path, analyzer: Analyzer) -> _Talker:
    info = probe(clip)
    analysis = analyse_media(info, analyzer, 0.0, SilentReporter(), "prepare")
    if len(analysis.tracks) != 1 or len(analysis.tracks[0].faces) != analysis.frame_count:
        raise NoFaceError(f"{clip}: not one face from the first frame to the last")
    with FrameReader(clip, info) as reader:
        rgb = np.stack([rgb_roi(frame, (0, 0, info.width_px, info.height_px)) for frame in reader])
    landmarks = np.stack([face.landmarks_px for face in analysis.tracks[0].faces])
    return _Talker(rgb, np.stack([_person_alpha(picture) for picture in rgb]), landmarks)


def _person_alpha(rgb: Array) -> Array:
    """float32 (H, W) in 0..1: 0 where the wall is."""
    smooth = cv2.GaussianBlur(rgb, (0, 0), 0.8).astype(np.float32)
    blueness = smooth[..., 1:].max(axis=2) - smooth[..., 0]
    alpha = np.clip((_KEY[1] - blueness) / (_KEY[1] - _KEY[0]), 0, 1)
    # Reflections of the wall on skin and cloth are no holes; the margins of the picture are no people.
    solid = cv2.morphologyEx((alpha > 0.5).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    _, labels, facts, _ = cv2.connectedComponentsWithStats(solid)
    largest = 1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA])) if len(facts) > 1 else 0
    inner = cv2.erode((labels == largest).astype(np.uint8), np.ones((5, 5), np.uint8))
    near = cv2.dilate((labels == largest).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(np.maximum(alpha * near, inner), np.float32)


def _composite(talkers: list[_Talker], shifts: list[Array], index: int) -> tuple[Array, tuple[float, float]]:
    """The frame, uint8 (H, W, 3), and how much of each face is to be seen in it."""
    width, height = _SIZE_PX
    top, bottom = (np.array(colour, np.float32) for colour in _WALL_RGB)
    picture = np.tile(top + (bottom - top) * np.linspace(0, 1, height, dtype=np.float32)[:, None, None], (1, width, 1))
    alphas = []
    for talker, shift in zip(talkers, shifts, strict=True):
        move = np.array([[1, 0, float(shift[index])], [0, 1, height - talker.rgb.shape[1]]])
        moved = cv2.warpAffine(talker.rgb[index].astype(np.float32), move, (width, height))
        alphas.append(cv2.warpAffine(talker.alpha[index], move, (width, height)))
        picture += (moved - picture) * alphas[-1][..., None]
    behind = np.zeros((height, width), np.uint8)
    corner = np.array([shifts[0][index], height - talkers[0].rgb.shape[1]])
    outline = face_outline(talkers[0].landmarks_px[index]) + corner
    cv2.fillPoly(behind, [np.round(outline).astype(np.int32)], 1)
    seen = 1 - float(alphas[1][behind > 0].mean())
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8), (seen, 1.0)
