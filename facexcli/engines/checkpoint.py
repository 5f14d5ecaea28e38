"""Checkpoints of the networks that facex trains: one safetensors file that carries its configuration and the version of
its layout.

Nothing of a file is trusted before it is checked: not that it is safetensors, whole, of this layout, of the shapes that
its configuration asks for, or unaltered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from facexcli.errors import WeightsError
from facexcli.media.atomic import AtomicFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor


Config = TypeVar("Config")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a kind of checkpoint is called, in its file and to people, and how to get one."""

    format: str
    version: int
    called: str
    hint: str

    def save(self, tensors: Mapping[str, Tensor], config: str, path: Path) -> None:
        """Write tensors with their configuration. The file appears complete or not at all. Raises OutputError."""
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        facts = {
            "format": self.format, "version": str(self.version), "config": config, "sha256": fingerprint(kept),
        }  # fmt: skip
        with AtomicFile(path) as file:
            mode = file.temporary.stat().st_mode
            save_file(kept, str(file.temporary), facts)
            file.temporary.chmod(mode)  # the library's own files are for nobody else to read
            file.commit()

    def read(self, path: Path, parsed: Callable[[Path, str], Config]) -> tuple[Config, dict[str, Tensor]]:
        """Configuration, as `parsed` makes it out of its text before any weights are read, and tensors.

        Raises WeightsError for a file that is not there, damaged, or was altered; what `parsed` does.
        """
        with self._opened(path) as file:
            metadata = file.metadata() or {}
            config = parsed(path, self._config(path, metadata))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if fingerprint(tensors) != metadata.get("sha256"):
            raise WeightsError(f"{path}: its weights are not those that were saved", "fetch or train it again")
        return config, tensors

    def read_config(self, path: Path) -> str:
        """The configuration alone, without reading weights. Raises WeightsError."""
        with self._opened(path) as file:
            return self._config(path, file.metadata() or {})

    def check(self, path: Path, name: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
        """Raises WeightsError where the tensors are not those that the configuration called `name` has."""
        check_tensors(path, name, wanted, found, self.hint)

    def _opened(self, path: Path) -> Any:
        try:
            return safe_open(str(path), "pt")
        except (OSError, SafetensorError) as error:
            if not path.is_file():
                reason = "no such file"
            elif _is_pickle(path):
                reason = "a pickle, which could run a program when it is opened; only safetensors are read"
            else:
                reason = "not a safetensors file, or cut short"
            raise WeightsError(f"{path}: {reason}", self.hint) from error

    def _config(self, path: Path, metadata: Mapping[str, str]) -> str:
        if metadata.get("format") != self.format:
            raise WeightsError(
                f"{path}: not a {self.called} checkpoint: it does not carry its configuration", self.hint
            )
        if metadata.get("version") != str(self.version):
            raise WeightsError(
                f"{path}: layout {metadata.get('version')} of {self.called} checkpoints; "
                f"this facex reads {self.version}",
                "use the version of facex that wrote it",
            )
        return metadata.get("config", "")


def check_tensors(path: Path, name: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], hint: str) -> None:
    """Raises WeightsError where the tensors of a file are not, by name and shape, those that `name` has."""
    missing, foreign = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or foreign:
        what = f"lacks {missing[0]}" if missing else f"has {foreign[0]}, which no {name!r} has"
        raise WeightsError(f"{path}: another architecture: it {what}", hint)
    for each, tensor in found.items():
        if tensor.shape != wanted[each].shape:
            raise WeightsError(
                f"{path}: {each} is {tuple(tensor.shape)}, but {name!r} has {tuple(wanted[each].shape)}", hint
            )


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, hexadecimal, of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_pickle(path: Path) -> bool:
    """By its first bytes: a pickle of protocol 2 or later, or the zip archive that torch.save writes."""
    with path.open("rb") as file:
        return file.read(4)[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")
