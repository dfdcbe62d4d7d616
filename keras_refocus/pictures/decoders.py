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

from keras_refocus.pictures import code_points, codestreams, jpeg_xl
from keras_refocus.pictures.decoded import (
    FIRST_ONLY,
    Decoded,
    Refused,
    from_array,
    stretched,
    take_info,
)
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
    if header.bits != 8 or header.marker not in codestreams.DCT_FRAMES:
        return _from_imagecodecs_jpeg(file, header)
    content = None if _has_its_end(file, header) else _content_without_end(file)
    file.seek(0)
    image = JpegImagePlugin.JpegImageFile(file if content is None else io.BytesIO(content + _END))
    check_size(*image.size)  # A damaged file may have a second frame header.
    if enough is not None:
        height, width = enough(image.height, image.width)
        image.draft(None, (width, height))
    if content is not None:
        _refuse_missing(_rows_of(content + tail, image.mode, image.size) for tail in _TAILS)
    picture = _from_pillow(image)
    if content is not None:
        picture.notices.append(_NO_END)
    xmp = image.info.get("xmp", b"")
    if any(name in xmp for name in _GAIN_MAP_NAMES) or any(
        name == "APP2" and body.startswith(_GAIN_MAP_SEGMENT) for name, body in image.applist
    ):
        picture.notices.append(_GAIN_MAP)
    elif "mp" in image.info:
        picture.notices.append(FIRST_ONLY)
    return picture


_GAIN_MAP = "The file holds a gain map for displays of high dynamic range; it was not applied."
# Of Adobe's and Android's gain maps, by their usual prefix and by their namespace; of ISO 21496-1.
_GAIN_MAP_NAMES = (b"hdrgm:", b"http://ns.adobe.com/hdr-gain-map/")
_GAIN_MAP_SEGMENT = b"urn:iso:std:iso:ts:21496:-1"
_END = b"\xff\xd9"
_NO_END = "The JPEG file lacks its end marker; its pixels are all there."
# Ends of a file that decode to different pixels where any of them is missing.
_TAILS = (_END, b"\x5a\xa5\x3c\xc3" * 64 + _END)


def _has_its_end(file, header):
    """Whether an end marker comes behind the frame header; pixels hold none."""
    file.seek(header.position)
    last = b""
    while block := file.read(1 << 20):
        if _END in last + block:
            return True
        last = block[-1:]
    return False


def _content_without_end(file):
    """Give a file without what stands behind its pixels: zeros of the disk, half an end marker."""
    file.seek(0)
    content = file.read()
    pixels = content.rstrip(b"\0")
    if not pixels.endswith(b"\xff"):
        return pixels
    # With a zero behind it that byte is one of pixels.
    return pixels + b"\0" if len(content) > len(pixels) else pixels[:-1]


def _rows_of(content, mode, size):
    """Decode a JPEG, shrunk as another was; gives its pixels in bands."""
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    image.draft(mode, size)
    image.load()
    for band in bands(image.height, image.width):
        yield image.crop((0, band.start, image.width, band.stop)).tobytes()


def _refuse_missing(decoded):
    """Refuse a JPEG whose pixels end early.

    Decoders fill up what is missing in silence. Where nothing is, what stands between the last
    pixel and the end marker changes nothing; where something is, it does.
    """
    seen = []
    for parts in decoded:
        total = hashlib.sha256()
        for part in parts:
            total.update(part)
        seen.append(total.digest())
    if len(set(seen)) > 1:
        raise EOFError("its pixels end early")


def _from_imagecodecs_jpeg(file, header):
    """Decode JPEG of 12 bits, which Pillow does not.

    JPEG-LS and lossless JPEG are refused: on damaged files their decoders can take minutes.
    """
    if header.marker not in codestreams.DCT_FRAMES or header.bits != 12:
        raise Refused(_unsupported(codestreams.jpeg_kind(header)))
    import imagecodecs

    if _has_its_end(file, header):
        file.seek(0)
        array, notices = imagecodecs.jpeg_decode(file.read()), []
    else:
        content, notices = _content_without_end(file), [_NO_END]
        _refuse_missing([imagecodecs.jpeg_decode(content + tail)] for tail in _TAILS)
        array = imagecodecs.jpeg_decode(content + _END)
    if array.ndim == 3 and array.shape[2] != 3:
        raise Refused(_unsupported(f"a 12-bit JPEG of {array.shape[2]} channels"))
    picture = _from_bits(array, header.bits)
    picture.notices += notices
    return picture


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
    if bits < 8 * array.dtype.itemsize:
        picture.rows = stretched(array, bits)
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
    head = file.read(14 + 124)
    file.seek(0)
    image = BmpImagePlugin.BmpImageFile(file)
    check_size(*image.size)
    picture = _from_pillow(image)
    (size,) = struct.unpack_from("<I", head, 14)
    if size >= 108 and len(head) >= 14 + size:
        _take_bmp_colours(picture, head[14:], file)
    return picture


