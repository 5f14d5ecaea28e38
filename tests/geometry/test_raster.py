"""A rasteriser and its light, against a sphere, whose every pixel is known."""

from __future__ import annotations

import numpy as np
import pytest

from facexcli.geometry.light import (
    directional_light,
    even_light,
    linear_from_srgb,
    sh_basis,
    shade,
    solve_light,
    srgb_from_linear,
)
from facexcli.geometry.raster import rasterise
from facexcli.types import Array

SIZE, RADIUS = 128, 50.0
LIGHT = directional_light(np.array((-1.0, 0.5, 0.6)), ambient=0.4, strength=0.8)


def sphere(steps: int = 64) -> tuple[Array, Array]:
    """Unit normals (V, 3), y up and z towards the camera, and triangles (T, 3), clockwise seen from outside."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, steps), np.linspace(0, np.pi, steps))
    normals = np.stack([np.cos(u) * np.sin(v), np.cos(v), np.sin(u) * np.sin(v)], axis=-1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(steps - 1), np.arange(steps - 1), indexing="ij")
    a = (row * steps + column).ravel()
    triangles = np.concatenate([np.stack([a, a + 1, a + steps], 1), np.stack([a + 1, a + steps + 1, a + steps], 1)])
    corners = normals[triangles]
    outward = np.einsum(
        "ti,ti->t", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners[:, 0]
    )
    return normals, np.where(outward[:, None] > 0, triangles[:, ::-1], triangles)


def in_picture(normals: Array, centre: tuple[float, float]) -> Array:
    return normals * RADIUS * (1, -1, -1) + (*centre, 0)


def test_a_lit_sphere_is_what_geometry_says() -> None:
    normals, triangles = sphere()
    raster = rasterise(in_picture(normals, (63.5, 60))[None], triangles, SIZE)
    picture = raster.image(raster.interpolate(shade(normals, LIGHT)[None]))[0]
    y, x = np.mgrid[:SIZE, :SIZE]
    nx, ny = (x - 63.5) / RADIUS, (60 - y) / RADIUS
    inside = nx * nx + ny * ny < 0.97**2
    exact = np.stack([nx, ny, np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))], axis=-1)
    assert raster.covered[0][inside].all()
    assert not raster.covered[0][nx * nx + ny * ny > 1.02**2].any()
    # Facets of 64 steps are at most 1.3 thousandths of the radius off, and steep at the rim.
    assert np.abs(picture - shade(exact, LIGHT))[inside].max() < 0.02
    depth = raster.image(raster.depth[:, None])[0, ..., 0]
    assert np.abs(depth + RADIUS * exact[..., 2])[inside].max() < 1.0


def test_what_is_nearer_hides_what_is_behind_whatever_the_order() -> None:
    normals, triangles = sphere(24)
    near, far = in_picture(normals, (50, 64)) - (0, 0, 100), in_picture(normals, (78, 64))
    both = np.concatenate([triangles, triangles + len(normals)])
    for vertices, owner in ((np.concatenate([near, far]), 0), (np.concatenate([far, near]), 1)):
        raster = rasterise(vertices[None], both, SIZE)
        seen = raster.image((raster.triangles[raster.which, :1] // len(normals)).astype(np.float32), -1)[0, ..., 0]
        assert seen[64, 64] == seen[64, 20] == owner
        assert seen[64, 120] == 1 - owner
        assert len(np.unique(raster.pixels)) == len(raster.pixels)


def test_a_batch_is_its_pictures_one_by_one() -> None:
    normals, triangles = sphere(24)
    meshes = np.stack([in_picture(normals, (50, 50)), in_picture(normals, (80, 90))])
    together = rasterise(meshes, triangles, SIZE)
    values = np.stack([shade(normals, LIGHT)] * 2)
    for index in range(2):
        alone = rasterise(meshes[index : index + 1], triangles, SIZE)
        np.testing.assert_array_equal(together.covered[index], alone.covered[0])
        np.testing.assert_allclose(
            together.image(together.interpolate(values))[index],
            alone.image(alone.interpolate(values[:1]))[0],
            atol=1e-6,
        )


def test_neighbours_leave_no_gap_and_what_lies_outside_is_left_out() -> None:
    grid = np.stack(np.meshgrid(np.linspace(-20, 150, 9), np.linspace(-20, 150, 9)), axis=-1).reshape(-1, 2)
    a = np.add.outer(np.arange(8) * 9, np.arange(8)).ravel()
    triangles = np.concatenate([np.stack([a, a + 1, a + 9], 1), np.stack([a + 1, a + 10, a + 9], 1)])
    flat = np.column_stack([grid, np.zeros(len(grid))])
    assert rasterise(flat[None], triangles, SIZE).covered.all()
    assert not rasterise(flat[None] + (400, 0, 0), triangles, SIZE).covered.any()
    assert not rasterise(flat[None], triangles[:, ::-1], SIZE).covered.any()  # from behind
    assert rasterise(flat[None], triangles[:, ::-1], SIZE, both_sides=True).covered.all()


def test_a_light_is_found_again_from_what_it_lit() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = rng.normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_allclose(solve_light(normals, shade(normals, light), np.ones(500)), light, atol=1e-4)


def test_a_lamp_lights_what_faces_it() -> None:
    towards = np.array((0.6, 0.0, 0.8))
    light = directional_light(towards, ambient=0.2, strength=1.0)
    assert shade(towards, light) == pytest.approx(1.2, abs=0.1)  # nine numbers are within a tenth of a cosine
    assert shade(-towards, light) == pytest.approx(0.2, abs=0.1)
    assert shade(towards, even_light(0.7)) == pytest.approx(0.7)
    assert sh_basis(towards).shape == (9,)


def test_colours_come_back_from_linear_light() -> None:
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(values)), values / 255, atol=0.003)
    assert linear_from_srgb(np.float32(0.5)) == pytest.approx(0.2140, abs=1e-3)
