"""The embedded analyzer: dlib's HOG detector, 68-point predictor and identity network; no download, no GPU.

The predictor (Kazemi and Sullivan 2014, trained on iBUG 300-W) returns whole pixels and depends on where it starts.
Both errors are several times larger than the opening of an eye in a small video. So a face is first resampled
upright to a fixed, larger size, and several estimates from shifted boxes, half of them mirrored, are averaged:
that takes the noise of the eye opening to about a third, and makes the result independent of size and roll.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np

from facexcli.affine import crop_box, resample, transform_points
from facexcli.errors import WeightsError
from facexcli.faces.align import fit_similarity
from facexcli.faces.base import Detection, Fit
from facexcli.faces.embed import unit
from facexcli.faces.shape import FOLLOW_WEIGHTS, MEAN_SHAPE, MIRROR
from facexcli.types import Array, Box

_PACKAGE = "face_recognition_models"
_PREDICTOR = "shape_predictor_68_face_landmarks.dat"
_IDENTITY = "dlib_face_recognition_resnet_model_v1.dat"
_CNN = "mmod_human_face_detector.dat"

_BOX_PX = 260
"""Width of the predictor's box in the resampled face. More is slower and no steadier."""
_MARGIN_PX = 80
_STARTS = ((0.03, 0.0, 1.02), (0.0, 0.03, 0.98), (-0.03, 0.0, 1.02), (0.0, -0.03, 0.98))
"""(x, y, scale) of the start boxes, in box widths; every second one is mirrored."""
_DOUBTFUL_SPREAD = 0.014
_TILT_DEG = 28.0
_DETECT_MAX_PX = 1280
_CNN_MAX_PX = 360
"""The CNN detector needs about 6 ms for 1000 pixels, so it sees a small picture."""
_CNN_MIN_PX = 48
"""The CNN's image pyramid fails on smaller pictures."""
_CNN_GROWTH = 1.09
"""The HOG detector's boxes, which the predictor was trained with, over the CNN's."""
_CHIP_PX = 150
_CHIP_PADDING = 0.25


class DlibAnalyzer:
    """See the module's docstring. Models are loaded when they are first needed. dlib holds the interpreter lock."""

    name = "dlib"
    same_person_distance = 0.38

    def __init__(self) -> None:
        self._models: dict[str, Any] = {}

    def detect(self, rgb: Array, *, thorough: bool = False) -> list[Detection]:
        """HOG; `thorough` also enlarges (faces from 40 pixels on) and asks the CNN when HOG finds nothing."""
        image, scale = _fitted(rgb, _DETECT_MAX_PX)
        found = _scaled(self._hog(image, upsample=1 if thorough else 0), scale)
        if not found and thorough and min(rgb.shape[:2]) >= _CNN_MIN_PX:
            small, small_scale = _fitted(rgb, _CNN_MAX_PX)
            found = _scaled(self._cnn(small), small_scale)
        return sorted(found, key=lambda detection: -detection.score)

    def landmarks(self, rgb: Array, box_px: Box) -> Fit:
        """From a detector's box; a second look starts from the first one's result, so coarse boxes do no harm.

        Where the estimates disagree the head may be turned over, so the same is tried from tilted starts.
        """
        best = self._settle(rgb, box_px, 0.0)
        if best.spread > _DOUBTFUL_SPREAD:
            tilted = [self._settle(rgb, box_px, angle) for angle in (-_TILT_DEG, _TILT_DEG)]
            best = min(best, *tilted, key=lambda fit: fit.spread)
        return best

    def _settle(self, rgb: Array, box_px: Box, tilt_deg: float) -> Fit:
        x0, y0, x1, y1 = box_px
        side = max((x1 - x0 + y1 - y0) / 2, 1.0)
        turn = np.exp(1j * np.radians(tilt_deg))
        points = (MEAN_SHAPE - 0.5) @ np.array([1, 1j]) * side * turn
        start = np.column_stack([points.real + (x0 + x1) / 2, points.imag + (y0 + y1) / 2])
        return self.follow(rgb, self.follow(rgb, start).landmarks_px)

    def follow(self, rgb: Array, landmarks_px: Array) -> Fit:
        unit_from_image = fit_similarity(np.asarray(landmarks_px, np.float64), MEAN_SHAPE, FOLLOW_WEIGHTS)
        patch, patch_from_image = _upright_gray(rgb, unit_from_image, _BOX_PX, _MARGIN_PX)
        estimates = self._predict(patch)
        mean = estimates.mean(axis=0)
        spread = np.linalg.norm(estimates - mean, axis=2).mean() / np.linalg.norm(mean[36] - mean[45])
        in_image = transform_points(np.linalg.inv(patch_from_image), mean)
        return Fit(in_image.astype(np.float32), float(spread))

    def confidence(self, rgb: Array, landmarks_px: Array) -> float:
        """The HOG detector's score on the upright face, at one size; about -1 is no face at all, 0.5 a clear one."""
        unit_from_image = fit_similarity(np.asarray(landmarks_px, np.float64), MEAN_SHAPE, FOLLOW_WEIGHTS)
        patch, _ = _upright_gray(rgb, unit_from_image, 88, 28)
        _, scores, _ = self._model("hog").run(patch, 0, -1.0)
        return float(max(scores, default=-1.0))

    def embed(self, rgb: Array, landmarks_px: Array) -> Array:
        return unit(self.descriptor(rgb, landmarks_px))

    def descriptor(self, rgb: Array, landmarks_px: Array) -> Array:
        """The raw 128-d descriptor, float32, not normalised: for `identity_distance`."""
        points = [dlib.point(round(float(x)), round(float(y))) for x, y in landmarks_px]
        box = dlib.rectangle(0, 0, rgb.shape[1] - 1, rgb.shape[0] - 1)
        shape = dlib.full_object_detection(box, dlib.points(points))
        chip = dlib.get_face_chip(np.ascontiguousarray(rgb), shape, _CHIP_PX, _CHIP_PADDING)
        return np.array(self._model("identity").compute_face_descriptor(chip, 0), np.float32)

    def close(self) -> None:
        self._models.clear()

    def _hog(self, image: Array, upsample: int) -> list[Detection]:
        rectangles, scores, _ = self._model("hog").run(np.ascontiguousarray(image), upsample, 0.0)
        return [Detection(_box(r), float(score)) for r, score in zip(rectangles, scores, strict=True)]

    def _cnn(self, image: Array) -> list[Detection]:
        found = self._model("cnn")(np.ascontiguousarray(image), 0)
        return [Detection(_grown(_box(item.rect), _CNN_GROWTH), float(item.confidence)) for item in found]

    def _predict(self, patch: Array) -> Array:
        """float64 (K, 68, 2) estimates in pixels of a gray patch whose face box is at `_MARGIN_PX`."""
        predictor = self._model("predictor")
        mirrored = np.ascontiguousarray(patch[:, ::-1])
        estimates = np.empty((len(_STARTS), len(MEAN_SHAPE), 2))
        for index, (x, y, scale) in enumerate(_STARTS):
            image = mirrored if index % 2 else patch
            side = _BOX_PX * scale
            left, top = (_MARGIN_PX + (_BOX_PX - side) / 2 + shift * _BOX_PX for shift in (x, y))
            box = dlib.rectangle(round(left), round(top), round(left + side) - 1, round(top + side) - 1)
            shape = predictor(image, box)
            points = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
            if index % 2:
                points = points[MIRROR]
                points[:, 0] = patch.shape[1] - 1 - points[:, 0]
            estimates[index] = points
        return estimates

    def _model(self, kind: str) -> Any:
        if kind not in self._models:
            self._models[kind] = _load(kind)
        return self._models[kind]


