"""The work on one picture: its steps, its limits, and what it says of itself."""

import dataclasses

import numpy as np
import pytest
from shaken_scenes import blurred, psnr, scene

from keras_refocus.pictures import color
from keras_refocus.restoration.deconvolution import acceptance, blind, kernels, patient
from keras_refocus.restoration.deconvolution.finding import Reason

KERNEL = kernels.motion_kernel(15, 20)
SIDE = max(KERNEL.shape)


@pytest.fixture(scope="module")
def shaken():
    """Luminance of a shaken scene and of the truth, (height, width, 1)."""
    light, truth = blurred(scene((170, 210)), KERNEL)
    rng = np.random.default_rng(0)
    light = light + rng.normal(0, 0.002, light.shape).astype(np.float32)
    return tuple(color.light_to_luminance(side)[..., np.newaxis] for side in (light, truth))


def test_a_shake_is_found_and_taken_away(shaken):
    photo, truth = shaken
    calls = []
    better, found = patient.improve(photo, photo, lambda plane: plane, done=lambda: calls.append(1))
    assert kernels.similarity(found.kernel, KERNEL) > 0.7
    assert found.length == pytest.approx(15, abs=5)
    assert abs((found.direction - 20 + 90) % 180 - 90) < 15
    assert found.changed > 0.8
    assert psnr(better, truth) > psnr(photo, truth) + 2
    assert 0 < len(calls) <= patient.steps(photo.shape[:2], None)


def test_the_kernel_is_fitted_to_what_the_restorer_makes_as_long_as_that_explains_more(shaken):
    photo, truth = shaken
    work = patient._Work(
        photo, photo, lambda plane: plane, lambda plane: truth, lambda: None, lambda: None
    )
    rough = kernels.motion_kernel(11, 35)
    # The restorer sees the truth, so that one fit is enough.
    refined = work._refined(work.light, rough)
    assert kernels.similarity(refined, KERNEL) > 0.9 > kernels.similarity(rough, KERNEL) + 0.1
    # What explains much less than before ends it.
    planes = iter([truth, truth[::-1]])
    work.look = lambda plane: next(planes)
    assert work._refined(work.light, rough) is rough


@pytest.mark.parametrize(
    ("size", "room"),
    [
        ((83, 500), []),
        ((84, 90), [21]),
        ((150, 200), [31, 21]),
        ((300, 244), [61, 45]),
        ((380, 1000), [61, 95]),
    ],
)
def test_small_pictures_have_room_for_small_kernels(size, room):
    assert patient.sides(size) == room


def test_another_search_is_made_where_the_first_was_narrow_or_found_the_kernel_once():
    found = blind.Found(kernels.motion_kernel(30, 0), 0.3, 0.6, votes=3)
    assert patient._enough([found], [61, 95])
    other = dataclasses.replace(found, kernel=kernels.motion_kernel(30, 90))
    once = dataclasses.replace(found, votes=2)
    assert not patient._enough([once, other], [61, 95])
    assert patient._enough([once, other, found], [61, 95])
    long = dataclasses.replace(found, kernel=kernels.motion_kernel(40, 0))
    assert not patient._enough([long], [61, 95])
    # A smaller one has no more room for it.
    assert patient._enough([long], [61, 45])


def test_how_alike_the_first_kernel_is_to_any_other():
    found = [blind.Found(kernels.motion_kernel(15, angle), 0.3, 0.6) for angle in (0, 90, 15)]
    best, across, near = found
    likeness = kernels.similarity(best.kernel, near.kernel)
    assert patient._agreement(found) == likeness
    assert patient._agreement([best, across]) == kernels.similarity(best.kernel, across.kernel)
    # All starts led to it, so that there is no other but what came of the plain result.
    merged = dataclasses.replace(best, votes=len(blind.STARTS))
    assert patient._agreement([merged, across]) == blind.SAME
    assert patient._agreement([merged, across, near]) == likeness


def test_a_shake_that_the_restorer_has_removed_is_left_to_it(shaken, monkeypatch):
    photo, truth = shaken
    found = blind.Found(KERNEL, 0.1, 0.6, votes=8)
    gain = 0.05
    monkeypatch.setattr(patient._Work, "_search", lambda *_: (found, gain, 1.0))
    better, said = patient.improve(photo, truth, lambda plane: plane)
    assert better is truth and said.reason is Reason.NO_SHAKE and said.changed == 0
    # The same kernel where the plain result is as the photo.
    better, said = patient.improve(photo, photo, lambda plane: plane)
    assert said.changed > 0.7 and psnr(better, truth) > psnr(photo, truth) + 2


def test_what_shrinks_to_a_dot_when_it_is_fitted_again_was_no_path(shaken, monkeypatch):
    photo, _ = shaken
    found = blind.Found(KERNEL, 0.1, 0.6, votes=8)
    monkeypatch.setattr(patient._Work, "_search", lambda *_: (found, 0.5, 1.0))
    lengths = {7: False, 5: True}
    for length, refused in lengths.items():
        short = kernels.motion_kernel(length, 20)
        monkeypatch.setattr(patient._Work, "_refined", lambda *_, short=short: short)
        better, said = patient.improve(photo, photo, lambda plane: plane)
        assert (said.reason is Reason.NO_PATH) == refused
        assert better is photo or not refused


