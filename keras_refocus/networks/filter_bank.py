"""Restoration by a bank of inverse filters, which a small U-shaped network mixes for each pixel."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_refocus.networks import blocks
from keras_refocus.pictures.color import Tensor

_WIDE_WINDOW = 5  # pixels of the coarsest scale over which the filters' answers are compared


def filter_bank_generator(
    *,
    widths: Sequence[int] = (48, 96, 192),
    depths: Sequence[int] = (1, 2, 4),
    decoder_depths: Sequence[int] = (1, 1),
    stem_factor: int = 4,
    filter_size: int = 21,
    motion_lengths: Sequence[float] = (3.0, 6.0, 11.0),
    motion_angles: int = 8,
    disk_radii: Sequence[float] = (1.0, 2.0, 3.0),
    smoothings: Sequence[float] = (1.0, 5.0, 30.0),
    regularization: float = 0.1,
    train_filters: bool = False,
    name: str = "filter_bank",
) -> keras.Model:
    """Build a U-Net that chooses among inverse filters for each pixel.

    Deblurring is mostly linear filtering with a kernel that nobody knows. A network of 3x3
    convolutions has to put the inverse filters of all directions and lengths together before it can
    begin to choose among them; this one is given them. Each pixel's result is

        restored = luminance + sum_k weight_k * (filter_k * luminance - luminance) + residual

    where the `filter_k` are the Wiener filters of straight motions, of defocus, and a few
    smoothing ones, and where weights and residual come from a network of the shape of `unet`. That
    network sees the luminance with its local mean and contrast taken out (otherwise brightness, by
    far the largest part of its input, hides what blur has left), these two, and how much each
    filter would change the neighbourhood, a narrow one at the finest scale and one of about a
    hundred pixels at the coarsest; the residual is scaled by the contrast again.

    Kernels per pixel are those of kernel prediction networks (Mildenhall et al. 2018), here in a
    basis as in Xia et al. 2020, "Basis prediction networks"; the filters are those of Wiener (1949)
    with the regularisation of Hunt (1973), which grows with the square of frequency; local contrast
    normalisation is that of Jarrett et al. (2009). There is no normalisation by anything that is
    far away and no global pooling: a tile is restored as it would be inside the whole picture. The
    last convolutions start at zero, so an untrained network returns its input.

    Args:
        widths: Channels per scale, from fine to coarse.
        depths: Residual blocks per scale on the way down; the last entry is the bottom.
        decoder_depths: Residual blocks per scale on the way up, from coarse to fine: one entry
            fewer than `widths`.
        stem_factor: Side in pixels of the blocks that become channels at the input; a power of
            two.
        filter_size: Side of the inverse filters in pixels, odd.
        motion_lengths: Lengths in pixels of the straight motions that have an inverse filter.
        motion_angles: Number of directions of each length, evenly over half a turn.
        disk_radii: Radii in pixels of the defocus that has one; empty: none.
        smoothings: Strengths of the smoothing filters `1 / (1 + s f^2)`, f in cycles per pixel;
            empty: none.
        regularization: Factor of the squared frequency in the inverse filters.
        train_filters: Whether the filters are trained with the rest, or stay as they are.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.

    Raises:
        ValueError: If the numbers of scales disagree or an option is not positive.
    """
    picture = blocks.luminance_input()
    restored = restore(
        picture,
        widths=widths,
        depths=depths,
        decoder_depths=decoder_depths,
        stem_factor=stem_factor,
        filter_size=filter_size,
        motion_lengths=motion_lengths,
        motion_angles=motion_angles,
        disk_radii=disk_radii,
        smoothings=smoothings,
        regularization=regularization,
        train_filters=train_filters,
    )
    return keras.Model(picture, restored, name=name)


def restore(
    picture: Tensor,
    *,
    estimate: Tensor | None = None,
    prior: Tensor | None = None,
    context: Tensor | None = None,
    widths: Sequence[int] = (48, 96, 192),
    depths: Sequence[int] = (1, 2, 4),
    decoder_depths: Sequence[int] = (1, 1),
    stem_factor: int = 4,
    filter_size: int = 21,
    motion_lengths: Sequence[float] = (3.0, 6.0, 11.0),
    motion_angles: int = 8,
    disk_radii: Sequence[float] = (1.0, 2.0, 3.0),
    smoothings: Sequence[float] = (1.0, 5.0, 30.0),
    regularization: float = 0.1,
    train_filters: bool = False,
) -> Tensor:
    """Restore a picture, by the filters of the bank and perhaps by another estimate.

    Args:
        picture: Symbolic luminance `(batch, height, width, 1)`.
        estimate: What another network would change in it, of the same shape, or `None`. At first
            it is taken as it is; how much of it each pixel takes is learned, as for the filters,
            and the network sees it.
        prior: What was changed in it at a coarser scale, of the same shape, or `None`. The network
            sees it and learns how much of it each pixel takes, at first nothing.
        context: Callable that gives what another network knows of each cell of a coarse grid, a
            tensor `(batch, height, width, features)`, from a tensor of that grid's height and width
            and from the side of its cells in pixels; or `None`.
        widths: This and the following as in `filter_bank_generator`.
        depths: See there.
        decoder_depths: See there.
        stem_factor: See there.
        filter_size: See there.
        motion_lengths: See there.
        motion_angles: See there.
        disk_radii: See there.
        smoothings: See there.
        regularization: See there.
        train_filters: See there.

    Returns:
        Symbolic restored luminance of the same shape.

    Raises:
        ValueError: If the numbers of scales disagree or an option is not positive.
    """
    widths, depths, decoder_depths = blocks.read_scales(widths, depths, decoder_depths)
    blocks.check_positive(stem_factor=stem_factor, motion_angles=motion_angles)
    if isinstance(filter_size, bool) or not isinstance(filter_size, int) or filter_size % 2 == 0:
        raise ValueError(
            f"`filter_size` must be an odd number of pixels. Received: filter_size={filter_size!r}."
        )
    filters = inverse_filters(
        size=filter_size,
        motion_lengths=motion_lengths,
        motion_angles=motion_angles,
        disk_radii=disk_radii,
        smoothings=smoothings,
        regularization=regularization,
    )
    coarsest = 2 ** (len(widths) - 1)  # cells of the stem along a side of one of the last scale
    multiple = stem_factor * coarsest

    padded, size = blocks.pad_to_multiple(picture, multiple)
    # The estimate comes first: otherwise the largest tensors here wait for it in memory.
    first = padded if estimate is None else estimate
    changes = _changes_of_filters(padded, filters, stem_factor, train_filters, after=first)
    seen, contrast, squares = _statistics(padded, changes, stem_factor)
    x = keras.layers.Conv2D(widths[0], 3, padding="same", name="stem")(seen)
    if estimate is not None:
        estimated = _by_blocks(blocks.pad_to_multiple(estimate, multiple)[0], stem_factor)
        x = x + keras.layers.Conv2D(widths[0], 3, padding="same", name="estimate_stem")(
            estimated / contrast
        )
    if prior is not None:
        before = _by_blocks(blocks.pad_to_multiple(prior, multiple)[0], stem_factor)
        x = x + keras.layers.Conv2D(
            widths[0], 3, padding="same", kernel_initializer="zeros", name="prior_stem"
        )(before / contrast)
    hint = _missing_frequencies(squares, widths[-1], coarsest)
    if context is not None:
        known = keras.layers.Conv2D(widths[-1], 1, kernel_initializer="zeros", name="context_hint")(
            context(hint, multiple)
        )
        hint = hint + known
    x = blocks.u_shape(x, widths=widths, depths=depths, decoder_depths=decoder_depths, hint=hint)

    residual = _mix(x, changes, contrast, stem_factor, filters.shape[-1])
    if estimate is not None:
        share = blocks.last_convolution(x, stem_factor**2, kernel_size=1, name="estimate_share")
        residual = residual + (1.0 + share) * estimated
    if prior is not None:
        share = blocks.last_convolution(x, stem_factor**2, kernel_size=1, name="prior_share")
        residual = residual + share * before
    if stem_factor > 1:
        residual = ops.depth_to_space(residual, stem_factor)
    return blocks.add_residual(picture, blocks.crop_to_size(residual, size))


def _by_blocks(x, side):
    """Channels of all pixels of a block beside each other."""
    return ops.space_to_depth(x, side) if side > 1 else x


def _changes_of_filters(padded, filters, side, train_filters, *, after):
    """What each filter would change in each pixel of a block, calculated after another tensor.

    Returns:
        Tensor `(batch, rows of blocks, columns of blocks, side^2 * filters)`.
    """
    bank = keras.layers.Conv2D(
        filters.shape[-1],
        len(filters),
        use_bias=False,
        trainable=train_filters,
        dtype="float32",
        name="filters",
    )
    kernel = _kernel_of_blocks(bank, after, side)
    bank.set_weights([filters])
    extended = blocks.extend_edges(padded, len(filters) // 2)
    return ops.conv(extended, kernel, strides=side, padding="valid")


def _statistics(padded, changes, side):
    """What the network sees of each block, free of its contrast.

    Returns:
        Tuple `(seen, contrast, squares)`: the features; the contrast by which the pixels were
        divided; and the squared change of each filter, mean over the block.
    """
    normalised, contrast, mean = blocks.local_contrast(_by_blocks(padded, side))
    # Squares after the split: of all at once they would be one more of the largest tensors.
    squares = [ops.square(pixel) for pixel in ops.split(changes, side**2, axis=-1)]
    squares = sum(squares) / side**2
    energies = blocks.local_mean(ops.sqrt(squares + 1e-6), 3)
    seen = ops.concatenate(
        [
            normalised,
            # Shifted to the middle of what photos have.
            ops.log(contrast) + 3.0,
            mean - 0.5,
            ops.log(energies / contrast + 1e-3),
        ],
        axis=-1,
    )
    return seen, contrast, squares


def _missing_frequencies(squares, width, factor):
    """Which frequencies are missing, at the coarsest scale, `factor` blocks to a cell.

    It shows in wide neighbourhoods only; there the blur is told from the scene.
    """
    coarse = ops.average_pool(squares, factor, factor)
    wide = ops.log(blocks.local_mean(coarse, _WIDE_WINDOW) + 1e-8)
    hint = wide - ops.mean(wide, axis=-1, keepdims=True)
    hint = keras.layers.Conv2D(width, 1, activation="relu", name="hint_conv1")(hint)
    return keras.layers.Conv2D(width, 1, name="hint_conv2")(hint)


def _mix(x, changes, contrast, side, count):
    """What is changed by the filters, each as much as the network says, and by the network."""
    weights = blocks.last_convolution(x, count * side**2, kernel_size=1, name="weights")
    residual = blocks.last_convolution(x, side**2, name="residual") * contrast
    return residual + ops.concatenate(
        [
            ops.sum(pixel, axis=-1, keepdims=True)
            for pixel in ops.split(weights * changes, side**2, axis=-1)
        ],
        axis=-1,
    )


def _kernel_of_blocks(bank, x, side):
    """Weights of a convolution that gives what another one does for all pixels of a block at once.

    In this layout the weights of the filters come out of the network, so nothing has to be moved,
    and a convolution of many channels is the faster one for each product.

    Args:
        bank: `Conv2D` of one input channel, without bias, not yet built.
        x: Symbolic tensor whose values do not matter, and which is there before the result.
        side: Side of the blocks in pixels.

    Returns:
        Tensor `(filter size + side - 1, the same, 1, side^2 * filters)`: for each pixel of a block,
        row by row, all filters; for a convolution of stride `side`.
    """
    (size, _), filters = bank.kernel_size, bank.filters
    # The answer to a single bright pixel: the filters turned around, with zeros at their end.
    picture = np.zeros((1, 2 * size, 2 * size, 1), "float32")
    picture[0, size - 1, size - 1, 0] = 1.0
    nothing = ops.reshape(ops.zeros_like(x[:1, :1, :1]), (1, 1, 1, 1))
    answer = bank(nothing + picture)
    tap = np.arange(size + side - 1)[:, None] - np.arange(side)
    place = np.where((tap >= 0) & (tap < size), size - 1 - tap, size).astype("int32").ravel()
    kernel = ops.take(ops.take(answer, place, axis=1), place, axis=2)
    kernel = ops.reshape(kernel, (len(tap), side, len(tap), side, filters))
    kernel = ops.transpose(kernel, (0, 2, 1, 3, 4))
    return ops.reshape(kernel, (len(tap), len(tap), 1, side**2 * filters))


def inverse_filters(
    *,
    size: int,
    motion_lengths: Sequence[float],
    motion_angles: int,
    disk_radii: Sequence[float],
    smoothings: Sequence[float],
    regularization: float,
) -> np.ndarray:
    """What Wiener filters of motion and defocus, and smoothing ones, change in a picture.

    Args:
        size: Side of the filters in pixels, odd.
        motion_lengths: Lengths of straight motions in pixels.
        motion_angles: Number of directions of each.
        disk_radii: Radii of defocus in pixels.
        smoothings: Strengths of the smoothing filters.
        regularization: Factor of the squared frequency, cycles per pixel.

    Returns:
        float32 array `(size, size, 1, filters)`, as the weights of a convolution: each filter minus
        the identity; they sum to zero, so that they leave a flat picture alone.

    Raises:
        ValueError: If there is no filter, or a number is not positive.
    """
    for option, values in (
        ("motion_lengths", motion_lengths),
        ("disk_radii", disk_radii),
        ("smoothings", smoothings),
        ("regularization", [regularization]),
    ):
        if any(not value > 0 for value in values):
            raise ValueError(f"`{option}` must be positive. Received: {option}={values!r}.")
    angles = np.pi * np.arange(motion_angles) / motion_angles
    kernels = [_motion(length, angle) for length in motion_lengths for angle in angles]
    kernels += [_disk(radius) for radius in disk_radii]
    still = np.zeros((_PLANE, _PLANE))
    still[_PLANE // 2, _PLANE // 2] = 1.0
    filters = [_wiener(kernel, regularization, size) for kernel in kernels]
    filters += [_wiener(still, strength, size) for strength in smoothings]
    if not filters:
        raise ValueError(
            "There must be at least one filter. Received: no motion_lengths, disk_radii or "
            "smoothings."
        )
    filters = np.stack(filters, axis=-1)
    filters[size // 2, size // 2] -= 1.0
    return filters[:, :, None].astype("float32")


_PLANE = 128  # side in pixels of the plane in which filters are made


def _motion(length, angle):
    """Kernel of a straight motion of constant speed, `length` pixels long."""
    kernel = np.zeros((_PLANE, _PLANE))
    times = np.linspace(-0.5, 0.5, max(65, 8 * int(length) + 1))
    columns = _PLANE // 2 + length * np.cos(angle) * times
    rows = _PLANE // 2 + length * np.sin(angle) * times
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    right, bottom = columns - left, rows - top
    for down, row_share in ((0, 1 - bottom), (1, bottom)):
        for across, column_share in ((0, 1 - right), (1, right)):
            np.add.at(kernel, (top + down, left + across), row_share * column_share)
    return kernel / kernel.sum()


def _disk(radius):
    """Kernel of defocus, with an edge one pixel wide."""
    rows, columns = np.mgrid[:_PLANE, :_PLANE] - _PLANE // 2
    kernel = np.clip(radius + 0.5 - np.hypot(rows, columns), 0.0, 1.0)
    return kernel / kernel.sum()


def _wiener(kernel, regularization, size):
    """Inverse filter of a kernel, cut to `size` pixels by a window that falls off smoothly."""
    transfer = np.fft.fft2(np.fft.ifftshift(kernel))
    frequency = np.fft.fftfreq(_PLANE)
    squared = frequency[:, None] ** 2 + frequency**2
    inverse = np.conj(transfer) / (np.abs(transfer) ** 2 + regularization * squared)
    inverse = np.fft.fftshift(np.fft.ifft2(inverse).real)
    middle, reach = _PLANE // 2, size // 2
    inverse = inverse[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    window = np.sqrt(np.hanning(size + 2)[1:-1])
    inverse = inverse * window[:, None] * window
    return inverse / inverse.sum()
