"""sRGB, linear light and CIELAB, and the ranges that cross a module border.

This is the only module that knows of 100, 110, 255 and 65535:

* RGB is float32 in [0, 1], gamma-encoded sRGB, channels last;
* luminance is CIELAB L* / 100, in [0, 1], one channel;
* chroma is CIELAB a*, b* / 110, in [-1, 1], two channels (sRGB stays inside +-108 / 110).

Every conversion takes numpy arrays and gives numpy arrays without touching a deep learning
backend, or takes tensors and gives tensors through `keras.ops`; the two agree to 1e-6. NumPy
arrays are converted a block of pixels at a time, so the temporaries stay small for a picture of
any size.

White point D65, 2 degree observer, with the constants of tensorflow-io and scikit-image.

Reference: IEC 61966-2-1:1999 (sRGB); CIE 15:2004 (CIELAB).
"""

import functools
from typing import Any

import numpy as np

#: What networks, losses and the functions here take and give: an array, or a tensor of the backend
#: of Keras, which has no type of its own for those.
Tensor = Any

_RGB_TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
# Linear RGB to XYZ relative to the white point, and back, to be multiplied from the right.
_RGB_TO_RELATIVE = np.ascontiguousarray((_RGB_TO_XYZ / _WHITE[:, None]).T)
_RELATIVE_TO_RGB = np.linalg.inv(_RGB_TO_RELATIVE)
_BACKWARD = _RELATIVE_TO_RGB.astype("float32")

# What one unit of luminance and one of chroma are in CIELAB; and the greatest value of 8 bits.
LAB_PER_LUMINANCE = 100.0
LAB_PER_CHROMA = 110.0
EIGHT_BIT = 255.0
_INTEGER_MAXIMUM = {"uint8": 255, "uint16": 65535}

# Pixels converted at once: the float32 temporaries of one block fit a core's level 2 cache.
_BLOCK = 16384


class _NumPyOps:
    """The few names of `keras.ops` that the formulas need, on numpy."""

    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)
    min = staticmethod(np.min)
    sum = staticmethod(np.sum)
    zeros_like = staticmethod(np.zeros_like)
    ones_like = staticmethod(np.ones_like)
    where = staticmethod(np.where)
    matmul = staticmethod(np.matmul)
    cbrt = staticmethod(np.cbrt)
    power = staticmethod(np.power)
    concatenate = staticmethod(np.concatenate)

    @staticmethod
    def matrix(values):
        return values


class _KerasOps:
    """The same names on tensors; imported when the first tensor arrives."""

    def __init__(self):
        from keras import ops

        self.maximum, self.minimum = ops.maximum, ops.minimum
        self.min, self.sum = ops.min, ops.sum
        self.zeros_like, self.ones_like = ops.zeros_like, ops.ones_like
        self.clip = ops.clip
        self.where = ops.where
        self.matmul = ops.matmul
        self.power = ops.power
        self.concatenate = ops.concatenate

    def cbrt(self, x):
        return self.power(x, 1.0 / 3.0)

    def matrix(self, values):
        return values.astype("float32")


_keras_ops = functools.cache(_KerasOps)


def _is_array(image):
    return isinstance(image, (np.ndarray, np.generic, list, tuple, int, float))


def _check_channels(image, channels, name):
    if len(image.shape) < 1 or image.shape[-1] != channels:
        raise ValueError(
            f"`{name}` must have {channels} channel{'s' * (channels > 1)} in its last dimension. "
            f"Received: {name}.shape={tuple(image.shape)}."
        )


# Formulas, written once for both worlds. `ops` is _NumPyOps or _KerasOps.


def _decode_srgb(ops, rgb):
    # The maximum keeps the power away from negative numbers, whose gradient would be NaN even in
    # the branch that `where` does not take.
    curve = ops.power((ops.maximum(rgb, 0.04045) + 0.055) * (1.0 / 1.055), 2.4)
    return ops.where(rgb > 0.04045, curve, rgb * (1.0 / 12.92))


def _encode_srgb(ops, linear):
    curve = 1.055 * ops.power(ops.maximum(linear, 0.0031308), 1.0 / 2.4) - 0.055
    return ops.where(linear > 0.0031308, curve, linear * 12.92)


