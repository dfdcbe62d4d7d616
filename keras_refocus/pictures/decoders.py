"""Decode JPEG, PNG, WebP, BMP and HEIC with the libraries that know them.

Each is a function `(file, check_size) -> Decoded`; `check_size(width, height)` is called before any
pixel is decoded, and refuses.
"""

import importlib.util

import numpy as np
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from keras_refocus.pictures.decoded import FIRST_ONLY, Decoded, Refused, from_array

_PILLOW_SPACES = {
    # Mode of Pillow: space, mode to convert to, type.
    "1": ("gray", "L"),
    "L": ("gray", "L"),
    "LA": ("gray", "LA"),
    "La": ("gray", "LA"),
    "P": ("rgb", "RGB"),
    "PA": ("rgb", "RGBA"),
    "RGB": ("rgb", "RGB"),
    "RGBX": ("rgb", "RGB"),
    "RGBA": ("rgb", "RGBA"),
    "RGBa": ("rgb", "RGBA"),
    "YCbCr": ("rgb", "RGB"),
    "CMYK": ("cmyk", "CMYK"),
}


def read_jpeg(file, check_size, enough):
    image = JpegImagePlugin.JpegImageFile(file)
    if enough is not None:
        check_size(*image.size)
        height, width = enough(image.height, image.width)
        image.draft(None, (width, height))
    return from_pillow(image, check_size)


def read_webp(file, check_size):
    image = WebPImagePlugin.WebPImageFile(file)
    return from_pillow(image, check_size, is_first=getattr(image, "is_animated", False))


def read_bmp(file, check_size):
    return from_pillow(BmpImagePlugin.BmpImageFile(file), check_size)


def read_png(file, check_size):
    image = PngImagePlugin.PngImageFile(file)
    is_first = getattr(image, "is_animated", False)
    file.seek(24)  # After the signature, and length, name, width and height of the first chunk.
    if file.read(1) != b"\x10":
        return from_pillow(image, check_size, is_first=is_first)
    check_size(*image.size)
    import imagecodecs

    file.seek(0)
    content = file.read()
    if b"eXIf" in content and "exif" not in image.info:
        image.load()  # Pillow looks behind the pixels only when it has to decode them.
    array = imagecodecs.png_decode(content)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    transparent = image.info.get("transparency")
    if transparent is not None and array.shape[2] in (1, 3):
        opaque = (array != np.asarray(transparent, "uint16")).any(axis=-1, keepdims=True)
        array = np.concatenate([array, opaque * np.uint16(65535)], axis=-1)
    picture = from_array(
        array, "gray" if array.shape[2] < 3 else "rgb", has_alpha=array.shape[2] in (2, 4)
    )
    _take_info(picture, image)
    if is_first:
        picture.notices.append(FIRST_ONLY)
    return picture


def from_pillow(image, check_size, *, is_first=False):
    check_size(*image.size)
    image.load()
    if image.mode not in _PILLOW_SPACES:
        raise Refused(
            "The picture must be grey, RGB, CMYK or have a palette, with 8 or 16 bits a channel. "
            f"Received: a {image.format} file of mode {image.mode!r}. Convert it first."
        )
    space, mode = _PILLOW_SPACES[image.mode]
    if "transparency" in image.info and mode in ("L", "RGB"):
        mode += "A"

    def rows(top, bottom):
        band = image.crop((0, top, image.width, bottom))
        if band.mode != mode:
            band = band.convert(mode)
        array = np.asarray(band)
        return array[..., np.newaxis] if array.ndim == 2 else array

    picture = Decoded(
        height=image.height,
        width=image.width,
        space=space,
        has_alpha=mode.endswith("A"),
        rows=rows,
        dtype=np.dtype("uint8"),
        exif=Image.Exif(),
    )
    _take_info(picture, image)
    if is_first:
        picture.notices.append(FIRST_ONLY)
    return picture


def _take_info(picture, image):
    """Take profile, EXIF and resolution from a file that Pillow has opened."""
    picture.icc = image.info.get("icc_profile")
    if image.format != "BMP":  # Its writers put in what they like.
        picture.dpi = image.info.get("dpi")
    try:
        # Behind the pixels of a 16-bit PNG there is nothing that has not been looked at.
        if "exif" in image.info or image.format != "PNG":
            picture.exif = image.getexif()
    except Exception as error:  # Damaged metadata must not cost the picture.
        picture.notices.append(f"The metadata is damaged and was left out ({error}).")


def read_heic(file, check_size):
    if importlib.util.find_spec("pillow_heif") is None:
        raise Refused(
            "HEIC pictures need the package pillow-heif, which is not installed. "
            "Run: pip install pillow-heif"
        )
    import pillow_heif

    heif = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
    image = heif[heif.primary_index]
    check_size(*image.size)
    mode = image.mode.split(";")[0]
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    picture = from_array(
        array, "gray" if mode.startswith("L") else "rgb", has_alpha=mode[-1] in "Aa"
    )
    picture.is_premultiplied = mode[-1] == "a"
    picture.icc = image.info.get("icc_profile")
    picture.orientation = 1  # The decoder has applied it.
    if image.info.get("exif"):
        try:
            picture.exif.load(image.info["exif"])
        except Exception as error:  # Damaged metadata must not cost the picture.
            picture.exif = Image.Exif()
            picture.notices.append(f"The metadata is damaged and was left out ({error}).")
    if len(heif) > 1:
        picture.notices.append(FIRST_ONLY)
    return picture
