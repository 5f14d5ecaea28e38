"""The watermark of a run, on its way into the new faces, and the search for one in the people of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import log10
from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import InputError
from facexcli.events import SilentReporter
from facexcli.faces.align import TEMPLATES, crop_from_frame
from facexcli.faces.choose import choose_analyzer
from facexcli.faces.smooth import steady_alignments
from facexcli.fusion.watermark import add_mark
from facexcli.fusion.watermark_search import Evidence, weigh
from facexcli.fusion.watermark_waves import GRID_PX, LUMA, PUBLIC_KEY, make_dither
from facexcli.media.crops import rgb_crop
from facexcli.media.frames import frame_from_rgb
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.media.scan import frames_at
from facexcli.pipeline.analyse import WHOLE, FrameRange, analyse_media
from facexcli.provenance.identity import refuse_shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from facexcli.faces.base import Analyzer
    from facexcli.fusion.compose import Composite
    from facexcli.pipeline.plan import Plan
    from facexcli.settings import ProvenanceSettings
    from facexcli.types import Analysis, Array, Crop, Frame, MediaInfo, Patch, TemplateName, Track

MOST_FRAMES = 75
"""So many frames of a person are added up."""
_MOST_TRACKS = 8
_ENOUGH_LOG10 = 12.0
"""More than this, nobody has to look further."""
_STEADINESS = 0.5
_SHORTEST_KEY_BYTES, _LONGEST_KEY_BYTES = 8, 4096


@dataclass(frozen=True, slots=True, eq=False)
class Watermark:
    """The mark of one run. Made once; `put_into` is called from several threads."""

    dither: Array

    def put_into(self, composite: Composite, canvas: Crop, patch: Patch) -> None:
        """Mark the face of a new composite, in place. Nothing changes where its alpha is 0."""
        if patch.landmarks_px is None:
            grid_from_crop = _grid_from_template(canvas.template, canvas.size_px)
        else:
            grid_from_crop = crop_from_frame(patch.landmarks_px, "ffhq", GRID_PX)
        add_mark(composite.rgb, composite.alpha, canvas.rgb, grid_from_crop, self.dither)


def watermark_of(plan: Plan) -> Watermark | None:
    """What the plan's run puts into its faces; None where the user wants none. Raises what `watermark_key` does."""
    provenance = plan.settings.provenance
    if provenance.mark == "off" or provenance.watermark == "off":
        return None
    return Watermark(make_dither(watermark_key(provenance), plan.run_id))


def watermark_key(provenance: ProvenanceSettings) -> bytes:
    """The user's own key, or everybody's. Raises InputError for a file that cannot be read, holds no secret, or
    one that others may read."""
    path = provenance.watermark_key
    if path is None:
        return PUBLIC_KEY
    try:
        with path.open("rb") as file:
            key = file.read(_LONGEST_KEY_BYTES + 1).strip()
        refuse_shared(path)
    except OSError as error:
        raise InputError(f"{path}: the watermark's key cannot be read: {error.strerror or error}",
                         "check --watermark-key") from error  # fmt: skip
    if not _SHORTEST_KEY_BYTES <= len(key) <= _LONGEST_KEY_BYTES:
        raise InputError(f"{path}: a watermark's key has {_SHORTEST_KEY_BYTES} to {_LONGEST_KEY_BYTES} bytes",
                         f"(umask 077; openssl rand -hex 32 > {path})")  # fmt: skip
    return key


def find_watermark(path: Path, keys: Sequence[bytes] = (PUBLIC_KEY,), analyzer: Analyzer | None = None) -> Evidence:
    """The strongest evidence among the people of a file, by any of the keys; that of a file without faces says nothing.

    Of a long video, three parts are looked at. Raises InputError for a file that cannot be read.
    """
    info = probe(path)
    if analyzer is not None:
        return _find(info, keys, analyzer)
    chosen, _ = choose_analyzer("auto")
    try:
        return _find(info, keys, chosen)
    finally:
        chosen.close()


def _find(info: MediaInfo, keys: Sequence[bytes], analyzer: Analyzer) -> Evidence:
    found = [Evidence()]
    for part in _parts(info):
        analysis = analyse_media(info, analyzer, _STEADINESS, SilentReporter(), "analyse", part)
        found += [weigh(lumas, key) for lumas in aligned_faces(analysis) for key in keys]
        if max(evidence.log10_chance for evidence in found) > _ENOUGH_LOG10:
            break
    best = max(found, key=lambda evidence: evidence.log10_chance)
    # Whoever looks more often is misled more often.
    return replace(best, log10_chance=max(0.0, best.log10_chance - log10(max(1, len(found) - 1))))


def _parts(info: MediaInfo) -> Iterable[FrameRange]:
    """All of a short file; of a long one its beginning, its middle and a later part."""
    length_s = info.duration_s or Fraction(0)
    part_s = Fraction(MOST_FRAMES) / (info.frame_rate or 25)
    if info.kind == "image" or length_s <= 3 * part_s:
        return [WHOLE]
    starts = (Fraction(0), length_s / 2, length_s * 4 / 5)
    return [FrameRange(start, start + part_s) for start in starts]


def aligned_faces(analysis: Analysis) -> Iterator[Array]:
    """For each of the longest tracks of a file, the luma of its aligned frames: float32 (F, GRID_PX, GRID_PX), 0..255.

    F is at most `MOST_FRAMES`.
    """
    info = analysis.media
    chosen: dict[int, list[tuple[int, Array]]] = {}
    longest = sorted(analysis.tracks, key=lambda track: -len(track.faces))[:_MOST_TRACKS]
    for number, track in enumerate(longest):
        matrices = _alignments(track, info)
        places = np.unique(np.linspace(0, len(track.faces) - 1, min(MOST_FRAMES, len(track.faces))).round().astype(int))
        for place in places:
            chosen.setdefault(track.frame_indices[place], []).append((number, matrices[place]))
    faces: dict[int, list[Array]] = {}
    for frame in _frames(info, sorted(chosen)):
        for number, matrix in chosen[frame.index]:
            luma = rgb_crop(frame, matrix, GRID_PX).astype(np.float32) @ LUMA
            faces.setdefault(number, []).append(luma)
    for number in sorted(faces):
        yield np.stack(faces[number])


def _alignments(track: Track, info: MediaInfo) -> Array:
    rate = info.frame_rate or Fraction(25)
    return steady_alignments(track, "ffhq", GRID_PX, rate, _STEADINESS, float(info.display_aspect_ratio))


def _frames(info: MediaInfo, indices: list[int]) -> Iterable[Frame]:
    if info.kind == "image":
        return [frame_from_rgb(read_image(info.path), 0, 0, info.time_base, 1)] if indices else []
    return frames_at(info.path, indices)


def _grid_from_template(template: TemplateName, size_px: int) -> Array:
    """float64 (3, 3): from a crop of that template and size to the grid."""
    own, grid = TEMPLATES[template], TEMPLATES["ffhq"]
    scale = grid.scale * GRID_PX / (own.scale * size_px)
    matrix = np.eye(3) * (scale, scale, 1.0)
    for axis, (start, end) in enumerate(((own.x, grid.x), (own.y, grid.y))):
        matrix[axis, 2] = (end * GRID_PX - 0.5) - scale * (start * size_px - 0.5)
    return matrix
