"""Reenactment by the embedded engine: portraits move as their driver does, and stay themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli.affine import transform_points
from facexcli.engines.mesh.eyelids import close_eye, find_eyes, without_eyes
from facexcli.engines.mesh.head import prepare_head, turn_head
from facexcli.engines.mesh.lips import RESTING_LIPS, LipMotion, mouth_gap, move_lips, with_lip_edges
from facexcli.engines.mesh.motion import MotionState, prepare_motion, render_motion
from facexcli.engines.mesh.performance import perform
from facexcli.evaluate.measures import eye_opening, mouth_opening
from facexcli.faces.align import crop_from_frame, take_crop
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.faces.source import find_source_face
from facexcli.geometry.face_shape import EYES, MEAN_SHAPE
from facexcli.geometry.model3d import Pose, fit_pose, project, rotation_matrix
from facexcli.media.image import read_image
from facexcli.recipes import recipe_named
from facexcli.types import Array, Crop, EditRequest, Motion, Patch

SIZE_PX = 512
REENACT = recipe_named("reenact")
ANALYZER = DlibAnalyzer()


def crop_of(rgb: Array) -> Crop:
    landmarks = find_source_face(rgb, ANALYZER).landmarks_px
    matrix = crop_from_frame(landmarks, "head", SIZE_PX)
    pixels, _ = take_crop(rgb, matrix, SIZE_PX)
    return Crop(pixels, matrix, transform_points(matrix, landmarks).astype(np.float32), "head")


@pytest.fixture(scope="module")
def shut(eval_data: Path) -> Crop:
    return crop_of(read_image(eval_data / "london" / "009_neutral.jpg"))


@pytest.fixture(scope="module")
def smiling(eval_data: Path) -> Crop:
    return crop_of(read_image(eval_data / "london" / "009_smiling.jpg"))


def driver(frames: int = 12, **changes: list[float]) -> Motion:
    """A made driver: gap (face units), lids (1 open), yaw, pitch, roll (degrees) and x (face units) for each frame."""
    landmarks = []
    for i in range(frames):
        now = {name: values[i] if i < len(values) else values[-1] for name, values in changes.items()}
        face = MEAN_SHAPE.copy()
        face[[65, 66, 67, 55, 56, 57, 58, 59], 1] += now.get("gap", 0.0)
        face[5:12, 1] += 0.8 * now.get("gap", 0.0)
        for eye in EYES:
            corner = face[eye.start, 1]
            face[eye, 1] = corner + (face[eye, 1] - corner) * now.get("lids", 1.0)
        rotation = rotation_matrix(now.get("yaw", 0.0), now.get("pitch", 0.0), now.get("roll", 0.0))
        landmarks.append(project(face, Pose(rotation, 90.0, np.array([300.0 + 90.0 * now.get("x", 0.0), 200.0]))))
    return Motion(np.arange(frames) + 100, np.array(landmarks, np.float32))


def request(
    canvas: Crop, frame_index: int, attributes: tuple[str, ...] = ("pose", "expression", "gaze")
) -> EditRequest:
    moving = Crop(np.zeros((8, 8, 3), np.uint8), np.eye(3), canvas.landmarks_px, "head", frame_index)
    return EditRequest(canvas, None, REENACT, dict.fromkeys(attributes, moving))


def moved(canvas: Crop, motion: Motion, frame: int) -> Patch:
    return render_motion(prepare_motion([canvas], motion), request(canvas, int(motion.frame_indices[frame])))


def seen(canvas: Crop, patch: Patch) -> Array:
    alpha = patch.alpha[..., None]
    return np.asarray(patch.rgb * alpha * 255 + canvas.rgb * (1 - alpha) + 0.5, np.uint8)


def landmarks_in(rgb: Array) -> Array:
    return find_source_face(rgb, ANALYZER).landmarks_px


def test_driver_at_rest_leaves_the_portrait_as_it_is(shut: Crop, smiling: Crop) -> None:
    for canvas in (shut, smiling):
        patch = moved(canvas, driver(), 3)
        # Bilinear sampling at positions that are right to a hundredth of a pixel.
        assert np.abs(patch.rgb * 255 - canvas.rgb).mean() < 0.5


def test_patch_has_the_form_that_engines_promise(shut: Crop) -> None:
    patch = moved(shut, driver(yaw=[25.0]), 0)
    assert patch.rgb.shape == (SIZE_PX, SIZE_PX, 3) and patch.rgb.dtype == np.float32
    assert patch.alpha.shape == (SIZE_PX, SIZE_PX) and patch.alpha.dtype == np.float32
    assert patch.rgb.min() >= 0 and patch.rgb.max() <= 1
    rim = np.ones_like(patch.alpha, bool)
    rim[1:-1, 1:-1] = False
    assert (patch.alpha[rim] == 0).all() and patch.alpha[SIZE_PX // 2, SIZE_PX // 2] == 1


def test_mouth_opens_as_wide_as_the_drivers(shut: Crop) -> None:
    gaps = [0.0, 0.0, 0.0, 0.06, 0.12, 0.18]
    motion = driver(gap=gaps)
    state = prepare_motion([shut], motion)
    rest = mouth_opening(motion.landmarks_px[0])
    for frame in (3, 4, 5):
        points = landmarks_in(seen(shut, render_motion(state, request(shut, 100 + frame))))
        wanted = mouth_opening(motion.landmarks_px[frame]) - rest
        # The predictor reads a made mouth within a third.
        assert mouth_opening(points) == pytest.approx(wanted, rel=0.33, abs=0.04)


def test_open_mouth_is_dark_and_has_no_colour_of_the_driver(shut: Crop) -> None:
    motion = driver(gap=[0.0, 0.0, 0.2])
    points = landmarks_in(rgb := seen(shut, moved(shut, motion, 2)))
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [points[60:68].round().astype(np.int32)], 255)
    inside = rgb[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0].astype(float)
    skin = rgb[int(points[30, 1]), int(points[30, 0])].astype(float)
    assert inside.mean() < 0.6 * skin.mean()
    # Red leads as in skin and lips, in the light of the portrait.
    assert inside[:, 0].mean() >= inside[:, 2].mean()


def test_teeth_of_a_smile_stay_when_the_jaw_drops(smiling: Crop) -> None:
    teeth = smiling.landmarks_px[[61, 62, 63, 65, 66, 67]].mean(axis=0)
    x, y = teeth.round().astype(int)
    rgb = seen(smiling, moved(smiling, driver(gap=[0.0, 0.0, 0.2]), 2))
    before, after = (picture[y : y + 2, x - 4 : x + 5].astype(float) for picture in (smiling.rgb, rgb))
    assert np.abs(after - before).mean() < 12


def test_lips_never_cross(shut: Crop, smiling: Crop) -> None:
    for canvas in (shut, smiling):
        shape = prepare_motion([canvas], None).portrait.shape
        for gap in (-0.5, 0.0, 0.5):
            lips = LipMotion(np.array([0.1, 0.05]), np.array([-0.1, -0.05]), gap, 0.02, 0.8, 1.2)
            points, _ = move_lips(shape, lips)
            assert (points[[67, 66, 65], 1] > points[[61, 62, 63], 1]).all()


def test_resting_lips_do_not_move() -> None:
    shape = with_lip_edges(MEAN_SHAPE)
    points, drop = move_lips(shape, RESTING_LIPS)
    np.testing.assert_allclose(points, shape, atol=1e-4)
    assert abs(drop) < 1e-4


def test_gap_is_over_the_width_of_the_mouth() -> None:
    shape = with_lip_edges(MEAN_SHAPE)
    for gap in (0.1, 0.3):
        points, _ = move_lips(shape, LipMotion(np.zeros(2), np.zeros(2), gap, 0.02, 1.0, 1.0))
        assert mouth_gap(points) - mouth_gap(shape) == pytest.approx(gap, abs=1e-3)


def test_eyes_shut_on_a_blink_and_hide_the_iris(shut: Crop) -> None:
    motion = driver(lids=[1.0] * 5 + [0.1] + [1.0] * 6)
    state = prepare_motion([shut], motion)
    opened, closed = (seen(shut, render_motion(state, request(shut, 100 + frame))) for frame in (2, 5))
    assert eye_opening(landmarks_in(closed)) < 0.6 * eye_opening(landmarks_in(opened))
    for eye in EYES:
        x, y = shut.landmarks_px[eye].mean(axis=0).round().astype(int)
        assert closed[y, x].mean() > opened[y, x].mean() + 30, "lid, where the pupil was"


def test_half_shut_eye_shows_the_eyeball_in_its_place(shut: Crop) -> None:
    eyes = find_eyes(shut.landmarks_px.astype(np.float64))
    still = np.stack(np.meshgrid(np.arange(SIZE_PX), np.arange(SIZE_PX)), axis=-1).astype(np.float32)
    x, y = shut.landmarks_px[EYES[0]].mean(axis=0).round().astype(int)
    box = (x - 30, y - 30, x + 31, y + 31)
    half = close_eye(shut.rgb, without_eyes(shut.rgb, eyes), still, box, eyes[0], 0.6)
    low = slice(32, 34)  # below the middle of the eye: still open
    np.testing.assert_allclose(half[low, 28:33], shut.rgb[y - 30 :, x - 30 :][low, 28:33], atol=3)


@pytest.mark.parametrize(("angle", "value"), [("yaw", 20.0), ("yaw", -20.0), ("pitch", 12.0), ("roll", -15.0)])
def test_head_turns_with_the_driver(shut: Crop, angle: str, value: float) -> None:
    values = [0.0] * 8 + [value] * 4
    rgb = seen(shut, moved(shut, driver(**{angle: values}), 10))
    before, after = fit_pose(shut.landmarks_px), fit_pose(landmarks_in(rgb))
    change = getattr(after, f"{angle}_deg") - getattr(before, f"{angle}_deg")
    # `_posed` keeps 85 to 95 per cent of such a turn, and the relief is read within some degrees.
    assert change == pytest.approx(value, rel=0.4)


def test_turned_head_does_not_fold(shut: Crop) -> None:
    state = prepare_motion([shut], None)
    head, rest = state.portrait.head, state.portrait.pose
    for yaw in (-20, -10, 10, 20):
        source_map = turn_head(head, Pose(rotation_matrix(yaw, 5, 5), rest.scale, rest.translation_px)).source_map
        across = np.diff(source_map[..., 0], axis=1)
        along = np.diff(source_map[..., 1], axis=0)
        assert across.min() > 0 and along.min() > 0


def test_points_go_where_the_picture_goes(shut: Crop) -> None:
    pose = fit_pose(shut.landmarks_px)
    head = prepare_head(MEAN_SHAPE, pose, SIZE_PX)
    turn = turn_head(head, Pose(rotation_matrix(12, -6, 8), 1.05 * pose.scale, pose.translation_px + 8))
    points = shut.landmarks_px[[30, 36, 45, 8]]
    gone = turn.of_points(points)
    back = cv2.remap(turn.source_map, gone.astype(np.float32)[None], None, cv2.INTER_LINEAR)[0]
    np.testing.assert_allclose(back, points, atol=1.0)  # the tip of the nose is a sharp place on a grid of 6 pixels


def test_background_and_shoulders_stay(shut: Crop) -> None:
    rgb = seen(shut, moved(shut, driver(yaw=[0.0] * 8 + [25.0], roll=[0.0] * 8 + [12.0], x=[0.0] * 8 + [0.3]), 11))
    far = np.zeros((SIZE_PX, SIZE_PX), bool)
    far[:, :50] = far[:, -50:] = far[-36:] = True
    np.testing.assert_array_equal(rgb[far], shut.rgb[far])


def test_each_attribute_comes_from_its_own_provider(shut: Crop) -> None:
    motion = driver(gap=[0.0, 0.0, 0.2], lids=[1.0] * 8 + [0.1], roll=[0.0, 0.0, 15.0])
    state = prepare_motion([shut], motion)
    of = {name: landmarks_in(seen(shut, render_motion(state, request(shut, 111, (name,))))) for name in
          ("pose", "expression", "gaze")}  # fmt: skip
    rest = shut.landmarks_px
    assert mouth_opening(of["expression"]) > mouth_opening(rest) + 0.15
    assert mouth_opening(of["pose"]) < mouth_opening(rest) + 0.08
    assert eye_opening(of["gaze"]) < eye_opening(of["expression"])


def test_without_a_track_the_driving_crop_itself_is_read(shut: Crop) -> None:
    open_mouth = driver(gap=[0.2]).landmarks_px[0]
    moving = Crop(np.zeros((8, 8, 3), np.uint8), np.eye(3), open_mouth, "head", 0)
    state = prepare_motion([shut], None)
    assert state.performance is None
    patch = render_motion(state, EditRequest(shut, None, REENACT, {"expression": moving}))
    assert mouth_opening(landmarks_in(seen(shut, patch))) > mouth_opening(shut.landmarks_px) + 0.15


def test_another_canvas_than_the_prepared_one_is_moved_itself(shut: Crop, smiling: Crop) -> None:
    motion = driver(yaw=[0.0] * 8 + [15.0])
    prepared = prepare_motion([shut], motion)
    expected = render_motion(MotionState(prepare_motion([smiling], None).portrait, prepared.performance),
                             request(smiling, 110))  # fmt: skip
    np.testing.assert_array_equal(render_motion(prepared, request(smiling, 110)).rgb, expected.rgb)


def test_gap_in_the_track_takes_the_nearest_gesture() -> None:
    motion = driver(yaw=[float(3 * i) for i in range(12)])
    kept = np.r_[0:4, 8:12]
    performance = perform(Motion(motion.frame_indices[kept], motion.landmarks_px[kept]))
    rows = [performance.row_of(frame) for frame in (104, 107, 0, 999)]
    assert rows == [3, 4, 0, len(performance.gestures) - 1]
    assert performance.at(107).jaw == performance.gestures[4].jaw


@pytest.mark.slow
def test_real_speech_is_followed(eval_data: Path, shut: Crop) -> None:
    video = cv2.VideoCapture(str(eval_data / "talking" / "grid_brbk7n.mpg"))
    frames = []
    while (read := video.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    video.release()
    driven = np.stack([landmarks_in(frame) for frame in frames[::2]])
    state = prepare_motion([shut], Motion(np.arange(len(driven)), driven))
    picked = range(0, len(driven), 2)
    results = [landmarks_in(seen(shut, render_motion(state, request(shut, i)))) for i in picked]
    for measure, least in ((mouth_opening, 0.9), (eye_opening, 0.85)):
        made = [measure(points) for points in results]
        assert np.corrcoef(made, [measure(driven[i]) for i in picked])[0, 1] > least
