"""Turn decoded pixels into sRGB, a band of rows at a time."""

import numpy as np

from keras_refocus.pictures import code_points, color, metadata
from keras_refocus.pictures.decoded import Decoded
from keras_refocus.pictures.photo import bands


def to_srgb(picture: Decoded) -> tuple[np.ndarray, np.ndarray | None]:
    """Give `(rgb, alpha)` of a source, band by band."""
    rgb = np.empty((picture.height, picture.width, 3), picture.dtype)
    alpha = np.empty(rgb.shape[:2], picture.dtype) if picture.has_alpha else None
    convert = _converter(picture)
    channels = {"gray": 1, "rgb": 3, "cmyk": 4}[picture.space]
    for band in bands(picture.height, picture.width):
        pixels = picture.rows(band.start, band.stop)
        if alpha is not None:
            alpha[band] = pixels[..., channels]
            if picture.is_premultiplied:
                pixels = _unpremultiplied(pixels, channels)
        rgb[band] = convert(pixels[..., :channels])
    picture.rows = None  # With it goes the decoder's copy.
    return rgb, alpha


def _unpremultiplied(pixels, channels):
    opacity = color.to_float(pixels[..., channels:])
    straight = color.to_float(pixels[..., :channels]) / np.maximum(opacity, 1e-6)
    return color.from_float(straight, pixels.dtype)


def _converter(picture):
    """Choose how a band of the source's channels becomes sRGB."""
    if picture.icc:
        try:
            return _icc_converter(picture)
        except Exception as error:  # A profile nobody can read must not cost the picture.
            picture.notices.append(
                f"The colour profile does not fit the picture and was left out ({error})."
            )
    if picture.space == "cmyk":
        picture.notices.append(
            "The picture is CMYK without a colour profile; its colours are only roughly right."
        )
        return _naive_cmyk
    if picture.code_points not in (None, (code_points.UNSPECIFIED,) * 2):
        return _code_points_converter(picture)
    if picture.gamma is not None or picture.chromaticities is not None:
        return _gamma_converter(picture)
    if picture.space == "rgb":
        is_adobe = metadata.adobe_rgb(picture.exif)
        if is_adobe:
            import imagecodecs

            picture.icc = imagecodecs.cms_profile("adobergb")
            return _icc_converter(picture)
        if is_adobe is None:
            picture.notices.append(
                "The file says that its colours are not those of sRGB, and not which they are; "
                "they were taken for sRGB."
            )
    return _unchanged


def _unchanged(pixels):
    return pixels  # One grey channel spreads over three by broadcasting.


def _code_points_converter(picture):
    primaries, transfer = picture.code_points
    unknown = []
    if primaries not in (*code_points.PRIMARIES, code_points.UNSPECIFIED):
        unknown.append(f"primaries {primaries}")
    if transfer not in (*code_points.TRANSFERS, code_points.UNSPECIFIED):
        unknown.append(f"transfer {transfer}")
    if unknown:
        picture.notices.append(
            f"The file's colours (code points of H.273: {', '.join(unknown)}) are not known here "
            "and were not applied."
        )
    if transfer in code_points.HDR:
        picture.notices.append(
            f"The picture has high dynamic range ({code_points.HDR[transfer]}); what is brighter "
            "than its reference white was clipped."
        )
    chromaticities = picture.chromaticities or code_points.PRIMARIES.get(primaries)
    return _through_floats(chromaticities, code_points.TRANSFERS.get(transfer), picture)


def _gamma_converter(picture):
    """Convert by `gAMA` and `cHRM` of PNG."""
    curve = None
    if picture.gamma is not None:
        if not 0.05 <= picture.gamma <= 20:
            picture.notices.append(
                f"The file's gamma of {picture.gamma:g} is not possible and was not applied."
            )
        elif abs(picture.gamma * 2.2 - 1) > 0.05:
            # As libpng: within a twentieth of 1 / 2.2 it is sRGB that is meant.
            exponent = 1 / picture.gamma

            def curve(code):
                return code**exponent

    return _through_floats(picture.chromaticities, curve, picture)


def _through_floats(chromaticities, curve, picture):
    try:
        convert = code_points.converter(chromaticities, curve)
    except ValueError as error:
        picture.notices.append(f"The file's primaries were not applied ({error}).")
        convert = code_points.converter(None, curve)
    if picture.is_narrow:
        convert = _expanding(convert, picture.dtype)
    probe = color.to_float(_probe(picture.space, picture.dtype))
    # Half a level is rounding of what the file says; most files say sRGB.
    if np.abs(convert(probe) - probe).max() < 0.5 / np.iinfo("uint8").max:
        return _unchanged
    return lambda pixels: color.from_float(convert(color.to_float(pixels)), pixels.dtype)


def _expanding(convert, dtype):
    """Put before a conversion that black and white are not at the ends (ITU-R BT.2100, table 9)."""
    most = np.iinfo(dtype).max
    unit = (most + 1) / 256 / most
    black, span = np.float32(16 * unit), np.float32(219 * unit)
    return lambda code: convert(np.clip((code - black) / span, 0.0, 1.0))


def _naive_cmyk(pixels):
    ink = color.to_float(pixels)
    return color.from_float((1.0 - ink[..., :3]) * (1.0 - ink[..., 3:]), pixels.dtype)


def _icc_converter(picture):
    import imagecodecs

    srgb = imagecodecs.cms_profile("srgb")
    # LittleCMS would replace a 16-bit conversion by a coarse table, off by up to 8% in the darks.
    flags = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    if picture.dtype == np.uint16:
        flags |= imagecodecs.CMS.FLAGS.NOOPTIMIZE

    def convert(pixels):
        if picture.space == "gray":
            pixels = pixels[..., 0]
        return imagecodecs.cms_transform(
            np.ascontiguousarray(pixels),
            picture.icc,
            srgb,
            colorspace=picture.space,
            outcolorspace="rgb",
            intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
            flags=flags,
        )

    # A profile that cannot be used fails here; one that is sRGB already is left out.
    probe = _probe(picture.space, picture.dtype)
    converted = color.to_float(convert(probe))
    if picture.space != "cmyk" and np.abs(converted - color.to_float(probe)).max() < 0.5 / 255:
        return _unchanged
    return convert


def _probe(space, dtype):
    """Every combination of a few values of each channel, as a picture."""
    count, channels = {"gray": (256, 1), "rgb": (18, 3), "cmyk": (2, 4)}[space]
    steps = color.from_float(np.linspace(0.0, 1.0, count), dtype)
    return np.stack(np.meshgrid(*[steps] * channels), -1).reshape(count, -1, channels)