def weights_folder() -> Path:
    """Where the embedded weights lie. The package is not imported: its `__init__` needs the vanished pkg_resources.

    Raises WeightsError when the package is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"the package {_PACKAGE} is not installed", f"run `pip install {_PACKAGE}`")
    return Path(next(iter(spec.submodule_search_locations))) / "models"


def _load(kind: str) -> Any:
    if kind == "hog":
        return dlib.get_frontal_face_detector()
    maker, file_name = {
        "predictor": (dlib.shape_predictor, _PREDICTOR),
        "identity": (dlib.face_recognition_model_v1, _IDENTITY),
        "cnn": (dlib.cnn_face_detection_model_v1, _CNN),
    }[kind]
    path = weights_folder() / file_name
    try:
        return maker(str(path))
    except RuntimeError as error:
        raise WeightsError(f"cannot load {path}: {error}", f"run `pip install --force-reinstall {_PACKAGE}`") from error


def _upright_gray(rgb: Array, unit_from_image: Array, box_px: int, margin_px: int) -> tuple[Array, Array]:
    """The face turned upright, its box `box_px` wide, in gray; and patch_from_image, float64 (3, 3)."""
    patch_from_unit = np.array([[box_px, 0, margin_px], [0, box_px, margin_px], [0, 0, 1.0]])
    patch_from_image = patch_from_unit @ unit_from_image
    side = box_px + 2 * margin_px
    x0, y0, x1, y1 = crop_box(patch_from_image, side, (rgb.shape[1], rgb.shape[0]), margin_px=8)
    gray = cv2.cvtColor(np.ascontiguousarray(rgb[y0:y1, x0:x1]), cv2.COLOR_RGB2GRAY)
    patch_from_part = patch_from_image @ np.array([[1.0, 0, x0], [0, 1.0, y0], [0, 0, 1]])
    return resample(gray, patch_from_part, (side, side), smooth=False), patch_from_image


def _fitted(rgb: Array, max_px: int) -> tuple[Array, float]:
    """The image reduced until its long side is at most `max_px`, and image pixels per reduced pixel."""
    longest = max(rgb.shape[:2])
    if longest <= max_px:
        return rgb, 1.0
    scale = longest / max_px
    size = (max(1, round(rgb.shape[1] / scale)), max(1, round(rgb.shape[0] / scale)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), scale


def _box(rectangle: Any) -> Box:
    return (
        float(rectangle.left()),
        float(rectangle.top()),
        float(rectangle.right() + 1),
        float(rectangle.bottom() + 1),
    )


def _grown(box: Box, factor: float) -> Box:
    x0, y0, x1, y1 = box
    x, y = (factor - 1) * (x1 - x0) / 2, (factor - 1) * (y1 - y0) / 2
    return (x0 - x, y0 - y, x1 + x, y1 + y)


def _scaled(detections: list[Detection], scale: float) -> list[Detection]:
    if scale == 1:
        return detections
    return [Detection(_times(item.box_px, scale), item.score) for item in detections]


def _times(box: Box, scale: float) -> Box:
    x0, y0, x1, y1 = box
    return (x0 * scale, y0 * scale, x1 * scale, y1 * scale)
