"""Blind Wiener filtering: a network reads the blur out of local power spectra and inverts it."""

import keras
import numpy as np
from keras import ops

from keras_refocus.networks import blocks, filter_bank

# Power of a window's spectrum that is added before the logarithm: rounding to 8 bits leaves as
# much, (1 / 255)^2 / 12 times the sum of the squared window.
_FLOOR = 1e-3
_NEIGHBOURHOODS = (3, 7)  # windows a side, half overlapping, whose spectra are averaged


def blind_wiener_generator(
    *,
    window=64,
    features=16,
    width=192,
    gates=6,
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
    2. Their power, at half the resolution in frequency, is averaged over 3 x 3 and 7 x 7 windows
       (Welch 1967); logarithms of these go through a small network that compares neighbouring
       frequencies and then sees the whole spectrum.
    3. It gives every second window a real gain for each frequency, the transfer function of a
       symmetric filter; windows between two take their mean. The windows are added up again.

    That is the result without `refine`. With it, a `filter_bank` network gets the result beside
    its own filters, to take of it at each pixel what it finds right.

    The last layer of the gains starts at zero, so an untrained network without `refine` returns
    its input.

    Args:
        window: Side of the windows in pixels; a power of two, at least 8.
        features: Channels for each frequency.
        width: Channels for each window.
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
    blocks.check_positive(window=window, features=features, width=width, gates=gates)
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
    change = _estimated_change(picture, window=window, features=features, width=width, gates=gates)
    if refine:
        options = dict(refine_options or {})
        restored = filter_bank.restore(picture, estimate=change, **options)
    else:
        restored = blocks.add_residual(picture, change)
    return keras.Model(picture, restored, name=name)


def _estimated_change(picture, *, window, features, width, gates):
    """What the estimated filters would change in a picture: a tensor of its shape, float32."""
    size = blocks.axis_indices(picture)
    # What is mirrored at the border has other directions: power is measured inside.
    gain = _gain(
        _frames(picture, size, window, inside=True),
        window=window,
        features=features,
        width=width,
        gates=gates,
    )
    frames = _frames(picture, size, window, inside=False)
    row, column, position = _places(frames)
    # A gain in the middle of every second window; between two of them, their mean.
    rows, columns = ops.max(row) // 2 + 1, ops.max(column) // 2 + 1
    picture_number = ops.cumsum(ops.ones_like(row), axis=0) - 1
    corners = [
        ops.take(
            gain,
            (picture_number * rows + ops.minimum((row + down) // 2, rows - 1)) * columns
            + ops.minimum((column + across) // 2, columns - 1),
            axis=0,
        )
        for down in (0, 1)
        for across in (0, 1)
    ]
    gain = ops.reshape(sum(corners) / 4.0, (-1, window // 2, window // 4 + 1))

    real, imaginary = _transform(_merge(frames, window), window, "all")
    gain = _spread(gain, window)
    x = _transform_back(gain * real, gain * imaginary, window)
    return blocks.crop_to_size(_overlap_add(ops.take(x, position, axis=0), window), size)


def _gain(frames, *, window, features, width, gates):
    """Gains that a network gives every second window.

    Returns:
        Tensor `(windows, window / 2, window / 4 + 1)`: row frequencies, column frequencies at half
        the resolution, less one.
    """
    rows, columns = window // 2, window // 4 + 1
    power = _power(*_transform(_merge(frames, window), window, "inside"), window)
    *_, position = _places(frames)
    power = ops.take(ops.reshape(power, (-1, rows * columns)), position, axis=0)
    levels = [blocks.local_mean(power, around)[:, ::2, ::2] for around in _NEIGHBOURHOODS]
    levels = ops.log(ops.stack(levels, axis=-1) + _FLOOR)
    levels = ops.reshape(levels, (-1, rows, columns, len(_NEIGHBOURHOODS)))
    x = _whiten(levels, rows, columns)

    # The approximate GELU is in every exchange format; the exact one is not.
    x = ops.gelu(keras.layers.Conv2D(features, 3, padding="same", name="wiener_frequencies")(x))
    for block in range(2):
        y = keras.layers.Conv2D(features, 3, padding="same", name=f"wiener_band{block}_conv1")(x)
        x = x + keras.layers.Conv2D(features, 1, name=f"wiener_band{block}_conv2")(ops.gelu(y))
    # The spectrum as a whole.
    y = keras.layers.Conv2D(gates, 1, name="wiener_summary")(x)
    y = ops.reshape(y, (-1, rows * columns * gates))
    y = ops.gelu(keras.layers.Dense(width, name="wiener_spectrum1")(y))
    y = y + ops.gelu(keras.layers.Dense(width, name="wiener_spectrum2")(y))
    y = keras.layers.Dense(rows * columns * gates, name="wiener_gates")(y)
    x = ops.concatenate([x, ops.reshape(y, (-1, rows, columns, gates))], axis=-1)
    x = ops.gelu(keras.layers.Dense(features, name="wiener_gain1")(x))
    gain = keras.layers.Dense(1, kernel_initializer="zeros", dtype="float32", name="wiener_gain2")
    return gain(x)[..., 0]


def _merge(frames, window):
    """Windows of all pictures in one row, their means taken out."""
    frames = ops.reshape(frames, (-1, window, window))
    return frames - ops.mean(frames, axis=(1, 2), keepdims=True)


def _places(frames):
    """For each window its row, its column, and its number when all are put into one row."""
    one = ops.ones_like(frames[..., 0, 0], dtype="int32")
    picture, row, column = (ops.cumsum(one, axis=axis) - 1 for axis in range(3))
    return row, column, (picture * (ops.max(row) + 1) + row) * (ops.max(column) + 1) + column


def _transform(frames, window, name):
    """Fourier transform of windows `(windows, row, column)` under a taper.

    Returns:
        Tuple of real and imaginary part, each `(windows, column frequency, row frequency)`.
    """
    kept = window // 2 + 1
    _, _, along_columns, along_rows, _, _ = _fourier(window)
    x = _linear(along_columns, f"fourier_columns_{name}")(frames)
    x = _linear(along_rows, f"fourier_rows_{name}")(ops.transpose(x, (0, 2, 1)))
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


def _frames(picture, size, window, *, inside):
    """Cut a picture into windows that overlap by half.

    Args:
        picture: Tensor `(batch, height, width, 1)`.
        size: As `blocks.axis_indices` gives it.
        window: Side of the windows.
        inside: Whether windows across the border are moved inside, where the picture is large
            enough; otherwise they show it mirrored.

    Returns:
        Tensor `(batch, rows, columns, window, window)`; the first window begins half a window
        before the picture, unless it is moved.
    """
    half = window // 2
    x = picture[..., 0]
    for axis, index in zip((1, 3), size, strict=True):
        starts = index[(slice(None, None, half),)]
        starts = ops.concatenate([np.full(1, -half, dtype="int32"), starts], axis=0)
        last = ops.max(index)
        if inside:
            starts = ops.minimum(ops.maximum(starts, 0), ops.maximum(last + 1 - window, 0))
        position = ops.expand_dims(starts, 1) + np.arange(window, dtype="int32")
        period = ops.maximum(2 * last, 1)
        # Of negative numbers, ONNX has another remainder.
        position = ops.mod(position + half * period, period)
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


def _whiten(levels, rows, columns):
    """Take out of log power spectra what all photos share, and say where each frequency is.

    Power falls with the square of frequency (Field 1987).

    Args:
        levels: Tensor `(windows, rows, columns, levels)`.
        rows: Number of row frequencies.
        columns: Number of column frequencies.

    Returns:
        Tensor `(windows, rows, columns, levels + 4)`; the last four are the same for all windows.
    """
    count = levels.shape[-1]
    down = (np.arange(rows)[:, None] - rows // 2) / (rows // 2) + np.zeros(columns)
    across = np.arange(columns) / (columns - 1) + np.zeros((rows, 1))
    radius = np.hypot(down, across)
    scale = 0.4
    kernel = np.zeros((rows, columns, count, count + 4))
    kernel[..., range(count), range(count)] = scale
    bias = np.zeros((rows, columns, count + 4))
    bias[..., :count] = scale * (2.0 * np.log(np.maximum(radius, 1 / rows)) + 3.0)[..., None]
    bias[..., count:] = np.stack([np.abs(down), across, radius, down * across], axis=-1)
    layer = keras.layers.EinsumDense(
        "mrcl,rclf->mrcf",
        output_shape=(rows, columns, count + 4),
        bias_axes="rcf",
        trainable=False,
        dtype="float32",
        name="wiener_whitening",
    )
    levels = layer(levels)
    layer.set_weights([kernel.astype("float32"), bias.astype("float32")])
    return levels
