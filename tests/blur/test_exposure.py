"""Physics of the blur synthesis: numbers that follow from the geometry, not from the code."""

import dataclasses

import cv2
import numpy as np
import pytest
from blurred_by_hand import CLEAN, make_impulse, make_photo, to_linear, translation

from keras_refocus.blur import exposure, sensor
from keras_refocus.blur.exposure import SETTINGS, expose


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# Integration


def test_static_path_returns_the_picture_exactly(rng):
    photo = make_photo(60, 50)
    result = expose(photo, CLEAN, rng, transforms=translation(0, 0))
    np.testing.assert_array_equal(result.blurred, result.sharp)
    np.testing.assert_array_equal(result.sharp, photo.astype(np.float32) / np.float32(255))


def test_horizontal_path_is_a_box_kernel(rng):
    result = expose(make_impulse(), CLEAN, rng, transforms=translation(8, 0))
    expected = np.zeros((65, 65))
    expected[32, 29:36] = 1 / 8  # eight pixels long: seven whole ones and two halves
    expected[32, [28, 36]] = 1 / 16
    for channel in range(3):
        np.testing.assert_allclose(to_linear(result.blurred[..., channel]), expected, atol=1e-4)


def test_vertical_path_ramps_an_edge(rng):
    edge = np.zeros((48, 16, 3), np.uint8)
    edge[24:] = 255  # the border of the bright half lies at 23.5
    result = expose(edge, CLEAN, rng, transforms=translation(0, 10))
    column = to_linear(result.blurred[:, 8, 0])
    ramp = np.clip((np.arange(48) - 23.5) / 10 + 0.5, 0, 1)
    np.testing.assert_allclose(column[16:32], ramp[16:32], atol=0.015)


def test_light_is_averaged_in_linear_light(rng):
    edge = np.zeros((16, 65, 3), np.uint8)
    edge[:, 32:] = 255
    result = expose(edge, CLEAN, rng, transforms=translation(20, 0))
    middle = 0.5 * (result.blurred[8, 31, 0] + result.blurred[8, 32, 0])
    assert middle == pytest.approx(0.7354, abs=0.005)  # the sRGB value of half the light


def test_encoded_average_is_of_pixel_values(rng):
    edge = np.zeros((16, 65, 3), np.uint8)
    edge[:, 32:] = 255
    settings = dataclasses.replace(CLEAN, few_frame=1.0, encoded_average=1.0, frame_count=(12, 12))
    result = expose(edge, settings, rng, transforms=translation(20, 0))
    assert result.kind == "encoded frames"
    middle = 0.5 * (result.blurred[8, 31, 0] + result.blurred[8, 32, 0])
    assert middle == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_energy_is_conserved(seed):
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[44:84, 44:84] = make_photo(40, 40, seed)
    settings = dataclasses.replace(
        CLEAN, blur_length=(4.0, 24.0), roll=0.0, zoom=1e-9, tilt=0.0, few_frame=0.5
    )
    settings = dataclasses.replace(settings, encoded_average=0.0)
    result = expose(picture, settings, np.random.default_rng(seed))
    assert np.abs(result.path).max() > 1
    before, after = to_linear(result.sharp).sum(), to_linear(result.blurred).sum()
    assert after == pytest.approx(before, rel=0.01)


def test_few_frames_leave_discrete_ghosts(rng):
    settings = dataclasses.replace(
        CLEAN, few_frame=1.0, encoded_average=0.0, frame_count=(5, 5), frame_duty=0.0
    )
    result = expose(make_impulse(), settings, rng, transforms=translation(20, 0))
    assert result.kind == "frames"
    expected = np.zeros(65)
    expected[[24, 28, 32, 36, 40]] = 0.2  # the middles of five slots of four pixels
    np.testing.assert_allclose(to_linear(result.blurred[32, :, 0]), expected, atol=1e-4)


# What reaches both sides


def only(**chances):
    return dataclasses.replace(SETTINGS["clean"], **chances)


def test_sharp_side_is_a_crop_of_the_photo_whatever_happens_to_the_other():
    photo = make_photo(80, 90)
    settings = dataclasses.replace(
        SETTINGS["mixed"],
        source_scale_probability=0.0,
        highlights=0.0,
        untouched=0.0,
        defocus=1.0,
        noise=1.0,
        jpeg=1.0,
        vignetting=1.0,
        scratches=1.0,
    )
    for seed in range(6):
        rng = np.random.default_rng(seed)
        result = expose(photo, settings, rng, size=(40, 48))
        sharp = np.rint(result.sharp * 255).astype(np.uint8)
        found = cv2.matchTemplate(photo, sharp, cv2.TM_SQDIFF)
        _, _, (left, top), _ = cv2.minMaxLoc(found)
        np.testing.assert_array_equal(photo[top : top + 40, left : left + 48], sharp)
        assert np.abs(result.blurred - result.sharp).mean() > 1e-3


