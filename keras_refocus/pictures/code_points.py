"""Colours that a file names by number (ITU-T H.273: cICP, nclx) or by gamma and chromaticities.

Code values become light relative to a white of 1, light becomes that of the sRGB primaries by a
matrix, and the sRGB curve makes code values of it again. High dynamic range is brought to standard
range as ITU-R BT.2408 relates them: its reference white of 203 cd/m2 is the white of sRGB, and
what is brighter is clipped.
"""

from collections.abc import Callable

import numpy as np

Chromaticities = tuple[float, float, float, float, float, float, float, float]

#: Code point for what is not said.
UNSPECIFIED = 2

_D65 = (0.3127, 0.3290)
_SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

#: White, red, green and blue, each x and y, of the code points for primaries (H.273, table 2).
PRIMARIES: dict[int, Chromaticities] = {
    1: _SRGB,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}

# ITU-R BT.2408: luminance of reference white, in cd/m2.
_REFERENCE_WHITE = 203.0
# ITU-R BT.2100, table 5: nominal peak of the display, and its system gamma.
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2


def _srgb_to_light(code):
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _light_to_srgb(light):
    return np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055
    )


def _pq_to_light(code):
    """SMPTE ST 2084, as ITU-R BT.2100 table 4 writes it: 1 is 10,000 cd/m2."""
    root = code ** (1 / 78.84375)
    light = np.maximum(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)
    return light ** (1 / 0.1593017578125) * np.float32(10_000 / _REFERENCE_WHITE)


def _hlg_to_light(code):
    """ITU-R BT.2100 table 5: inverse OETF, then the OOTF of a display of 1,000 cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    # The upper branch is not taken below one half, where its argument is kept in range.
    upper = (np.exp((np.maximum(code, 0.5) - c) / a) + b) / 12
    scene = np.where(code <= 0.5, code * code / 3, upper)
    luminance = scene
    if scene.shape[-1] == 3:
        weights = np.array([0.2627, 0.6780, 0.0593], scene.dtype)
        luminance = (scene @ weights)[..., np.newaxis]
    gain = np.maximum(luminance, 1e-9) ** (_HLG_GAMMA - 1)
    return scene * gain * np.float32(_HLG_PEAK / _REFERENCE_WHITE)


#: Code values in [0, 1] to light, of the code points for transfer (H.273, table 3). Cameras and
#: browsers take the curves of television (1, 6, 14, 15) for that of sRGB in pictures.
TRANSFERS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys((1, 6, 13, 14, 15), _srgb_to_light),
    4: lambda code: code**2.2,
    5: lambda code: code**2.8,
    8: lambda code: code,
    16: _pq_to_light,
    18: _hlg_to_light,
}

#: Names of the transfers of high dynamic range.
HDR = {16: "PQ", 18: "HLG"}


def _to_xyz(chromaticities):
    """Matrix from linear RGB to XYZ, and the white (SMPTE RP 177)."""
    white, *primaries = (
        np.array([x / y, 1.0, (1 - x - y) / y])
        for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    columns = np.stack(primaries, axis=1)
    return columns * np.linalg.solve(columns, white), white


def to_srgb_matrix(chromaticities: Chromaticities) -> np.ndarray:
    """Matrix from linear RGB of some primaries to linear sRGB, white to white (Bradford)."""
    source, white = _to_xyz(chromaticities)
    target, target_white = _to_xyz(_SRGB)
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    gains = np.diag((bradford @ target_white) / (bradford @ white))
    adapted = np.linalg.inv(bradford) @ gains @ bradford @ source
    return np.linalg.inv(target) @ adapted


def converter(
    chromaticities: Chromaticities | None, to_light: Callable[[np.ndarray], np.ndarray] | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Give the function from code values to sRGB code values.

    Args:
        chromaticities: White, red, green and blue, each x and y; `None` for those of sRGB.
        to_light: Curve from code values to light; `None` for that of sRGB.

    Returns:
        Function of an array of shape (..., 1) or (..., 3), float32 in [0, 1], to one of the same
        shape and range.

    Raises:
        ValueError: The chromaticities span no colours.
    """
    matrix = None
    if chromaticities is not None:
        if min(chromaticities[1::2]) <= 0:
            raise ValueError("chromaticities must have a positive y")
        try:
            matrix = to_srgb_matrix(chromaticities).T.astype("float32")
        except np.linalg.LinAlgError:
            raise ValueError("chromaticities must span a triangle") from None
        if not np.isfinite(matrix).all() or np.abs(matrix).max() > 100:
            raise ValueError("chromaticities must span a triangle")
    curve = to_light or _srgb_to_light

    def convert(code):
        light = curve(code)
        if matrix is not None and light.shape[-1] == 3:
            light = light @ matrix
        return _light_to_srgb(np.clip(light, 0.0, 1.0)).astype("float32")

    return convert
