"""What a camera makes of light: its sum, optics, clipping, noise, response curve, and files.

References:
    Rim et al., "Realistic blur synthesis for learning image deblurring", 2022 (saturation, noise).
    Elmalem et al., "Motion deblurring using spatiotemporal phase aperture coding", 2020 (PSFs).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Self

import cv2
import numpy as np

from keras_refocus.blur.settings import ExposureSettings, log_uniform
from keras_refocus.pictures import color

_LEVELS = 16384  # of the tables of response curves
_BYTES = color.to_float(np.arange(256, dtype=np.uint8))


# Camera response


def _srgb_decode(encoded):
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


class Response:
    """A camera response curve as tables: encoded value <-> linear light, both in [0, 1].

    Curves steeper than any display's belong here: measured on pairs, REDS averages as if light
    were the 3.2nd power of the pixel value, GoPro's `blur` folder as if it were the first.
    """

    def __init__(
        self, *, gamma: float | None = None, contrast: float = 0.0
    ):  # None: the curve of sRGB
        grid = np.linspace(0.0, 1.0, 4096)
        # e + k sin(2 pi e) / (2 pi) rises as long as |k| < 1: the inverse of an S-shaped tone curve
        toned = grid + contrast * np.sin(2 * np.pi * grid) / (2 * np.pi)
        linear = _srgb_decode(toned) if gamma is None else toned**gamma
        self._grid, self._linear = grid, linear
        self._decode = None  # made when a float picture comes
        self._decode8 = np.interp(_BYTES, grid, linear).astype(np.float32).reshape(1, 256)
        # indexed by the square root of light, which spreads the steep start of the curve
        root = np.linspace(0.0, 1.0, _LEVELS)
        self._encode = np.interp(root * root, linear, grid).astype(np.float32)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        gamma = None if rng.random() < 0.3 else rng.uniform(1.8, 3.6)
        return cls(gamma=gamma, contrast=rng.uniform(-0.4, 0.4))

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        if encoded.dtype == np.uint8:
            return cv2.LUT(encoded, self._decode8)
        if self._decode is None:
            levels = np.linspace(0.0, 1.0, _LEVELS)
            self._decode = np.interp(levels, self._grid, self._linear).astype(np.float32)
        return self._decode[(np.clip(encoded, 0, 1) * (_LEVELS - 1) + 0.5).astype(np.uint16)]

    def encode(self, linear: np.ndarray) -> np.ndarray:
        root = np.sqrt(np.clip(linear, 0.0, 1.0))
        root *= _LEVELS - 1
        root += 0.5
        return self._encode[root.astype(np.uint16)]


SRGB = Response()
#: The curve that the blurred pictures of REDS were averaged under, measured on its pairs.
REDS = Response(gamma=3.2)


# The sum of light, and optics


def integrate(
    frames: Iterable[np.ndarray],
    shares: np.ndarray,
    size: tuple[int, int],
    psfs: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Sum up weighted frames, each part of the exposure through its own point-spread function.

    Args:
        frames: Iterable of float32 arrays (height, width, 4), linear light.
        shares: Array (frames, parts): what each frame gives to each part of the exposure; see
            `motion.split_into_parts`. One part without `psfs`.
        size: (height, width) of the frames.
        psfs: Arrays (k, k, 3), one for each part, or `None`.

    Returns:
        float32 array (height, width, 3), linear light.
    """
    sums = [np.zeros((*size, 4), np.float32) for _ in range(shares.shape[1])]
    for row, frame in zip(shares, frames, strict=True):
        for part in np.flatnonzero(row):
            cv2.scaleAdd(frame, float(row[part]), sums[part], sums[part])
    if psfs is None:
        return cv2.cvtColor(sums[0], cv2.COLOR_RGBA2RGB)
    return np.sum([_apply_psf(part, psf) for part, psf in zip(sums, psfs, strict=True)], axis=0)


def _apply_psf(light, psf):
    planes = [
        # filter2D correlates; a point-spread function convolves
        cv2.filter2D(
            np.ascontiguousarray(light[..., channel]),
            -1,
            np.ascontiguousarray(psf[::-1, ::-1, channel]),
            borderType=cv2.BORDER_REFLECT_101,
        )
        for channel in range(3)
    ]
    return np.stack(planes, axis=-1)


def check_psf(psf: np.ndarray) -> np.ndarray:
    psf = np.asarray(psf, dtype=np.float32)
    if psf.ndim == 2:
        psf = np.repeat(psf[..., None], 3, axis=2)
    if psf.ndim != 3 or psf.shape[2] != 3 or psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ValueError(
            f"Each of `psfs` must have the shape (k, k) or (k, k, 3) with odd k. "
            f"Received: shape={psf.shape}."
        )
    return psf