def _lightness(ops, relative):
    """The CIELAB f of X/Xn, Y/Yn, Z/Zn."""
    return ops.where(
        relative > 0.008856,
        ops.cbrt(ops.maximum(relative, 0.008856)),
        relative * 7.787 + 16.0 / 116.0,
    )


def _inverse_lightness(ops, lightness):
    # 0.008856 ** (1 / 3), where the two branches meet.
    return ops.where(
        lightness > 0.2068966,
        lightness * lightness * lightness,
        (lightness - 16.0 / 116.0) * (1.0 / 7.787),
    )


def _linear_to_luminance(ops, linear):
    lightness = _lightness(ops, ops.matmul(linear, ops.matrix(_RGB_TO_RELATIVE[:, 1:2])))
    return lightness * (116.0 / LAB_PER_LUMINANCE) - 16.0 / LAB_PER_LUMINANCE


def _linear_to_lab(ops, linear):
    lightness = _lightness(ops, ops.matmul(linear, ops.matrix(_RGB_TO_RELATIVE)))
    fx, fy, fz = lightness[..., 0:1], lightness[..., 1:2], lightness[..., 2:3]
    luminance = fy * (116.0 / LAB_PER_LUMINANCE) - 16.0 / LAB_PER_LUMINANCE
    chroma = ops.concatenate(
        [(fx - fy) * (500.0 / LAB_PER_CHROMA), (fy - fz) * (200.0 / LAB_PER_CHROMA)], -1
    )
    return luminance, chroma


def _lab_to_linear(ops, luminance, chroma):
    fy = luminance * (LAB_PER_LUMINANCE / 116.0) + 16.0 / 116.0
    fx = fy + chroma[..., 0:1] * (LAB_PER_CHROMA / 500.0)
    fz = fy - chroma[..., 1:2] * (LAB_PER_CHROMA / 200.0)
    relative = _inverse_lightness(ops, ops.concatenate([fx, fy, fz], -1))
    return ops.matmul(relative, _BACKWARD)


@functools.cache
def _linear_table(dtype):
    """Linear light of every value of an integer type, float64."""
    maximum = _INTEGER_MAXIMUM[dtype]
    values = np.arange(maximum + 1, dtype="float64") / maximum
    return _decode_srgb(_NumPyOps, values)


def _linear_from_array(rgb):
    """Linear light of a block of RGB, float64; integers by table.

    Chroma is a small difference of large numbers, so what follows is done in float64: in float32
    the round trip through Lab would be off by more than 1e-5. The power itself is not that
    sensitive, and four times faster in float32.
    """
    if rgb.dtype.name in _INTEGER_MAXIMUM:
        return _linear_table(rgb.dtype.name)[rgb]
    return _decode_srgb(_NumPyOps, rgb.astype("float32", copy=False)).astype("float64")


def as_array(image: Any, name: str) -> np.ndarray:
    """Take what is handed in as a picture for an array of one of the types of pictures.

    Args:
        image: Array, or a list of lists.
        name: What to call it in the message.

    Raises:
        TypeError: If it is not uint8, uint16 or floating point.
    """
    image = np.asarray(image)
    if image.dtype.kind != "f" and image.dtype.name not in _INTEGER_MAXIMUM:
        raise TypeError(
            f"`{name}` must be uint8, uint16 or floating point. Received: "
            f"{name}.dtype={image.dtype}. Convert it to one of these first."
        )
    return image


def _blocks(pixels):
    return (slice(start, start + _BLOCK) for start in range(0, pixels, _BLOCK))