def _take_bmp_colours(picture, head, file):
    """Take the colours of a header of version 4 or 5 (BITMAPV5HEADER of Windows)."""
    (kind,) = struct.unpack_from("<I", head, 56)
    if kind == 0:
        *ends, red, green, blue = struct.unpack_from("<9i3I", head, 60)
        gamma = (red + green + blue) / 3 / 65536
        if gamma > 0:
            # From code values to light; some writers state the inverse.
            picture.gamma = 1 / gamma if gamma > 1 else gamma
        sums = [sum(ends[i : i + 3]) for i in (0, 3, 6)]
        if all(total > 0 for total in sums):
            # Their sum is the white by the standard, and is none where writers scale them to one.
            corners = [v / sums[i // 3] for i, v in enumerate(ends) if i % 3 != 2]
            picture.chromaticities = (0.3127, 0.3290, *corners)
    elif kind == int.from_bytes(b"MBED") and len(head) >= 124:
        offset, length = struct.unpack_from("<II", head, 112)
        file.seek(14 + offset)
        picture.icc = file.read(min(length, 16 << 20))
    elif kind == int.from_bytes(b"LINK"):
        picture.notices.append("The file's colour profile is in another file, and was not applied.")


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
    if _has_tone_map(file):
        picture.notices.append(_GAIN_MAP)
    return picture


def _has_tone_map(file):
    """Whether the brands of a HEIF file name a picture that is derived by a gain map."""
    file.seek(0)
    (size,) = struct.unpack(">I", file.read(4))
    return b"tmap" in file.read(min(size, 1 << 10))


def read_jpeg_2000(file: BinaryIO, check_size: Callable[..., None]) -> Decoded:
    header = codestreams.header(file)
    check_size(header.width, header.height, cost=codestreams.JPEG_2000_COST)
    file.seek(0)
    if header.bits == 8:
        image = Jpeg2KImagePlugin.Jpeg2KImageFile(file)
        check_size(
            *image.size, cost=codestreams.JPEG_2000_COST
        )  # That of the file around the stream, which may be another.
        picture = _from_pillow(image)
    else:
        import imagecodecs

        picture = _from_bits(imagecodecs.jpeg2k_decode(file.read()), header.bits)
    method, said = codestreams.jpeg_2000_colours(file)
    if method in (2, 3) and header.bits == 8:  # Of other depths the decoder applies it.
        picture.icc = said
    elif method == 5 and len(said) >= 4:
        picture.code_points = struct.unpack(">HH", said[:4])
    elif method == 1 and len(said) >= 4:
        (number,) = struct.unpack(">I", said[:4])
        if number not in _JPEG_2000_SPACES:
            picture.notices.append(
                f"The file's colour space (number {number} of JPEG 2000) is not known here and was "
                "not applied."
            )
    return picture


# Black and white, CMYK, sRGB, grey, and YCbCr of sRGB, which the decoders convert.
_JPEG_2000_SPACES = (0, 12, 15, 16, 17, 18)


def read_jpeg_xl(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    header = codestreams.header(file)
    check_size(header.width, header.height)
    import imagecodecs

    said = jpeg_xl.colours(file)
    if said.has_black:
        raise Refused(_unsupported("a CMYK JPEG XL"))
    is_jpeg = said.has_profile and codestreams.holds_jpeg(file)
    file.seek(0)
    content = file.read()
    if is_jpeg:
        # Its profile is in the JPEG that it was made of, and nowhere else within reach.
        return read_jpeg(io.BytesIO(imagecodecs.jpegxl_decode_jpeg(content)), check_size, None)
    # The decoder turns the picture upright.
    array = imagecodecs.jpegxl_decode(content, index=0)
    picture = _from_bits(array, 8 * array.dtype.itemsize)
    picture.is_premultiplied = picture.has_alpha and said.is_premultiplied
    if said.has_profile:
        picture.notices.append("The colour profile of a JPEG XL file cannot be read here.")
        return picture
    picture.chromaticities, picture.gamma = said.chromaticities, said.gamma
    if said.gamma is None:
        picture.code_points = (code_points.UNSPECIFIED, said.transfer)
    return picture


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
    kinds = image.info.get("aux") or ()
    if any("hdrgainmap" in str(kind) for kind in kinds) or _has_tone_map(file):
        picture.notices.append(_GAIN_MAP)
    if len(heif) > 1:
        picture.notices.append(FIRST_ONLY)
    return picture
