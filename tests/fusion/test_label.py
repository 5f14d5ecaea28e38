"""A label can be read on any picture, and fits into it."""

from __future__ import annotations

import numpy as np
import pytest

from facexcli.fusion.label import draw_label
from facexcli.lettering import lacks


@pytest.mark.parametrize("size", [(1920, 1080), (720, 1280), (160, 120), (3840, 2160)])
@pytest.mark.parametrize("text", ["AI-generated", "A longer label that has to be broken into lines to fit 123", "Ж"])
def test_a_label_fits_and_has_a_clear_rim(text: str, size: tuple[int, int]) -> None:
    rgb, alpha = draw_label(text, *size)
    assert rgb.shape == (*alpha.shape, 3) and rgb.dtype == alpha.dtype == np.float32
    assert alpha.shape[1] <= size[0] and alpha.shape[0] <= size[1] / 2
    rim = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert rim.max() == 0 and alpha.max() <= 1 and 0 <= rgb.min() <= rgb.max() <= 1


@pytest.mark.parametrize("ground", [0.0, 0.5, 1.0])
def test_letters_stand_out_from_their_plate_on_any_ground(ground: float) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1, here in linear light."""
    rgb, alpha = draw_label("AI-generated", 1920, 1080)
    seen = rgb[..., 0] * alpha + ground * (1 - alpha)
    plate, ink = np.median(seen[alpha > 0]), seen[alpha > 0.999].max()
    contrast = (_linear(ink) + 0.05) / (_linear(float(plate)) + 0.05)
    assert contrast > 4.5


def _linear(code: float) -> float:
    return float(code / 12.92 if code <= 0.04045 else ((code + 0.055) / 1.055) ** 2.4)


def test_letters_that_no_font_has_are_found() -> None:
    assert lacks("AI-generated, été, Сделано ИИ") == ""
    assert lacks("合成 AI") == "合成"
