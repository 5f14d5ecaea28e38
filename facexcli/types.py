"""The values that travel through facex. All are frozen; shapes, units and spaces are in names and docstrings.

Conventions:
    Pixels have their centres at integer coordinates (OpenCV's convention), x to the right, y down.
    *Frame pixels* are display-oriented: after the rotation of the display matrix or of EXIF, before the sample aspect
    ratio. *Square pixels* are frame pixels with x multiplied by the sample aspect ratio.
    Matrices are named destination_from_source and act on column vectors (x, y, 1).
    RGB everywhere; time is pts and `Fraction`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facexcli.tracks import LANDMARK_COUNT, Array, Box, Face, Faces, Track

__all__ = [
    "LANDMARK_COUNT", "Analysis", "Array", "Box", "ColorDescription", "Crop", "EditRequest", "Face", "Faces", "Frame",
    "HdrMetadata", "MasteringDisplay", "MediaInfo", "MediaKind", "Motion", "Patch", "Person", "Shot", "StreamInfo",
    "TemplateName", "Track",
]  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facexcli.recipes import Recipe

MediaKind = Literal["image", "animation", "sequence", "video"]
TemplateName = Literal["arcface", "ffhq", "head", "arcface_128", "arcface_112_v1", "mtcnn_512"]


@dataclass(frozen=True, slots=True)
class ColorDescription:
    """H.273 code points of a stream, as FFmpeg numbers them (2 = unspecified); range: 1 limited, 2 full, 0 unknown."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0
    chroma_location: int = 0


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """The display on which a video was graded (SMPTE ST 2086): CIE 1931 (x, y) of its colours, luminance in cd/m2."""

    red_xy: tuple[Fraction, Fraction]
    green_xy: tuple[Fraction, Fraction]
    blue_xy: tuple[Fraction, Fraction]
    white_xy: tuple[Fraction, Fraction]
    min_nits: Fraction
    max_nits: Fraction


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """What a video says of its brightness beside the pictures.

    `max_cll_nits` and `max_fall_nits` are the brightest pixel and the brightest frame average (CTA-861.3), 0 where not
    known. `dynamic` names what changes from scene to scene and does not survive encoding ("Dolby Vision", "HDR10+").
    """

    mastering_display: MasteringDisplay | None = None
    max_cll_nits: int = 0
    max_fall_nits: int = 0
    dynamic: tuple[str, ...] = ()

    @property
    def is_static(self) -> bool:
        """Whether there is something that an encoder or a container can carry."""
        return self.mastering_display is not None or self.max_cll_nits > 0 or self.max_fall_nits > 0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a container. `language` is an ISO 639-2 code or ''."""

    index: int
    kind: Literal["video", "audio", "subtitle", "data", "attachment"]
    codec: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the header of an image or a video says. Sizes are as decoded; `display_*` after the rotation.

    `rotation_deg` is the clockwise turn (0, 90, 180, 270) that makes a decoded frame upright; `mirrored` says that
    the upright picture is then flipped left to right. Still images have `frame_count_from_header` 1 and no
    `frame_rate`; their sizes are those after EXIF orientation. A sequence is a folder of pictures. `start_pts` is the
    first decoded frame's. `display_matrix` holds the nine integers of the container (ISO/IEC 14496-12, 16.16 and 2.30
    fixed point), or nothing. `stream_index` is the picture's stream among the container's `streams`.
    """

    path: Path
    kind: MediaKind
    width_px: int
    height_px: int
    rotation_deg: int = 0
    mirrored: bool = False
    sample_aspect_ratio: Fraction = Fraction(1)
    frame_rate: Fraction | None = None
    time_base: Fraction = Fraction(1, 1000)
    start_pts: int = 0
    duration_s: Fraction | None = None
    frame_count_from_header: int | None = None
    is_vfr: bool = False
    pix_fmt: str = "rgb24"
    bit_depth: int = 8
    color: ColorDescription = ColorDescription()
    container: str = ""
    video_codec: str = ""
    streams: tuple[StreamInfo, ...] = ()
    stream_index: int = 0
    display_matrix: tuple[int, ...] = ()
    hdr: HdrMetadata = HdrMetadata()

    @property
    def display_width_px(self) -> int:
        return self.height_px if self.rotation_deg % 180 else self.width_px

    @property
    def display_aspect_ratio(self) -> Fraction:
        """Width of a frame pixel over its height: the container's ratio, turned with the picture."""
        return 1 / self.sample_aspect_ratio if self.rotation_deg % 180 else self.sample_aspect_ratio

    @property
    def display_height_px(self) -> int:
        return self.width_px if self.rotation_deg % 180 else self.height_px


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture, untouched: the decoder's own planes, in the decoder's orientation and pixel format.

    `planes` are views (height, width) or (height, width, channels), uint8 or uint16, of `native`, the decoder's own
    frame object, which the writer passes on when nothing was pasted. The planes must never be written to: the decoder
    still refers to them. `media.color.put_roi` returns a new frame.
    """

    index: int
    pts: int
    time_base: Fraction
    duration: int
    planes: tuple[Array, ...]
    pix_fmt: str
    color: ColorDescription
    rotation_deg: int = 0
    mirrored: bool = False
    native: Any = None

    @property
    def time_s(self) -> Fraction:
        return self.pts * self.time_base


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames [start, stop) between two cuts."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Person:
    """Everybody has a number, from 1, and a name; `track_ids` are where that person is seen."""

    number: int
    name: str
    track_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Who is where. `frame_count` is the number of frames that were decoded; `trim` the part that they are ('': all).

    A track that belongs to nobody in `people` is not edited.
    """

    media: MediaInfo
    frame_count: int
    shots: tuple[Shot, ...]
    tracks: tuple[Track, ...]
    analyzer: str
    warnings: tuple[str, ...] = ()
    people: tuple[Person, ...] = ()
    trim: str = ""