def rgb_to_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Convert sRGB to luminance and chroma.

    Args:
        rgb: Array or tensor of shape `(..., 3)`, sRGB: float in [0, 1]; arrays may also be uint8 or
            uint16, which is faster than converting them first.

    Returns:
        `(luminance, chroma)`, float32 of shapes `(..., 1)` in [0, 1] and `(..., 2)` in [-1, 1]:
        CIELAB L* / 100 and a*, b* / 110. Arrays for an array, tensors for a tensor.

    Raises:
        TypeError: If an array is of another type.
        ValueError: If the last dimension is not 3.
    """
    if not _is_array(rgb):
        _check_channels(rgb, 3, "rgb")
        ops = _keras_ops()
        return _linear_to_lab(ops, _decode_srgb(ops, _float_tensor(rgb)))
    rgb = as_array(rgb, "rgb")
    _check_channels(rgb, 3, "rgb")
    flat = rgb.reshape(-1, 3)
    luminance = np.empty((len(flat), 1), "float32")
    chroma = np.empty((len(flat), 2), "float32")
    for block in _blocks(len(flat)):
        linear = _linear_from_array(flat[block])
        luminance[block], chroma[block] = _linear_to_lab(_NumPyOps, linear)
    return _from_black(luminance).reshape(*rgb.shape[:-1], 1), chroma.reshape(*rgb.shape[:-1], 2)


def _from_black(luminance):
    """Black comes out as a rounding error below 0, of which a power is no number."""
    return np.maximum(luminance, 0.0, out=luminance)


def rgb_to_luminance(rgb: Tensor) -> Tensor:
    """Convert sRGB to luminance alone, at about a third of the work of `rgb_to_lab`.

    Args:
        rgb: Array or tensor of shape `(..., 3)`, as in `rgb_to_lab`.

    Returns:
        Array or tensor of shape `(..., 1)`, float32 in [0, 1], CIELAB L* / 100.
    """
    if not _is_array(rgb):
        _check_channels(rgb, 3, "rgb")
        ops = _keras_ops()
        linear = _decode_srgb(ops, _float_tensor(rgb))
        return _linear_to_luminance(ops, linear)
    rgb = as_array(rgb, "rgb")
    _check_channels(rgb, 3, "rgb")
    flat = rgb.reshape(-1, 3)
    luminance = np.empty((len(flat), 1), "float32")
    for block in _blocks(len(flat)):
        luminance[block] = _linear_to_luminance(_NumPyOps, _linear_from_array(flat[block]))
    return _from_black(luminance).reshape(*rgb.shape[:-1], 1)


def srgb_to_linear(values: Any) -> np.ndarray:
    """Take values of sRGB to linear light.

    Args:
        values: Array of any shape: float in [0, 1], uint8 or uint16.

    Returns:
        float64 array of that shape, in [0, 1].
    """
    return _linear_from_array(as_array(values, "values"))


def linear_to_srgb(linear: Any) -> np.ndarray:
    """Take linear light to values of sRGB; undoes `srgb_to_linear`.

    Args:
        linear: Array of any shape, float in [0, 1].

    Returns:
        float array of that shape, in [0, 1].
    """
    return _encode_srgb(_NumPyOps, np.asarray(linear))


def film_luminance(rgb: np.ndarray, weights: Any) -> np.ndarray:
    """Convert sRGB to the luminance of the grey picture that a film makes of it.

    Args:
        rgb: Array of shape `(..., 3)`, as in `rgb_to_lab`.
        weights: How much red, green and blue light count, not negative and not all zero; only their
            proportions matter. Those of the eye are 0.213, 0.715, 0.072; an orthochromatic plate
            has hardly any red.

    Returns:
        float32 array of shape `(..., 1)` in [0, 1], CIELAB L* / 100.

    Raises:
        ValueError: If the weights are no such numbers.
    """
    weights = np.asarray(weights, "float64")
    if weights.shape != (3,) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(
            "`weights` must be three numbers that are not negative, and not all zero. "
            f"Received: weights={weights}."
        )
    rgb = as_array(rgb, "rgb")
    _check_channels(rgb, 3, "rgb")
    flat = rgb.reshape(-1, 3)
    luminance = np.empty((len(flat), 1), "float32")
    for block in _blocks(len(flat)):
        light = _linear_from_array(flat[block]) @ (weights / weights.sum())
        # Of equal light in all three the luminance is that of the light.
        luminance[block] = _linear_to_luminance(_NumPyOps, np.repeat(light[:, None], 3, axis=1))
    return _from_black(luminance).reshape(*rgb.shape[:-1], 1)


def lab_to_rgb(luminance: Tensor, chroma: Tensor) -> Tensor:
    """Convert luminance and chroma to sRGB, without clipping.

    Colours outside the sRGB gamut give values below 0 or above 1: `recompose` brings them inside.

    Args:
        luminance: Array or tensor of shape `(..., 1)`, float in [0, 1], CIELAB L* / 100.
        chroma: Array or tensor of shape `(..., 2)`, float in [-1, 1], CIELAB a*, b* / 110.

    Returns:
        Array or tensor of shape `(..., 3)`, float32, sRGB; in [0, 1] inside the gamut.

    Raises:
        ValueError: If the last dimensions are not 1 and 2, or the others differ.
    """
    if not _is_array(luminance):
        _check_channels(luminance, 1, "luminance")
        _check_channels(chroma, 2, "chroma")
        ops = _keras_ops()
        linear = _lab_to_linear(ops, _float_tensor(luminance), _float_tensor(chroma))
        return _encode_srgb(ops, linear)
    luminance, chroma = _check_lab_arrays(luminance, chroma)
    flat_luminance, flat_chroma = luminance.reshape(-1, 1), chroma.reshape(-1, 2)
    rgb = np.empty((len(flat_luminance), 3), "float32")
    for block in _blocks(len(rgb)):
        linear = _lab_to_linear(_NumPyOps, flat_luminance[block], flat_chroma[block])
        rgb[block] = _encode_srgb(_NumPyOps, linear)
    return rgb.reshape(*luminance.shape[:-1], 3)


def _check_lab_arrays(luminance, chroma):
    luminance, chroma = np.asarray(luminance, "float32"), np.asarray(chroma, "float32")
    _check_channels(luminance, 1, "luminance")
    _check_channels(chroma, 2, "chroma")
    if luminance.shape[:-1] != chroma.shape[:-1]:
        raise ValueError(
            "`luminance` and `chroma` must have the same shape but for the last dimension. "
            f"Received: luminance.shape={luminance.shape}, chroma.shape={chroma.shape}."
        )
    return luminance, chroma


def luminance_to_gray(luminance: Tensor) -> Tensor:
    """Convert luminance to the sRGB value of the grey that has it.

    Args:
        luminance: Array or tensor of any shape, float in [0, 1], CIELAB L* / 100.

    Returns:
        Array or tensor of the same shape, float32 in [0, 1]: the value that red, green and blue of
        that grey share.
    """
    if not _is_array(luminance):
        ops = _keras_ops()
        return _luminance_to_gray(ops, _float_tensor(luminance))
    return _luminance_to_gray(_NumPyOps, np.asarray(luminance, "float32")).astype("float32")


def luminance_to_light(luminance: Tensor) -> Tensor:
    """Convert luminance to the linear light that it stands for, relative to white: CIE Y.

    Blur acts on light. That of a colour is a sum of its linear red, green and blue, so that the
    blur of a colour picture acts on it alone.

    Args:
        luminance: Array or tensor of any shape, float in [0, 1], CIELAB L* / 100.

    Returns:
        Array or tensor of the same shape, float32.
    """
    if not _is_array(luminance):
        return _luminance_to_light(_keras_ops(), _float_tensor(luminance))
    return _luminance_to_light(_NumPyOps, np.asarray(luminance, "float32")).astype("float32")


def _luminance_to_light(ops, luminance):
    return _inverse_lightness(ops, luminance * (LAB_PER_LUMINANCE / 116.0) + 16.0 / 116.0)


def gray_to_luminance(gray: Tensor) -> Tensor:
    """Convert the sRGB value of greys to their luminance; undoes `luminance_to_gray`."""
    if not _is_array(gray):
        ops = _keras_ops()
        return _gray_to_luminance(ops, _float_tensor(gray))
    return _gray_to_luminance(_NumPyOps, np.asarray(gray, "float32")).astype("float32")


def light_to_luminance(light: np.ndarray) -> np.ndarray:
    """Convert linear light to luminance, clipped to [0, 1]; undoes `luminance_to_light`."""
    lightness = _lightness(_NumPyOps, np.clip(np.asarray(light, "float32"), 0.0, 1.0))
    luminance = lightness * np.float32(116.0 / LAB_PER_LUMINANCE)
    return (luminance - np.float32(16.0 / LAB_PER_LUMINANCE)).astype("float32")


def _luminance_to_gray(ops, luminance):
    lightness = luminance * (LAB_PER_LUMINANCE / 116.0) + 16.0 / 116.0
    return _encode_srgb(ops, _inverse_lightness(ops, lightness))


def _gray_to_luminance(ops, gray):
    lightness = _lightness(ops, _decode_srgb(ops, gray))
    return lightness * (116.0 / LAB_PER_LUMINANCE) - 16.0 / LAB_PER_LUMINANCE


# How far beyond [0, 1] an encoded value may be before its colour counts as outside the gamut: what
# the round trip through Lab does to a colour on the boundary, with a margin. 0.005 levels of 255.
_GAMUT_TOLERANCE = 2e-5

# Gamut mapping; distances are Delta E of 1976. A colour that clipping moves less than _UNNOTICED
# counts as displayable. One that clipping moves less than _NEAR may change its luminance, by at
# most _DESCENT times what clipping moves it; from _FAR on none may. _LEAN is how much more
# than clipping itself the way leads up or down.
_UNNOTICED = 1.0
_NEAR, _FAR = 6.0, 12.0
_DESCENT = 1.5
_LEAN = 10.0
# Halvings in the search for the boundary, before a last step by interpolation.
_GAMUT_STEPS = 9


def _clipped(ops, luminance, chroma):
    """Clip a colour to sRGB: its linear light, its luminance, and the Delta E to the colour."""
    linear = ops.minimum(ops.maximum(_lab_to_linear(ops, luminance, chroma), 0.0), 1.0)
    found_luminance, found_chroma = _linear_to_lab(ops, linear)
    along = LAB_PER_LUMINANCE * (found_luminance - luminance)
    across = LAB_PER_CHROMA * (found_chroma - chroma)
    squares = along * along + ops.sum(across * across, -1, keepdims=True)
    return linear, found_luminance, ops.power(squares, 0.5)


def _map_into_gamut(ops, luminance, chroma):
    """Bring colours outside sRGB inside it, at constant hue; gives linear light in [0, 1].

    As in the gamut mapping of CSS Color 4, section 13.2, chroma is reduced, by bisection, until
    clipping does not show. (A search for what needs no clipping at all would be wrong: at constant
    luminance and hue the gamut is no interval. Blue is below zero by a trace between white and a
    yellow a little darker than the purest, which such a search made nearly white.)

    Other than there, a colour that lies just outside also moves in luminance while its chroma is
    reduced, towards where clipping would put it: above the purest yellow there is nothing but
    white, and a yellow a little too light should become the yellow. How far is continuous, and
    nothing for colours far outside, such as guesses of a colorizer, whose luminance is kept.
    """
    linear, found, distance = _clipped(ops, luminance, chroma)
    nearness = ops.minimum(ops.maximum((_FAR - distance) / (_FAR - _NEAR), 0.0), 1.0)
    limit = _DESCENT / LAB_PER_LUMINANCE * distance * nearness
    radius = (
        LAB_PER_CHROMA
        / LAB_PER_LUMINANCE
        * ops.power(ops.sum(chroma * chroma, -1, keepdims=True), 0.5)
    )
    # Of the move in luminance how much there is for each unit of chroma that is given up, -1 to 1.
    lean = _LEAN * LAB_PER_LUMINANCE * (found - luminance) / ops.maximum(distance, 1e-4)
    lean = ops.minimum(ops.maximum(lean, -1.0), 1.0)
    limit = limit * ops.maximum(lean, -lean)

    def at(scale):
        shift = ops.minimum(ops.maximum(lean * (1.0 - scale) * radius, -limit), limit)
        return ops.minimum(ops.maximum(luminance + shift, 0.0), 1.0), chroma * scale

    shows = distance > _UNNOTICED
    inside, outside = ops.zeros_like(luminance), ops.ones_like(luminance)
    distance_inside, distance_outside = ops.zeros_like(luminance), distance
    for _ in range(_GAMUT_STEPS):
        scale = 0.5 * (inside + outside)
        _, _, distance = _clipped(ops, *at(scale))
        is_inside = distance <= _UNNOTICED
        inside = ops.where(is_inside, scale, inside)
        distance_inside = ops.where(is_inside, distance, distance_inside)
        outside = ops.where(is_inside, outside, scale)
        distance_outside = ops.where(is_inside, distance_outside, distance)
    # Without this step the result would hang on how a decision was rounded.
    span = ops.maximum(distance_outside - distance_inside, 1e-6)
    scale = inside + (outside - inside) * ((_UNNOTICED - distance_inside) / span)
    scale = ops.minimum(scale, outside)
    return ops.where(shows, _clipped(ops, *at(scale))[0], linear)


def recompose(luminance: Tensor, chroma: Tensor) -> Tensor:
    """Convert luminance and chroma to sRGB inside the gamut.

    Where the colour leaves sRGB its chroma is reduced, at constant hue to Delta E 1, and the
    luminance of one that is only just outside gives way too; other colours are left alone. What
    was displayable before its luminance moved by 0.01 comes out within Delta E 2 of itself.
    Luminance of colours far outside (Delta E 12 from what clipping makes of them) is kept to
    Delta E 1.

    Reference: W3C, CSS Color Module Level 4, section 13.2, but see `_map_into_gamut`.

    Args:
        luminance: Array or tensor of shape `(..., 1)`, float, CIELAB L* / 100; what lies outside
            [0, 1] counts as 0 or 1.
        chroma: Array or tensor of shape `(..., 2)`, float, CIELAB a*, b* / 110.

    Returns:
        Array or tensor of shape `(..., 3)`, float32 sRGB in [0, 1].

    Raises:
        ValueError: If the last dimensions are not 1 and 2, or the others differ.
    """
    if not _is_array(luminance):
        _check_channels(luminance, 1, "luminance")
        _check_channels(chroma, 2, "chroma")
        ops = _keras_ops()
        luminance = ops.clip(_float_tensor(luminance), 0.0, 1.0)
        chroma = _float_tensor(chroma)
        rgb = lab_to_rgb(luminance, chroma)
        mapped = _encode_srgb(ops, _map_into_gamut(ops, luminance, chroma))
        return ops.clip(ops.where(_is_in_gamut(ops, rgb), rgb, mapped), 0.0, 1.0)
    luminance, chroma = _check_lab_arrays(luminance, chroma)
    flat_luminance, flat_chroma = luminance.reshape(-1, 1), chroma.reshape(-1, 2)
    rgb = np.empty((len(flat_luminance), 3), "float32")
    for block in _blocks(len(rgb)):
        block_luminance = np.clip(flat_luminance[block], 0.0, 1.0)
        block_chroma = flat_chroma[block]
        block_rgb = lab_to_rgb(block_luminance, block_chroma)
        outside = np.flatnonzero(~_is_in_gamut(_NumPyOps, block_rgb)[:, 0])
        if outside.size:
            linear = _map_into_gamut(_NumPyOps, block_luminance[outside], block_chroma[outside])
            block_rgb[outside] = _encode_srgb(_NumPyOps, linear)
        np.clip(block_rgb, 0.0, 1.0, out=rgb[block])
    return rgb.reshape(*luminance.shape[:-1], 3)


def _is_in_gamut(ops, rgb):
    margin = ops.min(ops.minimum(rgb, 1.0 - rgb), -1, keepdims=True)
    return margin >= -_GAMUT_TOLERANCE


# Range borders.


def _float_tensor(tensor):
    from keras import ops

    return ops.cast(tensor, "float32")


def _divide(image, scale, offset=0.0):
    """`image / scale - offset` in float32, for arrays and tensors."""
    if not _is_array(image):
        image = _float_tensor(image)
        return image / scale - offset if offset else image / scale
    result = np.asarray(image).astype("float32")
    result /= scale
    if offset:
        result -= offset
    return result


def _type_name(image):
    if _is_array(image):
        return np.asarray(image).dtype.name
    from keras import backend

    return backend.standardize_dtype(image.dtype)


def _integer_maximum(image, name):
    dtype = _type_name(image)
    if dtype not in _INTEGER_MAXIMUM:
        raise TypeError(f"`{name}` must be uint8 or uint16. Received: {name}.dtype={dtype}.")
    return _INTEGER_MAXIMUM[dtype]


def _to_integer(image, dtype, scale, offset=0.0):
    """`round(image * scale + offset)` clipped to the range of `dtype`."""
    if not _is_array(image):
        from keras import ops

        image = ops.round(_float_tensor(image) * scale + offset)
        return ops.cast(ops.clip(image, 0.0, float(_INTEGER_MAXIMUM[dtype])), dtype)
    result = np.multiply(image, np.float32(scale), dtype="float32")
    if offset:
        result += np.float32(offset)
    np.rint(result, out=result)
    np.clip(result, 0.0, _INTEGER_MAXIMUM[dtype], out=result)
    return result.astype(dtype)


def to_float(image: Tensor) -> Tensor:
    """Bring a picture into [0, 1].

    Args:
        image: Array or tensor of any shape: uint8, uint16, or float already in [0, 1].

    Returns:
        The same shape, float32 in [0, 1]. A float32 array is returned as it is, not copied.

    Raises:
        TypeError: If it is of another type.
    """
    dtype = _type_name(image)
    if dtype in _INTEGER_MAXIMUM:
        return _divide(image, _INTEGER_MAXIMUM[dtype])
    if not dtype.startswith(("float", "bfloat")):
        raise TypeError(
            "`image` must be uint8, uint16 or floating point in [0, 1]. "
            f"Received: image.dtype={dtype}."
        )
    return np.asarray(image, "float32") if _is_array(image) else _float_tensor(image)


def from_float(image: Tensor, dtype: Any) -> Tensor:
    """Take a picture in [0, 1] to a type of files: rounded to nearest, clipped to the range.

    Args:
        image: Array or tensor of any shape, float in [0, 1]; values outside are clipped.
        dtype: `"uint8"`, `"uint16"` or `"float32"` (or the numpy types of these names).

    Returns:
        The same shape, of type `dtype`.

    Raises:
        ValueError: If `dtype` is another.
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name in _INTEGER_MAXIMUM:
        return _to_integer(image, name, _INTEGER_MAXIMUM[name])
    if name != "float32":
        raise ValueError(
            f"`dtype` must be 'uint8', 'uint16' or 'float32'. Received: dtype={dtype!r}."
        )
    if _is_array(image):
        return np.clip(np.asarray(image, "float32"), 0.0, 1.0)
    from keras import ops

    return ops.clip(_float_tensor(image), 0.0, 1.0)


