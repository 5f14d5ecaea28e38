"""Every setting, declared once: name, type, range, default, help and option.

A group of settings is a table of the same name in a TOML file (`[look]`, `[output]`, ...), and the editing commands
derive their options from the same declarations. `facexcli.config` says which file or option has the last word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo


SwapReference = Literal["cut", "paste", "warp"]
ReferenceChoice = Literal["auto", "cut", "paste", "warp"]
"""What is seen in the place of a face; auto is what the network was trained with."""
SamplerName = Literal["dpm++", "ddim", "pndm"]
DtypeName = Literal["auto", "fp32", "fp16", "bf16"]

COMMAND_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "swap": (
        "engine", "recipe.file", "recipe.take", "recipe.regions", "people", "look", "sampling", "compute", "range",
        "output", "provenance", "label", "talk",
    ),
    "head-swap": (
        "engine", "recipe.file", "recipe.take", "recipe.regions", "people.faces", "people.match", "people.min_face_px",
        "people.no_face", "people.analyzer", "people.analysis", "look.smooth", "look.strength", "sampling", "compute",
        "range", "output", "provenance", "label", "talk",
    ),
    "reenact": (
        "engine", "people.faces", "people.match", "people.min_face_px", "people.analyzer", "people.analysis",
        "look.smooth", "look.strength", "sampling", "compute", "range", "output", "provenance", "label", "talk",
    ),
    "edit": (
        "engine", "recipe.file", "recipe.take", "recipe.amount", "people.faces", "people.match", "people.min_face_px",
        "people.no_face", "people.analyzer", "people.analysis", "look", "sampling", "compute", "range", "output",
        "provenance", "label", "talk",
    ),
}  # fmt: skip
"""The groups and single settings that each editing command takes."""

_RATE = re.compile(r"\d{1,9}(/[1-9]\d{0,8}|\.\d{1,9})?", re.ASCII)
_HIGHEST_RATE = 1000
_TIME = re.compile(r"(\d+:){0,2}(\d+\.?\d*|\.\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Flag:
    """How a setting appears on the command line. The metavar of a choice is the list of its values."""

    option: str
    panel: str
    metavar: str = ""
    repeatable: bool = False


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(_Group):
    """Which engine."""

    name: Annotated[str, Flag("--engine", "Engine and recipe", "NAME")] = Field(
        default="auto", min_length=1, description="auto takes the best that is installed; see `facex engines`"
    )
    weights: Annotated[Path | None, Flag("--weights", "Engine and recipe", "FILE|FOLDER|NAME")] = Field(
        default=None, description="what the engine was trained to: a checkpoint, a folder with one, or pulled weights"
    )
    unet: Annotated[Path | None, Flag("--unet", "Engine and recipe", "NAME|FOLDER")] = Field(
        default=None, description="a community's Stable Diffusion UNet that draws the face in its own style (facex)"
    )
    swap_reference: Annotated[ReferenceChoice, Flag("--reference", "Engine and recipe")] = Field(
        default="auto",
        description="what facex sees in a face's place: a hole, the new face as it is, or warped; auto as trained",
    )
    detail: Annotated[float, Flag("--detail", "Engine and recipe", "0..1")] = Field(
        default=0.55, ge=0.1, le=1, description="resolution of the new face, as a share of the frame's"
    )


class RecipeSettings(_Group):
    """Changes to the task's recipe; `facexcli.recipes` checks the names against it."""

    file: Annotated[Path | None, Flag("--recipe", "Engine and recipe", "FILE.toml")] = Field(
        default=None, description='a file of lines like lips = "source"; what --take says comes after it'
    )
    take: Annotated[tuple[str, ...], Flag("--take", "Engine and recipe", "ATTR=FROM", repeatable=True)] = Field(
        default=(), description="take an attribute from canvas, source or a still, as in lips=other.jpg; repeatable"
    )
    regions: Annotated[tuple[str, ...], Flag("--regions", "Engine and recipe", "A,B,...")] = Field(
        default=(), description="change only these: eyebrows, eyes, nose, lips, skin"
    )
    amount: Annotated[tuple[str, ...], Flag("--amount", "Engine and recipe", "[ATTR=]0..1", repeatable=True)] = Field(
        default=(), description="how far pose, expression or lighting go from the canvas's to the other's; repeatable"
    )

    @field_validator("regions", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        regions = tuple(part.strip() for part in value.split(",") if part.strip())
        if not regions:
            raise ValueError("names no region")
        return regions

    @field_validator("amount")
    @classmethod
    def _check_amount(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_amounts(value)
        return value


class PeopleSettings(_Group):
    """Which faces are edited, and how they are found."""

    faces: Annotated[str, Flag("--faces", "People", "largest|all|first|WHO,WHO")] = Field(
        default="largest", min_length=1, description="whose face: a rule, or numbers or names of `facex faces`"
    )
    match: Annotated[Path | None, Flag("--match", "People", "REF.jpg")] = Field(
        default=None, description="only the person on this picture"
    )
    map: Annotated[tuple[str, ...], Flag("--map", "People", "SOURCE=WHO", repeatable=True)] = Field(
        default=(),
        description="several people at once: a still or a folder for each number, name or reference still; repeatable",
    )
    min_face_px: Annotated[int, Flag("--min-face", "People", "PX")] = Field(
        default=40, ge=8, le=4096, description="ignore faces smaller than this"
    )
    no_face: Annotated[Literal["error", "pass"], Flag("--no-face", "People")] = Field(
        default="error", description="a target without a face: stop, or copy it unchanged"
    )
    analyzer: Annotated[Literal["auto", "dlib", "insightface"], Flag("--analyzer", "People")] = Field(
        default="auto", description="what finds faces; auto takes the best that is installed"
    )
    analysis: Annotated[Path | None, Flag("--analysis", "People", "FILE")] = Field(
        default=None, description="use the faces saved by `facex faces --save`"
    )

    @field_validator("map")
    @classmethod
    def _check_map(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            parse_map(item)
        return value


class LookSettings(_Group):
    """How the new face sits in the picture."""

    feather: Annotated[float, Flag("--feather", "Look", "0..1")] = Field(
        default=0.5, ge=0, le=1, description="softness of the edge"
    )
    color: Annotated[Literal["match", "none"], Flag("--color", "Look")] = Field(
        default="match", description="give the new face the colours of the target's"
    )
    blend: Annotated[Literal["multiband", "feather", "poisson"], Flag("--blend", "Look")] = Field(
        default="multiband", description="how the edge is blended"
    )
    occlusion: Annotated[Literal["auto", "off"], Flag("--occlusion", "Look")] = Field(
        default="auto", description="keep in front what is in front of the face"
    )
    smooth: Annotated[float, Flag("--smooth", "Look", "0..1")] = Field(
        default=0.5, ge=0, le=1, description="steadiness over time"
    )
    strength: Annotated[float, Flag("--strength", "Look", "0..1")] = Field(
        default=1.0, ge=0, le=1, description="how much of the change is made"
    )


class SamplingSettings(_Group):
    """How the engines sample that make faces out of noise, and randomness."""

    sampler: Annotated[SamplerName, Flag("--sampler", "Sampling and compute")] = Field(
        default="dpm++", description="how noise becomes a face"
    )
    steps: Annotated[int | None, Flag("--steps", "Sampling and compute", "N")] = Field(
        default=None, ge=1, le=1000, description="how often the network looks; the engine's own number by default"
    )
    guidance: Annotated[float, Flag("--guidance", "Sampling and compute", "G")] = Field(
        default=1.0, ge=0, le=30, description="stress what was asked for; 1 is off, more takes twice the time"
    )
    temporal: Annotated[float, Flag("--temporal", "Sampling and compute", "0..1")] = Field(
        default=0.0, ge=0, lt=1, description="start from the previous frame's face: the share of the steps it spares"
    )
    dtype: Annotated[DtypeName, Flag("--dtype", "Sampling and compute")] = Field(
        default="auto", description="precision of a diffusion network; auto is fp32 on a CPU, else bf16"
    )
    compiled: Annotated[Literal["on", "off"], Flag("--compile", "Sampling and compute")] = Field(
        default="off", description="compile the network first: minutes once, then faster; for long videos"
    )
    seed: Annotated[int, Flag("--seed", "Sampling and compute", "N")] = Field(
        default=0, ge=0, lt=2**63, description="root of all random numbers"
    )


class ComputeSettings(_Group):
    """Where the work is done."""

    device: Annotated[str, Flag("--device", "Sampling and compute", "auto|cpu|cuda[:N]|...")] = Field(
        default="auto",
        pattern=r"^(auto|cpu|coreml|(cuda|tensorrt)(:\d+)?|(cuda|tensorrt):\d+(,(cuda|tensorrt):\d+)+)$",
        description="where the engine runs, also tensorrt[:N] or coreml for ONNX; cuda:0,cuda:1 has a worker on each",
    )
    batch_size: Annotated[int | None, Flag("--batch-size", "Sampling and compute", "N")] = Field(
        default=None, ge=1, le=1024, description="faces that an engine takes at once; its own number by default"
    )
    cache_mb: Annotated[int, Flag("--cache", "Sampling and compute", "MB")] = Field(
        default=1000, ge=0, le=10**7, description="room for faces that were found, for the next run; 0 keeps none"
    )
    segment_s: Annotated[float, Flag("--segment", "Sampling and compute", "SECONDS")] = Field(
        default=10.0, ge=0, le=86400, description="a longer video is rendered in parts that outlive a crash; 0 in one"
    )
    workers: Annotated[int, Flag("--workers", "Sampling and compute", "N")] = Field(
        default=1, ge=1, le=256, description="processes that render parts side by side"
    )
    cluster: Annotated[str, Flag("--cluster", "Sampling and compute", "auto|HOST:PORT")] = Field(
        default="", description="render parts on a Ray cluster, which sees all files at the same paths"
    )

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        names = value.split(",")
        if len(set(names)) < len(names):
            raise ValueError("names a device twice; --workers N gives each of them several workers")
        return value


class RangeSettings(_Group):
    """Which part of the target, or of the driving video."""

    trim: Annotated[str, Flag("--trim", "Range and output", "START..END")] = Field(
        default="", description="only this part, in seconds, hh:mm:ss or #frame"
    )

    fps: Annotated[str, Flag("--fps", "Range and output", "RATE")] = Field(
        default="", description="frames a second of a folder of pictures (25)"
    )

    @field_validator("trim")
    @classmethod
    def _check(cls, value: str) -> str:
        parse_trim(value)
        return value

    @field_validator("fps", mode="before")
    @classmethod
    def _check_fps(cls, value: object) -> object:
        text = str(value) if isinstance(value, (int, float)) else value  # as TOML may have it
        if isinstance(text, str):
            parse_rate(text)
        return text


class EncodeSettings(_Group):
    """How the output is encoded."""

    codec: Annotated[str, Flag("--codec", "Range and output", "NAME")] = Field(
        default="auto", min_length=1, description="auto keeps the input's; h264, hevc, av1, prores, ffv1, nvenc, ..."
    )
    crf: Annotated[int, Flag("--crf", "Range and output", "N")] = Field(
        default=18, ge=0, le=63, description="quality: lower is better and larger"
    )
    encoder_preset: Annotated[str, Flag("--encoder-preset", "Range and output", "NAME")] = Field(
        default="veryfast", min_length=1, description="speed: ultrafast to veryslow, or the encoder's own"
    )
    pix_fmt: Annotated[str, Flag("--pix-fmt", "Range and output", "NAME")] = Field(
        default="auto", min_length=1, description="auto keeps the input's bit depth and chroma"
    )
    audio: Annotated[Literal["copy", "none"], Flag("--audio", "Range and output")] = Field(
        default="copy", description="copy every audio stream, or none"
    )


class ProvenanceSettings(_Group):
    """What a result says of itself, and who signs it.

    Who signs is no part of a plan: whoever runs it does. A command and an address are taken from the user's own
    configuration or from options, not from files that may come with somebody else's project (`facexcli.config`).
    """

    mark: Annotated[Literal["on", "off"], Flag("--provenance", "Provenance")] = Field(
        default="on", description="sign a statement that the result is synthetic, and put it into the file"
    )
    watermark: Annotated[Literal["on", "off"], Flag("--watermark", "Provenance")] = Field(
        default="on", description="hide the run's number in the new faces, for `facex verify` to find after re-encoding"
    )
    watermark_key: Annotated[Path | None, Flag("--watermark-key", "Provenance", "FILE")] = Field(
        default=None, exclude=True, description="a file with your own secret, instead of the key that everybody has"
    )
    thumbnails: Annotated[Literal["on", "off"], Flag("--provenance-thumbnails", "Provenance")] = Field(
        default="off", description="also put small pictures of the result and the inputs into the statement"
    )
    cert: Annotated[Path | None, Flag("--signing-cert", "Provenance", "FILE.pem")] = Field(
        default=None, exclude=True, description="your certificate and those above it; without one, facex makes its own"
    )
    key: Annotated[Path | None, Flag("--signing-key", "Provenance", "FILE.pem")] = Field(
        default=None, exclude=True, description="the private key of that certificate, readable by you alone"
    )
    signer: Annotated[tuple[str, ...], Flag("--signing-command", "Provenance", "ARG", repeatable=True)] = Field(
        default=(), exclude=True, description="instead of a key: a program that signs, and its arguments; repeatable"
    )
    timestamp: Annotated[str, Flag("--timestamp", "Provenance", "URL")] = Field(
        default="", exclude=True, pattern=r"^(https?://\S+)?$", description="ask this authority when it was signed"
    )


class LabelSettings(_Group):
    """A visible label."""

    text: Annotated[str, Flag("--label", "Provenance", "TEXT")] = Field(
        default="", max_length=80, description="a label to be seen in the picture, such as AI-generated"
    )
    style: Annotated[Literal["picture", "metadata"], Flag("--label-as", "Provenance")] = Field(
        default="picture", description="draw the label into the picture, or only write it into the metadata"
    )
    position: Annotated[
        Literal["top-left", "top-right", "bottom-left", "bottom-right"],
        Flag("--label-position", "Provenance", "CORNER"),
    ] = Field(default="bottom-left", description="top-left, top-right, bottom-left or bottom-right")
    seconds: Annotated[float, Flag("--label-seconds", "Provenance", "S")] = Field(
        default=0.0, ge=0, le=10**6, description="how long the label is shown; 0 from beginning to end"
    )


class TalkSettings(_Group):
    """What the command line says on standard error."""

    progress: Annotated[Literal["auto", "rich", "plain", "jsonl", "none"], Flag("--progress", "Talk")] = Field(
        default="auto", description="auto: bars on a terminal, plain lines elsewhere"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Flag("--log-level", "Talk")] = Field(
        default="info", description="the least important message that is shown"
    )


class Settings(_Group):
    """All settings of a run. Immutable; compared by value; every one has its default."""

    engine: EngineSettings = EngineSettings()
    recipe: RecipeSettings = RecipeSettings()
    people: PeopleSettings = PeopleSettings()
    look: LookSettings = LookSettings()
    sampling: SamplingSettings = SamplingSettings()
    compute: ComputeSettings = ComputeSettings()
    range: RangeSettings = RangeSettings()
    output: EncodeSettings = EncodeSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    label: LabelSettings = LabelSettings()
    talk: TalkSettings = TalkSettings()


@dataclass(frozen=True, slots=True)
class Declaration:
    """One setting: its table and key in a file, its option, and pydantic's description of the rest."""

    group: str
    name: str
    flag: Flag
    field: FieldInfo

    @property
    def key(self) -> str:
        return f"{self.group}.{self.name}"

    @property
    def parameter(self) -> str:
        """The option as a Python name: `min_face` for --min-face. `resolve` takes flags under this name."""
        return self.flag.option.removeprefix("--").replace("-", "_")

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a Literal; empty for other types."""
        return get_args(self.field.annotation) if get_origin(self.field.annotation) is Literal else ()

    @property
    def metavar(self) -> str:
        return self.flag.metavar or "|".join(self.choices)


def declarations() -> tuple[Declaration, ...]:
    """Every setting, in the order of the help."""
    found = []
    for group, outer in Settings.model_fields.items():
        model = outer.annotation
        assert isinstance(model, type) and issubclass(model, _Group)
        for name, field in model.model_fields.items():
            (flag,) = (item for item in field.metadata if isinstance(item, Flag))
            found.append(Declaration(group, name, flag, field))
    return tuple(found)


def declarations_in(wanted: Iterable[str]) -> tuple[Declaration, ...]:
    """The settings of the groups (`look`) and single keys (`people.min_face_px`) in `wanted`."""
    names = frozenset(wanted)
    return tuple(item for item in declarations() if item.group in names or item.key in names)


def parse_amounts(items: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """`--amount 0.5` and `--amount pose=0.5` as pairs of an attribute ('' for all others) and a number in 0..1.

    Raises ValueError for anything else, and for an attribute that is named twice. Whether an engine can give half of
    an attribute is the engine's to say.
    """
    found: dict[str, float] = {}
    for item in items:
        name, _, number = item.rpartition("=")
        try:
            amount = float(number)
        except ValueError:
            amount = -1.0
        if not 0 <= amount <= 1:
            raise ValueError(f"{item!r} is not 0..1 or ATTRIBUTE=0..1; for example 0.5 or lighting=0.5")
        if name in found:
            raise ValueError(f"says twice how much of {name or 'everything'}")
        found[name] = amount
    return tuple(sorted(found.items()))


def parse_map(text: str) -> tuple[str, str]:
    """SOURCE=WHO as (source, who), cut at the last equals sign. Raises ValueError where one of them is missing."""
    source, _, who = (part.strip() for part in text.rpartition("="))
    if not source or not who:
        raise ValueError(f"{text!r} is not SOURCE=WHO; for example alice.jpg=1")
    return source, who


def parse_trim(text: str) -> tuple[Fraction | int | None, Fraction | int | None]:
    """START..END as (start, stop): a Fraction is seconds, an int a frame number, None an end that was left out.

    Raises ValueError for anything else, and for an end that is not after its start where the units allow to tell.
    """
    if not text:
        return None, None
    start_text, separator, stop_text = text.partition("..")
    if not separator or not (start_text or stop_text):
        raise ValueError(f"{text!r} is not START..END; for example 2.5..8, 0:01:00.. or #10..#50")
    start, stop = _parse_time(start_text), _parse_time(stop_text)
    if start is not None and stop is not None and isinstance(start, int) is isinstance(stop, int) and stop <= start:
        raise ValueError(f"{text!r} ends before it starts")
    return start, stop


def parse_rate(text: str) -> Fraction | None:
    """Frames a second as 25, 23.976 or 30000/1001; None for ''. Raises ValueError for anything else.

    The decimals that are written for rates of NTSC (23.976, 23.98, 29.97, 59.94 ...) mean those: N * 1000/1001.
    """
    if not text:
        return None
    if not _RATE.fullmatch(text):
        raise ValueError(f"{text!r} is not a frame rate; for example 25, 23.976 or 30000/1001")
    rate = Fraction(text)
    if not 0 < rate <= _HIGHEST_RATE:
        raise ValueError(f"{text!r} is not a frame rate between 0 and {_HIGHEST_RATE}")
    decimals = len(text.partition(".")[2])
    for whole in (24, 30, 48, 60, 120):
        if decimals >= 2 and round(Fraction(whole * 1000, 1001), decimals) == rate:
            return Fraction(whole * 1000, 1001)
    return rate


def _parse_time(text: str) -> Fraction | int | None:
    if not text:
        return None
    if text.startswith("#") and text[1:].isdecimal():
        return int(text[1:])
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a time; write seconds, hh:mm:ss or #frame")
    *larger, last = text.split(":")
    seconds = Fraction(last)
    for place, part in enumerate(reversed(larger), start=1):
        seconds += int(part) * 60**place
    return seconds
