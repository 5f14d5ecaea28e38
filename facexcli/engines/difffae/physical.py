"""Space-sensitive Physical Customization (sec. 4.1): a face as numbers of its own, and a picture of them.

Two models speak this language: the embedded 68-point face, and FLAME with DECA's encoder, from files of the user's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from facexcli.geometry.model3d import rotation_matrix
from facexcli.types import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facexcli.recipes import Attribute
    from facexcli.types import Crop

QUERIED: tuple[Attribute, ...] = ("pose", "expression", "lighting")
"""What DiffFAE takes from elsewhere; shape and texture are the source's own."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """beta, psi, rho, c, alpha and l of eq. 3, float32. Their sizes are the model's own but for three:

    pose: (3,) or more, yaw, pitch and roll in degrees as in `types.Face`, and what the model adds, such as a jaw.
    camera: (3,), pixels of a face unit and where its origin is seen, as shares of the crop's side. light: (9, 3), see
    `geometry.light`.
    """

    shape: Array
    expression: Array
    pose: Array
    camera: Array
    texture: Array
    light: Array

    def edited(self, queries: Mapping[Attribute, Coefficients], amounts: Mapping[Attribute, float]) -> Coefficients:
        """Take each attribute from its own query, as far as `amounts` (1 without a word) say. The camera goes with the
        pose."""

        def mixed(name: str, attribute: Attribute) -> Array:
            own: Array = getattr(self, name)
            if attribute not in queries:
                return own
            other = getattr(queries[attribute], name)
            return np.asarray(own + np.float32(amounts.get(attribute, 1.0)) * (other - own), np.float32)

        return replace(
            self,
            expression=mixed("expression", "expression"),
            pose=mixed("pose", "pose"),
            camera=mixed("camera", "pose"),
            light=mixed("light", "lighting"),
        )

    @property
    def rotation(self) -> Array:
        """float64 (3, 3)."""
        yaw, pitch, roll = (float(angle) for angle in self.pose[:3])
        return rotation_matrix(yaw, pitch, roll)


@dataclass(frozen=True, slots=True)
class Rendering:
    """I_R: uint8 (B, S, S, 3), black where there is no face. visible: bool (B, S, S)."""

    rgb: Array
    visible: Array


class PhysicalModel(Protocol):
    """Finds coefficients and renders them. The same crop gives the same coefficients."""

    @property
    def name(self) -> str: ...

    def coefficients(self, crop: Crop, neutral: Array | None = None, *, texture: bool = True) -> Coefficients:
        """What a crop shows. neutral: float64 (68, 3), the resting face, where it is known (`model3d.neutral_of`).
        texture: False where nobody needs it; then it is empty."""
        ...

    def render(self, faces: Sequence[Coefficients], size_px: int) -> Rendering:
        """Pictures of faces."""
        ...
