"""The pixel format in which an encoder gets its pictures: the same where it can, else the nearest."""

from __future__ import annotations

from facexcli.errors import unknown_name
from facexcli.media.hardware import encoder_formats
from facexcli.media.pixels import LAYOUTS

# Suffixes of pixel formats, in order of preference, by the depth to keep.
_DEPTHS = {8: ("", "10le", "12le"), 10: ("10le", "12le", "16le", ""), 12: ("12le", "10le", "")}
# The same samples with chroma in one plane, as graphics cards want them.
_INTERLEAVED = {
    "yuv420p": "nv12", "yuv422p": "nv16", "yuv444p": "nv24", "yuv420p10le": "p010le", "yuv422p10le": "p210le",
    "yuv444p10le": "p410le", "yuv420p12le": "p012le",
}  # fmt: skip
_PLANAR = {interleaved: planar for planar, interleaved in _INTERLEAVED.items()}
# What keeps all of packed RGB where its own arrangement is not taken, or the alpha channel at least.
_RGB_FORMATS = {
    ("ffv1", "rgb24"): "bgr0", ("ffv1", "bgr24"): "bgr0", ("ffv1", "rgba"): "bgra",
    ("prores_ks", "rgba"): "yuva444p10le", ("prores_ks", "bgra"): "yuva444p10le",
    ("prores_ks", "rgba64le"): "yuva444p10le",
    ("libvpx-vp9", "rgba"): "yuva420p", ("libvpx-vp9", "bgra"): "yuva420p",
}  # fmt: skip
_NEED_EVEN_SIZES = frozenset(("libx264", "libx265"))


def lossless_format(encoder: str, pix_fmt: str) -> str:
    """The format among the encoder's that has exactly the samples of `pix_fmt`; '' for none."""
    accepted = encoder_formats(encoder)
    for name in _same_samples(pix_fmt):
        if name in accepted:
            return name
    return ""


def _same_samples(pix_fmt: str) -> tuple[str, ...]:
    plain = pix_fmt.replace("yuvj", "yuv")
    names = (pix_fmt, plain, _INTERLEAVED.get(plain, ""), _PLANAR.get(plain, ""))
    return tuple(name for name in names if name)


def is_same(pix_fmt: str, other: str) -> bool:
    """Whether two names stand for the same samples, with one arrangement or range apart."""
    return bool({*_same_samples(pix_fmt)} & {*_same_samples(other)})


def choose_format(encoder: str, own: str, wanted: str, width_px: int, height_px: int) -> tuple[str, list[str]]:
    """(pixel format, warnings) for pictures in the format `own`, where the user wants `wanted`, which may be "auto".

    Raises UsageError for a format that the encoder does not take.
    """
    if encoder == "gif":
        return "pal8", []
    accepted = encoder_formats(encoder)
    if wanted != "auto":
        if wanted not in accepted:
            raise unknown_name(f"pixel format for {encoder}", wanted, accepted)
        return wanted, []
    chosen = lossless_format(encoder, own) or _RGB_FORMATS.get((encoder, own)) or nearest_format(own, accepted)
    if encoder in _NEED_EVEN_SIZES and "420" in chosen and (width_px % 2 or height_px % 2):
        full = chosen.replace("420", "444")
        return full, [f"{encoder} needs even sizes for {chosen}; {width_px}x{height_px} is written as {full}"]
    if is_same(own, chosen) or LAYOUTS[own].family == "packed":
        return chosen, []
    return chosen, [f"{encoder} does not take {own}: the video is written as {chosen}"]


def nearest_format(own: str, accepted: tuple[str, ...]) -> str:
    """The accepted format that keeps depth first, then chroma resolution. Packed RGB, of stills, becomes 4:2:0."""
    layout = LAYOUTS[own]
    chroma = {(2, 2): "420", (2, 1): "422"}.get((layout.sub_x, layout.sub_y), "444")
    if layout.family in ("packed", "gray"):
        chroma = "420"
    # 16 bits of a picture are room to work in; more than 10 are shown by hardly a player.
    depths = _DEPTHS[8 if layout.bits == 8 else 10 if layout.bits <= 10 or layout.family == "packed" else 12]
    order = [f"yuv{sampling}p{depth}" for depth in depths for sampling in (chroma, "422", "444", "420")]
    either = (each for name in order for each in (name, _INTERLEAVED.get(name, name)))
    return next((name for name in either if name in accepted), accepted[0] if accepted else "yuv420p")


__all__ = ["choose_format", "is_same", "lossless_format", "nearest_format"]
