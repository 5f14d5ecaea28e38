"""One scale of quality and one of speed for all encoders: `--crf` and `--encoder-preset` in each one's own options."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from av.codec import CodecContext

from facexcli.errors import unknown_name

Maker = Callable[[str, str, int, str], dict[str, str]]
"""Options of libav for an encoder, a pixel format, a crf and one of the encoder's own presets."""

DEFAULT_CRF, DEFAULT_PRESET = 18, "veryfast"
PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
)  # fmt: skip
"""The names of x264 and x265, from fast to slow. For other encoders each stands for the nearest of theirs."""


def _scale(*values: str | int) -> dict[str, str]:
    return {name: str(value) for name, value in zip(PRESETS, values, strict=True)}


_X26X = {name: name for name in PRESETS}
# SVT-AV1's 0 (slow) to 13 (fast), libvpx's cpu-used, and what graphics cards have; their own names are taken too.
_SVT = _scale(12, 11, 10, 9, 8, 7, 5, 4, 2, 1) | {str(n): str(n) for n in range(14)}
_VPX = _scale(8, 8, 7, 6, 5, 4, 3, 2, 1, 0) | {str(n): str(n) for n in range(9)}
_NVENC = _scale("p1", "p1", "p2", "p3", "p4", "p4", "p5", "p6", "p7", "p7") | {f"p{n}": f"p{n}" for n in range(1, 8)}
_QSV = _scale(*("veryfast",) * 3, "faster", "fast", "medium", "slow", "slower", *("veryslow",) * 2)
_AMF = _scale(*("speed",) * 5, "balanced", *("quality",) * 4) | {n: n for n in ("speed", "balanced", "quality")}
_VAAPI = _scale(7, 7, 6, 5, 4, 4, 3, 2, 1, 1)
_VIDEOTOOLBOX = _scale(*(1,) * 5, *(0,) * 5)
# FFmpeg counts quality in these, FF_QP2LAMBDA, wherever it is not an encoder's own option.
_LAMBDA = 118
# ProRes has no scale: each profile has its data rate, of which these crf are the last. 4:4:4 has profiles of its own.
_PRORES_422 = ((20, "hq"), (26, "standard"), (32, "lt"), (63, "proxy"))
_PRORES_444 = ((12, "4444xq"), (63, "4444"))
_MPEG = frozenset(("mjpeg", "mpeg4", "mpeg2video", "mpeg1video"))


def quality_options(encoder: str, pix_fmt: str, crf: int, preset: str) -> tuple[dict[str, str], list[str]]:
    """(options of libav for the encoder, warnings of what it has nothing for).

    `crf` is the encoder's own where it has such a scale: 0..51 for H.264 and HEVC, 0..63 for AV1 and VP9. ProRes takes
    it for a profile (to 20: HQ, to 26: standard, to 32: LT, above: proxy; 4:4:4: to 12: XQ), the codecs of MPEG-1, 2, 4
    and JPEG for a quantiser, graphics cards for their mode of constant quality. Raises UsageError for a preset that is
    not there.
    """
    maker, presets = _maker(encoder)
    if maker is None:
        return _unknown(encoder, crf, preset)
    if presets and preset not in presets:
        raise unknown_name("encoder preset", preset, presets)
    warnings = []
    if not presets and preset != DEFAULT_PRESET:
        warnings.append(f"{encoder} has no presets: --encoder-preset {preset} is without effect")
    if encoder in ("ffv1", "gif") and crf != DEFAULT_CRF:
        reason = "is lossless" if encoder == "ffv1" else "has no scale of quality"
        warnings.append(f"{encoder} {reason}: --crf {crf} is without effect")
    return maker(encoder, pix_fmt, crf, presets.get(preset, "")), warnings


def _maker(encoder: str) -> tuple[Maker | None, Mapping[str, str]]:
    """What makes the options of an encoder, and its presets by the names that are taken for them."""
    if encoder in _SOFTWARE:
        return _SOFTWARE[encoder]
    if encoder in _MPEG:
        return _mpeg, {}
    return _HARDWARE.get(encoder.rpartition("_")[2], (None, {}))


