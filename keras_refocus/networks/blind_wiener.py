"""Blind Wiener filtering: a network reads the blur out of local power spectra and inverts it."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_refocus.networks import blocks, filter_bank
from keras_refocus.pictures.color import Tensor

# Power of a window's spectrum that is added before the logarithm: rounding to 8 bits leaves as
# much, (1 / 255)^2 / 12 times the sum of the squared window.
_FLOOR = 1e-3
_NEIGHBOURHOODS = (3, 7)  # windows a side, half overlapping, whose power is averaged
_CONTEXT = 16  # numbers about a window that go to the refinement
_AGREEMENT = 3  # windows a side, side by side, whose cross spectra are averaged


def blind_wiener_generator(
    *,
    window: int = 64,
    features: int = 16,
    width: int = 192,
    gates: int = 6,
    planes: int = 2,
    refine: bool = True,
    refine_options: Mapping[str, Any] | None = None,
    name: str = "blind_wiener",
) -> keras.Model:
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
    3. Power does not tell the phase of the blur: whether a movement braked or sped up, and where
       it turned. Edges do. Another small network, of pixels, draws `planes` pictures of what it
       takes the edges to have been; their cross spectra with the picture, averaged in the same
       way, are those of the kernel that all of the neighbourhood agrees on (Cho and Lee 2009
       estimate it from edges that a shock filter predicts). Their coherence goes into the network
       of 2. beside the power.
    4. It gives every second window a gain for each frequency, the transfer function of a filter,
       complex where there are `planes` and otherwise real, of a symmetric filter; windows between
       two take their mean. The windows are added up again.

    That is the result without `refine`. With it, a `filter_bank` network gets the result beside
    its own filters, to take of it at each pixel what it finds right, and a few numbers
    about each window to begin with.

    The last layer of the gains starts at zero, so an untrained network without `refine` returns
    its input.

    Args:
        window: Side of the windows in pixels; a power of two, at least 8.
        features: Channels for each frequency.
        width: Channels for each window.
        gates: Numbers that go from each frequency to its window and back.
        planes: Pictures of edges whose cross spectra tell the phase; 0: none, gains are real.
        refine: Whether a filter bank corrects the result pixel by pixel.
        refine_options: Options of `filter_bank_generator`, or `None` for its defaults.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.

    Raises:
        ValueError: If the window is not a power of two of at least 8 or an option is not positive.
    """
    picture = blocks.luminance_input()
    restored = restore(
        picture,
        window=window,
        features=features,
        width=width,
        gates=gates,
        planes=planes,
        refine=refine,
        refine_options=refine_options,
    )
    return keras.Model(picture, restored, name=name)


