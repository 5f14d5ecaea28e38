"""One picture of everybody in a clip: a row for each person, with faces over time and a line of when they are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from facexcli.errors import NoFaceError
from facexcli.faces.select import tracks_of
from facexcli.lettering import font_for
from facexcli.media.crops import rgb_crop
from facexcli.media.scan import frames_at
from facexcli.pipeline.summary import person_facts, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facexcli.types import Analysis, Array, Face, Person

_SCALE = 2
"""Everything is drawn larger and reduced at the end, for smooth edges; all sizes below are in pixels of the result."""
_MARGIN_PX = 28
_HEADER_PX = 74
_LABEL_PX = 268
_FACE_PX = 120
_GAP_PX = 10
_CAPTION_PX = 20
_LINE_PX = 8
_ROW_PX = _FACE_PX + _CAPTION_PX + _LINE_PX + 34
_FACES = 8
_MOST_PEOPLE = 40
_AROUND = 0.42
"""How much of the picture around a face is shown, in heights of its box on each side."""
_PAPER, _INK, _PALE, _RAIL = "#ffffff", "#20242c", "#6b7280", "#e5e7eb"
_COLORS = ("#2563eb", "#db2777", "#059669", "#d97706", "#7c3aed", "#0891b2", "#dc2626", "#65a30d")


@dataclass(frozen=True, slots=True)
class _Moment:
    """A face of a person, and the frame in which it is seen."""

    frame: int
    face: Face


def contact_sheet(analysis: Analysis) -> Array:
    """uint8 (H, W, 3) RGB: at most 40 people, 8 faces each. One decoded frame at a time is held in memory.

    Raises NoFaceError where nobody is seen, InputError for a clip that cannot be read any more.
    """
    people = [person for person in analysis.people if person.track_ids]
    if not people:
        raise NoFaceError(f"{analysis.media.path}: no face to draw on a contact sheet")
    shown = people[:_MOST_PEOPLE]
    moments = {person.number: _moments(analysis, person) for person in shown}
    faces = _cut_out(analysis, moments)
    left_out = len(people) - len(shown)
    height = _MARGIN_PX + _HEADER_PX + len(shown) * _ROW_PX + (_CAPTION_PX if left_out else 0)
    pen = _Pen(2 * _MARGIN_PX + _LABEL_PX + _FACES * (_FACE_PX + _GAP_PX) - _GAP_PX, height)
    _header(pen, analysis, len(people))
    for row, person in enumerate(shown):
        _row(pen, _HEADER_PX + _MARGIN_PX + row * _ROW_PX, analysis, person, moments[person.number], faces)
    if left_out:
        pen.text(_MARGIN_PX, height - _CAPTION_PX - 6, f"and {left_out} more", 13, _PALE)
    return pen.picture()


def _moments(analysis: Analysis, person: Person) -> list[_Moment]:
    """Faces spread evenly over the time in which the person is seen; measured ones where there are some nearby."""
    tracks = sorted(tracks_of(analysis, [person]), key=lambda track: track.frame_indices[0])
    measured = np.concatenate([track.faces.measured for track in tracks])
    ends = np.cumsum([len(track.faces) for track in tracks])
    moments = []
    for slot in np.array_split(np.arange(len(measured)), min(_FACES, len(measured))):
        place = _likely(slot, measured)
        number = int(np.searchsorted(ends, place, side="right"))
        track = tracks[number]
        place -= int(ends[number])  # from the track's end
        moments.append(_Moment(track.frame_indices[place], track.faces[place]))
    return moments


def _likely(slot: Array, measured: Array) -> int:
    """The place nearest to the middle of a slot whose face was measured; the middle where none was."""
    middle = int(slot[len(slot) // 2])
    places = slot[measured[slot]]
    return int(places[np.abs(places - middle).argmin()]) if len(places) else middle


def _cut_out(analysis: Analysis, moments: Mapping[int, Sequence[_Moment]]) -> dict[tuple[int, int], Array]:
    """The square around each face, by the person's number and the frame."""
    by_frame: dict[int, list[tuple[int, Face]]] = {}
    for number, own in moments.items():
        for moment in own:
            by_frame.setdefault(moment.frame, []).append((number, moment.face))
    return {
        (number, frame.index): rgb_crop(frame, _thumbnail_from_frame(analysis, face), _SCALE * _FACE_PX)
        for frame in frames_at(analysis.media.path, list(by_frame))
        for number, face in by_frame[frame.index]
    }


