"""The grey gate: whether a picture is grey, or grey in one tint, rather than coloured.

It works on luma and chroma as JPEG does (ITU-T T.871), in 0..255: the mean chroma of a block
survives compression there, where that of Lab would not.

The constants are public: the graph of the whole pipeline decides by the same ones in TensorFlow
operations, see `deployment.whole_pipeline`.
"""

import cv2
import numpy as np

from keras_refocus.pictures import color, paper

LUMA = np.array([0.299, 0.587, 0.114], "float32")
CHROMA_DIFFERENCES = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], "float32")

# Side of a cell in pixels: the block of chroma that JPEG codes as one, with 4:2:0.
CELL = 16
# A picture has this many cells along its shorter side at least, or the fit could explain anything.
LEAST_CELLS = 12
# Cells along the longer side, at most; larger pictures have larger cells.
MOST_CELLS = 96
# Samples along the side of a cell, at least: 36 pixels and more are enough for its mean.
SAMPLES = 6

# The tint as a function of brightness: knots of a piecewise linear function, the weight of its
# bending and of its size beside one cell, and how often cells are reweighted by a residual of this
# many levels, or of this many times the median.
KNOTS = 33
BENDING_PENALTY = 1e-4
SIZE_PENALTY = 1e-7
# A print does not yellow evenly: the tint is also a quadratic function of the place, and that times
# luma. Its terms, and the weight of their size beside one cell. On 150 colour photos of BSDS500 and
# Flickr the least unexplained chroma is 6.8 with them, but for one at 2.9.
PLACE_TERMS = 10
PLACE_PENALTY = 1e-3
FITS = 5
FIT_SCALE = 1.5
# Cells in one product of matrices: few enough that BLAS keeps to the calling thread. Waking its
# others takes longer than the product, ten times as long where the cores are busy.
_FIT_BLOCK = 128

# Chosen on 1,000 photos and their grey, noisy, sepia and tinted versions as JPEG of quality 60 to
# 95 (`refocus evaluate grayscale`): of the grey versions hardly one exceeds 3.5,
# of the colour photos hardly one stays below 4.5 that is not a toned print itself.
RESIDUAL_LIMIT = 4.1
RESIDUAL_QUANTILE = 0.9975
# Chroma relative to luma: of any hue, and of the hues of sodium lamps, whose light leaves hardly
# any other. Sepia stays below 0.35, photos simulated under sodium light lie above 0.37.
VIVID = 0.75
VIVID_ORANGE = 0.36
# What no tint explains may also be little, and all over the picture, as in a colour print that has
# faded: one in twenty neighbourhoods of 3x3 cells with more than this on average, or than this
# share of how strongly the picture is toned, since what is toned strongly is toned unevenly. Noise
# and JPEG blocks average out there. Chosen on 150 photos and their versions (grey ones stay below
# 0.85 and most of the faded ones do not), and on 327 grey and toned pictures as people publish
# them.
SPREAD_LIMIT = 1.0
SPREAD_SHARE_OF_TONE = 0.1
SPREAD_QUANTILE = 0.95
# A mark that was put on a black and white picture later: at most this share of the cells. The date
# of a camera: all of them orange and in the outer eighth along one side, and nothing elsewhere that
# exceeds half the limit.
MARK_SHARE = 0.03
DATE_PLACE = 0.75
# Ink on a toned print: of any colour, outside of the middle, and the print as strongly toned as
# this, because a coloured thing in a picture that is otherwise neutral is there to be seen.
INK_RESIDUAL = 3.0
INK_PLACE = 0.5
INK_TONE = 5.0
# Side of the picture in which paper around a print is looked for, in pixels.
_LOOKED_AT = 128


