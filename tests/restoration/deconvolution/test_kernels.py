"""Kernels: read, cleaned, centred, measured."""

import cv2
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


def test_straight_motions_by_hand():
    np.testing.assert_array_equal(kernels.motion_kernel(1, 70), [[1]])
    level = kernels.motion_kernel(3, 0)
    np.testing.assert_allclose(level, np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]) / 3, atol=1e-7)
    np.testing.assert_array_equal(kernels.motion_kernel(3, 90), level.T)
    # Half a pixel up and down: each shared by two pixels.
    upright = np.array([[0, 1, 0], [0, 2, 0], [0, 1, 0]]) / 4
    np.testing.assert_allclose(kernels.motion_kernel(2, 90), upright, atol=1e-7)
    # Up to the right, a pixel along the diagonal: 0.7 pixels of each axis.
    far, near = np.sqrt(0.5), 1 - np.sqrt(0.5)
    slanted = np.array(
        [
            [0, near * far, far * far],
            [near * far, 1 + 2 * near * near, near * far],
            [far * far, near * far, 0],
        ]
    )
    np.testing.assert_allclose(kernels.motion_kernel(3, 45), slanted / 3, atol=1e-7)


def test_a_disk_is_as_large_as_it_says():
    np.testing.assert_array_equal(kernels.disk_kernel(0.5), [[1]])
    for radius in (2.0, 3.7):
        disk = kernels.disk_kernel(radius)
        reach = len(disk) // 2
        assert reach == np.ceil(radius)
        # An even disk: the middle has one of its pi r^2 pixels, and the corners are out of it.
        assert disk[reach, reach] == pytest.approx(1 / (np.pi * radius**2), rel=0.01)
        assert disk[0, 0] == 0 and disk[reach, 0] > 0
        # The variance of a disk along an axis, r^2 / 4, and that of a pixel, 1 / 12.
        places = np.arange(-reach, reach + 1)
        assert disk.sum(0) @ places**2 == pytest.approx(radius**2 / 4 + 1 / 12, abs=0.05)
        np.testing.assert_allclose(disk, disk[::-1].T, atol=1e-7)


def test_kernels_up_to_95_pixels_are_taken(tmp_path):
    assert kernels.parse("motion:95,0").shape == (95, 95)
    for text in ("motion:97,0", "disk:48"):
        with pytest.raises(ValueError, match="at most 95 pixels"):
            kernels.parse(text)
    for side, largest in ((95, True), (96, False)):
        path = tmp_path / f"{side}.png"
        Image.new("L", (side, 3), 255).save(path)
        if largest:
            assert kernels.parse(path).shape == (3, 95)
        else:
            with pytest.raises(ValueError, match="at most 95 pixels.*96 x 3"):
                kernels.parse(path)


def test_a_picture_of_even_sides_gets_a_middle(tmp_path):
    Image.fromarray(np.array([[0, 255], [0, 255], [0, 0]], np.uint8)).save(tmp_path / "even.png")
    # Half the light each; where its centre lies in between, that above stays.
    found = kernels.parse(tmp_path / "even.png")
    assert found.shape == (3, 3) and sorted(found[:, 1]) == [0, 0.5, 0.5]


def test_a_halved_kernel_by_hand():
    # A pixel twice as wide from the middle on: half of what is beside its own pixel is in it.
    halves = {0: [0, 1, 0], 1: [0, 0.5, 0.5], 2: [0, 0, 1]}
    for offset, expected in halves.items():
        kernel = np.zeros((5, 5), np.float32)
        kernel[2, 2 + offset] = 1
        half = kernels.halved(kernel)
        assert half.shape == (3, 3)
        np.testing.assert_allclose(half, [[0, 0, 0], expected, [0, 0, 0]], atol=1e-7)


def test_a_kernel_for_another_scale_keeps_its_sum_and_its_place():
    for side in (9, 21):
        drawn = kernels.resized(kernels.motion_kernel(15, 0), side)
        assert drawn.shape == (side, side) and drawn.min() >= 0
        assert drawn.sum() == pytest.approx(1, abs=1e-5)
        assert kernels.centroid(drawn) == pytest.approx((0, 0), abs=1e-4)
        assert drawn[side // 2 - 1 : side // 2 + 2].sum() > 0.9


def test_extent_by_hand():
    kernel = np.zeros((9, 11), np.float32)
    kernel[1, 2] = kernel[4, 6] = 1  # three down, four to the right: five, and a pixel
    kernel[8, 0] = 0.09  # too faint to be its path
    found = kernels.extent(kernel)
    assert found.length == pytest.approx(6)
    # Downwards to the right is upwards to the left.
    assert found.direction == pytest.approx(180 - np.degrees(np.arctan2(3, 4)))
    even = kernels.extent(np.ones((1, 7), np.float32))
    assert even.length == pytest.approx(7) and even.direction == 0


def test_of_a_picture_of_a_kernel_the_largest_value_is_white():
    drawn = kernels.picture(np.array([[0.1, 0.4, 0.2]], np.float32))
    assert drawn.shape == (1, 3, 3) and drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[0, :, 0], [64, 255, 128])


def test_what_is_trimmed_stays_around_its_middle():
    kernel = np.zeros((9, 7), np.float32)
    kernel[4, 5] = kernel[3, 3] = 0.5
    np.testing.assert_array_equal(kernels.trimmed(kernel), kernel[2:7, 1:6])
    tall = np.zeros((9, 1), np.float32)
    tall[1] = 1
    np.testing.assert_array_equal(kernels.trimmed(tall), tall[1:8])


def test_a_path_hangs_together_and_pieces_do_not():
    path = np.zeros((41, 41), np.float32)
    cv2.polylines(path, [np.array([[4, 6], [20, 10], [22, 30], [36, 34]])], False, 1.0)
    assert kernels.wholeness(path / path.sum()) > 0.98
    # A gap of a pixel, where the camera was fast, is none.
    gap = path.copy()
    gap[20] = 0
    assert kernels.wholeness(gap / gap.sum()) > 0.98
    # Three pieces of 6, 8 and 10 pixels.
    pieces = np.zeros((41, 41), np.float32)
    pieces[5, 3:9] = pieces[20, 12:20] = pieces[35, 28:38] = 1
    assert kernels.wholeness(pieces / pieces.sum()) == pytest.approx(10 / 24, abs=1e-6)
    # What is faint beside the rest does not tie it together.
    pieces[5:36, 15] = np.maximum(pieces[5:36, 15], 0.02)
    assert kernels.wholeness(pieces / pieces.sum()) < 0.5