def _thumbnail_from_frame(analysis: Analysis, face: Face) -> Array:
    """float64 (3, 3). The square is moved into the picture where it would reach beyond its border."""
    x0, y0, x1, y1 = face.box_px
    aspect = float(analysis.media.display_aspect_ratio)
    limits = np.array([analysis.media.display_width_px * aspect, analysis.media.display_height_px])
    side = min(max((x1 - x0) * aspect, y1 - y0) * (1 + 2 * _AROUND), *limits)
    # A face's box ends at the brows: the middle of the picture is a little above the middle of the box.
    center = np.array([(x0 + x1) / 2 * aspect, (y0 + y1) / 2 - 0.12 * (y1 - y0)])
    corner = np.clip(center - side / 2, 0, np.maximum(limits - side, 0))
    scale = _SCALE * _FACE_PX / side
    return np.array([
        [scale * aspect, 0, scale * (0.5 * aspect - corner[0]) - 0.5],
        [0, scale, scale * (0.5 - corner[1]) - 0.5],
        [0, 0, 1],
    ])  # fmt: skip


def _header(pen: _Pen, analysis: Analysis, people: int) -> None:
    pen.text(_MARGIN_PX, 24, analysis.media.path.name, 24, _INK, bold=True, room=pen.width - 2 * _MARGIN_PX)
    facts = [_count(people, "person", "people")]
    if analysis.media.kind != "image":
        facts += [
            f"{clock(seconds(analysis, analysis.frame_count))} · {_count(analysis.frame_count, 'frame')}",
            _count(len(analysis.shots), "shot"),
        ]
    if analysis.trim:
        facts.append(f"only {analysis.trim}")
    pen.text(_MARGIN_PX, 58, " · ".join([*facts, f"analyzer {analysis.analyzer}"]), 14, _PALE)