def test_with_a_found_kernel_the_picture_is_the_mean_of_two(shaken):
    photo, _ = shaken
    work = patient._Work(photo, photo, lambda plane: plane, None, lambda: None, lambda: None)
    work.kernel = KERNEL
    one, other = (
        patient.deconvolve(work.light, KERNEL, weight=weight) for weight in patient._WEIGHTS
    )
    np.testing.assert_allclose(
        work._sharp(patient._WEIGHTS)[..., 0],
        color.light_to_luminance((one + other) / 2),
        atol=1e-6,
    )
    # A kernel that was named is inverted once, as sharply as can be.
    np.testing.assert_allclose(
        work._sharp()[..., 0], color.light_to_luminance(patient.deconvolve(work.light, KERNEL))
    )


def test_of_a_kernel_that_is_not_found_in_two_ways_more_is_asked(shaken, monkeypatch):
    photo, truth = shaken

    def across(light, side, **_):
        return np.pad(kernels.motion_kernel(15, 110), (side - SIDE) // 2)

    # One search leads to the right one, that with other room and the edges of the plain result to
    # another.
    light = color.luminance_to_light(photo[..., 0])
    both = [blind.judged(light, kernel) for kernel in (KERNEL, across(light, SIDE))]
    monkeypatch.setattr(blind, "estimate", across)

    def improved():
        found = iter(both)
        monkeypatch.setattr(blind, "search", lambda *_: [next(found)])
        return patient.improve(photo, photo, lambda plane: plane)

    better, found = improved()
    assert found.changed > 0.8 and psnr(better, truth) > psnr(photo, truth) + 2
    monkeypatch.setattr(acceptance, "_EVIDENCE_ALONE", 1.0)
    better, found = improved()
    assert better is photo and found.reason is Reason.DISAGREEMENT


def test_a_given_kernel_is_inverted(shaken):
    photo, truth = shaken
    calls = []
    better, found = patient.improve(
        photo, photo, lambda plane: plane, given=KERNEL, done=lambda: calls.append(1)
    )
    assert found.kernel is KERNEL
    assert psnr(better, truth) > psnr(photo, truth) + 4
    assert len(calls) == patient.steps(photo.shape[:2], KERNEL)


def test_a_short_kernel_is_taken_if_it_is_given():
    kernel = kernels.disk_kernel(2)
    light, truth = (color.light_to_luminance(side) for side in blurred(scene(), kernel))
    photo, truth = light[..., np.newaxis], truth[..., np.newaxis]
    better, found = patient.improve(photo, photo, lambda plane: plane, given=kernel)
    assert found.changed > 0.8 and psnr(better, truth) > psnr(photo, truth) + 3


def test_the_restorer_has_the_last_word(shaken):
    photo, _ = shaken
    better, found = patient.improve(photo, photo, lambda plane: plane * 0 + 0.5, given=KERNEL)
    assert found.changed == 0 and found.reason
    np.testing.assert_array_equal(better, photo)


def test_out_of_time_the_plain_result_stands(shaken):
    photo, _ = shaken
    check = patient.Patience(1e-9, lambda: None)
    better, found = patient.improve(photo, photo * 0.9, lambda plane: plane, check=check)
    np.testing.assert_array_equal(better, photo * np.float32(0.9))
    assert found.changed == 0 and "time" in found.reason


def test_what_was_found_in_time_is_kept(shaken):
    photo, truth = shaken
    passes = []

    def sharpen(plane):
        passes.append(1)
        return plane

    def check():
        if passes:
            raise patient.OutOfTimeError

    # The kernel is given, so that all is done when the restorer has been.
    better, _ = patient.improve(photo, photo, sharpen, given=KERNEL, check=check)
    assert psnr(better, truth) > psnr(photo, truth) + 4


def test_whoever_cancels_is_told_so(shaken):
    def cancelled():
        raise InterruptedError

    check = patient.Patience(None, cancelled)
    with pytest.raises(InterruptedError):
        patient.improve(shaken[0], shaken[0], lambda plane: plane, check=check)


def test_a_picture_without_room_for_a_shake_is_left(shaken):
    photo = shaken[0][:60, :80]
    better, found = patient.improve(photo, photo, lambda plane: plane)
    assert better is photo and "too small" in found.reason
    assert found.record() == {
        "blur_length": 0.0,
        "blur_direction": 0.0,
        "changed": 0.0,
        "reason": found.reason,
    }


@pytest.mark.parametrize("size", [(11, 200), (2 * SIDE - 1, 40), (2 * SIDE, 2 * SIDE + 3)])
def test_a_kernel_too_large_for_the_picture_changes_nothing(shaken, size):
    photo = shaken[0][: size[0], : size[1]]
    better, found = patient.improve(photo, photo, lambda plane: plane, given=KERNEL)
    assert better.shape == photo.shape
    assert ("twice as large" in found.reason) == (min(size) < 2 * SIDE)


def test_large_pictures_are_deconvolved_in_tiles(monkeypatch):
    light, truth = blurred(scene((260, 330)), KERNEL)
    whole = patient.deconvolve(light, KERNEL)
    monkeypatch.setattr(acceptance, "TILE", 192)
    monkeypatch.setattr(acceptance, "OVERLAP", 96)
    tiled = patient.deconvolve(light, KERNEL)
    assert tiled.shape == light.shape
    # No seam: what the tiles do not know of each other is not to be seen.
    assert abs(psnr(tiled, truth) - psnr(whole, truth)) < 0.5


def test_the_kernel_is_looked_for_where_the_edges_are():
    light = np.full((800, 1200), 0.4, np.float32)
    light[300:700, 500:1100] += scene((400, 600)) * 0.3
    rows, columns = patient._informative(light)
    assert (rows.stop - rows.start) * (columns.stop - columns.start) <= 1.1 * patient._WINDOW_AREA
    assert rows.start >= 250 and rows.stop <= 750
    assert columns.start >= 450 and columns.stop <= 1150
