"""Decode JPEG, WebP, BMP, GIF, HEIC, AVIF, JPEG 2000 and JPEG XL with the libraries that know them.

Each is a function `(file, check_size) -> Decoded`; `check_size(width, height)` is called before any
pixel is decoded, and refuses.
"""

import hashlib
import importlib.util
import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    WebPImagePlugin,
)

from keras_refocus.pictures import codestreams
from keras_refocus.pictures.decoded import FIRST_ONLY, Decoded, Refused, from_array, take_info
from keras_refocus.pictures.photo import bands

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


def read_jpeg(file: BinaryIO, check_size: Callable[[int, int], None], enough: Any) -> Decoded:
    header = codestreams.header(file)
    check_size(header.width, header.height)
    if header.bits != 8 or header.marker not in _PILLOW_FRAMES:
        return _from_imagecodecs_jpeg(file, header)
    file.seek(0)
    image = JpegImagePlugin.JpegImageFile(file)
    check_size(*image.size)  # A damaged file may have a second frame header.
    if enough is not None:
        height, width = enough(image.height, image.width)
        image.draft(None, (width, height))
    notices = []
    try:
        image.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        image = _without_its_end(file, image, error)
        notices.append("The JPEG file lacks its end marker; its pixels are all there.")
    picture = _from_pillow(image)
    picture.notices += notices
    if b"hdrgm:" in image.info.get("xmp", b""):
        picture.notices.append(_GAIN_MAP)
    elif "mp" in image.info:
        picture.notices.append(FIRST_ONLY)
    return picture


# Baseline, extended and progressive, by Huffman or arithmetic codes.
_PILLOW_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_GAIN_MAP = "The file holds a gain map for displays of high dynamic range; it was not applied."
# Ends of a file that decode to different pixels where any of them is missing.
_TAILS = (b"\xff\xd9", b"\x5a\xa5\x3c\xc3" * 64 + b"\xff\xd9")


def _without_its_end(file, image, error):
    """Decode a JPEG whose end marker is missing, or raise `error` if pixels are missing too.

    Decoders fill up what is missing in silence. Where nothing is, what stands between the last
    pixel and the end marker changes nothing; where something is, it does.
    """
    size, mode = image.size, image.mode
    file.seek(0)
    content = file.read().rstrip(b"\0")
    seen = []
    for tail in _TAILS:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(content + tail))
        image.draft(mode, size)
        image.load()
        total = hashlib.sha256()
        for band in bands(image.height, image.width):
            total.update(image.crop((0, band.start, image.width, band.stop)).tobytes())
        seen.append(total.digest())
    if seen[0] != seen[1]:
        raise error
    return image


def _from_imagecodecs_jpeg(file, header):
    """Decode JPEG of 12 bits, which Pillow does not.

    JPEG-LS and lossless JPEG are refused: on damaged files their decoders can take minutes.
    """
    if header.marker not in _PILLOW_FRAMES or header.bits != 12:
        what = {0xF7: "a JPEG-LS", 0xC3: "a lossless JPEG"}.get(
            header.marker, f"a {header.bits}-bit JPEG"
        )
        raise Refused(_unsupported(what))
    import imagecodecs

    file.seek(0)
    array = imagecodecs.jpeg_decode(file.read())
    if array.ndim == 3 and array.shape[2] != 3:
        raise Refused(_unsupported(f"a 12-bit JPEG of {array.shape[2]} channels"))
    return _from_bits(array, header.bits)


def _unsupported(what):
    return f"The picture must be of a kind that is read. Received: {what} file, not supported."