def _row(
    pen: _Pen,
    top: int,
    analysis: Analysis,
    person: Person,
    moments: Sequence[_Moment],
    faces: dict[tuple[int, int], Array],
) -> None:
    color = _COLORS[(person.number - 1) % len(_COLORS)]
    pen.line((_MARGIN_PX, top - 14), (pen.width - _MARGIN_PX, top - 14), _RAIL)
    pen.disc(_MARGIN_PX + 18, top + 20, 18, color)
    pen.text(_MARGIN_PX + 18, top + 20, str(person.number), 17, _PAPER, bold=True, anchor="mm")
    pen.text(_MARGIN_PX + 48, top + 9, person.name, 18, _INK, bold=True, room=_LABEL_PX - 60)
    for number, line in enumerate(_facts(analysis, person)):
        pen.text(_MARGIN_PX + 48, top + 40 + 20 * number, line, 13, _PALE, room=_LABEL_PX - 54)
    left = _MARGIN_PX + _LABEL_PX
    for place, moment in enumerate(moments):
        x = left + place * (_FACE_PX + _GAP_PX)
        pen.paste(x, top, faces[person.number, moment.frame])
        if analysis.media.kind != "image":
            said = clock(seconds(analysis, moment.frame))
            pen.text(x + _FACE_PX // 2, top + _FACE_PX + 6, said, 12, _PALE, anchor="mt")
    if analysis.media.kind != "image":
        _presence(pen, (left, top + _FACE_PX + _CAPTION_PX + 4), analysis, person, color)


def _presence(pen: _Pen, corner: tuple[int, int], analysis: Analysis, person: Person, color: str) -> None:
    """A rail as long as the clip, coloured where the person is seen, notched where a shot begins."""
    left, top = corner
    width = pen.width - _MARGIN_PX - left
    begin, end = analysis.shots[0].start, analysis.shots[-1].stop
    pen.bar(left, left + width, top, _LINE_PX, _RAIL)

    def x(frame: int) -> float:
        return left + width * (frame - begin) / (end - begin)

    for track in tracks_of(analysis, [person]):
        for first, stop in _stretches(track.frame_indices):
            pen.bar(x(first), max(x(stop), x(first) + 2), top, _LINE_PX, color)
    for shot in analysis.shots[1:]:
        pen.line((x(shot.start), top - 3), (x(shot.start), top + _LINE_PX + 3), _PALE)


def _stretches(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """[first, stop) of the frames that follow each other."""
    breaks = np.flatnonzero(np.diff(indices) > 1)
    for start, stop in zip([0, *(breaks + 1)], [*breaks, len(indices) - 1], strict=True):
        yield indices[start], indices[stop] + 1


def _facts(analysis: Analysis, person: Person) -> Iterator[str]:
    facts = person_facts(analysis, person)
    yaw, pitch = (f"{round(low)} to {round(high)}°" for low, high in (facts["yaw_deg"], facts["pitch_deg"]))
    if analysis.media.kind != "image":
        yield f"{clock(facts['on_screen_s'])} on screen, {_count(len(facts['shots']), 'shot')}"
    yield f"face {facts['face_height_px']:.0f} px high"
    yield f"yaw {yaw}, pitch {pitch}"
    mended = [f"{facts[kind]} {kind}" for kind in ("interpolated", "repaired") if facts[kind]]
    if analysis.media.kind != "image":
        yield f"{_count(facts['frames'], 'frame')}{', ' if mended else ''}{', '.join(mended)}"


def clock(time_s: float) -> str:
    """ "0:03.20", "1:02:03"."""
    minutes, rest = divmod(time_s, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{int(rest):02}" if hours else f"{minutes}:{rest:05.2f}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


class _Pen:
    """Draws on white paper of width x height pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self._image = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def text(
        self, x: float, y: float, words: str, size: int, color: str, *, bold: bool = False, anchor: str = "lt",
        room: float = float("inf"),
    ) -> None:  # fmt: skip
        """One line; what does not fit into `room` pixels is left out, and dots say so."""
        font = font_for(words, size * _SCALE)
        kept = words
        while kept and self._draw.textlength(kept if kept == words else f"{kept}...", font) > room * _SCALE:
            kept = kept[:-1]
        said = kept if kept == words else f"{kept}..."
        stroke: dict[str, Any] = {"stroke_width": _SCALE * 0.3, "stroke_fill": color} if bold else {}
        self._draw.text((x * _SCALE, y * _SCALE), said, color, font, anchor, **stroke)

    def line(self, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
        self._draw.line([(x * _SCALE, y * _SCALE) for x, y in (start, end)], color, _SCALE)

    def disc(self, x: float, y: float, radius: float, color: str) -> None:
        corners = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse([edge * _SCALE for edge in corners], color)

    def bar(self, left: float, right: float, top: float, height: float, color: str) -> None:
        corners = (left, top, right, top + height)
        self._draw.rounded_rectangle([edge * _SCALE for edge in corners], height * _SCALE / 2, color)

    def paste(self, x: int, y: int, rgb: Array) -> None:
        """A picture of the paper's own resolution, with round corners."""
        picture = Image.fromarray(rgb)
        mask = Image.new("L", picture.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, *(side - 1 for side in picture.size)), 8 * _SCALE, 255)
        self._image.paste(picture, (x * _SCALE, y * _SCALE), mask)

    def picture(self) -> Array:
        """uint8 (height, width, 3) RGB."""
        return np.asarray(self._image.reduce(_SCALE))