def is_grayscale(rgb: np.ndarray) -> bool:
    """Decide whether a picture is grey, or grey in one tint, rather than coloured.

    In a grey picture, and in a sepia or otherwise toned one, chroma is a function of brightness:
    the tint. Where paper has yellowed unevenly it changes slowly over the picture. The function is
    fitted, robustly, to the mean chroma of cells of 16 pixels or more, and what it leaves
    unexplained decides. Much of it in the worst 0.25% of the cells is colour, so one small coloured
    object is enough for a colour photo; a little of it in one neighbourhood of twenty is, as where
    a colour print has faded. Noise, the chroma blocks of JPEG, a stamped date, or ink at the border
    of a toned print are not. The light of sodium lamps is nearly one tint too, but a more vivid one
    than prints are toned with.

    Args:
        rgb: Array of shape `(height, width, 3)`, sRGB: uint8, uint16, or float in [0, 1].

    Returns:
        `True` for grey and toned pictures, `False` for coloured ones.

    Raises:
        TypeError: If the array is of another type.
        ValueError: If its shape is another, or it has no pixels.
    """
    rgb = color.as_array(rgb, "rgb")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(
            "`rgb` must be of shape (height, width, 3) with at least one pixel. "
            f"Received: rgb.shape={rgb.shape}."
        )
    luma, chroma, parts = cells(_without_paper(rgb))
    places = parts[:, KNOTS : KNOTS + 2]
    residual = tint_residual(chroma, parts)
    tone = np.hypot(*np.median(chroma, axis=0))
    spread = np.quantile(_around(residual, places), SPREAD_QUANTILE)
    if spread > max(SPREAD_LIMIT, SPREAD_SHARE_OF_TONE * tone):
        return False
    residual = np.hypot(*residual.T)
    is_one_tint = np.quantile(residual, RESIDUAL_QUANTILE) <= RESIDUAL_LIMIT
    is_one_tint |= _is_date(residual, chroma, places) or _is_ink(residual, tone, places)
    if not is_one_tint:
        return False
    # Bright cells count most: the darks of a print may be toned vividly, its lights are not. One
    # level of luma more, so that a picture that is all black is not vivid.
    vivid = (np.hypot(*chroma.T) * luma).sum() / ((luma + 1.0) ** 2).sum()
    blue, red = chroma.mean(axis=0)
    is_orange = blue < 0 < red
    return bool(vivid < (VIVID_ORANGE if is_orange else VIVID))


