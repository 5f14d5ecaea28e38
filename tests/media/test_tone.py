"""The SDR rendition of PQ and HLG, and the way back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from facexcli.media.color import put_roi, rgb_roi
from facexcli.media.frames import frame_from_native
from facexcli.media.pixels import plane_views
from facexcli.media.tone import hdr_from_sdr, is_hdr, sdr_from_hdr
from facexcli.types import ColorDescription, Frame, MediaInfo

PQ = ColorDescription(primaries=9, transfer=16, matrix=9, range=1, chroma_location=1)
HLG = ColorDescription(primaries=9, transfer=18, matrix=9, range=1, chroma_location=1)
REFERENCE_WHITE = {16: 0.5807, 18: 0.75}  # signal of 203 cd/m2, BT.2408 table 1


def test_hdr_is_told_by_the_transfer() -> None:
    assert [is_hdr(ColorDescription(transfer=transfer)) for transfer in (1, 2, 16, 14, 18)] == [
        False, False, True, False, True
    ]  # fmt: skip


@pytest.mark.parametrize("color", [PQ, HLG])
def test_grey_stays_grey_and_brighter_is_brighter(color: ColorDescription) -> None:
    signal = np.repeat(np.linspace(0, 1, 1024, dtype=np.float32)[:, None], 3, axis=1)
    shown = sdr_from_hdr(signal, color)
    assert np.abs(shown - shown[:, :1]).max() < 2e-4
    assert (np.diff(shown[:, 0]) > 0)[16:].all()
    assert shown[0, 0] == pytest.approx(0, abs=1e-3)
    white = {16: 0.7518, 18: 1.0}[color.transfer]  # 1000 cd/m2
    assert sdr_from_hdr(np.full((1, 3), white, np.float32), color)[0, 0] == pytest.approx(1, abs=2e-3)
    assert shown[-1, 0] < 1.1


@pytest.mark.parametrize("color", [PQ, HLG])
def test_reference_white_is_bright_but_leaves_room_for_highlights(color: ColorDescription) -> None:
    white = np.full((1, 3), REFERENCE_WHITE[color.transfer], np.float32)
    assert 0.8 < sdr_from_hdr(white, color)[0, 0] < 0.95


def test_the_pq_curve_is_that_of_the_standard() -> None:
    """BT.2408 table 1: 26 cd/m2 is 38 per cent PQ; an SDR display of 203 cd/m2 shows it at (26/203)^(1/2.4)."""
    grey = np.full((1, 3), 0.38, np.float32)
    assert sdr_from_hdr(grey, ColorDescription(transfer=16))[0, 0] == pytest.approx((26 / 203) ** (1 / 2.4), abs=0.01)


@pytest.mark.parametrize("color", [PQ, HLG])
def test_the_rendition_is_undone_within_one_code_value_of_ten_bits(color: ColorDescription) -> None:
    signal = np.random.default_rng(0).random((4000, 3)).astype(np.float32) * REFERENCE_WHITE[color.transfer]
    back = hdr_from_sdr(sdr_from_hdr(signal, color), color)
    assert np.abs(back - signal).max() * 876 < 1


@pytest.mark.parametrize("color", [PQ, HLG])
def test_highlights_come_back_too(color: ColorDescription) -> None:
    rng = np.random.default_rng(0)
    signal = np.clip(rng.random((4000, 1)) + rng.normal(0, 0.03, (4000, 3)), 0, 1).astype(np.float32)
    back = hdr_from_sdr(sdr_from_hdr(signal, color), color)
    assert np.abs(back - signal).max() * 876 < 2


@pytest.mark.parametrize("color", [PQ, HLG])
def test_an_unchanged_region_stays_within_one_code_value(color: ColorDescription) -> None:
    frame = _frame(color)
    box = (4, 6, 44, 46)
    edited = put_roi(frame, box, rgb_roi(frame, box, np.float32), np.ones((40, 40), np.float32))
    for before, after in zip(frame.planes, edited.planes, strict=True):
        assert np.abs(before.astype(int) - after).max() <= 1


def _frame(color: ColorDescription) -> Frame:
    native = av.VideoFrame(64, 48, "yuv444p10le")
    rng = np.random.default_rng(1)
    luma, cb, cr = plane_views(native, "yuv444p10le", writable=True)
    luma[...] = rng.integers(120, 64 + int(876 * REFERENCE_WHITE[color.transfer]), luma.shape)
    cb[...], cr[...] = rng.integers(508, 517, cb.shape), rng.integers(508, 517, cr.shape)
    info = MediaInfo(Path("made"), "video", 64, 48)
    return frame_from_native(native, 0, 0, Fraction(1, 25), 1, info, color)
