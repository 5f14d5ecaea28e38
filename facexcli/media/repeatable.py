"""What encoders need for the same frames to become the same packets: resumed and uninterrupted runs have to agree.

Tried with memory filled with different patterns, with other processes in the way, and with 2 to 8 threads: libx265,
libsvtav1, libvpx-vp9, prores_ks and ffv1 repeat themselves as they are, and so does libx264 without AVX-512. How many
threads libx264 and libx265 use may change their packets; when each of them ran does not.
"""

from __future__ import annotations

import cv2

# OpenCV's numbers of what a processor can do (cv::CpuFeatures), which Python has no names for.
_AVX2, _FMA3, _AVX512F = 11, 12, 13


def repeatable_options(encoder: str) -> dict[str, str]:
    """The options of libav with which an encoder repeats itself on this machine, in the encoder's own syntax.

    With AVX-512, x264 weighs blocks by what later frames take from them (mbtree) with memory that it has not set, so
    that each encode differs a little; with AVX2 it does not, and takes 7 to 11 % more CPU time. A processor without
    AVX-512 is not told anything: x264 crashes where it is told to use what is not there.
    """
    if encoder not in ("libx264", "libx264rgb"):
        return {}
    if not all(cv2.checkHardwareSupport(feature) for feature in (_AVX512F, _AVX2, _FMA3)):
        return {}
    return {"x264-params": "asm=AVX2,FMA3"}


__all__ = ["repeatable_options"]