def _without_paper(rgb: np.ndarray) -> np.ndarray:
    """The picture inside a frame: white paper around a toned print is another tint."""
    height, width = rgb.shape[:2]
    if min(height, width) < _LOOKED_AT:
        return rgb
    # Every so many pixels are enough to see paper by.
    step = min(height, width) // _LOOKED_AT
    light = color.to_float(rgb[::step, ::step]).mean(axis=-1)
    light = cv2.resize(light, (_LOOKED_AT, _LOOKED_AT), interpolation=cv2.INTER_AREA)
    rows, columns = paper.without_paper(light)
    if (rows, columns) == (slice(0, _LOOKED_AT), slice(0, _LOOKED_AT)):
        return rgb
    # One small pixel more, which may lie over the edge of the paper.
    part = tuple(
        slice((side.start + 1) * length // _LOOKED_AT, (side.stop - 1) * length // _LOOKED_AT)
        for side, length in ((rows, height), (columns, width))
    )
    return rgb[part]


def cells(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average a picture over square cells.

    Args:
        rgb: Array of shape `(height, width, 3)`, sRGB: uint8, uint16, or float in [0, 1].

    Returns:
        Mean luma (n,) and chroma (n, 2) of the cells, in 0..255; and of what the tint is a function
        (n, knots + places). First how much of a cell is how bright: each pixel is shared between
        the two knots next to the mean of its R, G and B. (In luma blue counts too little: in a
        sepia picture with red and green at their maximum, chroma changes while luma does not.)
        Then the place: x and y from -1 to 1, their squares and product, and all five times luma.
    """
    height, width = rgb.shape[:2]
    side = int(np.clip(min(height, width) // LEAST_CELLS, 1, CELL))
    side = max(side, -(-max(height, width) // MOST_CELLS))
    step = max(side // SAMPLES, 1)
    rgb, side = rgb[::step, ::step], max(side // step, 1)
    rows, columns = max(rgb.shape[0] // side, 1), max(rgb.shape[1] // side, 1)
    pixels = color.EIGHT_BIT * color.to_float(rgb[: rows * side, : columns * side])
    height, width = pixels.shape[:2]
    row, column = np.arange(height) // side, np.arange(width) // side
    count = rows * columns

    position = pixels.sum(axis=-1) * np.float32((KNOTS - 1) / (3 * color.EIGHT_BIT))
    knot = np.minimum(position.astype("int32"), KNOTS - 2)
    upper = position - knot
    index = ((row[:, None] * columns + column) * KNOTS + knot).ravel()
    shares = np.bincount(index, 1.0 - upper.ravel(), count * KNOTS)
    shares += np.bincount(index + 1, upper.ravel(), count * KNOTS)
    shares = shares.reshape(count, KNOTS)
    shares /= shares.sum(axis=1, keepdims=True)

    sums = np.add.reduceat(pixels, np.arange(0, height, side), axis=0)
    means = np.add.reduceat(sums, np.arange(0, width, side), axis=1) / side**2
    means = means.reshape(count, 3)
    luma = means @ LUMA
    y, x = ((2.0 * np.arange(count) + 1.0) / count - 1.0 for count in (rows, columns))
    y, x = np.repeat(y, columns), np.tile(x, rows)
    places = np.stack([x, y, x * x, x * y, y * y], axis=1)
    places = np.concatenate([places, places * (luma / color.EIGHT_BIT)[:, None]], axis=1)
    return luma, means @ CHROMA_DIFFERENCES.T, np.concatenate([shares, places], axis=1)


def tint_residual(chroma: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Fit chroma as a smooth function of brightness and place; give what is left of each cell.

    Least squares over the knots of a piecewise linear function and over places, reweighted so that
    cells of another colour do not bend it (Cauchy weights).

    Args:
        chroma: Mean chroma of the cells, (n, 2), in 0..255.
        parts: What the tint is a function of, (n, knots + places), as `cells` gives it.

    Returns:
        The unexplained chroma of each cell, (n, 2), in 0..255.
    """
    count = len(chroma)
    penalty = count * penalty_matrix()
    weights = np.ones((count, 1))
    blocks = [slice(start, start + _FIT_BLOCK) for start in range(0, count, _FIT_BLOCK)]
    for _ in range(FITS):
        weighted = parts * weights
        normal = sum((weighted[block].T @ parts[block] for block in blocks), penalty)
        tint = np.linalg.solve(normal, sum(weighted[block].T @ chroma[block] for block in blocks))
        explained = np.concatenate([parts[block] @ tint for block in blocks])
        residual = chroma - explained
        length = np.hypot(*residual.T)
        scale = FIT_SCALE * max(1.0, np.median(length))
        weights = 1.0 / (1.0 + (length[:, None] / scale) ** 2)
    return residual


def penalty_matrix() -> np.ndarray:
    """What a fit pays for each cell that it is made of: a smooth, small tint.

    Returns:
        Array of shape (knots + places, knots + places), float64.
    """
    bending = np.diff(np.eye(KNOTS), 2, axis=0)
    penalty = PLACE_PENALTY * np.eye(KNOTS + PLACE_TERMS)
    penalty[:KNOTS, :KNOTS] = BENDING_PENALTY * bending.T @ bending + SIZE_PENALTY * np.eye(KNOTS)
    return penalty


def _around(residual: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Length of the mean unexplained chroma of each cell and those beside it, (n,)."""
    columns = np.count_nonzero(places[:, 1] == places[0, 1])
    grid = np.pad(residual.reshape(-1, columns, 2), [(1, 1), (1, 1), (0, 0)])
    there = np.pad(np.ones((len(residual) // columns, columns, 1)), [(1, 1), (1, 1), (0, 0)])
    sums, counts = (
        np.lib.stride_tricks.sliding_window_view(part, (3, 3), axis=(0, 1)).sum(axis=(-2, -1))
        for part in (grid, there)
    )
    return np.hypot(*(sums / counts).reshape(-1, 2).T)


def _is_date(residual: np.ndarray, chroma: np.ndarray, places: np.ndarray) -> bool:
    """Whether all that no tint explains is a date stamped along one side."""
    is_left = residual > 0.5 * RESIDUAL_LIMIT
    blue, red = chroma[is_left].T
    along = np.concatenate([places[is_left], -places[is_left]], axis=1)
    is_along_one = (along > DATE_PLACE).all(axis=0).any()
    return bool(is_left.mean() <= MARK_SHARE and ((blue < 0) & (red > 0)).all() and is_along_one)


def _is_ink(residual: np.ndarray, tone: float, places: np.ndarray) -> bool:
    """Whether all that no tint explains is ink outside of the middle of a toned print."""
    is_left = residual > INK_RESIDUAL
    is_outside = np.abs(places[is_left]).max(axis=1) > INK_PLACE
    return bool(tone >= INK_TONE and is_left.mean() <= MARK_SHARE and is_outside.all())
