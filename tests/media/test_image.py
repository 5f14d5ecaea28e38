"""Still pictures in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from facexcli.errors import InputError, OutputError
from facexcli.media.image import color_profile, read_image, write_image


@pytest.fixture
def picture() -> Image.Image:
    gradient = np.linspace(0, 255, 60 * 80 * 3).reshape(60, 80, 3).astype(np.uint8)
    return Image.fromarray(gradient)


@pytest.mark.parametrize("number", range(2, 9))
def test_exif_orientation_is_applied(eval_data: Path, number: int) -> None:
    upright = read_image(eval_data / "media/exif/Landscape_1.jpg").astype(int)
    turned = read_image(eval_data / f"media/exif/Landscape_{number}.jpg").astype(int)
    assert turned.shape == upright.shape == (1200, 1800, 3)
    # The eight were compressed apart: the same picture up to JPEG's noise, where any other turn differs by 60.
    assert np.abs(turned - upright).mean() < 4


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 128, 255]


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "1", "YCbCr"])
def test_every_mode_comes_out_as_rgb(tmp_path: Path, picture: Image.Image, mode: str) -> None:
    path = tmp_path / "any.tif"
    picture.convert(mode).save(path)
    rgb = read_image(path)
    assert (rgb.shape, rgb.dtype) == ((60, 80, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_what_is_written_is_read_again(tmp_path: Path, picture: Image.Image, suffix: str) -> None:
    rgb = np.asarray(picture)
    write_image(tmp_path / f"out{suffix}", rgb)
    again = read_image(tmp_path / f"out{suffix}").astype(int)
    assert np.abs(again - rgb).mean() < (0.01 if suffix == ".png" else 3)  # quality 95
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]


@pytest.mark.parametrize("content", [b"", b"hello, this is text\n" * 50, b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_image_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"face\.png"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_truncated_image_is_an_input_error(tmp_path: Path, picture: Image.Image, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    picture.resize((300, 300)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged"):
        read_image(path)


def test_only_a_profile_of_rgb_is_kept(tmp_path: Path, picture: Image.Image) -> None:
    for name, kept in (("sRGB", True), ("LAB", False)):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()
        picture.save(tmp_path / "a.png", icc_profile=profile)
        assert color_profile(tmp_path / "a.png") == (profile if kept else b"")
        write_image(tmp_path / "b.png", np.asarray(picture), icc_profile=profile, xmp="<x/>")
        with Image.open(tmp_path / "b.png") as again:
            assert (again.info["icc_profile"], again.info["XML:com.adobe.xmp"]) == (profile, "<x/>")


def test_places_that_cannot_be_written_are_output_errors(tmp_path: Path, picture: Image.Image) -> None:
    rgb = np.asarray(picture)
    with pytest.raises(OutputError, match="cannot write"):
        write_image(tmp_path / "out.xyz", rgb)
    with pytest.raises(OutputError, match="does not exist"):
        write_image(tmp_path / "nowhere" / "out.png", rgb)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_image(tmp_path / "folder.png", rgb)
