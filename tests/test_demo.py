"""The demonstration: its script does what it says, and the whole of it runs."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from facexcli import demo
from facexcli.errors import InputError, OutputError
from facexcli.evaluate.measures import eye_opening, mouth_opening
from facexcli.events import SilentReporter
from facexcli.geometry.face_shape import MEAN_SHAPE
from facexcli.geometry.model3d import fit_poses
from facexcli.media.image import read_image

TIME_S = np.arange(demo.FRAME_COUNT) / demo.FRAME_RATE
FACE_PX = MEAN_SHAPE[:, :2] * 120 + 250


def test_the_script_speaks_blinks_and_turns() -> None:
    landmarks = demo.perform(FACE_PX, TIME_S)
    assert landmarks.shape == (demo.FRAME_COUNT, 68, 2)
    mouths = [mouth_opening(frame) for frame in landmarks]
    eyes = [eye_opening(frame) for frame in landmarks]
    yaws = [pose.yaw_deg for pose in fit_poses(landmarks)]
    # The openings are ratios of distances that a turn foreshortens a little, so they follow the script but not exactly.
    assert np.corrcoef(mouths, demo.speech(TIME_S))[0, 1] > 0.98
    assert np.corrcoef(eyes, demo.lids(TIME_S))[0, 1] > 0.98
    assert min(eyes) < 0.15 * max(eyes), "a blink shuts the eyes"
    assert max(yaws) == pytest.approx(9, abs=1)
    assert min(yaws) == pytest.approx(-9, abs=1)


def test_the_camera_never_sees_past_the_photograph() -> None:
    width, height = read_image(demo.find_photographs().admiral).shape[1::-1]
    corners = np.array([[x, y, 1] for x in (0, demo.SIZE_PX[0] - 1) for y in (0, demo.SIZE_PX[1] - 1)])
    for at_s in TIME_S:
        seen = corners @ np.linalg.inv(demo.camera(float(at_s), (width, height))).T
        assert seen[:, :2].min() >= 0
        assert (seen[:, :2] <= (width - 1, height - 1)).all()


def test_the_hum_is_as_loud_as_the_mouth_is_open() -> None:
    sound = demo.soundtrack(4.0)
    assert np.abs(sound).max() < 1
    assert max(abs(sound[0]), abs(sound[-1])) < 1e-3, "no click at the ends"
    loudness = np.sqrt((sound.reshape(demo.FRAME_COUNT, -1) ** 2).mean(axis=1))
    middle = slice(5, -5)  # away from the fades; the chord, which is always there, bends the relation a little
    assert np.corrcoef(loudness[middle], demo.speech(TIME_S + 0.5 / demo.FRAME_RATE)[middle])[0, 1] > 0.9


def test_the_whole_demonstration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FRAME_COUNT", 10)
    monkeypatch.setattr(demo, "SHOWN_FRAMES", (2, 7))
    folder = tmp_path / "new" / "folder"
    made = demo.demonstrate(folder, SilentReporter())
    assert sorted(path.name for path in folder.iterdir()) == [
        "demo-reenact.mp4", "demo-source.png", "demo-swap.mp4", "demo-target.mp4", "demo.png",
    ]  # fmt: skip
    assert made.swap.frames == made.reenact.frames == 10
    assert made.swap.swap_rate == made.reenact.swap_rate == 1
    sounds = [_heard_packets(path) for path in (made.target, made.swap.output, made.reenact.output)]
    assert sounds[0] and sounds[0] == sounds[1] == sounds[2], "the sound is copied"
    assert read_image(made.picture).std() > 20, "there are pictures on the sheet"
    again = demo.demonstrate(folder, SilentReporter())
    assert again.swap.frames == 10, "a second demonstration replaces the first"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        demo.demonstrate(tmp_path / "file" / "folder", SilentReporter())


def test_a_missing_photograph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="skimage is not installed"):
        demo.find_photographs()


def _heard_packets(path: Path) -> list[tuple[int, bytes]]:
    """Times and bytes of the sound, without the packet before time 0 that only primes an AAC decoder."""
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size and packet.pts >= 0]
