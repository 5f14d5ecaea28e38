"""How far pictures differ where they should be equal: PSNR, RMSE and SSIM over parts of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from facexcli.evaluate.measures import psnr_db

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from facexcli.types import Array

ELSEWHERE = 0
"""The label of what belongs to nobody."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Over all pixels of a region and all frames. psnr_db may be infinite; ssim in -1..1; rmse in 8-bit code values."""

    psnr_db: float
    ssim: float
    rmse: float


class RegionMeter:
    """Adds up errors by region; a region is a small number that labels pixels. SSIM as in Wang et al. 2004, on luma."""

    def __init__(self, regions: int) -> None:
        self._pixels = np.zeros(regions)
        self._squares = np.zeros(regions)
        self._similarity = np.zeros(regions)

    def feed(self, result: Array, canvas: Array, labels: Array) -> None:
        """Two pictures, uint8 (H, W, 3), and the region of each pixel, uint8 (H, W)."""
        flat, count = labels.ravel(), len(self._pixels)
        squares = ((result.astype(np.float32) - canvas) ** 2).mean(axis=2)
        self._pixels += np.bincount(flat, minlength=count)
        self._squares += np.bincount(flat, squares.ravel(), minlength=count)
        self._similarity += np.bincount(flat, _similarity(result, canvas).ravel(), minlength=count)

    def fidelity(self, regions: Iterable[int]) -> Fidelity | None:
        """Of several regions together; None where they have no pixel."""
        chosen = list(regions)
        pixels = self._pixels[chosen].sum()
        if not pixels:
            return None
        squared = float(self._squares[chosen].sum() / pixels)
        return Fidelity(psnr_db(squared), float(self._similarity[chosen].sum() / pixels), squared**0.5)


def label_regions(size_px: tuple[int, int], outlines: Mapping[int, Array]) -> Array:
    """uint8 (H, W): the regions drawn over each other, `ELSEWHERE` around them. outlines: (N, 2) in pixels."""
    labels = np.zeros((size_px[1], size_px[0]), np.uint8)
    for region, outline in outlines.items():
        cv2.fillPoly(labels, [np.round(outline).astype(np.int32).reshape(-1, 1, 2)], region)
    return labels


def _similarity(result: Array, canvas: Array) -> Array:
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (result, canvas)]
    _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
        luma[0], luma[1], data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return np.asarray(similarity)
