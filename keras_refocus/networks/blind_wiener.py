"""Blind Wiener filtering: a network reads the blur out of local power spectra and inverts it."""

import keras
import numpy as np
from keras import ops

from keras_refocus.networks import blocks, filter_bank

# Power of a window's spectrum that is added before the logarithm: rounding to 8 bits leaves as
# much, (1 / 255)^2 / 12 times the sum of the squared window.
_FLOOR = 1e-3
_NEIGHBOURHOODS = (3, 7)  # windows, half overlapping, whose spectra are averaged


def blind_wiener_generator(
    *,
    window=64,
    features=16,
    width=128,
    depth=2,
    gates=4,
    refine=True,
    refine_options=None,
    name="blind_wiener",
):
    """Build a generator that estimates the inverse filter of each neighbourhood.

    What blur has taken shows in the power spectrum: a motion leaves dark bands across its
    direction, defocus a dark ring, noise a floor. Scenes differ, but the shape of their spectra
    hardly does (Field 1987), which is what blind deconvolution has estimated blur from since
    Cannon (1976). Here a network does it:

    1. Half overlapping windows under the root of a Hann window are transformed (short-time
       Fourier transform).
    2. Their power, at half the resolution in frequency, is averaged over one, 3 x 3 and 7 x 7
       windows (Welch 1967); logarithms of these go through a small network that sees neighbouring
       frequencies, then the whole spectrum and the windows around.
    3. It gives each window a real gain for each frequency, the transfer function of a symmetric
       filter, and the windows are added up again.

    That is the result without `refine`. With it, a `filter_bank` network gets the result beside
    its own filters, to take of it at each pixel what it finds right.

    The last layer of the gains starts at zero, so an untrained network without `refine` returns
    its input.

    Args:
        window: Side of the windows in pixels; a power of two, at least 8.
        features: Channels for each frequency.
        width: Channels for each window.
        depth: Residual blocks over windows, each of which sees two windows further.
        gates: Numbers that go from each frequency to its window and back.
        refine: Whether a filter bank corrects the result pixel by pixel.
        refine_options: Options of `filter_bank_generator`, or `None` for its defaults.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.

    Raises:
        ValueError: If the window is not a power of two of at least 8 or an option is not positive.
    """
    blocks.check_positive(window=window, features=features, width=width, depth=depth, gates=gates)
    if window < 8 or window & (window - 1):
        raise ValueError(
            f"`window` must be a power of two of at least 8. Received: window={window!r}."
        )
    if refine_options and not refine:
        raise ValueError(
            "`refine_options` are for `refine`. Received: refine=False, "
            f"refine_options={refine_options!r}. Leave them out, or refine."
        )
    picture = blocks.luminance_input()
    # The transforms lose too much in 16 bits.
    change = _estimated_change(
        picture, window=window, features=features, width=width, depth=depth, gates=gates
    )
    if refine:
        options = dict(refine_options or {})
        restored = filter_bank.restore(picture, estimate=change, **options)
    else:
        restored = blocks.add_residual(picture, change)
    return keras.Model(picture, restored, name=name)


