"""The analyzer for workstations: insightface's SCRFD detector, 3-D 68 landmarks and ArcFace, when they are installed.

Its weights (the pack buffalo_l) are for non-commercial research only. They are never downloaded from here: a model is
opened from a file that is known to exist.
"""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.affine import resample, transform_points
from facexcli.errors import WeightsError
from facexcli.faces.align import arcface_chip, fit_similarity
from facexcli.faces.base import Detection, Fit
from facexcli.faces.embed import unit
from facexcli.faces.shape import FOLLOW_WEIGHTS, MEAN_SHAPE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.types import Array, Box

PACK = "buffalo_l"
_FILES = {"detection": "det_10g.onnx", "landmark_3d_68": "1k3d68.onnx", "recognition": "w600k_r50.onnx"}
_DEFAULT_ROOT = Path("~/.insightface")

_DETECTOR_BOX = np.array([[0.02, -0.18], [0.98, 1.07]])
"""What SCRFD's boxes span, forehead to chin, in the units of `MEAN_SHAPE`."""
_LOCAL_PX = 160
_FRAME_PX = 640
_MIN_SCORE = 0.5


class InsightFaceAnalyzer:
    """See the module's docstring.

    Args:
        root: the folder that holds `models/buffalo_l`; insightface's own default when None.
        providers: onnxruntime execution providers, the preferred one first.
        models: ready models by task name, instead of those of the pack.
        files: the pack's files by task name, wherever they are.
        pack: whose files these are. Embeddings of different packs cannot be compared, so that it is part of the name.
    Raises:
        WeightsError: the package or a file of the pack is missing, or cannot be read.
    """

    same_person_distance = 1.1
    """Of ArcFace embeddings: a cosine similarity of 0.4."""

    def __init__(
        self,
        root: Path | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        models: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        pack: str = PACK,
    ) -> None:
        self.name = "insightface" if pack == PACK else f"insightface-{pack}"
        if models is None:
            missing = missing_parts(root, files)
            if missing:
                hint = f"`facex models pull {PACK}`, or use --analyzer dlib"
                raise WeightsError(f"insightface cannot be used: {missing}", hint)
            models = {task: _open(path, providers) for task, path in (files or pack_files(root)).items()}
        self._models = dict(models)

    def detect(self, rgb: Array, *, thorough: bool = False) -> list[Detection]:
        """SCRFD at 640 pixels; `thorough` looks at 1280, which finds faces of half the size."""
        side = 2 * _FRAME_PX if thorough else _FRAME_PX
        return [Detection(_box(row), float(row[4])) for row in self._search(rgb, side)]

    def landmarks(self, rgb: Array, box_px: Box) -> Fit:
        points = self._models["landmark_3d_68"].get(_bgr(rgb), _FaceRecord(bbox=np.array(box_px, np.float32)))
        return Fit(np.asarray(points, np.float32)[:, :2].copy(), 0.0)

    def follow(self, rgb: Array, landmarks_px: Array) -> Fit:
        return self.landmarks(rgb, _detector_box(landmarks_px))

    def confidence(self, rgb: Array, landmarks_px: Array) -> float:
        """The detector's best score around the face, less the score at which it is sure."""
        x0, y0, x1, y1 = _detector_box(landmarks_px)
        side = 1.5 * max(x1 - x0, y1 - y0)
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        scale = _LOCAL_PX / max(side, 1.0)
        patch_from_image = np.array([[scale, 0, 0], [0, scale, 0], [0, 0, 1.0]])
        patch_from_image[:2, 2] = (_LOCAL_PX - 1) / 2 - scale * middle
        patch = resample(rgb, patch_from_image, (_LOCAL_PX, _LOCAL_PX))
        return max((float(row[4]) for row in self._search(patch, _LOCAL_PX)), default=0.0) - _MIN_SCORE

    def embed(self, rgb: Array, landmarks_px: Array) -> Array:
        chip = arcface_chip(rgb, landmarks_px)
        return unit(np.asarray(self._models["recognition"].get_feat(_bgr(chip))).ravel())

    def close(self) -> None:
        self._models.clear()

    def _search(self, rgb: Array, side_px: int) -> list[Array]:
        boxes, _ = self._models["detection"].detect(_bgr(rgb), input_size=(side_px, side_px))
        return sorted((row for row in boxes if row[4] >= _MIN_SCORE), key=lambda row: -float(row[4]))


class _FaceRecord(dict[str, Any]):
    """What insightface's landmark models take: a mapping with attributes."""

    __getattr__ = dict.get


def pack_files(root: Path | None = None) -> dict[str, Path]:
    """Task name to model file, whether it exists or not."""
    folder = (root or _DEFAULT_ROOT).expanduser() / "models" / PACK
    return {task: folder / name for task, name in _FILES.items()}


def missing_parts(root: Path | None = None, files: Mapping[str, Path] | None = None) -> str:
    """What insightface still needs, in words; empty when it can be used. `files` stand for those of `pack_files`."""
    if find_spec("insightface") is None:
        return "the package insightface is not installed"
    absent = [path for path in (files or pack_files(root)).values() if not path.is_file()]
    return f"{absent[0]} does not exist" if absent else ""


def _open(path: Path, providers: Sequence[str]) -> Any:
    try:
        from insightface.model_zoo import get_model
    except ImportError as error:
        raise WeightsError(f"the package insightface is broken: {error}", "use --analyzer dlib") from error

    # insightface prints what it loads; standard output belongs to the caller's results.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            model = get_model(str(path), providers=list(providers))
        # onnxruntime raises classes of its own, which share only Exception.
        except Exception as error:
            raise WeightsError(f"cannot load {path}: {error}", "run `facex models verify`") from error
        if model is None:
            raise WeightsError(f"{path} is not a model that insightface knows", "run `facex models verify`")
        model.prepare(0 if "CUDAExecutionProvider" in providers else -1)
    return model


def _detector_box(landmarks_px: Array) -> Box:
    unit_from_image = fit_similarity(np.asarray(landmarks_px, np.float64), MEAN_SHAPE, FOLLOW_WEIGHTS)
    image_from_unit = np.linalg.inv(unit_from_image)
    (x0, y0), (x1, y1) = _DETECTOR_BOX
    corners = transform_points(image_from_unit, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _box(row: Array) -> Box:
    x0, y0, x1, y1 = (float(value) for value in row[:4])
    return (x0, y0, x1, y1)


def _bgr(rgb: Array) -> Array:
    return np.ascontiguousarray(rgb[..., ::-1])
