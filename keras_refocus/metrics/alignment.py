"""Bring a picture into line with another before the two are compared.

The sharp side of a pair is one moment; what a blurred picture tells is the mean over all of its
exposure. A restored picture may so be sharp and shifted, which PSNR counts as an error. Rim et al.
2020 (RealBlur, section 5.1) align each result with its truth by a homography first, found by
maximising the correlation of the two (Evangelidis and Psarakis 2008).
"""

import cv2
import numpy as np

_ITERATIONS = 100
_GAIN = 1e-6  # of the correlation in one iteration: less than this is none
_SMOOTHING = 3  # pixels a side, of the Gaussian before derivatives are taken


def homography(picture: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Find the homography from the pixels of `truth` to those of `picture`.

    Args:
        picture: float32 luminance `(height, width, 1)` in [0, 1].
        truth: The same, of the same shape.

    Returns:
        float32 array (3, 3), of (x, y, 1) in pixels. The identity where no better one is found, as
        on plain surfaces.
    """
    identity = np.eye(3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ITERATIONS, _GAIN)
    try:
        before = cv2.computeECC(truth[..., 0], picture[..., 0])
        after, found = cv2.findTransformECC(
            truth[..., 0],
            picture[..., 0],
            identity.copy(),
            cv2.MOTION_HOMOGRAPHY,
            criteria,
            None,
            _SMOOTHING,
        )
    except cv2.error:  # it does not converge, or the picture has no contrast
        return identity
    return found.astype(np.float32) if after > before else identity


def warp(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Draw a picture where a homography has its pixels.

    Args:
        picture: float32 array `(height, width, channels)`.
        matrix: Of `homography`.

    Returns:
        Array of the same shape; bicubic, zero where the picture does not reach.
    """
    size = picture.shape[1], picture.shape[0]
    warped = cv2.warpPerspective(
        picture, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    return warped.reshape(picture.shape)


def covered(shape: tuple[int, ...], matrix: np.ndarray) -> tuple[slice, slice]:
    """Slices of a rectangle that a warped picture covers.

    Args:
        shape: `(height, width)` in pixels.
        matrix: Of `homography`.

    Returns:
        Tuple of two slices. Whole pixels of the picture, and the two beside them that bicubic
        interpolation reads, lie under all of the rectangle.
    """
    inside = np.zeros(shape, np.float32)
    inside[2:-2, 2:-2] = 1.0
    if np.array_equal(matrix, np.eye(3)):
        return np.s_[:, :]
    size = shape[1], shape[0]
    missing = (
        cv2.warpPerspective(inside, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        < 0.999
    )
    top, bottom, left, right = 0, shape[0], 0, shape[1]
    while top < bottom and left < right:
        part = missing[top:bottom, left:right]
        shares = [part[0].mean(), part[-1].mean(), part[:, 0].mean(), part[:, -1].mean()]
        worst = int(np.argmax(shares))
        if shares[worst] == 0.0:
            break
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return np.s_[top:bottom, left:right]


def shift(picture: np.ndarray, truth: np.ndarray, reach: int = 4) -> np.ndarray:
    """Find by how much a picture is shifted against another, where the two are most alike.

    What blind deconvolution gives may lie anywhere along the path of the camera: Levin et al. 2009
    and Koehler et al. 2012 take the shift of the least error.

    Args:
        picture: float32 luminance `(height, width, 1)` in [0, 1].
        truth: The same, of the same shape.
        reach: Whole pixels that are tried in each direction.

    Returns:
        Homography, as `homography` gives one, to a quarter of a pixel.
    """
    height, width = truth.shape[:2]
    inside = np.s_[reach : height - reach, reach : width - reach]

    def error(down, right):
        if down == round(down) and right == round(right):
            top, left = reach + round(down), reach + round(right)
            part = picture[top : top + height - 2 * reach, left : left + width - 2 * reach]
        else:
            part = warp(picture, _moved(down, right))[inside]
        return float(np.mean((part - truth[inside]) ** 2))

    whole = [
        (float(down), float(right))
        for down in range(-reach, reach + 1)
        for right in range(-reach, reach + 1)
    ]
    best = min((error(*place), place) for place in whole)
    for step in (0.5, 0.25):
        down, right = best[1]
        near = [
            (down + step * i, right + step * j)
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            if max(abs(down + step * i), abs(right + step * j)) <= reach
        ]
        best = min(best, *((error(*place), place) for place in near if place != best[1]))
    return _moved(*best[1])


def _moved(down, right):
    return np.array([[1, 0, right], [0, 1, down], [0, 0, 1]], np.float32)
