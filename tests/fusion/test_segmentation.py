"""Networks are opened from their files, fed as they were trained, and refused when they are something else."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facexcli.errors import WeightsError
from facexcli.fusion.segmentation import Segmentation


def _save(path: Path, nodes, shape_in, shape_out, constants=()) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape_out)],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))
    return path


def tiny_xseg(path: Path) -> Path:
    """Says "face" as far as a pixel is blue: the first of its channels, if colours come blue first."""
    pick = helper.make_tensor("pick", TensorProto.INT64, [1], [0])
    node = helper.make_node("Gather", ["picture", "pick"], ["answer"], axis=3)
    return _save(path, [node], ["batch", 256, 256, 3], ["batch", 256, 256, 1], [pick])


def tiny_bisenet(path: Path) -> Path:
    """19 scores from the red channel: class 1 (skin) where it is above ImageNet's mean, class 17 (hair) below."""
    weights = np.zeros((19, 3, 1, 1), np.float32)
    weights[1, 0], weights[17, 0] = 1, -1
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, weights.shape, weights.ravel())
    node = helper.make_node("Conv", ["picture", "kernel"], ["answer"])
    return _save(path, [node], [1, 3, 512, 512], [1, 19, 512, 512], [kernel])


def test_xseg_gets_blue_first_from_0_to_1(tmp_path):
    rgb = np.zeros((300, 300, 3), np.uint8)
    rgb[:, :150] = (0, 0, 255)
    rgb[:, 150:] = (255, 0, 51)
    covered = Segmentation(tiny_xseg(tmp_path / "xseg_1.onnx")).covered(rgb)
    assert covered.shape == (128, 128) and covered.dtype == np.float32
    assert covered[64, 20] == pytest.approx(0, abs=0.01)
    assert covered[64, 110] == pytest.approx(0.8, abs=0.01)


def test_bisenet_gets_red_first_normalised_and_its_hair_covers(tmp_path):
    rgb = np.zeros((96, 96, 3), np.uint8)
    rgb[:48], rgb[48:] = (140, 0, 0), (100, 255, 255)
    covered = Segmentation(tiny_bisenet(tmp_path / "bisenet_resnet_34.onnx")).covered(rgb)
    assert covered[20].max() == 0 and covered[110].min() == 1


@pytest.mark.parametrize("name", ["xseg_1.onnx", "bisenet_resnet_18.onnx"])
def test_another_network_under_the_name_is_refused_by_name(tmp_path, name):
    pick = helper.make_node("Identity", ["picture"], ["answer"])
    path = _save(tmp_path / name, [pick], [1, 3, 64, 64], [1, 3, 64, 64])
    with pytest.raises(WeightsError, match=name):
        Segmentation(path)


def test_an_answer_of_another_shape_is_refused(tmp_path):
    node = helper.make_node("Identity", ["picture"], ["answer"])
    path = _save(tmp_path / "dfl_xseg.onnx", [node], [1, 256, 256, 3], [1, 256, 256, 3])
    with pytest.raises(WeightsError, match="its answer is"):
        Segmentation(path)


def test_what_is_no_network_is_refused_in_one_line(tmp_path):
    path = tmp_path / "xseg_2.onnx"
    path.write_bytes(b"a download that was cut off")
    with pytest.raises(WeightsError, match=r"xseg_2\.onnx: cannot be loaded") as caught:
        Segmentation(path)
    assert "\n" not in caught.value.message
