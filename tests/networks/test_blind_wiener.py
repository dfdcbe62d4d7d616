"""Short-time Fourier transform, power and gains of the blind Wiener filter, one by one."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_refocus import networks
from keras_refocus.networks import blind_wiener, blocks

WINDOW = 16
OPTIONS = {"window": WINDOW, "features": 4, "width": 8, "gates": 2, "refine": False}


def noise(*shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def wave(rows, columns, *, size=WINDOW, phase=0.0):
    """A wave of so many cycles down and across a square, around a half."""
    y, x = np.mgrid[:size, :size]
    angle = 2 * np.pi * (rows * y + columns * x) / size + phase
    return (0.5 + 0.25 * np.cos(angle)).astype("float32")


def transform(windows):
    real, imaginary = blind_wiener._transformer(WINDOW, "all")(windows)
    return ops.convert_to_numpy(real) + 1j * ops.convert_to_numpy(imaginary)


def network(gain):
    """One that gives every frequency the same gain, less one."""
    model = networks.build("blind_wiener", **OPTIONS)
    layer = model.get_layer("wiener_gain2")
    kernel, bias = layer.get_weights()
    layer.set_weights([np.zeros_like(kernel), np.full_like(bias, gain)])
    return model


def test_transform_is_the_fourier_transform_of_the_tapered_window():
    windows = noise(3, WINDOW, WINDOW) - 0.5
    taper = np.sqrt(np.hanning(WINDOW + 1)[:-1])
    expected = np.fft.rfft2(windows * taper[:, None] * taper)
    expected = np.fft.fftshift(expected, axes=1).transpose(0, 2, 1)
    np.testing.assert_allclose(transform(windows), expected, atol=1e-4)


def test_transform_there_and_back_leaves_the_squared_taper():
    windows = noise(2, WINDOW, WINDOW)
    there = blind_wiener._transformer(WINDOW, "all")(windows)
    back = ops.convert_to_numpy(blind_wiener._transform_back(*there, WINDOW))
    hann = np.hanning(WINDOW + 1)[:-1]
    np.testing.assert_allclose(back, windows * hann[:, None] * hann, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (16, 16), (37, 21), (5, 64), (1, 1)])
def test_windows_add_up_to_the_picture(height, width):
    picture = noise(2, height, width, 1)
    size = blocks.axis_indices(picture)
    frames = blind_wiener._frames(picture, size, WINDOW, inside=False)
    hann = np.hanning(WINDOW + 1)[:-1].astype("float32")
    summed = blind_wiener._overlap_add(frames * hann[:, None] * hann, WINDOW)
    summed = ops.convert_to_numpy(blocks.crop_to_size(summed, size))
    np.testing.assert_allclose(summed, picture, atol=1e-6)


def test_windows_are_moved_inside_or_mirrored():
    picture = noise(1, 24, 40, 1)
    size = blocks.axis_indices(picture)
    inside, mirrored = (
        ops.convert_to_numpy(blind_wiener._frames(picture, size, WINDOW, inside=inside))
        for inside in (True, False)
    )
    assert inside.shape == mirrored.shape == (1, 4, 6, WINDOW, WINDOW)
    for row, top in enumerate((0, 0, 8, 8)):
        for column, left in enumerate((0, 0, 8, 16, 24, 24)):
            part = picture[0, top : top + WINDOW, left : left + WINDOW, 0]
            np.testing.assert_array_equal(inside[0, row, column], part)
    padded = np.pad(picture[0, ..., 0], 8, mode="reflect")
    np.testing.assert_array_equal(mirrored[0, 0, 0], padded[:WINDOW, :WINDOW])
    np.testing.assert_array_equal(mirrored[0, 3, 5], padded[24:40, 40:])


@pytest.mark.parametrize(("down", "across"), [(4, 2), (-6, 0), (0, 6), (2, -4)])
def test_power_of_a_wave_is_at_its_frequency(down, across):
    window = wave(down, across)[None]
    window = window - window.mean()
    real, imaginary = blind_wiener._transformer(WINDOW, "all")(window)
    power = blind_wiener._pooler(WINDOW)(real**2 + imaginary**2)
    power = ops.convert_to_numpy(power)[0]
    row, column = np.unravel_index(power.argmax(), power.shape)
    # Of a real picture one of two opposite frequencies is kept.
    expected = {(down, across), (-down, -across)}
    assert (2 * (row - WINDOW // 4), 2 * column) in expected


def test_gains_for_half_of_the_frequencies_are_interpolated():
    rows, columns = WINDOW // 2, WINDOW // 4 + 1
    gain = np.zeros((1, rows, columns), "float32")
    gain[0, rows // 2 + 1, 2] = 1.0  # two cycles down, four across
    spread = ops.convert_to_numpy(blind_wiener._spread(gain, WINDOW))[0]
    middle = WINDOW // 2
    expected = np.outer((0.5, 1.0, 0.5), (0.5, 1.0, 0.5))
    np.testing.assert_allclose(spread[3:6, middle + 1 : middle + 4], expected)
    assert spread.sum() == pytest.approx(4.0)


@pytest.mark.parametrize(("height", "width"), [(64, 48), (50, 61)])
def test_equal_gains_scale_what_differs_from_the_mean(height, width):
    # A wave that every window holds whole, so that none has another mean.
    picture = np.tile(wave(4, 2), (4, 4))[None, :height, :width, None]
    restored = network(0.5).predict_on_batch(picture)
    inner = (slice(None), slice(8, height - 16), slice(8, width - 16))
    np.testing.assert_allclose(restored[inner], 0.5 + 1.5 * (picture[inner] - 0.5), atol=1e-5)


def test_gains_of_some_frequencies_leave_the_others():
    model = network(-1.0)
    layer = model.get_layer("wiener_spread_columns")
    low = layer.get_weights()[0]
    low[:, 4:] = 0.0  # what changes slowly along the rows is taken out
    layer.set_weights([low])
    across, down = (np.tile(wave(*w), (4, 4))[None, ..., None] for w in ((0, 7), (4, 0)))
    restored = model.predict_on_batch(across + down - 0.5)
    inner = (slice(None), slice(16, 48), slice(16, 48))
    # The taper spreads a wave a little over other frequencies.
    np.testing.assert_allclose(restored[inner], across[inner], atol=0.02)


def test_the_parts_of_a_batch_do_not_mix():
    model = networks.build("blind_wiener", **OPTIONS)
    layer = model.get_layer("wiener_gain2")
    layer.set_weights([0.1 + layer.get_weights()[0], layer.get_weights()[1]])
    pictures = noise(3, 50, 70, 1)
    together = model.predict_on_batch(pictures)
    assert np.abs(together - pictures).max() > 1e-3
    for picture, restored in zip(pictures, together, strict=True):
        np.testing.assert_allclose(model.predict_on_batch(picture[None])[0], restored, atol=1e-5)


def test_it_sees_four_windows_and_a_half_and_no_further():
    model = networks.build("blind_wiener", **OPTIONS, planes=0)
    layer = model.get_layer("wiener_gain2")
    layer.set_weights([0.1 + layer.get_weights()[0], layer.get_weights()[1]])
    picture = noise(1, 24, 200, 1)
    other = picture.copy()
    other[:, :, 150:] = 0.0
    difference = np.abs(model.predict_on_batch(picture) - model.predict_on_batch(other))
    # Three windows' distance and a window for the power, half a window for the mean of two gains,
    # a window to be filtered.
    reach = 4 * WINDOW + WINDOW // 2
    assert difference[:, :, : 150 - reach].max() < 1e-6
    assert difference[:, :, 150 - reach + WINDOW : 150].max() > 1e-4


def error_after_learning(kernel, **options):
    """Squared error after training on one blur along the rows, as a share of what it was."""
    rng = np.random.default_rng(0)
    sharp = np.repeat(np.repeat(rng.random((8, 16, 16)), 4, 1), 4, 2).astype("float32")
    margin = ((0, 0), (0, 0), (len(kernel) // 2,) * 2)
    blurred = np.apply_along_axis(np.convolve, 2, np.pad(sharp, margin, "edge"), kernel, "valid")
    blurred = blurred.astype("float32")[..., None]
    keras.utils.set_random_seed(0)
    model = networks.build("blind_wiener", **OPTIONS | options)
    model.compile(keras.optimizers.Adam(3e-3), loss="mse")
    model.fit(blurred, sharp[..., None], batch_size=4, epochs=12, verbose=0)
    after = np.square(model.predict(blurred, verbose=0)[..., 0] - sharp).mean()
    return after / np.square(blurred[..., 0] - sharp).mean()


@pytest.mark.slow
def test_it_learns_to_undo_one_blur():
    assert error_after_learning(np.ones(5) / 5, planes=0) < 0.9


@pytest.mark.slow
def test_it_learns_the_phase_of_a_blur_where_it_has_edges():
    braking = np.array([0.6, 0.25, 0.15, 0.0, 0.0])
    assert error_after_learning(braking, planes=1) < 0.8 * error_after_learning(braking, planes=0)


def test_an_imaginary_gain_turns_the_phase():
    model = networks.build("blind_wiener", **OPTIONS)
    layer = model.get_layer("wiener_turn2")
    kernel, bias = layer.get_weights()
    layer.set_weights([np.zeros_like(kernel), np.full_like(bias, 0.5)])
    waves = (np.tile(wave(2, 4, phase=phase), (4, 4)) for phase in (0.0, np.pi / 2))
    picture, quarter = (w[None, ..., None] for w in waves)
    restored = model.predict_on_batch(picture)
    inner = (slice(None), slice(16, 48), slice(16, 48))
    expected = picture + 0.5 * (quarter - 0.5)
    # The taper spreads a wave a little, over the lowest frequencies too.
    np.testing.assert_allclose(restored[inner], expected[inner], atol=0.01)


def coherence(*planes):
    size = blocks.axis_indices(planes[0])
    frames = [
        blind_wiener._frames(plane, size, WINDOW, step=WINDOW, inside=True) for plane in planes
    ]
    transform = blind_wiener._transformer(WINDOW, "all")
    result = blind_wiener._coherence(frames, transform, blind_wiener._pooler(WINDOW), WINDOW)
    return np.split(ops.convert_to_numpy(result), 3, axis=-1)


def test_a_picture_is_coherent_with_itself_whatever_its_contrast():
    picture = noise(1, 48, 48, 1)
    real, imaginary, ratio = coherence(picture, 4.0 * picture)
    assert real.shape == (16, WINDOW // 2, WINDOW // 4 + 1, 1)
    # Of what is constant there is nothing in a window; a little leaks back in beside it.
    away = np.ones(real.shape[1:3], bool)
    away[WINDOW // 4 - 1 : WINDOW // 4 + 2, :2] = False
    np.testing.assert_allclose(real[:, away], 1.0, atol=0.02)
    np.testing.assert_allclose(imaginary[:, away], 0.0, atol=1e-4)
    np.testing.assert_allclose(ratio[:, away], 0.5 * np.log(4.0), atol=0.02)


def test_a_shift_of_the_edges_shows_in_the_phase():
    scene = noise(1, 96, 97, 1)
    real, imaginary, _ = coherence(scene[:, :, 1:], scene[:, :, :-1])
    phase = np.angle(real + 1j * imaginary)[..., 0].mean(0)
    # One pixel to the right: the phase falls in proportion to the frequency along the rows.
    columns = np.arange(1, WINDOW // 4)
    expected = -2 * np.pi * 2 * columns / WINDOW
    np.testing.assert_allclose(phase[:, columns].mean(0), expected, atol=0.25)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (13, 21), (1, 1)])
def test_pictures_of_edges_are_as_large_as_the_picture(height, width):
    luminance = keras.Input((None, None, 1))
    model = keras.Model(luminance, blind_wiener._edges(luminance, 3))
    planes = model.predict_on_batch(noise(2, height, width, 1))
    assert [plane.shape for plane in planes] == [(2, height, width, 1)] * 3


def test_refinement_takes_the_estimate_as_it_is_at_first():
    refine = {"widths": (8,), "depths": (1,), "decoder_depths": (), "filter_size": 5}
    alone = network(0.5)
    both = networks.build("blind_wiener", **OPTIONS | {"refine": True, "refine_options": refine})
    for layer in alone.layers:
        if layer.get_weights():
            both.get_layer(layer.name).set_weights(layer.get_weights())
    picture = noise(1, 40, 50, 1)
    np.testing.assert_allclose(
        both.predict_on_batch(picture), alone.predict_on_batch(picture), atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 24}, "power of two"),
        ({"window": 4}, "power of two"),
        ({"features": 0}, "positive"),
        ({"planes": -1}, "at least 0"),
        ({"refine": False, "refine_options": {"widths": (8,)}}, "are for `refine`"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        networks.build("blind_wiener", **options)