def test_untouched_and_still_samples_are_what_they_say(rng):
    photo = make_photo(64, 64)
    result = expose(photo, dataclasses.replace(SETTINGS["mixed"], untouched=1.0), rng)
    assert result.kind == "untouched" and not result.path.any()
    np.testing.assert_array_equal(result.blurred, result.sharp)
    result = expose(photo, only(still=1.0, noise=1.0), rng)
    assert result.kind == "still" and not result.path.any()
    assert 0 < np.abs(result.blurred - result.sharp).mean() < 0.1


def test_shrinking_the_source_makes_the_target_sharper():
    soft = cv2.GaussianBlur(make_photo(256, 256), (0, 0), 1.5)

    def detail(scale):
        settings = dataclasses.replace(
            CLEAN, source_scale=(scale, scale), source_scale_probability=1.0
        )
        total = 0.0
        for seed in range(4):
            result = expose(soft, settings, np.random.default_rng(seed), size=(64, 64))
            assert result.sharp.shape == result.blurred.shape == (64, 64, 3)
            total += np.abs(np.diff(result.sharp, axis=1)).mean()
        return total

    assert detail(0.5) > 1.4 * detail(1.0)


# On request


def test_frames_average_to_the_blurred_picture(rng):
    count = 7
    settings = dataclasses.replace(
        CLEAN, few_frame=1.0, encoded_average=0.0, frame_count=(count, count), frame_duty=0.0
    )
    # frames are returned from the first to the last moment, averaged at the middles of slots
    photo = make_photo(64, 64) // 2 + 60  # nothing near black or white
    result = expose(photo, settings, rng, frames=count, transforms=translation(12, 4))
    assert result.frames.shape == (count, 64, 64, 3)
    np.testing.assert_allclose(result.frames[count // 2], result.sharp, atol=1e-3)
    path = translation(12 * 6 / 7, 4 * 6 / 7)
    inside = expose(photo, settings, rng, frames=count, transforms=path)
    mean = to_linear(inside.frames).mean(0)
    np.testing.assert_allclose(to_linear(result.blurred), mean, atol=2e-3)


def draw_psfs(count, side=7, seed=3):
    """Random point-spread functions, each with a sum of 1 a colour."""
    psfs = np.random.default_rng(seed).random((count, side, side, 3)).astype(np.float32)
    return psfs / psfs.sum((1, 2), keepdims=True)


def through(linear, psf):
    """A picture in linear light convolved with a PSF, written out with Fourier transforms."""
    reach = psf.shape[0] // 2
    padded = np.pad(linear, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    shape = [a + b - 1 for a, b in zip(padded.shape[:2], psf.shape[:2], strict=True)]
    spectrum = np.fft.rfft2(padded, shape, (0, 1)) * np.fft.rfft2(psf, shape, (0, 1))
    full = np.fft.irfft2(spectrum, shape, (0, 1))
    return full[2 * reach :, 2 * reach :][: linear.shape[0], : linear.shape[1]]


@pytest.mark.parametrize("count", [1, 2, 7, 20])
@pytest.mark.parametrize("how", ["still", "untouched"])
def test_a_still_scene_is_the_scene_through_the_mean_of_the_psfs(rng, count, how):
    photo, psfs = make_photo(48, 40), draw_psfs(count)
    settings = only(**{how: 1.0})
    result = expose(photo, settings, rng, psfs=psfs)
    assert result.kind == "still"
    expected = through(to_linear(photo / 255), psfs.mean(0))
    np.testing.assert_allclose(to_linear(result.blurred), expected, atol=2e-3)


@pytest.mark.parametrize(("length", "few_frame"), [(2.5, 0.0), (12.0, 0.0), (6.0, 1.0)])
def test_every_part_of_an_exposure_has_its_share_of_the_light(rng, length, few_frame):
    """One PSF after the other lets light pass: each time a seventh of it comes."""
    settings = dataclasses.replace(
        CLEAN, few_frame=few_frame, encoded_average=1.0, frame_count=(5, 5)
    )
    brightness = []
    for part in range(7):
        psfs = np.zeros((7, 3, 3), np.float32)
        psfs[part, 1, 1] = 1
        # On grey, where what cubic interpolation takes away at the sides is not cut off at black.
        point = np.maximum(make_impulse(), 128)
        result = expose(point, settings, rng, transforms=translation(length, 0), psfs=psfs)
        ground = to_linear(128 / 255)
        light = (to_linear(result.blurred[24:41, :, 1]) - ground / 7) / (1 - ground)
        assert light.sum() == pytest.approx(1 / 7, abs=4e-3)
        brightness.append((light.sum(0) * (np.arange(65) - 32)).sum() / light.sum())
    if not few_frame:  # the point is where it is in the middle of that part
        middles = ((np.arange(7) + 0.5) / 7 - 0.5) * length
        np.testing.assert_allclose(brightness, middles, atol=0.15)


def test_given_motions_of_objects_move_objects_alone():
    photo = make_photo(96, 96)
    still = translation(0, 0)
    outside = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        objects = [translation(10, 0)]
        result = expose(photo, CLEAN, rng, transforms=still, objects=objects, frames=3)
        assert result.kind == "continuous" and not result.path.any()
        np.testing.assert_allclose(result.frames[1], result.sharp, atol=2e-3)
        changed = np.abs(result.frames[2] - result.frames[0]).max(2) > 0.02
        if changed.any():  # some outlines find nothing in this picture
            outside.append(1 - changed.mean())
        rest = ~cv2.dilate(changed.astype(np.uint8), np.ones((25, 25))).astype(bool)
        np.testing.assert_allclose(result.blurred[rest], result.sharp[rest], atol=3e-3)
    assert len(outside) > 4 and np.mean(outside) > 0.4


# Clips


def test_a_clip_is_one_motion_with_gaps():
    settings = dataclasses.replace(
        CLEAN, path_weights=(0, 1, 0, 0), roll=0.0, zoom=0.0, tilt=0.0, blur_length=(6.0, 6.0)
    )
    photo = make_photo(160, 160)
    result = exposure.clip(
        photo, settings, np.random.default_rng(2), frames=4, share=0.5, size=(48, 48), kept=5
    )
    assert result.blurred.shape == result.sharp.shape == (4, 48, 48, 3)
    assert result.frames.shape == (4, 5, 48, 48, 3)
    # Four exposures and three gaps as long as they: seven parts.
    np.testing.assert_allclose(result.intervals[:, 0], np.array([0, 2, 4, 6]) / 7)
    np.testing.assert_allclose(np.diff(result.intervals, axis=1), 1 / 7)
    time = np.linspace(0, 1, len(result.path))
    lengths = []
    for start, end in result.intervals:
        inside = result.path[(time >= start - 1e-9) & (time <= end + 1e-9)]
        lengths.append(np.hypot(*(inside[-1] - inside[0])))
    assert np.median(lengths) == pytest.approx(6, rel=0.25)
    np.testing.assert_allclose(result.frames[:, 2], result.sharp, atol=1e-6)


def test_exposures_of_a_clip_are_the_means_of_what_they_saw():
    settings = dataclasses.replace(CLEAN, layers=(0, 1), blur_length=(8.0, 8.0))
    photo = make_photo(128, 128) // 2 + 60  # nothing near black or white
    result = exposure.clip(
        photo, settings, np.random.default_rng(5), frames=3, share=0.8, kept=33, size=(64, 64)
    )
    for blurred, frames in zip(result.blurred, result.frames, strict=True):
        weights = np.full(33, 1 / 32)
        weights[[0, -1]] /= 2  # the trapezium rule
        mean = np.tensordot(weights, to_linear(frames), 1)
        assert np.abs(to_linear(blurred) - mean).mean() < 2e-3
        assert np.abs(frames[0] - frames[-1]).mean() > 0.01


def test_a_clip_without_gaps_goes_on_where_it_stopped():
    settings = dataclasses.replace(CLEAN, blur_length=(5.0, 5.0))
    result = exposure.clip(
        make_photo(90, 90), settings, np.random.default_rng(1), frames=3, share=1.0, kept=2
    )
    np.testing.assert_allclose(result.frames[:-1, 1], result.frames[1:, 0], atol=1e-5)


def test_one_camera_films_a_clip():
    """Noise differs from frame to frame, how strong it is does not."""
    settings = dataclasses.replace(
        SETTINGS["mixed"], noise=1.0, jpeg=0.0, defocus=0.0, response=0.0
    )
    flat = np.full((96, 96, 3), 128, np.uint8)
    for seed in range(4):
        result = exposure.clip(flat, settings, np.random.default_rng(seed), frames=3, share=0.5)
        deviations = result.blurred.std((1, 2, 3))
        assert deviations.min() > 0.9 * deviations.max()
        assert not np.array_equal(result.blurred[0], result.blurred[1])


def test_mistakes_about_clips_are_sentences(rng):
    with pytest.raises(ValueError, match="share=0"):
        exposure.clip(make_photo(32, 32), CLEAN, rng, frames=2, share=0)
    with pytest.raises(ValueError, match="objects without"):
        expose(make_photo(32, 32), CLEAN, rng, objects=[translation(1, 0)])


# Frames of a clip


def test_frames_of_a_clip_are_averaged_as_light():
    black, white = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 255, np.uint8)
    mean = exposure.average_frames([black, white, white, white])
    # REDS: light is the 3.2nd power of the value.
    np.testing.assert_allclose(mean, 0.75 ** (1 / 3.2), atol=1e-3)
    mean = exposure.average_frames([black, white], response=sensor.SRGB)
    np.testing.assert_allclose(to_linear(mean), 0.5, atol=1e-3)
    with pytest.raises(ValueError, match="0 frames"):
        exposure.average_frames([])


def test_every_frame_of_a_clip_passes_its_part_of_the_sweep():
    frames = [make_photo(24, 24, seed) for seed in range(3)]
    psfs = draw_psfs(3, side=5)
    mean = exposure.average_frames(frames, response=sensor.SRGB, psfs=psfs)
    parts = [through(to_linear(one / 255), psf) for one, psf in zip(frames, psfs, strict=True)]
    np.testing.assert_allclose(to_linear(mean), np.mean(parts, 0), atol=2e-3)


# Contract


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_preset_keeps_type_range_and_determinism(name):
    photo = make_photo(100, 90)
    state = np.random.default_rng(5)
    first = [expose(photo, SETTINGS[name], state, size=(64, 48)) for _ in range(12)]
    state = np.random.default_rng(5)
    second = [expose(photo, SETTINGS[name], state, size=(64, 48)) for _ in range(12)]
    for one, other in zip(first, second, strict=True):
        for side in (one.blurred, one.sharp):
            assert side.shape == (64, 48, 3) and side.dtype == np.float32
            assert side.min() >= 0 and side.max() <= 1
        assert one.kind == other.kind
        assert one.blurred.tobytes() == other.blurred.tobytes()
        assert one.sharp.tobytes() == other.sharp.tobytes()
    assert len({sample.blurred.tobytes() for sample in first}) == 12


def test_float_and_8_bit_photos_give_the_same(rng):
    photo = make_photo(64, 64)
    as_float = photo.astype(np.float32) / 255
    kept = photo.copy()
    one = expose(photo, SETTINGS["clean"], np.random.default_rng(2), size=(48, 48))
    other = expose(as_float, SETTINGS["clean"], np.random.default_rng(2), size=(48, 48))
    np.testing.assert_allclose(one.blurred, other.blurred, atol=1e-3)
    np.testing.assert_array_equal(photo, kept)
    one.sharp[:] = 0  # the result does not share memory with the photo
    np.testing.assert_array_equal(photo, kept)


def test_nothing_global_is_touched(rng):
    before, state = cv2.getNumThreads(), np.random.get_state()[1].tobytes()
    cv2.setNumThreads(3)
    expose(make_photo(64, 64), SETTINGS["mixed"], rng)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(before)
    assert threads == 3
    assert np.random.get_state()[1].tobytes() == state


def test_errors_say_what_to_do(rng):
    photo = make_photo(32, 32)
    with pytest.raises(ValueError, match="size=.40, 40."):
        expose(photo, CLEAN, rng, size=(40, 40))
    with pytest.raises(ValueError, match="height, width, 3"):
        expose(photo[..., 0], CLEAN, rng)
    with pytest.raises(TypeError, match="float64"):
        expose(photo / 255, CLEAN, rng)
    with pytest.raises(ValueError, match="transforms"):
        expose(photo, CLEAN, rng, transforms=np.eye(3))
    with pytest.raises(ValueError, match="odd k"):
        expose(photo, CLEAN, rng, psfs=np.ones((2, 4, 4)))
