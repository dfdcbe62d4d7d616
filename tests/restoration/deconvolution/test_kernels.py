"""Kernels: read, cleaned, centred, measured."""

import numpy as np
import pytest
from PIL import Image

from keras_refocus.restoration.deconvolution import kernels


def test_descriptions_are_read():
    np.testing.assert_array_equal(kernels.parse("motion:7,30"), kernels.motion_kernel(7, 30))
    np.testing.assert_array_equal(kernels.parse("disk:2.5"), kernels.disk_kernel(2.5))


def test_a_picture_is_read_as_it_is_drawn(tmp_path):
    kernel = kernels.trimmed(kernels.motion_kernel(9, 20))
    Image.fromarray(kernels.picture(kernel)).save(tmp_path / "kernel.png")
    found = kernels.parse(tmp_path / "kernel.png")
    assert found.sum() == pytest.approx(1)
    # 8 bits hold a value to half a level of the largest.
    np.testing.assert_allclose(found, kernel, atol=kernel.max() / 255)


@pytest.mark.parametrize(
    "text",
    [
        "motion:25",
        "motion:0,30",
        "motion:a,b",
        "motion:inf,0",
        "disk:0",
        "disk:-1",
        "blur:3",
        "box",
        "motion:200,0",
    ],
)
def test_what_is_no_kernel_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="kernel must be"):
        kernels.parse(text)


def test_a_black_picture_is_no_kernel(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match="not black"):
        kernels.parse(tmp_path / "black.png")


def test_a_picture_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        kernels.parse(tmp_path / "none.png")


def test_what_is_faint_or_apart_is_left_out():
    kernel = np.zeros((7, 7), np.float32)
    kernel[3, 1:5] = 1  # the path
    kernel[0, 6] = 0.07  # apart, less than 2% of the sum
    kernel[2, 1] = 0.01
    kernel[5, 5] = -1
    pruned = kernels.pruned(kernel, faint=0.05)
    expected = np.zeros((7, 7))
    expected[3, 1:5] = 0.25
    np.testing.assert_allclose(pruned, expected, atol=1e-7)


def test_the_centre_of_mass_comes_to_the_middle():
    kernel = np.zeros((7, 7), np.float32)
    kernel[1, 2:5] = 1 / 3
    centred = kernels.centred(kernel)
    assert kernels.centroid(centred) == pytest.approx((0, 0))
    np.testing.assert_array_equal(centred[3, 2:5], kernel[1, 2:5])
    np.testing.assert_array_equal(kernels.trimmed(centred).shape, (3, 3))


@pytest.mark.parametrize(("length", "angle"), [(15, 0), (21, 90), (25, 30), (31, 135)])
def test_extent_of_a_straight_motion(length, angle):
    found = kernels.extent(kernels.motion_kernel(length, angle))
    assert found.length == pytest.approx(length, abs=2)
    assert abs((found.direction - angle + 90) % 180 - 90) < 1


def test_similarity_is_blind_to_shifts_and_sees_turns():
    kernel = kernels.motion_kernel(15, 30)
    shifted = np.pad(kernel, ((0, 4), (2, 0)))
    assert kernels.similarity(kernel, kernel) == pytest.approx(1)
    assert kernels.similarity(kernel, shifted) == pytest.approx(1)
    # Two lines that cross share about a pixel of fifteen.
    assert kernels.similarity(kernels.motion_kernel(15, 0), kernels.motion_kernel(15, 90)) < 0.1


def test_a_dot_has_no_extent():
    assert kernels.extent(kernels.dot(5)) == kernels.Extent(1.0, 0.0)
