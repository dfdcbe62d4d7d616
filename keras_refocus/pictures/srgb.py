"""Turn decoded pixels into sRGB, a band of rows at a time."""

import numpy as np

from keras_refocus.pictures import color
from keras_refocus.pictures.photo import bands


def to_srgb(picture):
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
    return lambda pixels: pixels  # One grey channel spreads over three by broadcasting.


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
        return lambda pixels: pixels
    return convert


def _probe(space, dtype):
    """Every combination of a few values of each channel, as a picture."""
    count, channels = {"gray": (256, 1), "rgb": (18, 3), "cmyk": (2, 4)}[space]
    steps = color.from_float(np.linspace(0.0, 1.0, count), dtype)
    return np.stack(np.meshgrid(*[steps] * channels), -1).reshape(count, -1, channels)
