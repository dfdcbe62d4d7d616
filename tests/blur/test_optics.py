"""The phase-coded aperture: what must hold of any such lens, and of what it makes of motion."""

import dataclasses

import numpy as np
import pytest

from keras_refocus.blur import exposure, optics

PARTS = 24


@pytest.fixture(scope="module")
def coded():
    return optics.psfs(optics.sweep(PARTS))


@pytest.fixture(scope="module")
def plain():
    return optics.psfs(np.zeros(PARTS), optics.PLAIN)


def to_linear(encoded):
    encoded = np.asarray(encoded, np.float64)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def translation(x, points=65):
    transforms = np.repeat(np.eye(3)[None], points, axis=0)
    transforms[:, 0, 2] = x * np.linspace(-0.5, 0.5, points)
    return transforms


CLEAN = dataclasses.replace(
    exposure.SETTINGS["clean"], few_frame=0.0, layers=(1.0,), response=0.0, highlights=0.0
)


def moving(photo, distance, psfs):
    """A photo that moves along x while it is exposed, as float32 in [0, 1]."""
    return exposure.expose(
        photo, CLEAN, np.random.default_rng(0), transforms=translation(distance), psfs=psfs
    ).blurred


def make_photo(side=96, seed=4):
    import cv2

    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 3), np.float32)
    for cells in (4, 12, 40):
        grid = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)


def psnr(one, other):
    return -10 * np.log10(np.mean((np.asarray(one, np.float64) - other) ** 2) + 1e-20)


def test_light_is_neither_lost_nor_moved(coded):
    """Sums of 1 and centroids of 0, in every colour and at every moment."""
    assert coded.shape == (PARTS, 27, 27, 3) and coded.dtype == np.float32
    assert coded.min() >= 0
    np.testing.assert_allclose(coded.sum((1, 2)), 1, atol=1e-5)
    place = np.arange(27) - 13
    for axis in (1, 2):
        along = coded.astype(np.float64).sum(3 - axis)
        centroid = np.tensordot(along, place, ([1], [0]))
        np.testing.assert_allclose(centroid, 0, atol=1e-5)


def test_a_plain_lens_in_focus_is_the_airy_disk():
    """First dark ring at 1.22 lambda N; pixels of 0.05 l0 N see it."""
    aperture = optics.Aperture(rings=(), pitch=0.05, size=101, oversampling=1)
    psf = optics.psfs(np.zeros(1), aperture)[0]
    for channel, wavelength in enumerate(aperture.wavelengths):
        row = psf[50, 50:, channel]
        first = int(np.flatnonzero((np.diff(row)[:-1] < 0) & (np.diff(row)[1:] >= 0))[0]) + 1
        assert first * 0.05 == pytest.approx(1.22 * wavelength / 455, abs=0.05)


def test_colours_are_sharp_one_after_the_other(coded):
    """Blue first, then green, then red, while defocus grows."""
    peaks = coded[:, 13, 13].argmax(0)
    assert peaks[2] < peaks[1] < peaks[0]


def test_a_plain_lens_is_sharp_at_once_in_all_colours():
    stack = optics.psfs(np.linspace(-4, 4, 9), optics.PLAIN)
    assert set(stack[:, 13, 13].argmax(0)) == {4}


def test_defocus_of_a_plain_lens_is_the_same_on_both_sides():
    near, far = optics.psfs(np.array([3.0, -3.0]), optics.PLAIN)
    np.testing.assert_allclose(near, far, atol=1e-6)
    near, far = optics.psfs(np.array([3.0, -3.0]))
    assert np.abs(near - far).max() > 0.01  # the mask tells them apart


def test_a_moving_point_has_one_centroid_and_sharp_parts_apart(coded):
    point = np.full((97, 97, 3), 40, np.uint8)
    point[48, 48] = 255
    ground = to_linear(40 / 255)
    light = to_linear(moving(point, 32, coded)) - ground
    line = light[30:67].sum(0)
    place = np.arange(97) - 48
    centroid = (line * place[:, None]).sum(0) / line.sum(0)
    np.testing.assert_allclose(centroid, 0, atol=0.5)
    sharpest = place[light[48].argmax(0)]
    assert sharpest[0] > 3 and sharpest[2] < -3  # red late, blue early


def test_the_code_tells_forward_from_backward_and_a_plain_lens_does_not(coded, plain):
    photo = make_photo()
    assert psnr(moving(photo, 16, plain), moving(photo, -16, plain)) > 55
    forward, backward = moving(photo, 16, coded), moving(photo, -16, coded)
    assert psnr(forward, backward) < 40
    # In grey much of it is gone, though the colours of this picture have nothing in common.
    assert psnr(forward.mean(2), backward.mean(2)) > psnr(forward, backward) + 4


def test_motion_and_sweep_reversed_together_give_the_same_picture(coded):
    photo = make_photo()
    one, other = moving(photo, 12, coded), moving(photo, -12, coded[::-1])
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_scene_at_rest_sees_the_mean(coded):
    photo = make_photo()
    still = dataclasses.replace(CLEAN, still=1.0, still_defocus=0.0)
    through_all = exposure.expose(photo, still, np.random.default_rng(0), psfs=coded).blurred
    mean = coded.mean(0, keepdims=True)
    through_mean = exposure.expose(photo, still, np.random.default_rng(0), psfs=mean).blurred
    np.testing.assert_allclose(through_all, through_mean, atol=1e-3)


def test_sweep_and_defocus_have_their_units():
    np.testing.assert_allclose(optics.sweep(4, (0, 8)), [1, 3, 5, 7])
    lens = {"radius": 2e-3, "focal_length": 16e-3, "wavelength": 455.0}
    in_focus = 1 / (1 / 16e-3 - 1 / 1.5)
    assert optics.defocus(1.5, image_distance=in_focus, **lens) == pytest.approx(0, abs=1e-9)
    # pi (2 mm)^2 / 455 nm (1/1.0 m - 1/1.5 m)
    nearer = optics.defocus(1.0, image_distance=in_focus, **lens)
    assert nearer == pytest.approx(np.pi * 4e-6 / 455e-9 / 3)


def test_mistakes_are_sentences():
    with pytest.raises(ValueError, match="inner < outer"):
        optics.Aperture(rings=((0.9, 0.2, 1.0),))
    with pytest.raises(ValueError, match="odd"):
        optics.Aperture(size=26)
    with pytest.raises(ValueError, match="parts=0"):
        optics.sweep(0)
    with pytest.raises(ValueError, match="finite"):
        optics.psfs(np.array(3.0))
