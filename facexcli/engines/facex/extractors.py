"""Which extractors FORD has (sec. 3.2): the paper's where their weights are in the store, else the stand-ins.

A gaze network is in no catalog of facex yet: `IrisGaze` stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facexcli.engines.facex.ford import Decomposer, embedded_decomposer
from facexcli.engines.facex.gaze import IrisGaze
from facexcli.engines.facex.identity import ArcFaceIdentity, DlibIdentity
from facexcli.engines.facex.motion import DEEP3D, LandmarkMotion
from facexcli.engines.facex.parsing import BiSeNetParser, LandmarkParser
from facexcli.errors import WeightsError
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.engines.facex.config import FaceXConfig
    from facexcli.engines.facex.motion import MotionExtractor
    from facexcli.types import Array

ARCFACE = ("antelopev2", "glintr100.onnx")
"""iresnet100 trained on Glint360k, in the store's names. Another ArcFace has features of its own."""
PARSERS = (("bisenet_resnet_34", "bisenet_resnet_34.onnx"), ("bisenet_resnet_18", "bisenet_resnet_18.onnx"))
_FEATURE_SHAPE = (512, 7, 7)
_HEAD = ("BatchNormalization", "Gemm", "MatMul", "Add", "Dropout", "Identity")
_FLATTEN = ("Flatten", "Reshape")


def extractor_names(config: FaceXConfig, store: Store | None = None) -> tuple[str, ...]:
    """What `open_decomposer` would take, without loading it."""
    paper, known = config.perception == "paper", store or Store()
    identity = ArcFaceIdentity.name if paper else DlibIdentity.name
    parser = BiSeNetParser.name if paper and _parser_file(known, verify=False) else LandmarkParser.name
    return (
        f"identity {identity}", f"regions {parser}", f"motion {motion_name(config, known)}", f"gaze {IrisGaze.name}",
    )  # fmt: skip


def open_decomposer(config: FaceXConfig, store: Store | None = None) -> Decomposer:
    """The extractors of a configuration.

    Raises WeightsError for a network of the paper's extractors where ArcFace is not installed: nothing stands in for
    a feature map; nor for a face model that a network was trained on.
    """
    if config.perception == "embedded":
        return embedded_decomposer(config)
    known = store or Store()
    name, file = ARCFACE
    if not known.installed(name):
        raise WeightsError(
            f"FaceX {config.name} needs ArcFace's feature map (iresnet100)",
            f"facex models pull {name}; checkpoints of --config compact need nothing",
        )
    identity = ArcFaceIdentity(FeatureMap(known.path(name, file)))
    parser_file = _parser_file(known)
    parser = LandmarkParser() if parser_file is None else BiSeNetParser(_labels_of(parser_file))
    return Decomposer(identity, parser, _motion(config, known), IrisGaze(), config.identity_shape)


def motion_name(config: FaceXConfig, store: Store | None = None) -> str:
    """Whose coefficients a configuration takes: those it was trained on, else of the network that is installed."""
    if config.perception == "embedded":
        return LandmarkMotion.name
    if config.motion != "auto":
        return config.motion
    return DEEP3D if (store or Store()).installed(DEEP3D) else LandmarkMotion.name


def _motion(config: FaceXConfig, store: Store) -> MotionExtractor:
    if motion_name(config, store) == LandmarkMotion.name:
        return LandmarkMotion()
    if not store.installed(DEEP3D):
        raise WeightsError(
            f"FaceX {config.name} was trained on the coefficients of {DEEP3D}, which is not installed",
            f"facex models add {DEEP3D} PATH; `facex models list` says where it comes from",
        )
    from facexcli.engines.facex.deep3d import load_deep3d

    return load_deep3d(store.path(DEEP3D))


class FeatureMap:
    """ArcFace's last feature map before its embedding, taken out of insightface's ONNX graph. Safe in threads.

    Raises WeightsError for a file that is no such graph, or without the packages onnx and onnxruntime.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise WeightsError(
                f"{path}: taking its feature map needs {error.name}", "pip install onnx onnxruntime"
            ) from error
        try:
            model = onnx.load(str(path))
            inner = inner_tensor(model.graph)
            del model.graph.output[:]
            model.graph.output.append(onnx.helper.make_tensor_value_info(inner, onnx.TensorProto.FLOAT, None))
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        # onnx and onnxruntime raise classes of their own, which share only Exception.
        except Exception as error:
            raise WeightsError(f"{path}: not ArcFace: {str(error).splitlines()[0]}", "pull it again") from error
        self._input = self._session.get_inputs()[0].name

    def __call__(self, rgb: Array) -> Array:
        """uint8 (112, 112, 3) -> float32 (512, 7, 7). Raises WeightsError for a graph of other shapes."""
        given = ((rgb.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
        try:
            (found,) = self._session.run(None, {self._input: np.ascontiguousarray(given)})
        except Exception as error:
            raise WeightsError(f"{self._path}: the network failed: {str(error).splitlines()[0]}") from error
        if found.shape != (1, *_FEATURE_SHAPE):
            raise WeightsError(f"{self._path}: its last feature map is {found.shape[1:]}, not {_FEATURE_SHAPE}")
        return np.asarray(found[0], np.float32)


def inner_tensor(graph: Any) -> str:
    """The name of what an embedding is made of: the input of the flattening layer that the output goes back to.

    graph: an onnx GraphProto. Raises ValueError where something else lies between.
    """
    makers = {name: node for node in graph.node for name in node.output}
    name = graph.output[0].name
    while name in makers:
        node = makers[name]
        if node.op_type in _FLATTEN:
            return str(node.input[0])
        if node.op_type not in _HEAD:
            break
        name = node.input[0]
    raise ValueError("its output is not an embedding of a flattened feature map")


def _parser_file(store: Store, *, verify: bool = True) -> Path | None:
    for name, file in PARSERS:
        if store.installed(name):
            return store.path(name, file) if verify else store.folder / name / file
    return None


def _labels_of(path: Path) -> Any:
    from facexcli.fusion.segmentation import Segmentation

    return Segmentation(path).labels