def _bits_type(bits):
    if bits not in (8, 16):
        raise ValueError(f"`bits` must be 8 or 16. Received: bits={bits!r}.")
    return f"uint{bits}"


def encode_luminance(luminance: Tensor, bits: int = 8) -> Tensor:
    """Store luminance in [0, 1] as integers: `round(255 L)`, or `round(65535 L)` in 16 bits."""
    dtype = _bits_type(bits)
    return _to_integer(luminance, dtype, _INTEGER_MAXIMUM[dtype])


def decode_luminance(encoded: Tensor) -> Tensor:
    """Take integers of `encode_luminance` back to luminance; the type tells the number of bits."""
    return _divide(encoded, _integer_maximum(encoded, "encoded"))


def encode_chroma(chroma: Tensor, bits: int = 8) -> Tensor:
    """Store chroma in [-1, 1] as integers: `round(127.5 (chroma + 1))`, 32767.5 in 16 bits.

    In 8 bits zero chroma lies halfway between two codes: grey comes back as 0.004 of chroma
    (0.4 of a*, b*).
    """
    dtype = _bits_type(bits)
    half = _INTEGER_MAXIMUM[dtype] / 2
    return _to_integer(chroma, dtype, half, half)


def decode_chroma(encoded: Tensor) -> Tensor:
    """Take integers of `encode_chroma` back to chroma; the type tells the number of bits."""
    return _divide(encoded, _integer_maximum(encoded, "encoded") / 2, 1.0)