def _from_bits(array, bits):
    """Stretch values of some bits over those of 8 or 16; channels as gray, rgb and alpha."""
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.ndim != 3 or array.shape[2] > 4 or array.dtype not in (np.uint8, np.uint16):
        raise Refused(_unsupported(f"a picture of shape {array.shape} and type {array.dtype}"))
    picture = from_array(
        array, "gray" if array.shape[2] < 3 else "rgb", has_alpha=array.shape[2] in (2, 4)
    )
    whole = 8 * array.dtype.itemsize
    if bits < whole:
        top, most = (1 << bits) - 1, np.iinfo(array.dtype).max

        def rows(start, stop):
            # To the nearest level: the last of the few levels becomes the last of the many.
            band = np.minimum(array[start:stop], top).astype("uint32")
            return ((band * most + top // 2) // top).astype(array.dtype)

        picture.rows = rows
    return picture


def read_webp(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    head = file.read(32)
    header = codestreams.header(head)
    check_size(header.width, header.height)
    if head[12:16] == b"VP8X" and head[20] & 0x02:
        file.seek(0)
        image = WebPImagePlugin.WebPImageFile(file)
        check_size(*image.size)
        return _from_pillow(image, is_first=True)
    # Pillow's decoder is that of animations, with room for several frames.
    file.seek(0)
    content = file.read()
    has_alpha = head[12:16] == b"VP8X" and bool(head[20] & 0x10)
    if head[12:16] == b"VP8L":
        has_alpha = bool(head[24] & 0x10)
    import imagecodecs

    array = imagecodecs.webp_decode(content, hasalpha=has_alpha)
    if array.shape[:2] != (header.height, header.width):
        raise ValueError("the file and its picture disagree about the size")
    picture = from_array(array, "rgb", has_alpha=has_alpha)
    position = 12
    while position + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, position)
        body = content[position + 8 : position + 8 + length]
        if name == b"ICCP":
            picture.icc = body
        elif name == b"EXIF":
            try:
                picture.exif.load(body)
            except Exception as error:  # Damaged metadata must not cost the picture.
                picture.exif = Image.Exif()
                picture.notices.append(f"The metadata is damaged and was left out ({error}).")
        position += 8 + length + length % 2
    return picture


def read_bmp(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    image = BmpImagePlugin.BmpImageFile(file)
    check_size(*image.size)
    return _from_pillow(image)


def read_gif(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    image = GifImagePlugin.GifImageFile(file)
    check_size(*image.size)
    return _from_pillow(image, is_first=image.is_animated)


def read_avif(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    from PIL import AvifImagePlugin, features

    if not features.check("avif"):
        raise Refused(_unsupported("an AVIF"))
    image = AvifImagePlugin.AvifImageFile(file)
    check_size(*image.size)
    picture = _from_pillow(image, is_first=getattr(image, "is_animated", False))
    file.seek(0)
    # The box `colr` of the first picture lies in the header.
    _, found, colours = file.read(1 << 16).partition(b"colrnclx")
    if found and len(colours) >= 4:
        picture.code_points = struct.unpack(">HH", colours[:4])
    return picture


def read_jpeg_2000(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    header = codestreams.header(file)
    check_size(header.width, header.height)
    file.seek(0)
    if header.bits == 8:
        image = Jpeg2KImagePlugin.Jpeg2KImageFile(file)
        check_size(*image.size)  # That of the file around the stream, which may be another.
        return _from_pillow(image)
    import imagecodecs

    return _from_bits(imagecodecs.jpeg2k_decode(file.read()), header.bits)


def read_jpeg_xl(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    header = codestreams.header(file)
    check_size(header.width, header.height)
    import imagecodecs

    file.seek(0)
    # The decoder turns the picture upright.
    array = imagecodecs.jpegxl_decode(file.read(), index=0)
    return _from_bits(array, 8 * array.dtype.itemsize)


def from_image(image: Image.Image) -> Decoded:
    """Take over a picture that Pillow has in memory, of any of its modes."""
    image.load()
    if image.mode == "LAB":
        from PIL import ImageCms

        # Its values are those of the profile connection space, of which LittleCMS knows the white.
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        converted.info.pop("icc_profile", None)
        return _from_pillow(converted)
    if image.mode == "HSV":
        return _from_pillow(image.convert("RGB"))
    if image.mode not in _PILLOW_SPACES:
        picture = from_array(_deep_gray(image)[..., np.newaxis], "gray", has_alpha=False)
        take_info(picture, image)
        return picture
    return _from_pillow(image)


def _deep_gray(image):
    """Grey of more than 8 bits as uint16 (height, width)."""
    array = np.asarray(image)
    low, high = array.min(), array.max()
    if image.mode == "F" and 0 <= low and high <= 1:
        return np.round(array * 65535).astype(np.uint16)
    if array.dtype.kind in "iu" and 0 <= low and high <= 65535:
        return array.astype(np.uint16)
    allowed = "0 to 1" if image.mode == "F" else "0 to 65535"
    raise Refused(
        f"A grey picture of mode {image.mode!r} must have values from {allowed}. "
        f"Received: {low} to {high}. Scale it first."
    )


def _from_pillow(image, *, is_first=False):
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
    take_info(picture, image)
    if is_first:
        picture.notices.append(FIRST_ONLY)
    return picture


def read_heic(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
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
    array = np.asarray(image)  # A view of the decoder's memory.
    if array.ndim == 2:
        array = array[..., np.newaxis]
    picture = from_array(
        array, "gray" if mode.startswith("L") else "rgb", has_alpha=mode[-1] in "Aa"
    )
    picture.is_premultiplied = mode[-1] == "a"
    picture.icc = image.info.get("icc_profile")
    nclx = image.info.get("nclx_profile")
    if nclx:
        picture.code_points = (nclx["color_primaries"], nclx["transfer_characteristics"])
    picture.orientation = 1  # The decoder has applied it.
    if image.info.get("exif"):
        try:
            picture.exif.load(image.info["exif"])
        except Exception as error:  # Damaged metadata must not cost the picture.
            picture.exif = Image.Exif()
            picture.notices.append(f"The metadata is damaged and was left out ({error}).")
    if any("hdrgainmap" in str(kind) for kind in image.info.get("aux") or ()):
        picture.notices.append(_GAIN_MAP)
    if len(heif) > 1:
        picture.notices.append(FIRST_ONLY)
    return picture
