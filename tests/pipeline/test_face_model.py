"""On real faces: what is in front of them is found from what is known of the rest of their track."""

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facexcli.affine import resample
from facexcli.errors import WeightsError
from facexcli.evaluate.occluders import FacePlace, occlude
from facexcli.events import SilentReporter
from facexcli.faces.choose import choose_analyzer
from facexcli.fusion.mask import face_outline, face_unit_px, fill
from facexcli.fusion.skin import sample_mask
from facexcli.media.color import rgb_roi
from facexcli.media.frames import frame_from_rgb
from facexcli.media.probe import probe
from facexcli.media.reader import FrameReader
from facexcli.media.scan import frames_at
from facexcli.media.writer import EncodeOptions, VideoFormat, VideoWriter
from facexcli.pipeline.analyse import analyse_media
from facexcli.pipeline.face_model import LEAST_SAMPLES, SAMPLES, FaceModel, learn_face_models, sample_indices
from facexcli.pipeline.occlusion import occlusion_model
from facexcli.pipeline.painter import CropShape
from facexcli.types import Frame, MediaInfo
from facexcli.weights.store import Store
from tests.heard import Heard


@dataclass(frozen=True)
class Known:
    info: MediaInfo
    frames: list[Frame]
    shape: CropShape
    faces: dict
    model: FaceModel


@pytest.fixture(scope="module")
def known(eval_data) -> Known:
    """A talking clip, its faces, and what was learnt of them."""
    info = probe(eval_data / "talking" / "grid_sbia1a.mpg")
    analyzer, _ = choose_analyzer("dlib")
    analysis = analyse_media(info, analyzer, 0.5, SilentReporter(), "analyse")
    analyzer.close()
    shape = CropShape.of(info, "ffhq", 256)
    faces = shape.place(analysis.tracks, info.frame_rate, 0.5)
    with FrameReader(info.path, info) as reader:
        frames = list(reader)
    (model,) = learn_face_models(info, faces, shape).values()
    return Known(info, frames, shape, faces, model)


def _inside(crop, depth=0.06):
    low = fill(face_outline(crop.landmarks_px, forehead=False), crop.size_px) > 127
    deep = cv2.distanceTransform(low.astype(np.uint8), cv2.DIST_L2, 3) > depth * face_unit_px(crop.landmarks_px)
    return cv2.resize(deep.astype(np.uint8), (128, 128), interpolation=cv2.INTER_AREA) > 0


@pytest.mark.parametrize(("occluder", "progress"), [("hand", 0.21), ("palm", 0.5), ("microphone", 0.25)])
def test_an_occluder_stays_in_front_and_the_face_beside_it_does_not(known, occluder, progress):
    frame = known.frames[30]
    placed = known.faces[30][0]
    rgb = rgb_roi(frame, (0, 0, known.info.display_width_px, known.info.display_height_px))
    points = placed.face.landmarks_px
    spots = sample_mask(points, 360, 360)[: rgb.shape[0], : rgb.shape[1]] > 0
    place = FacePlace(tuple(points[30]), face_unit_px(points), np.median(rgb[spots], axis=0).astype(float))
    covered_rgb, share = occlude(rgb, occluder, place, progress, 1 / 75)
    crop = known.shape.cut(frame_from_rgb(covered_rgb, 30, 0, known.info.time_base, 1), placed)
    mask = known.model.covered(crop)
    held = cv2.resize(resample(share, crop.crop_from_frame, (256, 256)), (128, 128), interpolation=cv2.INTER_AREA)
    face = _inside(crop)
    assert (face & (held > 0.5)).sum() > 300
    assert (mask[face & (held > 0.5)] > 0.5).mean() > 0.8
    assert (mask[face & (held < 0.1)] > 0.5).mean() < 0.1  # half of it between fingers


def test_a_bare_face_is_bare_from_frame_to_frame(known):
    crops = [known.shape.cut(frame, known.faces[frame.index][0]) for frame in known.frames[::5]]
    masks = np.stack([known.model.covered(crop) for crop in crops])
    face = np.stack([_inside(crop) for crop in crops])
    assert (masks[face] > 0.5).mean() < 0.03


def test_a_frame_is_judged_by_itself(known):
    crop = known.shape.cut(known.frames[40], known.faces[40][0])
    first = known.model.covered(crop)
    known.model.covered(known.shape.cut(known.frames[3], known.faces[3][0]))
    assert np.array_equal(first, known.model.covered(crop))


def test_few_frames_are_looked_at_and_short_tracks_are_left_alone(known):
    frames = {1: np.arange(75), 2: np.arange(LEAST_SAMPLES - 1), 3: np.arange(20, 20 + LEAST_SAMPLES)}
    chosen = sample_indices(known.info.path, known.info, frames)
    assert len(chosen[1]) == SAMPLES and {min(chosen[1]), max(chosen[1])} == {0, 74}
    assert 2 not in chosen
    assert chosen[3] == frozenset(frames[3])


def test_of_a_long_track_bursts_after_key_frames_are_looked_at(tmp_path):
    path = tmp_path / "long.mp4"
    video = VideoFormat(64, 48, "yuv420p", Fraction(1, 25))
    with VideoWriter(path, video, EncodeOptions(preset="ultrafast")) as writer:
        for index in range(620):  # x264 puts a key frame every 250
            writer.write(frame_from_rgb(np.full((48, 64, 3), index % 200, np.uint8), index, index, Fraction(1, 25), 1))
    indices = sorted(sample_indices(path, probe(path), {0: np.arange(620)})[0])
    assert len(indices) == SAMPLES
    assert {0, 250, 500} <= set(indices)
    assert all(index % 250 < 40 for index in indices)
    assert [frame.index for frame in frames_at(path, indices)] == indices


def test_a_run_says_which_model_it_uses(known, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    heard = Heard()
    occlusion_model(known.info, known.faces, known.shape, "cpu", heard)
    assert heard.told == ["occlusion: a model of colour and motion, learnt from 1 track"]


def test_an_installed_network_is_asked_instead(known, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEX_HOME", str(tmp_path))
    pick = helper.make_tensor("pick", TensorProto.INT64, [1], [0])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["picture", "pick"], ["answer"], axis=3)],
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 256, 256, 3])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 256, 256, 1])],
        [pick],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(tmp_path / "xseg_1.onnx"))
    (path,) = Store().add("xseg_1", tmp_path / "xseg_1.onnx")
    heard = Heard()
    network = occlusion_model(known.info, known.faces, known.shape, "cpu", heard)
    assert heard.told == ["occlusion: xseg_1.onnx, which is installed"]
    crop = known.shape.cut(known.frames[0], known.faces[0][0])
    blue = cv2.resize(crop.rgb[..., 2], (128, 128), interpolation=cv2.INTER_AREA) / 255
    assert np.abs(network.covered(crop) - (1 - blue)).mean() < 0.02
    path.write_bytes(b"cut off")
    with pytest.raises(WeightsError, match=r"xseg_1\.onnx: altered"):
        occlusion_model(known.info, known.faces, known.shape, "cpu", heard)
