"""Networks that see what is in front of a face, from ONNX files that the user has pulled.

XSeg (DeepFaceLab's, in the form in which FaceFusion publishes it): a crop of the face, 1 x 256 x 256 x 3, blue first,
0..1; the answer is how much of each pixel is face. BiSeNet (C. Yu et al., "BiSeNet: Bilateral segmentation network",
ECCV 2018, trained on CelebAMask-HQ): 1 x 3 x 512 x 512, red first, normalised as for ImageNet; the answer is a score
for each of 19 classes. It knows hair, hats and glasses, but not hands.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from facexcli.errors import WeightsError
from facexcli.types import Array

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["xseg", "bisenet"]
KNOWN: dict[str, Kind] = {
    "xseg_3.onnx": "xseg",
    "xseg_2.onnx": "xseg",
    "xseg_1.onnx": "xseg",
    "dfl_xseg.onnx": "xseg",
    "bisenet_resnet_34.onnx": "bisenet",
    "bisenet_resnet_18.onnx": "bisenet",
}
"""File names, the better first, and what they are."""
_IMAGENET_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_IMAGENET_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
_CLASSES = 19
_FACE_CLASSES = (1, 2, 3, 4, 5, 10, 11, 12, 13)
"""Of CelebAMask-HQ: skin, brows, eyes, nose, inner mouth, lips; glasses are 6, hair 17, hats 18."""
_ANSWER_PX = 128
_HINT = "remove the file, or put the published one in its place"


@dataclass(frozen=True, slots=True)
class _Signature:
    """input_shape: as the published files have it, None for a batch of any size. channels_at: axis of the answer."""

    input_shape: tuple[int | None, ...]
    classes: int
    classes_at: int


_SIGNATURES: dict[Kind, _Signature] = {
    "xseg": _Signature((None, 256, 256, 3), 1, 3),
    "bisenet": _Signature((None, 3, 512, 512), _CLASSES, 1),
}


class Segmentation:
    """One network. Calls from several threads are allowed.

    Args:
        path: a file whose name is in `KNOWN`.
        cuda: the number of the CUDA device, or None for the CPU.

    Raises:
        WeightsError: naming the file: it is unreadable, no ONNX graph, or its inputs or outputs are not those of its
            kind; or onnxruntime is not installed, or has no CUDA.
    """

    def __init__(self, path: Path, cuda: int | None = None) -> None:
        self.path, self.kind = path, KNOWN[path.name]
        self._session = _open(path, cuda)
        self._check()

    def covered(self, rgb: Array) -> Array:
        """Where something is in front of the face: float32 (128, 128) in 0..1. rgb: uint8 (S, S, 3), an aligned crop.

        Raises WeightsError when the network fails.
        """
        face = _face(self._answer(rgb), self.kind)
        small = cv2.resize(face, (_ANSWER_PX, _ANSWER_PX), interpolation=cv2.INTER_AREA)
        return np.asarray(1 - np.clip(small, 0, 1), np.float32)

    def labels(self, rgb: Array) -> Array:
        """BiSeNet's class of each pixel, 0..18: uint8 (S, S). rgb: uint8 (S, S, 3), an aligned crop.

        Raises WeightsError when the network fails, ValueError for a network of another kind.
        """
        if self.kind != "bisenet":
            raise ValueError(f"{self.kind} knows no classes")
        classes = self._answer(rgb)[0].argmax(axis=0).astype(np.uint8)
        return np.asarray(cv2.resize(classes, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST))

    def _answer(self, rgb: Array) -> Array:
        name = self._session.get_inputs()[0].name
        try:
            return np.asarray(self._session.run(None, {name: _input(rgb, self.kind)})[0])
        # onnxruntime raises classes of its own, which share only Exception.
        except Exception as error:
            raise WeightsError(f"{self.path}: the network failed: {_first_line(error)}", _HINT) from error

    def _check(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        wanted = _SIGNATURES[self.kind]
        if len(inputs) != 1 or not _fits(inputs[0].shape, wanted.input_shape) or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{each.type} {each.shape}" for each in inputs)
            raise WeightsError(f"{self.path}: not a {self.kind} network: its input is {found}", _HINT)
        shape = outputs[0].shape if outputs else []
        if len(shape) != 4 or (
            isinstance(shape[wanted.classes_at], int) and shape[wanted.classes_at] != wanted.classes
        ):
            raise WeightsError(f"{self.path}: not a {self.kind} network: its answer is {shape}", _HINT)


def _open(path: Path, cuda: int | None) -> Any:
    if find_spec("onnxruntime") is None:
        raise WeightsError(f"{path} needs onnxruntime, which is not installed", "pip install onnxruntime")
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if cuda is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": cuda}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # frames are painted side by side
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    # onnxruntime raises classes of its own, which share only Exception.
    except Exception as error:
        raise WeightsError(f"{path}: cannot be loaded: {_first_line(error)}", _HINT) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _fits(shape: list[Any], wanted: tuple[int | None, ...]) -> bool:
    """Whether fixed sizes are the wanted ones; names of sizes, and None, stand for any."""
    if len(shape) != len(wanted):
        return False
    pairs = zip(shape, wanted, strict=True)
    return all(size == want for size, want in pairs if isinstance(size, int) and want is not None)


def _input(rgb: Array, kind: Kind) -> Array:
    shape = _SIGNATURES[kind].input_shape
    side = max(size for size in shape if size)
    method = cv2.INTER_AREA if rgb.shape[0] > side else cv2.INTER_LINEAR
    picture = cv2.resize(rgb, (side, side), interpolation=method).astype(np.float32) / 255
    if kind == "xseg":
        return np.ascontiguousarray(picture[None, ..., ::-1])
    return np.ascontiguousarray(((picture - _IMAGENET_MEAN) / _IMAGENET_DEVIATION).transpose(2, 0, 1)[None])


def _face(answer: Array, kind: Kind) -> Array:
    """How much of each pixel is face: float32 (h, w)."""
    if kind == "xseg":
        return np.ascontiguousarray(answer[0, ..., 0], np.float32)
    return np.isin(answer[0].argmax(axis=0), _FACE_CLASSES).astype(np.float32)