def disk(radius: float) -> np.ndarray:
    """Return the point-spread function of defocus: an antialiased disk that sums to 1."""
    reach = int(math.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return disk / disk.sum()


def _whiteness(encoded):
    """Return 0 below nearly white, 1 at white, for encoded values in [0, 1]."""
    return np.clip((encoded - 0.94) / 0.06, 0, 1).astype(np.float32) ** 2


_WHITENESS = _whiteness(_BYTES).reshape(1, 256)


def brighten(picture: np.ndarray, encoded: np.ndarray, gain: float) -> tuple[np.ndarray, bool]:
    """Give saturated highlights back some of their light, in place of a photo's lost one.

    The photo has lost how bright its white is: only what is nearly white gets brighter.

    Args:
        picture: float32 array (height, width, 3), linear light.
        encoded: The same picture as it was read, uint8 or float32 in [0, 1].
        gain: How much brighter white gets, 0 not at all.

    Returns:
        Tuple `(picture, changed)`: the picture with light that may exceed 1, and whether it has
        highlights at all.
    """
    white = cv2.LUT(encoded, _WHITENESS) if encoded.dtype == np.uint8 else _whiteness(encoded)
    white = np.minimum(np.minimum(white[..., 0], white[..., 1]), white[..., 2])
    if not white.any():
        return picture, False
    return picture * cv2.cvtColor(1 + np.float32(gain) * white, cv2.COLOR_GRAY2RGB), True


# Degradations


def _add_noise(linear, settings, rng):
    """Add Poisson-Gaussian noise: variance `shot * light + read**2`, drawn as a normal."""
    shot = log_uniform(rng, settings.shot_noise)
    read = log_uniform(rng, settings.read_noise)
    noise = rng.standard_normal(linear.shape, dtype=np.float32)
    if rng.random() < settings.noise_correlation:
        sigma = rng.uniform(0.35, 0.8)
        taps = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2)
        taps /= np.sqrt((taps**2).sum())  # keeps the variance of each pixel
        taps = taps.astype(np.float32)
        noise = cv2.sepFilter2D(noise, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101)
    return linear + noise * np.sqrt(shot * np.maximum(linear, 0) + read * read)


def _vignette(shape, rng):
    """Draw the fall-off of light towards the corners: float32 (height, width, 1), at most 1."""
    height, width = shape[:2]
    centre = rng.uniform(-0.3, 1.3, 2)
    x = np.linspace(0, 1, width, dtype=np.float32) - np.float32(centre[0])
    y = np.linspace(0, 1, height, dtype=np.float32) - np.float32(centre[1])
    radius = x[None] ** 2 + y[:, None] ** 2
    return (1 / (1 + np.float32(rng.uniform(0.1, 0.6)) * radius) ** 2)[..., None]


def _scratch(encoded, rng):
    """Draw light scratches and dust, as on a print or film."""
    height, width = encoded.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 5)):
        start = rng.uniform(0, 1, 2) * (width, height)
        step = np.exp(1j * rng.normal(np.pi / 2, 0.5)) * rng.uniform(4, 20)
        bends = np.cumsum(rng.normal(0, 0.08, 24))
        points = np.cumsum(np.concatenate([[complex(*start)], step * np.exp(1j * bends)]))
        line = np.stack([points.real, points.imag], 1)
        fixed = np.round(line * 16).astype(np.int32).reshape(-1, 1, 2)
        strength = int(rng.integers(40, 200))
        cv2.polylines(mask, [fixed], False, strength, 1, lineType=cv2.LINE_AA, shift=4)
    for _ in range(rng.integers(0, 8)):
        place = tuple(int(v) for v in rng.uniform(0, 1, 2) * (width, height))
        cv2.circle(
            mask, place, int(rng.integers(1, 3)), int(rng.integers(40, 200)), -1, cv2.LINE_AA
        )
    share = color.to_float(mask)[..., None]
    return encoded + share * (1 - encoded)


def _jpeg(encoded, quality):
    """Compress and decompress: float32 in [0, 1] -> the same."""
    bgr = cv2.cvtColor(color.from_float(encoded, "uint8"), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG. Its build has no JPEG support.")
    return color.to_float(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def degrade(rgb: np.ndarray, settings: ExposureSettings, rng: np.random.Generator) -> np.ndarray:
    """Do to a picture what cameras and files do, without blur.

    Vignetting and Poisson-Gaussian noise act in linear light (sRGB response), then light scratches
    and JPEG, each with its probability in `settings`.

    Args:
        rgb: uint8 array, or float32 in [0, 1], of shape (height, width, 3), sRGB.
        settings: `ExposureSettings`.
        rng: `numpy.random.Generator`.

    Returns:
        float32 array (height, width, 3) in [0, 1], sRGB.
    """
    check_rgb(rgb)
    vignetting = rng.random() < settings.vignetting
    noise = rng.random() < settings.noise
    encoded = color.to_float(rgb)
    if vignetting or noise:
        linear = np.clip(SRGB.decode(rgb), 0, 1)
        if vignetting:
            linear *= _vignette(linear.shape, rng)
        if noise:
            linear = _add_noise(linear, settings, rng)
        encoded = SRGB.encode(linear)
    if rng.random() < settings.scratches:
        encoded = _scratch(encoded, rng)
    if rng.random() < settings.jpeg:
        low, high = settings.jpeg_quality
        encoded = _jpeg(encoded, rng.integers(low, high + 1))
    return np.clip(encoded, 0, 1)


def check_rgb(rgb: np.ndarray) -> None:
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3:
        shape = getattr(rgb, "shape", type(rgb).__name__)
        raise ValueError(
            f"`rgb` must be an array of shape (height, width, 3). Received: shape={shape}. "
            f"Stack a grey picture three times."
        )
    if rgb.dtype not in (np.uint8, np.float32):
        raise TypeError(
            f"`rgb` must be uint8, or float32 in [0, 1]. Received: dtype={rgb.dtype}. Convert it."
        )