def _x264(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    return {"crf": str(crf), "preset": preset}


def _x265(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    return {"crf": str(crf), "preset": preset, "x265-params": "log-level=error"}


def _vpx(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    deadline = "realtime" if int(preset) > 5 else "good"
    return {"crf": str(crf), "b": "0", "deadline": deadline, "cpu-used": preset, "row-mt": "1"}


def _prores(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    profiles = _PRORES_444 if "444" in pix_fmt else _PRORES_422
    return {"profile": next(name for last, name in profiles if crf <= last)}


def _ffv1(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    return {"level": "3", "slicecrc": "1"}


def _mpeg(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    quantiser = min(max(2, (crf - 10) // 2), 31)
    options = {"qmin": str(quantiser), "qmax": str(quantiser)}
    # By the letter JPEG has full range only; libav marks the other one in a comment.
    return options | {"strict": "unofficial"} if encoder == "mjpeg" else options


def _nvenc(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    # Without a bit rate of 0, NVENC would hold on to one of 2 Mbit/s; a quality of 0 means that it chooses.
    quality = max(1, crf if encoder.startswith("av1") else min(crf, 51))
    return {"preset": preset, "tune": "hq", "rc": "vbr", "cq": str(quality), "b": "0"}


def _qsv(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    return {"preset": preset, "global_quality": str(min(max(1, crf), 51))}


def _amf(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    quantiser = str(min(crf, 51) if not encoder.startswith("av1") else crf * 4)
    return {"quality": preset, "rc": "cqp", "qp_i": quantiser, "qp_p": quantiser}


def _vaapi(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    quantiser = max(1, crf * 4 if encoder.startswith(("av1", "vp9")) else min(crf, 51))
    return {"rc_mode": "CQP", "global_quality": str(quantiser), "compression_level": preset}


def _videotoolbox(encoder: str, pix_fmt: str, crf: int, preset: str) -> dict[str, str]:
    # Its quality runs from 1 to 100; 65 looks like x264's crf 18.
    return {"flags": "+qscale", "global_quality": str(max(1, 100 - 2 * crf) * _LAMBDA), "prio_speed": preset}


_SOFTWARE: Mapping[str, tuple[Maker, Mapping[str, str]]] = {
    "libx264": (_x264, _X26X), "libx264rgb": (_x264, _X26X), "libx265": (_x265, _X26X),
    "libsvtav1": (_x264, _SVT), "libvpx-vp9": (_vpx, _VPX),
    "prores_ks": (_prores, {}), "ffv1": (_ffv1, {}), "gif": (lambda *_: {}, {}),
}  # fmt: skip
_HARDWARE: Mapping[str, tuple[Maker, Mapping[str, str]]] = {
    "nvenc": (_nvenc, _NVENC), "qsv": (_qsv, _QSV), "amf": (_amf, _AMF), "vaapi": (_vaapi, _VAAPI),
    "videotoolbox": (_videotoolbox, _VIDEOTOOLBOX),
}  # fmt: skip


def _unknown(encoder: str, crf: int, preset: str) -> tuple[dict[str, str], list[str]]:
    """For one of FFmpeg's many other encoders: its options of these names, if it has such."""
    known = {option.name for option in CodecContext.create(encoder, "w").supported_options.private}
    options = {"crf": str(crf)} if "crf" in known else {}
    warnings = []
    if "crf" not in known and crf != DEFAULT_CRF:
        warnings.append(f"{encoder} has no scale of quality: --crf {crf} is without effect")
    if preset != DEFAULT_PRESET:
        if "preset" in known:
            options["preset"] = preset
        else:
            warnings.append(f"{encoder} has no presets: --encoder-preset {preset} is without effect")
    return options, warnings


__all__ = ["DEFAULT_CRF", "DEFAULT_PRESET", "PRESETS", "quality_options"]
