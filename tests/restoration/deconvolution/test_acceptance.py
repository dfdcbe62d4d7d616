"""Where the deconvolved picture is taken."""

import numpy as np
import pytest
from shaken_scenes import blurred, scene

from keras_refocus.pictures import color
from keras_refocus.restoration.deconvolution import acceptance, kernels
from keras_refocus.restoration.deconvolution.finding import Reason

KERNEL = kernels.motion_kernel(15, 20)


@pytest.fixture
def shaken():
    """Light of a photo, luminance of the truth, and of a plain result that leaves the blur."""
    light, truth = blurred(scene((200, 240)), KERNEL)
    plain = color.light_to_luminance(light)[..., np.newaxis]
    return light, color.light_to_luminance(truth)[..., np.newaxis], plain


def test_the_truth_is_taken(shaken):
    light, truth, plain = shaken
    mixed, found = acceptance.choose(light, truth, plain, KERNEL)
    assert found.changed > 0.95
    assert found.length == pytest.approx(15, abs=2)
    assert np.abs(mixed - truth).mean() < 0.05 * np.abs(plain - truth).mean()


def test_what_blurs_to_something_else_is_not_taken(shaken):
    light, truth, plain = shaken
    wrong = truth[::-1].copy()
    mixed, found = acceptance.choose(light, wrong, plain, KERNEL)
    assert found.changed == 0 and "not the photo" in found.reason
    np.testing.assert_array_equal(mixed, plain)


@pytest.fixture
def wide():
    """As `shaken`, but a part of what should be the truth, on the right, is another scene."""
    light, truth = blurred(scene((260, 620)), KERNEL)
    half = color.light_to_luminance(truth)[..., np.newaxis]
    half[:, 440:] = np.roll(half[:, 440:], 80, axis=0)
    return light, half, color.light_to_luminance(light)[..., np.newaxis]


def test_only_the_part_that_fits_is_taken(wide):
    light, half, plain = wide
    mixed, found = acceptance.choose(light, half, plain, KERNEL)
    assert 0.5 < found.changed < 0.85 and found.reason is Reason.PARTLY
    for side, taken, left in ((np.s_[:, :200], half, plain), (np.s_[:, -100:], plain, half)):
        away = np.abs(mixed - taken)[side].mean()
        assert away < 0.1 * np.abs(left - taken)[side].mean()


def test_ripples_where_the_photo_is_flat_are_not_taken(shaken):
    light, truth, plain = shaken
    light = np.full_like(light, 0.3)
    plain = color.light_to_luminance(light)[..., np.newaxis]
    columns = np.arange(light.shape[1])
    # A wave as long as the kernel blurs to nothing.
    rippled = plain + np.float32(0.1) * np.sin(2 * np.pi * columns / 5)[:, np.newaxis]
    level = kernels.motion_kernel(15, 0)
    _, found = acceptance.choose(light, rippled.astype(np.float32), plain, level)
    assert found.changed == 0


@pytest.mark.parametrize(("height", "share"), [(0.0, 1), (0.02, 1), (0.06, 0)])
def test_ripples_that_blur_to_nothing_are_taken_for_a_wrong_kernel(height, share):
    level = kernels.motion_kernel(15, 0)
    light = scene((200, 500))
    light[:, 300:] = 0.3
    seen, sharp = blurred(light, level)
    noisy = seen + np.random.default_rng(0).normal(0, 0.004, seen.shape).astype(np.float32)
    # Three waves are as long as the kernel.
    sharp = sharp.copy()
    sharp[:, 330:] += height * np.sin(2 * np.pi * np.arange(sharp.shape[1] - 330) / 5)
    photo, sharp = color.light_to_luminance(noisy), color.light_to_luminance(sharp)
    taken = acceptance._better(photo, sharp, photo, level, acceptance._FIT)[0]
    # Where there is only noise no more of it need be taken than the least.
    assert taken[:, 390:-30].mean() == pytest.approx(share * acceptance._LEAST_LEFT, abs=0.02)
    assert taken[:, 40:220].mean() > 0.85


def test_ripples_are_seen_on_what_is_hardly_wider_than_a_neighbourhood():
    level = kernels.motion_kernel(15, 0)
    light = scene((200, 500))
    light[:, 200:300] = 0.3  # a pillar
    seen, sharp = blurred(light, level)
    noisy = seen + np.random.default_rng(0).normal(0, 0.004, seen.shape).astype(np.float32)
    sharp = sharp.copy()
    sharp[:, 215:260] += 0.06 * np.sin(2 * np.pi * np.arange(45) / 5)
    photo, sharp = color.light_to_luminance(noisy), color.light_to_luminance(sharp)
    taken = acceptance._better(photo, sharp, photo, level, acceptance._FIT)[0]
    assert taken[:, 230:256].mean() < 0.4