def _estimated_change(picture, *, window, features, width, depth, gates):
    """What the estimated filters would change in a picture: a tensor of its shape, float32."""
    size = blocks.axis_indices(picture)
    frames = _frames(picture, size, window)
    position = _flat_positions(frames)
    frames = ops.reshape(frames, (-1, window, window))
    frames = frames - ops.mean(frames, axis=(1, 2), keepdims=True)
    # (window, column frequency, row frequency): the other way round than pixels.
    real, imaginary = _transform(frames, window)

    rows, columns = window // 2, window // 4 + 1
    power = _power(real, imaginary, window)
    power = ops.take(ops.reshape(power, (-1, rows * columns)), position, axis=0)
    levels = [power] + [blocks.local_mean(power, around) for around in _NEIGHBOURHOODS]
    levels = ops.log(ops.stack(levels, axis=-1) + _FLOOR)
    scale, offset = _whitening(rows, columns)
    whiten = keras.layers.EinsumDense(
        "mrcl,rcl->mrcl",
        output_shape=(rows, columns, len(_NEIGHBOURHOODS) + 1),
        bias_axes="rcl",
        trainable=False,
        dtype="float32",
        name="wiener_whitening",
    )
    x = whiten(ops.reshape(levels, (-1, rows, columns, len(_NEIGHBOURHOODS) + 1)))
    whiten.set_weights([np.full_like(offset, scale), offset])

    # Each frequency has its own meaning, then neighbouring ones are compared.
    x = keras.layers.EinsumDense(
        "mrcl,rclf->mrcf",
        output_shape=(rows, columns, features),
        bias_axes="rcf",
        # One set of weights for all frequencies has so many inputs.
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.5),
        name="wiener_frequencies",
    )(x)
    x = ops.gelu(x)
    for block in range(2):
        y = keras.layers.Conv2D(
            features, 3, padding="same", activation="gelu", name=f"wiener_band{block}_conv1"
        )(x)
        x = x + keras.layers.Conv2D(features, 1, name=f"wiener_band{block}_conv2")(y)
    # The whole spectrum, and the windows around.
    y = keras.layers.Conv2D(gates, 1, name="wiener_summary")(x)
    y = ops.take(ops.reshape(y, (-1, rows * columns * gates)), position, axis=0)
    y = keras.layers.Conv2D(width, 1, activation="relu", name="wiener_spectrum")(y)
    for block in range(depth):
        y = blocks.residual_block(y, width, name=f"wiener_block{block}")
    y = keras.layers.Conv2D(rows * columns * gates, 1, name="wiener_gates")(y)
    x = ops.concatenate([x, ops.reshape(y, (-1, rows, columns, gates))], axis=-1)
    x = keras.layers.Dense(features, activation="gelu", name="wiener_gain1")(x)
    gain = keras.layers.Dense(1, kernel_initializer="zeros", dtype="float32", name="wiener_gain2")
    gain = _spread(gain(x)[..., 0], window)

    x = _transform_back(gain * real, gain * imaginary, window)
    return blocks.crop_to_size(_overlap_add(ops.take(x, position, axis=0), window), size)


def _flat_positions(frames):
    """For each window, which one it is when they are all put into one row."""
    one = ops.ones_like(frames[..., 0, 0], dtype="int32")
    picture, row, column = (ops.cumsum(one, axis=axis) - 1 for axis in range(3))
    return (picture * (ops.max(row) + 1) + row) * (ops.max(column) + 1) + column


def _transform(frames, window):
    """Fourier transform of windows `(windows, row, column)` under a taper.

    Returns:
        Tuple of real and imaginary part, each `(windows, column frequency, row frequency)`.
    """
    kept = window // 2 + 1
    _, _, along_columns, along_rows, _, _ = _fourier(window)
    x = _linear(along_columns, "fourier_columns")(frames)
    x = _linear(along_rows, "fourier_rows")(ops.transpose(x, (0, 2, 1)))
    cosine, sine = x[:, :kept], x[:, kept:]
    return (
        cosine[..., :window] - sine[..., window:],
        cosine[..., window:] + sine[..., :window],
    )


def _transform_back(real, imaginary, window):
    """Inverse of `_transform`, under the taper once more."""
    *_, back_rows, back_columns = _fourier(window)
    back = _linear(back_rows, "inverse_rows")
    real, imaginary = back(real), back(imaginary)
    x = ops.concatenate(
        [
            real[..., :window] - imaginary[..., window:],
            real[..., window:] + imaginary[..., :window],
        ],
        axis=1,
    )
    return _linear(back_columns, "inverse_columns")(ops.transpose(x, (0, 2, 1)))


def _power(real, imaginary, window):
    """Power `(windows, row frequency, column frequency)` at half the resolution in frequency."""
    pool_rows, pool_columns = _pooling(window)
    power = _linear(pool_rows, "pool_rows")(ops.square(real) + ops.square(imaginary))
    return _linear(pool_columns, "pool_columns")(ops.transpose(power, (0, 2, 1)))


def _spread(gain, window):
    """Gains for the frequencies of `_power`, for those of `_transform`, interpolated."""
    spread_rows, spread_columns = _spreading(window)
    gain = _linear(spread_columns, "spread_columns")(gain)
    return _linear(spread_rows, "spread_rows")(ops.transpose(gain, (0, 2, 1)))


def _linear(matrix, name):
    """A fixed matrix times the last axis."""
    layer = keras.layers.Dense(
        matrix.shape[1], use_bias=False, trainable=False, dtype="float32", name=f"wiener_{name}"
    )
    layer.build((None, matrix.shape[0]))
    layer.set_weights([matrix.astype("float32")])
    return layer