@dataclass(frozen=True, slots=True)
class Motion:
    """The landmarks of one track over time: what an engine needs to know a face's neutral, range and rhythm.

    landmarks_px: float32 (T, 68, 2) in square pixels; frame_indices: int64 (T,), ascending.
    """

    frame_indices: Array
    landmarks_px: Array

    def __post_init__(self) -> None:
        if self.landmarks_px.shape != (len(self.frame_indices), LANDMARK_COUNT, 2):
            raise ValueError(f"landmarks_px must be (T, 68, 2), got {self.landmarks_px.shape}")


@dataclass(frozen=True, slots=True)
class Crop:
    """A face, aligned to a template. rgb: uint8 (S, S, 3); landmarks_px: float32 (68, 2) in crop pixels.

    `crop_from_frame` float64 (3, 3) maps frame pixels to crop pixels, the sample aspect ratio included. Where the frame
    ends inside the crop, its border is replicated; `valid` is uint8 (S, S), 255 where there was picture, or None for
    everywhere.
    """

    rgb: Array
    crop_from_frame: Array
    landmarks_px: Array
    template: TemplateName
    frame_index: int = 0
    track_id: int = 0
    valid: Array | None = None

    @property
    def size_px(self) -> int:
        return int(self.rgb.shape[0])


@dataclass(frozen=True, slots=True)
class EditRequest:
    """What an engine is asked for one face of one frame.

    `canvas` is the crop that will be replaced; `identity` is what the engine's own `prepare` returned; `providers`
    gives a crop for each attribute whose provider in `recipe` is `driving` or `query`. `hole_mask` is uint8 (S, S),
    255 where an inpainting task asks for new content. `previous` is the rgb of the patch that was made for this face in
    the frame before, float32 (S, S, 3) in 0..1, where the run goes from frame to frame.
    """

    canvas: Crop
    identity: Any
    recipe: Recipe
    providers: Mapping[str, Crop] = field(default_factory=dict)
    seed: int = 0
    hole_mask: Array | None = None
    previous: Array | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """What an engine returns, in the canvas crop's pixels.

    rgb: float32 (S, S, 3) in 0..1. alpha: float32 (S, S) in 0..1, the engine's own word on where
    `rgb` is an answer.
    `warnings` names what could not be done well in this frame. `outlined` says that `alpha` is the last word on where
    the patch is shown: hair, ears and holes lie outside of a face's outline. `landmarks_px`: (68, 2), where the face is
    in `rgb`; None where it is as in the canvas.
    """

    rgb: Array
    alpha: Array
    warnings: tuple[str, ...] = ()
    outlined: bool = False
    landmarks_px: Array | None = None