@pytest.mark.parametrize(("place", "counts"), [(2, False), (9, True), (60, True), (90, False)])
def test_an_error_counts_but_within_half_a_kernel_of_the_border(place, counts):
    level = kernels.motion_kernel(15, 0)
    sharp = color.light_to_luminance(scene((90, 96)))
    photo = acceptance.again(sharp, level)
    photo[:, place : place + 3] += 0.1
    residual, reach = acceptance._residual(sharp, photo, level)
    assert (acceptance._local(residual**2, reach)[45, place] > 1e-4) == counts


def test_a_short_blur_is_left_to_the_restorer(shaken):
    light, truth, plain = shaken
    mixed, found = acceptance.choose(light, truth, plain, kernels.motion_kernel(3, 0))
    assert mixed is plain and found.changed == 0 and "no shake" in found.reason


def test_what_only_half_explains_the_photo_is_taken_if_the_kernel_was_given(shaken):
    light, truth, plain = shaken
    half_way = plain + np.float32(0.5) * (truth - plain)
    mixed, found = acceptance.choose(light, half_way, plain, KERNEL)
    assert mixed is plain and found.reason is Reason.NOT_THE_PHOTO
    mixed, found = acceptance.choose(light, half_way, plain, KERNEL, given=True)
    assert found.changed > 0.95
    np.testing.assert_allclose(mixed, half_way, atol=0.02)


def with_noise(light, amount):
    return light + np.random.default_rng(0).normal(0, amount, light.shape).astype(np.float32)


def test_noise_is_no_error(shaken, monkeypatch):
    light, truth, plain = shaken
    light = with_noise(light, 0.01)
    # Even with no other room for errors than half of what the noise would be.
    inner = np.s_[15:-15, 15:-15]
    noise = (acceptance.again(truth[..., 0], KERNEL) - color.light_to_luminance(light))[inner].std()
    moved = (truth - plain)[inner].std()
    monkeypatch.setattr(acceptance, "_LEFT", (0.5 * noise / moved) ** 2)
    assert acceptance.choose(light, truth, plain, KERNEL)[1].changed > 0.8
    # What has the shapes of the picture is not noise.
    wrong = np.roll(truth, 2, axis=0)
    assert acceptance.choose(light, wrong, plain, KERNEL)[1].changed == 0


@pytest.mark.parametrize(
    ("whole", "gain", "agreement", "right", "half"),
    [
        # What is half right leaves a residual whose neighbours correlate by about 0.4.
        (0.94, 0.40, 0.6, True, True),
        (0.94, 0.30, 0.8, True, True),
        (0.94, 0.15, 0.8, True, False),
        (0.94, 0.18, 0.6, True, False),
        (0.94, 0.08, 0.6, False, False),
        (0.94, 0.03, 0.9, False, False),
        (1.0, 0.18, 0.8, True, True),
        (1.0, 0.00, 0.8, True, False),
        (1.0, -0.02, 0.6, True, False),
        (1.0, -0.08, 0.6, False, False),
        (1.0, 0.08, 0.5, False, False),
    ],
)
def test_the_less_sure_the_path_the_sparser_or_the_more_like_noise_it_must_be(
    shaken, monkeypatch, whole, gain, agreement, right, half
):
    monkeypatch.setattr(kernels, "wholeness", lambda kernel: whole)
    light, truth, plain = shaken
    light = with_noise(light, 0.003)
    near = plain + np.float32(0.85) * (truth - plain)
    for sharp, taken in ((truth, right), (near, half)):
        mixed, found = acceptance.choose(
            light, sharp, plain, KERNEL, gain=gain, agreement=agreement
        )
        assert (found.changed > 0) == taken
        if not taken:
            assert mixed is plain
            alone = agreement < (0.75 if whole < 1 else 0.55)
            assert found.reason is (Reason.DISAGREEMENT if alone else Reason.NOT_THE_PHOTO)


def test_a_kernel_in_pieces_is_no_path_unless_it_was_given(shaken):
    pieces = np.zeros((31, 31), np.float32)
    pieces[5, 3:9] = pieces[15, 12:18] = pieces[25, 22:28] = 1
    light, truth = blurred(scene((200, 240)), kernels.centred(pieces / pieces.sum()))
    plain = color.light_to_luminance(light)[..., np.newaxis]
    truth = color.light_to_luminance(truth)[..., np.newaxis]
    pieces = kernels.centred(pieces / pieces.sum())
    mixed, found = acceptance.choose(light, truth, plain, pieces)
    assert mixed is plain and found.changed == 0 and found.reason is Reason.NO_PATH
    assert acceptance.choose(light, truth, plain, pieces, given=True)[1].changed > 0.95


def test_of_what_there_is_little_evidence_for_a_part_of_the_plain_result_stays(shaken):
    light, truth, plain = shaken
    mixed, found = acceptance.choose(light, truth, plain, KERNEL, gain=0.05)
    assert found.reason is Reason.DOUBTFUL
    assert found.changed == pytest.approx(acceptance._DOUBTED, abs=0.01)
    np.testing.assert_allclose(mixed, plain + acceptance._DOUBTED * (truth - plain), atol=0.02)
    assert acceptance.choose(light, truth, plain, KERNEL, gain=0.07)[1].changed > 0.95
    # Whoever named the kernel does not doubt it.
    found = acceptance.choose(light, truth, plain, KERNEL, gain=0.05, given=True)[1]
    assert found.changed > 0.95 and found.reason is not Reason.DOUBTFUL