def restore(
    picture: Tensor,
    *,
    prior: Tensor | None = None,
    window: int,
    features: int,
    width: int,
    gates: int,
    planes: int,
    refine: bool = True,
    refine_options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Restore a picture by filters that are estimated from it, and by the filter bank.

    Args:
        picture: Symbolic luminance `(batch, height, width, 1)`.
        prior: What another network has changed in it, for the filter bank; see
            `filter_bank.restore`.
        window: This and the following as in `blind_wiener_generator`.
        features: See there.
        width: See there.
        gates: See there.
        planes: See there.
        refine: See there.
        refine_options: See there.

    Returns:
        Symbolic restored luminance of the same shape.

    Raises:
        ValueError: If the window is not a power of two of at least 8 or an option is not positive.
    """
    blocks.check_positive(window=window, features=features, width=width, gates=gates)
    if isinstance(planes, bool) or not isinstance(planes, int) or planes < 0:
        raise ValueError(
            f"`planes` must be a number of pictures, at least 0. Received: planes={planes!r}."
        )
    if window < 8 or window & (window - 1):
        raise ValueError(
            f"`window` must be a power of two of at least 8. Received: window={window!r}."
        )
    if refine_options and not refine:
        raise ValueError(
            "`refine_options` are for `refine`. Received: refine=False, "
            f"refine_options={refine_options!r}. Leave them out, or refine."
        )
    # The transforms lose too much in 16 bits.
    change, describe = _estimated_change(
        picture, window=window, features=features, width=width, gates=gates, planes=planes
    )
    if not refine:
        return blocks.add_residual(picture, change)
    return filter_bank.restore(
        picture, estimate=change, prior=prior, context=describe, **dict(refine_options or {})
    )


def _estimated_change(picture, *, window, features, width, gates, planes):
    """Estimate filters and apply them.

    Returns:
        Tuple `(change, describe)`: what the filters would change in the picture, a tensor of its
        shape, float32; and what `filter_bank.restore` takes as `context`.
    """
    size = blocks.axis_indices(picture)
    # What is mirrored at the border has other directions: power is measured inside.
    edges = _edges(picture, planes) if planes else []
    apart = [
        _frames(plane, size, window, step=window, inside=True)
        for plane in ([picture, *edges] if edges else [])
    ]
    gains, known = _gains(
        _frames(picture, size, window, inside=True),
        apart,
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
        (picture_number * rows + ops.minimum((row + down) // 2, rows - 1)) * columns
        + ops.minimum((column + across) // 2, columns - 1)
        for down in (0, 1)
        for across in (0, 1)
    ]
    x = _filter(_transformer(window, "all")(_merge(frames, window)), gains, corners, window)
    x = blocks.crop_to_size(_overlap_add(ops.take(x, position, axis=0), window), size)

    def describe(cells, side):
        summary = ops.gelu(keras.layers.Dense(_CONTEXT, name="context")(known))
        return _interpolate(summary, cells, side / window, rows, columns)

    return x, describe


def _interpolate(values, cells, spacing, rows, columns):
    """Values of every second window, at the cells of a coarser grid.

    Args:
        values: Tensor `(windows, channels)`: the windows of all pictures in one row; the first of
            a picture has its centre at its top left corner, the next are one window on.
        cells: Tensor `(batch, height, width, channels)`, whose numbers do not matter.
        spacing: Side of a cell in windows.
        rows: Number of rows of windows.
        columns: Number of columns of windows.

    Returns:
        Tensor `(batch, height, width, channels)`, interpolated linearly.
    """
    one = ops.ones_like(cells[..., 0], dtype="int32")
    picture, row, column = (ops.cumsum(one, axis=axis) - 1 for axis in range(3))
    ends = []
    for index, count in ((row, rows), (column, columns)):
        place = (ops.cast(index, "float32") + 0.5) * spacing
        first = ops.cast(ops.floor(place), "int32")
        share = ops.expand_dims(place - ops.cast(first, "float32"), -1)
        ends.append(
            [
                (ops.minimum(first, count - 1), 1.0 - share),
                (ops.minimum(first + 1, count - 1), share),
            ]
        )
    return sum(
        down * across * ops.take(values, (picture * rows + top) * columns + left, axis=0)
        for top, down in ends[0]
        for left, across in ends[1]
    )


def _filter(spectrum, gains, corners, window):
    """Multiply the spectra of windows by the mean of four gains each, and transform them back.

    Args:
        spectrum: Real and imaginary part, as `_transformer` gives them.
        gains: Real part of the gains, and the imaginary part where there is one, each `(gains,
            window / 2, window / 4 + 1)`.
        corners: Four index tensors, which say whose gains a window takes.
        window: Side of the windows.

    Returns:
        Tensor `(windows, row, column)`, under the taper once more.
    """
    shape = (-1, window // 2, window // 4 + 1)
    gains = [
        _spread(
            ops.reshape(sum(ops.take(gain, corner, axis=0) for corner in corners) / 4.0, shape),
            window,
            name,
        )
        for gain, name in zip(gains, ("", "_turn"), strict=False)
    ]
    real, imaginary = spectrum
    if len(gains) == 1:
        (gain,) = gains
        return _transform_back(gain * real, gain * imaginary, window)
    gain, turn = gains
    return _transform_back(gain * real - turn * imaginary, gain * imaginary + turn * real, window)


def _edges(picture, count):
    """Pictures of where a network takes the edges to have been, each of the shape of the input."""
    scales = {"widths": (32, 48), "depths": (1, 1), "decoder_depths": (1,)}
    side = 4  # pixels of the blocks that become channels
    padded, size = blocks.pad_to_multiple(picture, 2 * side)
    normalised, contrast, _ = blocks.local_contrast(ops.space_to_depth(padded, side))
    # The logarithm is shifted to the middle of what photos have.
    x = ops.concatenate([normalised, ops.log(contrast) + 3.0], axis=-1)
    x = keras.layers.Conv2D(scales["widths"][0], 3, padding="same", name="edges_stem")(x)
    x = blocks.u_shape(x, **scales, prefix="edges_")
    x = blocks.last_convolution(x, count * side**2, kernel_size=1, residual=False, name="edges")
    x = blocks.crop_to_size(ops.depth_to_space(x * contrast, side), size)
    return [x[..., index : index + 1] for index in range(count)]


def _gains(frames, apart, *, window, features, width, gates):
    """Gains that a network gives every second window.

    Args:
        frames: Windows of the picture, as `_frames` gives them.
        apart: Every second of these, and the same windows of each picture of edges; empty if there
            are none.
        window: Side of the windows.
        features: See `blind_wiener_generator`.
        width: See there.
        gates: See there.

    Returns:
        Tuple of a list of tensors `(windows, window / 2, window / 4 + 1)`, row frequencies, column
        frequencies at half the resolution: the real part less one, and with edges the imaginary
        part; and of what the network knows of each window, `(windows, width)`.
    """
    rows, columns = window // 2, window // 4 + 1
    transform, pool = _transformer(window, "inside"), _pooler(window)
    real, imaginary = transform(_merge(frames, window))
    power = _around(pool(ops.square(real) + ops.square(imaginary)), frames, _NEIGHBOURHOODS)
    power = ops.stack([ops.log(level[:, ::2, ::2] + _FLOOR) for level in power], axis=-1)
    x = _whiten(ops.reshape(power, (-1, rows, columns, len(_NEIGHBOURHOODS))), rows, columns)

    # The approximate GELU is in every exchange format; the exact one is not.
    x = keras.layers.Conv2D(features, 3, padding="same", name="wiener_frequencies")(x)
    if apart:
        coherence = _coherence(apart, transform, pool, window)
        x = x + keras.layers.Conv2D(
            features, 3, padding="same", kernel_initializer="zeros", name="wiener_coherence"
        )(coherence)
    x = ops.gelu(x)
    for block in range(2):
        y = keras.layers.Conv2D(features, 3, padding="same", name=f"wiener_band{block}_conv1")(x)
        x = x + keras.layers.Conv2D(features, 1, name=f"wiener_band{block}_conv2")(ops.gelu(y))
    # The spectrum as a whole.
    y = keras.layers.Conv2D(gates, 1, name="wiener_summary")(x)
    y = ops.reshape(y, (-1, rows * columns * gates))
    y = ops.gelu(keras.layers.Dense(width, name="wiener_spectrum1")(y))
    y = y + ops.gelu(keras.layers.Dense(width, name="wiener_spectrum2")(y))
    known = y
    y = keras.layers.Dense(rows * columns * gates, name="wiener_gates")(y)
    x = ops.concatenate([x, ops.reshape(y, (-1, rows, columns, gates))], axis=-1)
    x = ops.gelu(keras.layers.Dense(features, name="wiener_gain1")(x))
    gains = [
        keras.layers.Dense(1, kernel_initializer="zeros", dtype="float32", name=name)(x)[..., 0]
        for name in ("wiener_gain2", "wiener_turn2")[: 1 + bool(apart)]
    ]
    return gains, known


def _coherence(frames, transform, pool, window):
    """What spectra of edges and of the picture have in common, over a neighbourhood.

    Args:
        frames: Windows of the picture, and the same of each picture of edges.
        transform: As `_transformer` returns it.
        pool: As `_pooler` returns it.
        window: Side of the windows.

    Returns:
        Tensor `(windows, rows, columns, 3 for each picture of edges)`: the two parts of the
        coherence, in [-1, 1], and the logarithm of the ratio of powers.
    """
    planes = len(frames) - 1
    shape = (1 + planes, -1, window // 2 + 1, window)
    spectra = transform(ops.concatenate([_merge(one, window) for one in frames], axis=0))
    real, imaginary = (ops.reshape(part, shape) for part in spectra)
    own, other = np.s_[:1, ...], np.s_[1:, ...]
    products = ops.concatenate(
        [
            ops.square(real) + ops.square(imaginary),
            real[own] * real[other] + imaginary[own] * imaginary[other],
            real[own] * imaginary[other] - imaginary[own] * real[other],
        ],
        axis=0,
    )
    count, rows, columns = 1 + 3 * planes, window // 2, window // 4 + 1
    products = pool(ops.reshape(products, (-1, *shape[2:])))
    products = ops.transpose(ops.reshape(products, (count, -1, rows * columns)), (1, 2, 0))
    (products,) = _around(products, frames[0], (_AGREEMENT,))
    products = ops.reshape(products, (-1, rows, columns, count))
    power, edges, real, imaginary = ops.split(
        products, np.cumsum([1, planes, planes]).tolist(), axis=-1
    )
    power, edges = power + _FLOOR, edges + _FLOOR
    scale = ops.rsqrt(power * edges)
    ratio = 0.25 * (ops.log(edges) - ops.log(power))
    return ops.concatenate([scale * real, scale * imaginary, ratio], axis=-1)


def _around(values, frames, neighbourhoods):
    """Means of what windows have over the windows around.

    Args:
        values: Tensor `(windows, ...)`, of all windows in one row.
        frames: These windows, as `_frames` gives them.
        neighbourhoods: Sides of the neighbourhoods in windows, odd.

    Returns:
        List of tensors `(batch, rows, columns, values)`, one for each neighbourhood.
    """
    *_, position = _places(frames)
    values = ops.reshape(values, (-1, math.prod(values.shape[1:])))
    values = ops.take(values, position, axis=0)
    return [blocks.local_mean(values, around) for around in neighbourhoods]


def _merge(frames, window):
    """Windows of all pictures in one row, their means taken out."""
    frames = ops.reshape(frames, (-1, window, window))
    return frames - ops.mean(frames, axis=(1, 2), keepdims=True)


def _places(frames):
    """For each window its row, its column, and its number when all are put into one row."""
    one = ops.ones_like(frames[..., 0, 0], dtype="int32")
    picture, row, column = (ops.cumsum(one, axis=axis) - 1 for axis in range(3))
    return row, column, (picture * (ops.max(row) + 1) + row) * (ops.max(column) + 1) + column


def _transformer(window, name):
    """Fourier transform of windows under a taper.

    Returns:
        Callable from windows `(windows, row, column)` to a tuple of the real and the imaginary
        part, each `(windows, column frequency, row frequency)`.
    """
    _, _, along_columns, along_rows, _, _ = _fourier(window)
    columns = _linear(along_columns, f"fourier_columns_{name}")
    rows = _linear(along_rows, f"fourier_rows_{name}")

    def transform(frames):
        x = rows(ops.transpose(columns(frames), (0, 2, 1)))
        # Split, not sliced: the gradient of a slice is as large as what it was cut from.
        cosine, sine = (ops.split(part, 2, axis=-1) for part in ops.split(x, 2, axis=1))
        return cosine[0] - sine[1], cosine[1] + sine[0]

    return transform


def _transform_back(real, imaginary, window):
    """Inverse of `_transformer`, under the taper once more."""
    *_, back_rows, back_columns = _fourier(window)
    back = _linear(back_rows, "inverse_rows")
    real, imaginary = (ops.split(back(part), 2, axis=-1) for part in (real, imaginary))
    x = ops.concatenate([real[0] - imaginary[1], real[1] + imaginary[0]], axis=1)
    return _linear(back_columns, "inverse_columns")(ops.transpose(x, (0, 2, 1)))


def _pooler(window):
    """Halve the resolution in frequency of products of spectra.

    Returns:
        Callable from `(windows, column frequency, row frequency)` to `(windows, row frequency,
        column frequency)`.
    """
    rows, columns = (
        _linear(matrix, f"pool_{name}")
        for matrix, name in zip(_pooling(window), ("rows", "columns"), strict=True)
    )
    return lambda products: columns(ops.transpose(rows(products), (0, 2, 1)))


def _spread(gain, window, name=""):
    """Gains for the frequencies of `_pooler`, for those of `_transformer`, interpolated."""
    spread_rows, spread_columns = _spreading(window)
    gain = _linear(spread_columns, f"spread_columns{name}")(gain)
    return _linear(spread_rows, f"spread_rows{name}")(ops.transpose(gain, (0, 2, 1)))


def _linear(matrix, name):
    """A fixed matrix times the last axis."""
    layer = keras.layers.Dense(
        matrix.shape[1], use_bias=False, trainable=False, dtype="float32", name=f"wiener_{name}"
    )
    layer.build((None, matrix.shape[0]))
    layer.set_weights([matrix.astype("float32")])
    return layer


def _frames(picture, size, window, *, step=None, inside):
    """Cut a picture into windows that overlap by half.

    Args:
        picture: Tensor `(batch, height, width, 1)`.
        size: As `blocks.axis_indices` gives it.
        window: Side of the windows.
        step: Pixels from one to the next instead of half a window: a multiple of that.
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
        starts = starts[(slice(None, None, (step or half) // half),)]
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
    upper, lower = ops.split(windows, 2, axis=3)
    x = upper[:, 1:] + lower[:, :-1]
    left, right = ops.split(x, 2, axis=4)
    x = left[:, :, 1:] + right[:, :, :-1]
    cells = ops.concatenate(ops.unstack(x, half, axis=3), axis=-1)
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
