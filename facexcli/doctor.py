"""What is installed here, and what of it works: the facts that a report of a problem needs."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import av
from av.codec import Codec

from facexcli import __version__
from facexcli.config import PROJECT_FILE, USER_FILE, user_folder
from facexcli.device import choose_device
from facexcli.errors import WeightsError
from facexcli.faces.choose import choose_analyzer
from facexcli.faces.dlib_backend import weights_folder

_PACKAGES = {
    "av": "PyAV: decodes and encodes",
    "opencv-python-headless": "pixels",
    "dlib-bin": "embedded face models",
    "numpy": "arrays",
    "scipy": "filters and assignment",
    "scenedetect-headless": "cuts",
    "pydantic": "settings and plans",
}
_OPTIONAL = {
    "insightface": "a better analyzer",
    "onnxruntime": "runs ONNX models",
    "torch": "diffusion engines",
    "diffusers": "diffusion engines",
    "ray": "clusters",
}
_ENCODERS = {
    "h264": ("libx264", "h264_nvenc", "h264_vaapi", "h264_qsv", "h264_videotoolbox"),
    "hevc": ("libx265", "hevc_nvenc", "hevc_vaapi", "hevc_qsv", "hevc_videotoolbox"),
    "av1": ("libsvtav1", "libaom-av1", "av1_nvenc", "av1_vaapi", "av1_qsv"),
    "prores": ("prores_ks", "prores_videotoolbox"),
    "ffv1": ("ffv1",),
}
_MODELS = {
    "shape_predictor_68_face_landmarks.dat": (
        "68 landmarks",
        "trained on iBUG 300-W, whose terms exclude commercial use",
    ),
    "dlib_face_recognition_resnet_model_v1.dat": ("identity", "CC0 1.0"),
    "mmod_human_face_detector.dat": ("detection of hard faces", "CC0 1.0"),
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model file that comes with an installed package. `size_bytes` is 0 where the file is missing."""

    name: str
    purpose: str
    licence: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found. `encoders` lists what the FFmpeg inside PyAV was built with; hardware ones need the hardware.

    `problems` are what keeps the embedded engine from working; empty when all is well.
    """

    facex: str
    python: str
    platform: str
    packages: dict[str, str]
    optional: dict[str, str]
    ffmpeg: dict[str, str]
    encoders: dict[str, tuple[str, ...]]
    models: tuple[Model, ...]
    analyzer: str
    device: str
    device_reason: str
    config_files: dict[str, bool]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> Examination:
    """Look at this installation. Nothing is downloaded and nothing is written."""
    packages = {name: _version(name) for name in _PACKAGES}
    models, problems = _models()
    problems += [f"the package {name} is not installed" for name, found in packages.items() if not found]
    device = choose_device("auto")
    files = (user_folder() / USER_FILE, Path(PROJECT_FILE).absolute())
    return Examination(
        facex=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages=packages,
        optional={name: _version(name) for name in _OPTIONAL},
        ffmpeg={name: ".".join(str(part) for part in numbers) for name, numbers in av.library_versions.items()},
        encoders={codec: tuple(name for name in names if _can_encode(name)) for codec, names in _ENCODERS.items()},
        models=models,
        analyzer=_analyzer(),
        device=device.name,
        device_reason=device.reason,
        config_files={str(path): path.is_file() for path in files},
        problems=tuple(problems),
    )


def purpose_of(package: str) -> str:
    """What facex uses a package for."""
    return _PACKAGES.get(package) or _OPTIONAL[package]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _can_encode(name: str) -> bool:
    try:
        Codec(name, "w")
    except (av.FFmpegError, ValueError):
        return False
    return True


def _models() -> tuple[tuple[Model, ...], list[str]]:
    try:
        folder = weights_folder()
    except WeightsError as error:
        return (), [error.message]
    models, problems = [], []
    for name, (purpose, licence) in _MODELS.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else 0
        models.append(Model(name, purpose, licence, size))
        if not size:
            problems.append(f"the model {path} is missing")
    return tuple(models), problems


def _analyzer() -> str:
    try:
        analyzer, reason = choose_analyzer("auto")
    except WeightsError as error:
        return f"none: {error.message}"
    analyzer.close()
    return reason