def test_what_the_restorer_has_removed_takes_small_errors_and_evidence(shaken):
    light, truth, plain = shaken
    near = plain + np.float32(0.8) * (truth - plain)

    def said(sharp, gain, already):
        return acceptance.choose(light, sharp, plain, KERNEL, gain=gain, already=already)[1]

    for gain, already, taken in ((0.05, 0.84, True), (0.05, 0.86, False), (0.07, 0.86, True)):
        found = said(truth, gain, already)
        assert (found.changed > 0) == taken
        assert taken or found.reason is Reason.NO_SHAKE
    assert said(near, 0.5, 0.7).changed > 0
    assert said(near, 0.5, 0.9).reason is Reason.NO_SHAKE
    # Whoever names the kernel has seen the plain result.
    assert acceptance.choose(light, near, plain, KERNEL, given=True, already=0.9)[1].changed > 0


@pytest.mark.parametrize("amount", [0.0, 0.002])
def test_a_blur_that_the_restorer_removed_is_told_from_one_that_it_left(amount):
    light, truth = blurred(scene((200, 240)), KERNEL)
    light = with_noise(light, amount)
    side = max(KERNEL.shape) + 4
    half, _ = blurred(scene((200, 240)), kernels.motion_kernel(9, 20))
    cut = (len(half) - len(light)) // 2
    half = half[cut : len(light) + cut, cut : light.shape[1] + cut]
    # It took all of it away; nothing; the half of its length; all of it, but another was found.
    assert acceptance.seen(light, truth, KERNEL, side) >= acceptance.REMOVED
    across = kernels.motion_kernel(15, 110)
    for plain, kernel in ((light, KERNEL), (truth, across)):
        assert acceptance.seen(light, plain, kernel, side) < acceptance._NOT_REMOVED
    assert acceptance.seen(light, half, KERNEL, side) < acceptance.REMOVED


@pytest.mark.parametrize(
    ("agreement", "already", "taken"),
    [(0.9, 0.5, True), (0.9, 0.82, False), (0.7, 0.5, True), (0.6, 0.5, False)],
)
def test_errors_may_be_larger_where_others_agree_and_the_restorer_left_the_blur(
    shaken, agreement, already, taken
):
    light, truth, plain = shaken
    # Above a twelfth of what was moved is wrong.
    near = plain + np.float32(0.8) * (truth - plain)
    mixed, found = acceptance.choose(
        light, near, plain, KERNEL, gain=0.5, agreement=agreement, already=already
    )
    assert (found.changed > 0) == taken
    if taken:
        assert found.reason is Reason.DOUBTFUL and found.changed <= acceptance._DOUBTED + 0.01
    else:
        assert mixed is plain and found.reason is Reason.NOT_THE_PHOTO
    # What is wrong is not taken for all that.
    _, found = acceptance.choose(
        light, truth[::-1].copy(), plain, KERNEL, agreement=1.0, already=0.0
    )
    assert found.changed == 0


def test_where_the_error_is_not_small_a_part_of_the_plain_result_stays(shaken):
    light, truth, plain = shaken
    near = plain + np.float32(0.85) * (truth - plain)
    shares = [
        acceptance.choose(light, sharp, plain, KERNEL)[1].share.mean() for sharp in (truth, near)
    ]
    assert shares[0] > 0.99
    assert acceptance._LEAST_LEFT < shares[1] < 0.95


def test_much_moved_for_little_is_not_taken(shaken, monkeypatch):
    light, truth, plain = shaken
    near = plain + np.float32(0.93) * (truth - plain)
    _, found = acceptance.choose(light, near, plain, KERNEL)
    assert found.changed > 0.95
    # The same error is too much for a change of half the size.
    monkeypatch.setattr(acceptance, "_LEFT", acceptance._LEFT / 16)
    mixed, found = acceptance.choose(light, near, plain, KERNEL)
    assert mixed is plain and found.reason is Reason.NOT_THE_PHOTO


def test_large_pictures_are_judged_in_tiles(wide, monkeypatch):
    light, half, plain = wide
    whole = acceptance.choose(light, half, plain, KERNEL)[1].share
    monkeypatch.setattr(acceptance, "TILE", 160)
    monkeypatch.setattr(acceptance, "OVERLAP", 80)
    tiled = acceptance.choose(light, half, plain, KERNEL)[1].share
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.1


def test_again_blurs_in_light():
    luminance = np.zeros((20, 30), np.float32)
    luminance[:, 15] = 1
    row = np.array([[0.5, 0, 0.5]], np.float32)
    twice = acceptance.again(luminance, np.pad(row, ((1, 1), (0, 0))))
    half = color.light_to_luminance(np.float32(0.5))
    np.testing.assert_allclose(twice[:, [14, 16]], half, atol=1e-5)
    np.testing.assert_allclose(twice[:, 15], 0, atol=1e-4)