def _frames(picture, size, window):
    """Cut a picture, mirrored at its borders, into windows that overlap by half.

    Args:
        picture: Tensor `(batch, height, width, 1)`.
        size: As `blocks.axis_indices` gives it.
        window: Side of the windows.

    Returns:
        Tensor `(batch, rows, columns, window, window)`; the first window begins half a window
        before the picture.
    """
    half = window // 2
    x = picture[..., 0]
    for axis, index in zip((1, 3), size, strict=True):
        starts = index[(slice(None, None, half),)]
        starts = ops.concatenate([np.full(1, -half, dtype="int32"), starts], axis=0)
        position = ops.expand_dims(starts, 1) + np.arange(window, dtype="int32")
        last = ops.max(index)
        period = ops.maximum(2 * last, 1)
        position = ops.mod(position, period)
        position = ops.minimum(position, period - position)
        x = ops.take(x, ops.minimum(position, last), axis=axis)
    return ops.transpose(x, (0, 1, 3, 2, 4))


def _overlap_add(windows, window):
    """Add up windows `(batch, rows, columns, window, window)` that overlap by half.

    Returns:
        Tensor `(batch, (rows - 1) * window / 2, (columns - 1) * window / 2, 1)`.
    """
    half = window // 2
    upper, lower = windows[:, 1:, :, :half], windows[:, :-1, :, half:]
    x = upper + lower
    x = x[:, :, 1:, :, :half] + x[:, :, :-1, :, half:]
    cells = ops.concatenate([x[..., row, :] for row in range(half)], axis=-1)
    return ops.depth_to_space(cells, half)


def _fourier(window):
    """Tapered Fourier transform as matrices, lowest frequency of the rows in the middle.

    Returns:
        Tuple `(row frequencies, column frequencies, along columns, along rows, back along rows,
        back along columns)`: the frequencies in cycles per window, and matrices that multiply the
        last axis. Cosines stand beside sines.
    """
    positions = np.arange(window)
    row_frequencies, column_frequencies = positions - window // 2, np.arange(window // 2 + 1)
    root = np.sin(np.pi * positions / window)  # squares of half overlapping ones add up to one
    angles = 2 * np.pi * np.outer(positions, column_frequencies) / window
    along_columns = root[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
    # Frequencies that are not kept are the mirror images of those that are.
    twice = np.full(len(column_frequencies), 2.0)
    twice[[0, -1]] = 1.0
    back_columns = np.concatenate([twice * np.cos(angles), -twice * np.sin(angles)], axis=1).T
    angles = 2 * np.pi * np.outer(positions, row_frequencies) / window
    along_rows = root[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
    back_rows = np.concatenate([np.cos(angles).T * root, np.sin(angles).T * root], axis=1)
    return (
        row_frequencies,
        column_frequencies,
        along_columns,
        along_rows,
        back_rows / window,
        back_columns * root / window,
    )


def _pooling(window):
    """Matrices that halve the resolution in frequency by a triangular mean."""
    half, kept = window // 2, window // 2 + 1
    rows, columns = np.zeros((window, half)), np.zeros((kept, half // 2 + 1))
    for shift, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        for index in range(half):
            rows[(2 * index + shift) % window, index] += share
        for index in range(half // 2 + 1):
            # Beyond the last frequency, as beyond zero, come the mirrored ones.
            columns[np.clip(2 * index + shift, 0, kept - 1), index] += share
    return rows, columns


def _spreading(window):
    """Matrices that double the resolution in frequency again by linear interpolation."""
    half, kept = window // 2, window // 2 + 1
    rows, columns = np.zeros((half, window)), np.zeros((half // 2 + 1, kept))
    for index in range(window):
        for low, share in ((index // 2, 1 - index % 2 / 2), (index // 2 + 1, index % 2 / 2)):
            rows[low % half, index] += share
            if index < kept:
                columns[min(low, half // 2), index] += share
    return rows, columns


def _whitening(rows, columns):
    """Scale and offset that take out of a log power spectrum what all photos share.

    Power falls with the square of frequency (Field 1987).

    Returns:
        Tuple of a number, and a float32 array `(rows, columns, levels)`.
    """
    down = np.abs(np.arange(rows) - rows // 2)[:, None] / rows
    across = np.arange(columns) / rows
    radius = np.maximum(np.hypot(down, across), 0.5 / rows)
    scale = 0.4
    offset = scale * (2.0 * np.log(radius) + 3.0)
    return scale, np.repeat(offset[..., None], len(_NEIGHBOURHOODS) + 1, axis=-1).astype("float32")
