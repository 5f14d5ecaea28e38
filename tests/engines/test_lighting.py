"""Light read off portraits and put on others."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facexcli.cli.app import main
from facexcli.engines.lighting import light_on, mixed_light, normalised, relit, surface_of
from facexcli.faces.dlib_backend import DlibAnalyzer
from facexcli.fusion.mask import face_outline, fill
from facexcli.fusion.skin import fit_skin, skin_distance
from facexcli.geometry.dense_face import dense_face
from facexcli.geometry.face_shape import MEAN_SHAPE, MIRRORED
from facexcli.geometry.light import directional_light, linear_from_srgb
from facexcli.geometry.model3d import Pose, project, rotation_matrix
from facexcli.media.image import read_image
from facexcli.media.probe import probe
from facexcli.pipeline.stills import load_still
from facexcli.types import Array, Crop

LEFT, RIGHT = (normalised(directional_light(np.array((x, 0.2, 0.5)), 0.3)) for x in (-1.0, 1.0))


@pytest.fixture(scope="module")
def portrait(eval_data: Path) -> Crop:
    return load_still(eval_data / "london" / "009_neutral.jpg", DlibAnalyzer()).crop("ffhq", 256)


def sides(rgb: Array, crop: Crop) -> tuple[float, float]:
    """Mean linear light of the left and of the right cheek."""
    light = linear_from_srgb(np.asarray(rgb, np.float32) if rgb.dtype != np.uint8 else rgb).mean(axis=2)
    found = []
    for eye, corner, jaw in ((40, 48, 3), (47, 54, 13)):
        x, y = crop.landmarks_px[[eye, corner, jaw]].mean(axis=0).astype(int)
        found.append(float(light[y - 6 : y + 7, x - 6 : x + 7].mean()))
    return found[0], found[1]


def test_light_comes_from_where_it_is_asked_to(portrait: Crop) -> None:
    left, right = sides(relit(portrait, LEFT)[0], portrait)
    assert left > 1.6 * right
    left, right = sides(relit(portrait, RIGHT)[0], portrait)
    assert right > 1.6 * left


def test_light_is_read_off_the_picture_it_was_put_on(portrait: Crop) -> None:
    for light in (LEFT, RIGHT):
        rgb = np.uint8(255 * relit(portrait, light)[0])
        found = light_on(Crop(rgb, portrait.crop_from_frame, portrait.landmarks_px, portrait.template))
        direction, wanted = found[1:4].mean(axis=1), light[1:4].mean(axis=1)
        cosine = direction @ wanted / np.linalg.norm(direction) / np.linalg.norm(wanted)
        assert cosine > 0.9


def test_its_own_light_changes_nothing(portrait: Crop) -> None:
    own = light_on(portrait)
    assert np.abs(relit(portrait, own, own)[0] * 255 - portrait.rgb).max() < 1.01
    assert mixed_light(own, LEFT, 0) == pytest.approx(own)


def test_far_from_the_face_nothing_changes(portrait: Crop) -> None:
    changed = relit(portrait, LEFT)[1]
    assert changed[:, :10].max() == 0
    assert changed[:, -10:].max() == 0


def test_no_light_spills_over_the_jaw(portrait: Crop) -> None:
    face = fill(face_outline(portrait.landmarks_px), portrait.size_px) > 0
    beside = cv2.dilate(face.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    plain = skin_distance(portrait.rgb, fit_skin(portrait.rgb, portrait.landmarks_px), portrait.size_px)
    background = beside & ~face & (np.abs(plain - np.median(plain[:, :10])) < 0.3)
    background = cv2.erode(background.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert background.sum() > 200
    for light in (LEFT, RIGHT):
        change = np.abs(relit(portrait, light)[0] * 255 - portrait.rgb).max(axis=2)
        assert change[background].mean() < 1
        assert np.percentile(change[background], 95) < 4


def test_a_mean_light_is_one_in_each_colour() -> None:
    light = directional_light(np.array((0.3, 0.8, 0.5)), 0.1) * np.array((3.0, 1.0, 0.2))
    np.testing.assert_allclose(normalised(light), normalised(5 * light), rtol=1e-5)
    shades = normalised(light)  # the colour of the light as a whole is taken for the skin's
    np.testing.assert_allclose(shades[:, 0], shades[:, 2], rtol=1e-3)


def test_the_dense_face_goes_through_its_points_and_looks_outwards() -> None:
    face = dense_face()
    pose = Pose(rotation_matrix(0, 0, 0), 60.0, np.array((64.0, 40.0)))
    surface = surface_of(project(MEAN_SHAPE, pose))
    distances = np.linalg.norm(surface.vertices_px[None, :, :2] - project(MEAN_SHAPE, pose)[:, None], axis=2)
    assert distances.min(axis=1).max() < 0.05  # each landmark is a vertex
    assert (surface.normals[:, 2] > -0.2).all()  # towards the camera, but for the temples
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-5)
    mirrored = face.vertices(MEAN_SHAPE[MIRRORED] * (-1, 1, 1))
    np.testing.assert_allclose(mirrored, face.vertices(MEAN_SHAPE), atol=1e-5)


def test_the_mesh_engine_relights_from_the_command_line(
    eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me, query = eval_data / "london" / "009_neutral.jpg", eval_data / "portraits" / "t2i_0819.jpg"
    made = []
    for amount in ("0", "0.5", "1"):
        out = tmp_path / f"{amount}.png"
        assert main(["edit", str(me), "--lighting", str(query), "--amount", f"lighting={amount}", "-o", str(out),
                     "--engine", "mesh", "--progress", "none"]) == 0  # fmt: skip
        made.append(read_image(out).astype(int))
    plain = read_image(me).astype(int)
    none, half, full = (float(np.abs(each - plain).mean()) for each in made)
    assert none == 0 < half < full
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pose", "{query}"], "pose: --engine facex"),
        (["--lighting", "{empty}"], "no face found"),
        (["--lighting", "{query}", "--amount", "pose=0.5"], "--amount is for lighting"),
        (["--lighting", "{query}", "--amount", "2"], "is not 0..1"),
    ],
)
def test_what_cannot_be_done_is_told(
    eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    empty = tmp_path / "empty.png"
    cv2.imwrite(str(empty), np.full((200, 200, 3), 90, np.uint8))
    places = {"query": eval_data / "portraits" / "t2i_0819.jpg", "empty": empty}
    filled = [each.format(**places) for each in arguments]
    me = str(eval_data / "london" / "009_neutral.jpg")
    code = main(["edit", me, *filled, "-o", str(tmp_path / "o.png"), "--engine", "mesh", "--progress", "none"])
    assert code in (2, 4)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o.png").exists()


@pytest.mark.slow
def test_a_still_is_lit_by_a_video_and_lengths_are_mixed(
    eval_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me, clip = eval_data / "london" / "009_neutral.jpg", eval_data / "talking" / "grid_brbk7n.mpg"
    short = tmp_path / "short.mkv"
    options = ["--engine", "mesh", "--progress", "none", "--codec", "ffv1", "--audio", "none"]
    assert main(["edit", str(me), "--lighting", str(clip), "--trim", "#2..#5", "-o", str(short), *options]) == 0
    assert _frames(short) == 3
    lengths = {}
    for loop in ([], ["--loop"]):
        out = tmp_path / f"out{len(loop)}.mkv"
        arguments = ["edit", str(clip), "--lighting", str(short), "--trim", "#0..#7", "-o", str(out), *options, *loop]
        assert main(arguments) == 0, capsys.readouterr().err
        lengths[bool(loop)] = _frames(out)
    assert lengths == {False: 3, True: 7}
    capsys.readouterr()


def _frames(path: Path) -> int:
    from facexcli.media.reader import FrameReader

    with FrameReader(path, probe(path)) as reader:
        return sum(1 for _ in reader)
