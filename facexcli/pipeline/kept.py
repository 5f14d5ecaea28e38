"""What a run finds out before it renders, kept with its parts: whoever goes on with them finds out nothing anew.

Nothing that is read is believed to be whole; what is damaged is found out again, which gives the same.
"""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facexcli.errors import FacexError, OutputError
from facexcli.events import Warned
from facexcli.fusion.expectation import SIDE_PX, Expectation
from facexcli.media.atomic import AtomicFile
from facexcli.pipeline.analysis_io import load_analysis, save_analysis
from facexcli.pipeline.face_model import FaceModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from facexcli.events import Reporter
    from facexcli.types import Analysis, Array, MediaInfo

ANALYSIS, FACE_MODELS = "analysis.faces.json", "occlusion.npz"
KEPT = frozenset((ANALYSIS, FACE_MODELS))
"""Names of the files."""
_SHAPES = {
    "ycrcb": (SIDE_PX, SIDE_PX, 3), "certainty": (SIDE_PX, SIDE_PX, 3), "inside": (SIDE_PX, SIDE_PX),
    "covered": (SIDE_PX, SIDE_PX), "landmarks_px": (68, 2),
}  # fmt: skip
_UNREADABLE = (OSError, ValueError, KeyError, zipfile.BadZipFile)


def kept_analysis(path: Path | None, info: MediaInfo, analyse: Callable[[], Analysis], reporter: Reporter) -> Analysis:
    """The analysis at `path`, or a new one, which is kept there. None for `path` keeps nothing. Raises OutputError."""
    if path is None:
        return analyse()
    if path.exists():
        try:
            return replace(load_analysis(path, info.path), media=info)
        except FacexError as error:
            reporter.emit(Warned(f"faces are looked for again: {error.message}"))
    analysis = analyse()
    save_analysis(analysis, path)
    return analysis


def kept_face_models(
    path: Path | None, learn: Callable[[], Mapping[int, FaceModel]], reporter: Reporter
) -> Mapping[int, FaceModel]:
    """The models of faces at `path`, or what `learn` returns, which is kept there. Raises OutputError."""
    if path is None:
        return learn()
    if path.exists():
        try:
            return _load(path)
        except _UNREADABLE as error:
            reporter.emit(Warned(f"{path} is damaged, and is made again: {error}"))
    models = learn()
    _save(models, path)
    return models


def _save(models: Mapping[int, FaceModel], path: Path) -> None:
    arrays = {
        f"{track_id}/{name}": value for track_id, model in models.items() for name, value in _arrays(model).items()
    }
    with AtomicFile(path) as file:
        try:
            with file.temporary.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]  # names with a slash are no keywords of its own
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        file.commit()


def _arrays(model: FaceModel) -> dict[str, Array]:
    seen = model.expectation
    return {
        "ycrcb": seen.ycrcb, "certainty": seen.certainty, "inside": seen.inside, "covered": seen.covered,
        "landmarks_px": model.landmarks_px,
    }  # fmt: skip


def _load(path: Path) -> dict[int, FaceModel]:
    """Raises one of `_UNREADABLE`."""
    models = {}
    with np.load(path, allow_pickle=False) as stored:
        for track_id in dict.fromkeys(name.partition("/")[0] for name in stored.files):
            arrays = {name: stored[f"{track_id}/{name}"] for name in _SHAPES}
            for name, shape in _SHAPES.items():
                if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
                    raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}")
            landmarks = arrays.pop("landmarks_px")
            models[int(track_id)] = FaceModel(Expectation(**arrays), landmarks)
    return models
