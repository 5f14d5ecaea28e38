"""phi_3DMM as the paper has it: the network of Deep3DFaceReconstruction (Deng et al. 2019, PyTorch version).

It reads 257 coefficients of the Basel Face Model off a crop: see `motion.split_coefficients`. The file is the
publisher's checkpoint as `facex models add deep3dfacerecon` converted it; names of its tensors, the alignment and the
order of the coefficients are those of the published code (sicxu/Deep3DFaceRecon_pytorch, at its state of 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from facexcli.engines.checkpoint import check_tensors
from facexcli.engines.facex.motion import DEEP3D, split_coefficients
from facexcli.engines.resnet import ResNet50
from facexcli.errors import WeightsError
from facexcli.faces.align import take_crop

if TYPE_CHECKING:
    from pathlib import Path

    from facexcli.types import Array, Crop

INPUT_PX = 224
PARTS = (80, 64, 80, 3, 27, 2, 1)
"""Coefficients of each last layer: identity, expression, texture, angles, light, x and y, z."""
STANDARD_POINTS: Array = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""Eyes, tip of the nose and mouth corners of the standard face, with y up, in the face model's units.

They come from the publisher's `similarity_Lm3D_all.mat`, which is binary; these numbers are what several programs that
run the same network print of it, and agree on."""
_FACTOR = 102.0
"""Pixels of the input that one unit of the standard face takes."""
_PREFIX = "net_recon."
_HINT = f"facex models add {DEEP3D} PATH, with the publisher's epoch_20.pth"


class CoefficientNetwork(nn.Module):
    """A ResNet-50 and seven layers; the names of its parts are those of the published checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.final_layers = nn.ModuleList([nn.Conv2d(self.backbone.features, count, 1) for count in PARTS])

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, 224, 224) in 0..1 to (B, 257)."""
        features = self.backbone(rgb)[..., None, None]
        return torch.cat([layer(features) for layer in self.final_layers], dim=1).flatten(1)


class Deep3DMotion:
    """The paper's extractor, once its weights are installed. Safe in threads. See `MotionExtractor`."""

    name = DEEP3D

    def __init__(self, network: CoefficientNetwork) -> None:
        self._network = network.eval()

    def __call__(self, crop: Crop, neutral: Array | None = None) -> dict[str, Array]:
        """neutral is not needed: the network tells identity from expression by itself.

        Raises ValueError for landmarks that coincide.
        """
        aligned, _ = take_crop(crop.rgb, input_from_crop(crop.landmarks_px), INPUT_PX)
        return split_coefficients(self.coefficients(aligned))

    @torch.inference_mode()
    def coefficients(self, rgb: Array) -> Array:
        """All 257 of one aligned picture, uint8 (224, 224, 3); float32."""
        given = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
        return np.asarray(self._network(given)[0].numpy())


def input_from_crop(landmarks_px: Array) -> Array:
    """The network's input from the crop that 68 landmarks lie in, float64 (3, 3): it scales and shifts, never turns.

    The standard face is laid onto five landmarks under scaled orthographic projection, by least squares; its size
    and its origin place the input. A tilted head stays tilted, for the network to read its roll. The published code
    rounds size and place to whole pixels; this does not.

    Raises ValueError for landmarks that coincide.
    """
    points = np.asarray(landmarks_px, np.float64)
    five = np.stack([points[[36, 39]].mean(axis=0), points[[42, 45]].mean(axis=0), points[30], points[48], points[54]])
    rows, *_ = np.linalg.lstsq(np.column_stack([STANDARD_POINTS * (1, -1, 1), np.ones(5)]), five)
    size = float(np.linalg.norm(rows[:3], axis=0).mean())
    if not size > 1e-6:
        raise ValueError("landmarks that coincide have no alignment")
    scale, (x, y) = _FACTOR / size, rows[3]
    # The published code lays the left and the lower edge of the origin's pixel onto the middle, not its centre.
    middle = INPUT_PX / 2
    return np.array(
        [[scale, 0, middle - scale * x + (scale - 1) / 2], [0, scale, middle - scale * y - (scale + 1) / 2], [0, 0, 1]]
    )


def load_deep3d(path: Path) -> Deep3DMotion:
    """The network of a converted checkpoint; what else is in the file, such as an optimizer, is not read.

    Raises WeightsError for a file of another architecture, or one that is cut short.
    """
    try:
        with safe_open(str(path), "pt") as file:
            names = [name for name in file.keys() if name.startswith(_PREFIX)]  # noqa: SIM118 - not a mapping
            found = {name.removeprefix(_PREFIX): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or cut short", _HINT) from error
    with torch.device("meta"):
        network = CoefficientNetwork()
    check_tensors(path, DEEP3D, network.state_dict(), found, _HINT)
    whole = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    network.load_state_dict(whole, assign=True)
    return Deep3DMotion(network)
