"""What is installed here, and what of it works: the facts that a report of a problem needs."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any

import av

from facexcli import __version__
from facexcli.config import PROJECT_FILE, USER_FILE, cache_folder, user_folder
from facexcli.device import choose_device
from facexcli.engines.auto import choose_engine
from facexcli.engines.base import EngineOptions
from facexcli.engines.registry import engine_factories, missing_weights
from facexcli.errors import FacexError, WeightsError
from facexcli.faces.dlib_backend import weights_folder
from facexcli.fusion.segmentation import KNOWN
from facexcli.media.capabilities import Ability, decoders, encoders, hardware_encoders
from facexcli.media.container import os_reason
from facexcli.pipeline.perception import PACKS, choose_analyzer, occlusion_network
from facexcli.weights.store import Store

if TYPE_CHECKING:
    from facexcli.engines.base import Engine

_PACKAGES = {
    "av": "PyAV: decodes and encodes",
    "opencv-python-headless": "pixels",
    "dlib-bin": "embedded face models",
    "numpy": "arrays",
    "scipy": "filters and assignment",
    "scenedetect-headless": "cuts",
    "pydantic": "settings and plans",
    "c2pa-python": "signed manifests",
}
_OPTIONAL = {
    "insightface": "a better analyzer",
    "onnxruntime": "runs ONNX models",
    "torch": "diffusion engines",
    "diffusers": "diffusion engines",
    "ray": "clusters",
}
_GRAPHICS_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_OCCLUSION = "xseg_3"
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
class Folder:
    """A place that facex reads or writes. `problem` says why it cannot be written; '' where it can."""

    purpose: str
    path: str
    free_bytes: int
    problem: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What `auto` takes here for one purpose, why, and what would improve it; `better` is '' where nothing would."""

    purpose: str
    active: str
    better: str


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found. Encoders were really opened; their `problem` says why one cannot be used.

    `graphics` names the cards that the system knows of, whether or not anything can use them. `engines` says of each
    what it is, or why it cannot be used. `problems` are what keeps the embedded engine from working; empty when all is
    well.
    """

    facex: str
    python: str
    platform: str
    packages: dict[str, str]
    optional: dict[str, str]
    ffmpeg: dict[str, str]
    decoders: tuple[Ability, ...]
    encoders: tuple[Ability, ...]
    hardware_encoders: tuple[Ability, ...]
    graphics: tuple[str, ...]
    engines: dict[str, str]
    folders: tuple[Folder, ...]
    models: tuple[Model, ...]
    analyzer: str
    choices: tuple[Choice, ...]
    device: str
    device_reason: str
    config_files: dict[str, bool]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> Examination:
    """Look at this installation. Nothing is downloaded, and nothing stays written."""
    packages = {name: _version(name) for name in _PACKAGES}
    models, problems = _models()
    problems += [f"the package {name} is not installed" for name, found in packages.items() if not found]
    device = choose_device("auto")
    files = (user_folder() / USER_FILE, Path(PROJECT_FILE).absolute())
    places = {"this folder": Path.cwd(), "temporary": Path(gettempdir()), "cache": cache_folder()}
    return Examination(
        facex=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages=packages,
        optional={name: _version(name) for name in _OPTIONAL},
        ffmpeg={"FFmpeg": av.ffmpeg_version_info}
        | {name: ".".join(str(part) for part in numbers) for name, numbers in av.library_versions.items()},
        decoders=decoders(),
        encoders=encoders(),
        hardware_encoders=hardware_encoders(),
        graphics=_graphics(),
        engines=_engines(),
        folders=tuple(_folder(purpose, path) for purpose, path in places.items()),
        models=models,
        analyzer=_analyzer(),
        choices=choices_here(),
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


def _graphics() -> tuple[str, ...]:
    """The graphics cards, as far as NVIDIA's own tool and the kernel tell without torch."""
    found = _nvidia_cards()
    for card in sorted(Path("/sys/class/drm").glob("card[0-9]*/device/vendor")):
        vendor = _GRAPHICS_VENDORS.get(_read_line(card), "")
        if vendor and not (vendor == "NVIDIA" and found):
            found.append(f"{vendor} ({card.parent.parent.name})")
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        found.append("Apple silicon")
    return tuple(found)


def _nvidia_cards() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[part.strip() for part in line.split(",")] for line in told.splitlines()]
    return [f"{row[0]}, {row[1]}, driver {row[2]}" for row in rows if len(row) == 3]


def _read_line(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _engines() -> dict[str, str]:
    told = {}
    for name, factory in sorted(engine_factories().items()):
        try:
            engine = factory()
        except (FacexError, ImportError) as error:
            told[name] = f"cannot be used: {error}"
            continue
        told[name] = _absent(engine) or engine.spec.summary
        engine.close()
    return told


def _absent(engine: Engine) -> str:
    """What an engine lacks, in words; '' where it can be used, or tells itself when it is asked."""
    lacks = missing_weights(engine.spec)
    return f"not installed: facex models pull {lacks[0]}" if lacks else ""


def choices_here() -> tuple[Choice, ...]:
    """What `auto` takes for faces, swap and occlusion; a damaged file is told in the place of the choice."""
    store = Store()
    pack = next((name for name in PACKS if store.installed(name)), "")
    better = "" if pack else f"surer faces, landmarks and identity: facex models pull {PACKS[0]}"
    if pack and not _version("insightface"):
        better = f"{pack} is installed, but insightface is not: pip install 'facexcli[insightface]'"
    return (Choice("faces", _analyzer(), better), _swap_choice(), _occlusion_choice(store))


def _swap_choice() -> Choice:
    try:
        name, reason = choose_engine("swap", EngineOptions())
    except FacexError as error:
        return Choice("swap", f"none: {error.message}", "")
    kind, _, better = reason.partition("; ")
    return Choice("swap", f"{name}, {kind}", better if "facex" in better else "")


def _occlusion_choice(store: Store) -> Choice:
    better = f"hands, hair and microphones stay in front more surely: facex models pull {_OCCLUSION}"
    try:
        path = occlusion_network(store)
    except WeightsError as error:
        return Choice("occlusion", f"none: {error.message}", error.hint)
    if path is None:
        return Choice("occlusion", "colour and motion, learnt from each video", better)
    return Choice("occlusion", path.name, "" if KNOWN[path.name] == "xseg" else better)


def _folder(purpose: str, path: Path) -> Folder:
    """Try to write a file there; where the folder does not exist yet, in the nearest one that does."""
    there = next((each for each in (path, *path.parents) if each.is_dir()), path)
    try:
        with TemporaryFile(dir=there):
            pass
        return Folder(purpose, str(path), shutil.disk_usage(there).free, "")
    except OSError as error:
        return Folder(purpose, str(path), 0, os_reason(error))


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
