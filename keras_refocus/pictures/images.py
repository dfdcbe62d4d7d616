"""Read photos from files and write them back.

`read` gives a `Photo`: sRGB in the file's own depth, upright, with alpha and metadata apart,
whatever the file was: JPEG, PNG, TIFF, WebP, BMP, or HEIC where pillow-heif is installed. `write`
puts one into a file of the same depth, and either the whole file appears or nothing does.

What is converted on reading, and how exactly:

* An embedded ICC profile is converted to sRGB by LittleCMS, relative colorimetric with black point
  compensation. 16-bit pictures stay in 16 bits all the way (unoptimised float pipeline: about 0.5 s
  per megapixel). Colours outside sRGB are clipped to it. A profile that is sRGB to within half a
  level of 255 changes nothing.
* CMYK without a profile is converted by (1 - ink)(1 - black), with a notice: its colours are only
  roughly right.
* The EXIF orientation is applied.
* Of several pages or frames the first is read, with a notice.

Who does the work: Pillow reads and writes 8 bits; tifffile with imagecodecs reads and writes TIFF
of 8 and 16 bits, and imagecodecs 16-bit PNG, because Pillow keeps only the upper 8 bits of 16-bit
colour. Large pictures are converted a band of rows at a time: reading holds the decoder's copy and
ours, no more.
"""

import contextlib
import dataclasses
import importlib.util
import io
import logging
import os
import pathlib
import secrets
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    TiffTags,
    WebPImagePlugin,
)

from keras_refocus.pictures import color

logger = logging.getLogger(__name__)

#: Formats that can be written, and the usual suffix of each.
FORMATS = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WebP": ".webp", "BMP": ".bmp"}

_FORMAT_OF_SUFFIX = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".bmp": "BMP",
}

#: Suffixes, in lower case, of files that may be pictures for `read`. What counts is the content.
SUFFIXES = frozenset(_FORMAT_OF_SUFFIX) | {".heic", ".heif"}

# Pixels of a band, for conversions that need temporaries.
_BAND = 2_000_000

_READABLE = "JPEG, PNG, TIFF, WebP, BMP or HEIC"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A picture and what its file says about it.

    Attributes:
        rgb: sRGB, uint8 or uint16, of shape (height, width, 3), upright.
        alpha: Opacity, of the type of `rgb` and shape (height, width), colours not premultiplied
            by it; or `None`.
        metadata: EXIF of the file as bytes that start with `Exif`, empty if there is none. Kept are
            descriptions, authorship, dates, camera, exposure, resolution and position; orientation,
            thumbnails and maker notes are not.
        format: What the file was: a name of `FORMATS`, or `"HEIC"`; `None` if there was no file.
        is_gray: Whether the file stored one channel. `write` stores one again if the channels are
            still equal.
        notices: Sentences about what was left out or guessed while reading.

    Raises:
        TypeError: If `rgb` or `alpha` is not an array of these types.
        ValueError: If the shapes are others.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    metadata: bytes = b""
    format: str | None = None
    is_gray: bool = False
    notices: tuple[str, ...] = ()

    def __post_init__(self):
        for name, array in (("rgb", self.rgb), ("alpha", self.alpha)):
            if name == "alpha" and array is None:
                continue
            if getattr(array, "dtype", None) not in (np.uint8, np.uint16):
                raise TypeError(
                    f"`{name}` must be an array of uint8 or uint16. Received: {name} of type "
                    f"{getattr(array, 'dtype', type(array).__name__)}. Convert floats with "
                    "`color.from_float`."
                )
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or 0 in self.rgb.shape:
            raise ValueError(
                "`rgb` must be of shape (height, width, 3) with at least one pixel. "
                f"Received: rgb.shape={self.rgb.shape}."
            )
        if self.alpha is not None and (
            self.alpha.shape != self.rgb.shape[:2] or self.alpha.dtype != self.rgb.dtype
        ):
            raise ValueError(
                "`alpha` must have the height, width and type of `rgb`. Received: "
                f"alpha {self.alpha.dtype} {self.alpha.shape}, "
                f"rgb {self.rgb.dtype} {self.rgb.shape}."
            )

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 8 * self.rgb.dtype.itemsize


# Reading


@dataclasses.dataclass(kw_only=True)
class _Source:
    """A picture as its decoder gives it, before colours and orientation are put right."""

    height: int
    width: int
    space: str  # "gray", "rgb" or "cmyk": what the channels are, alpha not counted.
    has_alpha: bool
    rows: Callable[[int, int], np.ndarray]  # (top, bottom) -> (rows, width, channels)
    dtype: np.dtype
    exif: Image.Exif
    icc: bytes | None = None
    is_premultiplied: bool = False
    dpi: tuple[float, float] | None = None
    orientation: int | None = None  # `None`: as EXIF says.
    notices: list[str] = dataclasses.field(default_factory=list)


def read(
    source: str | os.PathLike | bytes | BinaryIO,
    *,
    max_pixels: int = 200_000_000,
    enough: Callable[[int, int], tuple[int, int]] | None = None,
) -> Photo:
    """Read a photo.

    Args:
        source: Path of the file; or its content, as bytes or as a file object opened for reading in
            binary mode.
        max_pixels: Most pixels that are decoded. The size is known, and refused, before any pixel
            is decoded, so that a small file cannot fill the memory.
        enough: Of a picture of some height and width, what height and width are enough; `None`: all
            of it. A JPEG is then decoded at a half, a quarter or an eighth of its size if that is
            as much, in half the time. Shrinking it the rest of the way is the caller's.

    Returns:
        The photo, upright, in sRGB.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a picture of a format that is read (or HEIC, and pillow-heif is not
            installed), it is damaged or cut off, it has no pixels, or more than `max_pixels`.
    """
    with _open(source) as (file, name):
        reader, kind = _identify(file, name)

        def check_size(width, height):
            if width < 1 or height < 1:
                raise _Refused(
                    "The picture must have at least one pixel. Received: "
                    f"source={name}, {width} x {height} pixels."
                )
            if width * height > max_pixels:
                raise _Refused(
                    f"The picture must have at most {max_pixels:,} pixels. Received: "
                    f"source={name}, {width} x {height} = {width * height:,} pixels. "
                    "Make it smaller, or raise `max_pixels` if there is memory for it."
                )

        try:
            if reader is _read_jpeg:
                picture = reader(file, check_size, enough)
            else:
                picture = reader(file, check_size)
            rgb, alpha = _to_srgb(picture)
        except _Refused as error:
            raise ValueError(str(error)) from None
        except MemoryError:
            raise
        except Exception as error:
            # Decoders on damaged input raise whatever they stumble over: OSError, SyntaxError,
            # struct.error, KeyError and more. For the caller it is one thing.
            raise ValueError(
                f"The picture must be whole. Received: source={name}, a {kind} file that is "
                f"damaged or cut off ({type(error).__name__}: {error}). Get it again from where "
                "it came."
            ) from error
        metadata, orientation = _clean_exif(picture)
        if picture.orientation is not None:
            orientation = picture.orientation
    for notice in picture.notices:
        logger.warning("%s: %s", name, notice)
    return Photo(
        rgb=_upright(rgb, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        metadata=metadata,
        format=kind,
        is_gray=picture.space == "gray",
        notices=tuple(picture.notices),
    )


class _Refused(Exception):
    """A reader will not have this file; to tell it from the errors of decoders."""


@contextlib.contextmanager
def _open(source) -> Iterator[tuple[BinaryIO, str]]:
    """Give a seekable file and a name for messages."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source), "bytes"
    elif isinstance(source, str | os.PathLike):
        path = pathlib.Path(source)
        if path.is_dir():
            raise ValueError(
                f"`source` must be a file. Received: source={str(path)!r}, which is a folder. "
                "Name the files in it one by one."
            )
        with path.open("rb") as file:
            yield file, repr(str(path))
    elif hasattr(source, "read"):
        # Decoders jump back and forth; what cannot is taken into memory.
        seekable = getattr(source, "seekable", lambda: False)()
        file = source if seekable else io.BytesIO(source.read())
        yield file, repr(getattr(source, "name", type(source).__name__))
    else:
        raise TypeError(
            "`source` must be a path, bytes or a file object. "
            f"Received: source of type {type(source).__name__}. Arrays need no reading."
        )


def _identify(file, name):
    """Tell the format from the first bytes; the name of a file proves nothing."""
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    if not head:
        raise ValueError(
            f"The picture must have content. Received: source={name}, which is empty (0 bytes)."
        )
    if head.startswith(b"\xff\xd8\xff"):
        return _read_jpeg, "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_png, "PNG"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _read_tiff, "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _read_webp, "WebP"
    if head.startswith(b"BM"):
        return _read_bmp, "BMP"
    if head[4:8] == b"ftyp" and head[8:12] in (
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
    ):  # fmt: skip
        return _read_heic, "HEIC"
    raise ValueError(
        f"The file must be a {_READABLE} picture. Received: source={name}, whose content starts "
        f"with {head[:8]!r} and is none of these, whatever its name says. Convert it first."
    )


# Readers: (file, check_size) -> _Source.

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


def _read_jpeg(file, check_size, enough):
    image = JpegImagePlugin.JpegImageFile(file)
    if enough is not None:
        check_size(*image.size)
        height, width = enough(image.height, image.width)
        image.draft(None, (width, height))
    return _from_pillow(image, check_size)


def _read_webp(file, check_size):
    image = WebPImagePlugin.WebPImageFile(file)
    return _from_pillow(image, check_size, is_first=getattr(image, "is_animated", False))


def _read_bmp(file, check_size):
    return _from_pillow(BmpImagePlugin.BmpImageFile(file), check_size)


def _read_png(file, check_size):
    image = PngImagePlugin.PngImageFile(file)
    is_first = getattr(image, "is_animated", False)
    file.seek(24)  # After the signature, and length, name, width and height of the first chunk.
    if file.read(1) != b"\x10":
        return _from_pillow(image, check_size, is_first=is_first)
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
    picture = _from_array(
        array, "gray" if array.shape[2] < 3 else "rgb", has_alpha=array.shape[2] in (2, 4)
    )
    _take_info(picture, image)
    if is_first:
        picture.notices.append(_FIRST_ONLY)
    return picture


_FIRST_ONLY = "The file holds several pictures; only the first was read."


def _from_pillow(image, check_size, *, is_first=False):
    check_size(*image.size)
    image.load()
    if image.mode not in _PILLOW_SPACES:
        raise _Refused(
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

    picture = _Source(
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
        picture.notices.append(_FIRST_ONLY)
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


def _from_array(array, space, *, has_alpha):
    return _Source(
        height=array.shape[0],
        width=array.shape[1],
        space=space,
        has_alpha=has_alpha,
        rows=lambda top, bottom: array[top:bottom],
        dtype=array.dtype,
        exif=Image.Exif(),
    )


def _read_tiff(file, check_size):
    import tifffile

    photometrics = tifffile.PHOTOMETRIC
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        check_size(page.imagewidth, page.imagelength)
        has_more = len(tiff.pages) > 1
        if 50706 in page.tags or page.photometric in (photometrics.CFA, photometrics.LINEAR_RAW):
            raise _Refused(
                f"The file must be a {_READABLE} picture. Received: a camera raw file. Develop it "
                "and save it as TIFF or PNG first."
            )
        if page.is_reduced:
            raise _Refused(
                "The first page of a TIFF file must be the picture. Received: a first page that "
                "is only a preview, as in camera raw files. Save it as an ordinary TIFF first."
            )
        is_odd = page.photometric == photometrics.PALETTE or page.bitspersample in (1, 2, 4)
        if is_odd and page.samplesperpixel == 1:
            picture = _from_odd_tiff(file, check_size)
        elif (
            page.bitspersample not in (8, 16)
            or page.sampleformat != tifffile.SAMPLEFORMAT.UINT
            or page.imagedepth != 1
        ):
            raise _Refused(
                "A TIFF file must hold unsigned integers of 8 or 16 bits a channel. Received: "
                f"{page.bitspersample} bits of {page.sampleformat!r}, {page.imagedepth} deep. "
                "Convert it first."
            )
        else:
            picture = _from_tiff_page(file, page)
        if has_more:
            picture.notices.append(_FIRST_ONLY)
        try:
            # The directory of a TIFF file is laid out as EXIF is.
            file.seek(0)
            picture.exif.load_from_fp(file)
            for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                picture.exif.get_ifd(directory)
        except Exception as error:  # Damaged metadata must not cost the picture.
            picture.exif = Image.Exif()
            picture.notices.append(f"The metadata is damaged and was left out ({error}).")
        return picture


def _from_odd_tiff(file, check_size):
    """Black and white, palettes and the like: Pillow knows them, through libtiff."""
    file.seek(0)
    image = TiffImagePlugin.TiffImageFile(file)
    picture = _from_pillow(image, check_size)
    picture.orientation = 1  # Pillow has applied it.
    return picture


def _from_tiff_page(file, page):
    import tifffile

    photometrics = tifffile.PHOTOMETRIC
    size = file.seek(0, os.SEEK_END)
    ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if not ends or max(ends) > size:
        raise EOFError(f"the pixels end at byte {max(ends, default=0)}, the file at {size}")
    array = page.asarray()
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        array = np.moveaxis(array, 0, -1)
    array = array.reshape(page.imagelength, page.imagewidth, -1)
    space, channels = {
        photometrics.MINISWHITE: ("gray", 1),
        photometrics.MINISBLACK: ("gray", 1),
        photometrics.RGB: ("rgb", 3),
        photometrics.YCBCR: ("rgb", 3),
        photometrics.SEPARATED: ("cmyk", 4),
    }.get(page.photometric, (None, 0))
    if space is None or array.shape[2] < channels:
        raise _Refused(
            "A TIFF file must be grey, RGB or CMYK. Received: "
            f"{page.photometric.name} with {array.shape[2]} channels. Convert it first."
        )
    if page.photometric == photometrics.MINISWHITE:
        array[..., :1] = np.iinfo(array.dtype).max - array[..., :1]
    # A further channel is alpha if the file says so, or says nothing at all.
    extra = page.extrasamples[:1]
    kinds = tifffile.EXTRASAMPLE
    has_alpha = array.shape[2] > channels and (
        not extra or extra[0] in (kinds.ASSOCALPHA, kinds.UNASSALPHA)
    )
    picture = _from_array(array[..., : channels + has_alpha], space, has_alpha=has_alpha)
    picture.is_premultiplied = has_alpha and bool(extra) and extra[0] == kinds.ASSOCALPHA
    picture.icc = page.iccprofile
    return picture


def _read_heic(file, check_size):
    if importlib.util.find_spec("pillow_heif") is None:
        raise _Refused(
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
    picture = _from_array(
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
        picture.notices.append(_FIRST_ONLY)
    return picture


# Colours and orientation


def _bands(height, width):
    rows = max(_BAND // width, 1)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _to_srgb(picture):
    """Give `(rgb, alpha)` of a source, band by band."""
    rgb = np.empty((picture.height, picture.width, 3), picture.dtype)
    alpha = np.empty(rgb.shape[:2], picture.dtype) if picture.has_alpha else None
    convert = _converter(picture)
    channels = {"gray": 1, "rgb": 3, "cmyk": 4}[picture.space]
    for band in _bands(picture.height, picture.width):
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


def _upright(array, orientation):
    turned = {
        2: lambda: array[:, ::-1],
        3: lambda: array[::-1, ::-1],
        4: lambda: array[::-1],
        5: lambda: array.swapaxes(0, 1),
        6: lambda: np.rot90(array, -1),
        7: lambda: array[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(array),
    }.get(orientation)
    return array if turned is None else np.ascontiguousarray(turned())


# Metadata

_ORIENTATION = 274
_RESOLUTION = (282, 283)  # XResolution, YResolution; kept where they say something.
_RESOLUTION_UNIT = 296
_SOFTWARE = 305
# What is kept of EXIF: what is not listed is how the file was stored, or is not ours to rewrite.
_KEPT_TAGS = (
    270,  # ImageDescription
    271,  # Make
    272,  # Model
    _SOFTWARE,
    306,  # DateTime
    315,  # Artist
    316,  # HostComputer
    33432,  # Copyright
    *range(40091, 40096),  # XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject
)
_COLOR_SPACE = 0xA001
# Maker notes hold offsets that moving breaks; sizes and the interoperability block no longer hold.
_DROPPED_EXIF_TAGS = (0x927C, 0xA002, 0xA003, 0xA005)


def _clean_exif(picture):
    """Give the EXIF that is kept, as bytes, and the orientation."""
    exif = picture.exif
    orientation = exif.get(_ORIENTATION, 1)
    try:
        kept = Image.Exif()
        for tag in _KEPT_TAGS:
            if isinstance(exif.get(tag), str | bytes):
                kept[tag] = _raw(exif[tag])
        kept.update(_resolution_tags(exif, picture.dpi))
        details = _raw_directory(exif, ExifTags.IFD.Exif)
        for tag in _DROPPED_EXIF_TAGS:
            details.pop(tag, None)
        if details:
            details[_COLOR_SPACE] = 1  # sRGB, now.
            kept[ExifTags.IFD.Exif] = details
        if position := _raw_directory(exif, ExifTags.IFD.GPSInfo):
            kept[ExifTags.IFD.GPSInfo] = position
        return (kept.tobytes() if len(kept) else b""), orientation
    except Exception as error:  # Damaged metadata must not cost the picture.
        picture.notices.append(f"The metadata is damaged and was left out ({error}).")
        return b"", orientation


def _raw(value):
    """Undo Pillow's decoding of text beyond ASCII: it reads any byte, but writes question marks."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1")
    return value


def _raw_directory(exif, tag):
    return {name: _raw(value) for name, value in exif.get_ifd(tag).items()}


def _resolution_tags(exif, dpi):
    """Resolution in pixels per inch or centimetre, if the file says it in either."""
    unit = exif.get(_RESOLUTION_UNIT, 2)
    values = [exif.get(tag) for tag in _RESOLUTION]
    if None in values or unit not in (2, 3):
        values, unit = dpi or (0, 0), 2
    values = [float(value) for value in values]
    if not all(0 < value < 1e6 for value in values):
        return {}
    return {**dict(zip(_RESOLUTION, values, strict=True)), _RESOLUTION_UNIT: unit}


def _metadata_to_write(metadata, keep_gps):
    exif = Image.Exif()
    if metadata:
        exif.load(metadata)
    kept = Image.Exif()
    directories = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
    for tag in exif:
        if tag not in directories:
            kept[tag] = _raw(exif[tag])
    for directory in directories[: 1 + keep_gps]:
        if content := _raw_directory(exif, directory):
            kept[directory] = content
    return kept


# Writing


def write(
    path: str | os.PathLike,
    photo: Photo,
    *,
    format: str | None = None,
    quality: int = 95,
    keep_metadata: bool = False,
    keep_gps: bool = False,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a photo to a file, all of it or nothing.

    The file is written under another name in the same folder, and takes its own name when it is
    complete. Depth and alpha are those of the photo where the format can hold them: PNG and TIFF
    hold everything; WebP 8 bits and alpha; JPEG and BMP 8 bits without alpha. 16 bits are rounded
    to 8, and transparent pixels laid on white, where they must be; the notices say so.

    Args:
        path: File to write. Its folder must exist.
        photo: What to write.
        format: A name of `FORMATS`, in any case; without it the suffix of `path` decides.
        quality: 1 to 100, for JPEG and WebP. From 90 on JPEG keeps chroma at full resolution.
        keep_metadata: Whether EXIF is written (not to BMP; XMP and IPTC never are). Without it the
            file holds pixels alone.
        keep_gps: Whether the position is written too; needs `keep_metadata`.
        overwrite: Whether a file of that name may be replaced.

    Returns:
        Sentences about what the format could not hold; empty if it holds everything.

    Raises:
        FileExistsError: There is a file of that name, and `overwrite` is off.
        FileNotFoundError: The folder does not exist.
        OSError: It cannot be written: the disk is full, or writing is not allowed. Nothing is left
            behind.
        ValueError: The format is unknown, `quality` out of range, `keep_gps` on without
            `keep_metadata`, or the picture larger than the format can hold.
    """
    path = pathlib.Path(path)
    encode, limit = _ENCODERS[format_name := _format_to_write(path, format)]
    if not 1 <= quality <= 100:
        raise ValueError(f"`quality` must be from 1 to 100. Received: quality={quality}.")
    if keep_gps and not keep_metadata:
        raise ValueError(
            "`keep_gps` needs `keep_metadata`. Received: keep_gps=True, keep_metadata=False. "
            "Switch both on to keep the position."
        )
    if max(photo.width, photo.height) > limit:
        raise ValueError(
            f"A {format_name} picture must be at most {limit} pixels wide and high. Received: "
            f"{photo.width} x {photo.height}. Choose PNG or TIFF."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder of `path` must exist. Received: path={str(path)!r}. Create it first."
        )
    if path.is_dir():
        raise IsADirectoryError(
            f"`path` must be a file. Received: path={str(path)!r}, which is a folder."
        )
    if not overwrite and path.exists():
        raise _already_there(path)

    metadata = _metadata_to_write(photo.metadata if keep_metadata else b"", keep_gps)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x+b") as file:
            notices = encode(_Sink(file), photo, metadata, quality)
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, path, overwrite=overwrite)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)  # A full disk does not say for which file it was full.
        raise
    finally:
        temporary.unlink(missing_ok=True)
    for notice in notices:
        logger.warning("%s: %s", path, notice)
    return tuple(notices)


def _format_to_write(path, format):
    if format is None:
        if path.suffix.lower() not in _FORMAT_OF_SUFFIX:
            raise ValueError(
                f"The suffix of `path` must be one of {', '.join(_FORMAT_OF_SUFFIX)}. "
                f"Received: path={str(path)!r}. Use one of these, or say `format`."
            )
        return _FORMAT_OF_SUFFIX[path.suffix.lower()]
    found = _FORMAT_OF_SUFFIX.get("." + format.lower().removeprefix("."))
    if found is None:
        raise ValueError(
            f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}."
        )
    return found


def _already_there(path):
    return FileExistsError(
        "A file must not be replaced unasked. Received: "
        f"path={str(path)!r}, which exists. Choose another name, or switch `overwrite` on."
    )


def _publish(temporary, path, *, overwrite):
    """Give a complete file its name, in one step."""
    if overwrite:
        temporary.replace(path)
        return
    try:
        # Fails if there is such a file by now, where replacing would not.
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise _already_there(path) from error
    except (OSError, NotImplementedError) as error:
        # A file system without hard links.
        if path.exists():
            raise _already_there(path) from error
        temporary.replace(path)


class _Sink:
    """A file without a descriptor.

    Encoders then write through Python, and a full disk is reported as what it is; through the
    descriptor they report only that encoding failed.
    """

    def __init__(self, file):
        self.read, self.write, self.flush = file.read, file.write, file.flush
        self.seek, self.tell = file.seek, file.tell


# Encoders: (file, photo, exif, quality) -> notices.


def _is_still_gray(photo):
    """Whether one channel is enough. A level of difference is rounding, not colour."""
    if not photo.is_gray:
        return False
    tolerance = {8: 1, 16: 4}[photo.bits]
    for band in _bands(photo.height, photo.width):
        rgb = photo.rgb[band].astype("int32")
        if (rgb.max(axis=-1) - rgb.min(axis=-1)).max() > tolerance:
            return False
    return True


def _interleaved(photo):
    """Put the channels of a photo, one or three, and alpha into one array."""
    colors = photo.rgb[..., 1:2] if _is_still_gray(photo) else photo.rgb
    if photo.alpha is None:
        return np.ascontiguousarray(colors)
    return np.concatenate([colors, photo.alpha[..., np.newaxis]], axis=-1)


def _to_pillow(photo, *, has_alpha):
    """Build a Pillow image of 8 bits, band by band; give it and notices."""
    notices = []
    is_gray = _is_still_gray(photo)
    if photo.bits == 16:
        notices.append("The format holds 8 bits a channel; the 16 of the picture were rounded.")
    writes_alpha = has_alpha and photo.alpha is not None
    flattens = not has_alpha and photo.alpha is not None
    if flattens and photo.alpha.min() == np.iinfo(photo.alpha.dtype).max:
        flattens = False  # Opaque all over: nothing is lost.
    if flattens:
        notices.append("The format holds no transparency; the picture was laid on white.")
    image = Image.new(("L" if is_gray else "RGB") + "A" * writes_alpha, (photo.width, photo.height))
    for band in _bands(photo.height, photo.width):
        pixels = photo.rgb[band][..., 1:2] if is_gray else photo.rgb[band]
        alpha = None if photo.alpha is None else photo.alpha[band][..., np.newaxis]
        if flattens:
            opacity = color.to_float(alpha)
            pixels = color.from_float(1.0 + opacity * (color.to_float(pixels) - 1.0), np.uint8)
        elif photo.bits == 16:
            pixels = color.from_float(color.to_float(pixels), np.uint8)
        if writes_alpha:
            alpha = color.from_float(color.to_float(alpha), np.uint8)
            pixels = np.concatenate([pixels, alpha], axis=-1)
        if pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        image.paste(Image.fromarray(np.ascontiguousarray(pixels)), (0, band.start))
    return image, notices


def _resolution(exif):
    """Option of Pillow's encoders for the resolution, in pixels per inch."""
    if _RESOLUTION_UNIT not in exif:
        return {}
    factor = 2.54 if exif[_RESOLUTION_UNIT] == 3 else 1.0
    return {"dpi": tuple(factor * float(exif[tag]) for tag in _RESOLUTION)}


def _exif_options(exif):
    return {"exif": exif.tobytes(), **_resolution(exif)} if len(exif) else {}


def _write_jpeg(file, photo, exif, quality):
    image, notices = _to_pillow(photo, has_alpha=False)
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"
    image.save(file, "JPEG", quality=quality, subsampling=subsampling, **_exif_options(exif))
    return notices


def _write_webp(file, photo, exif, quality):
    image, notices = _to_pillow(photo, has_alpha=True)
    # `exact` keeps the colours of transparent pixels.
    options = {"exif": exif.tobytes()} if len(exif) else {}
    image.save(file, "WEBP", quality=quality, exact=True, **options)
    return notices


def _write_bmp(file, photo, exif, quality):
    image, notices = _to_pillow(photo, has_alpha=False)
    image.save(file, "BMP", **_resolution(exif))
    if len(exif):
        notices.append("The format holds no metadata.")
    return notices


def _write_png(file, photo, exif, quality):
    if photo.bits == 8:
        image, notices = _to_pillow(photo, has_alpha=True)
        image.save(file, "PNG", **_exif_options(exif))
        return notices
    import imagecodecs

    array = _interleaved(photo)
    content = memoryview(imagecodecs.png_encode(array[..., 0] if array.shape[2] == 1 else array))
    header = 33  # Signature and first chunk; what describes the picture comes after it.
    file.write(content[:header])
    if len(exif):
        PngImagePlugin.putchunk(file, b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    file.write(content[header:])
    return []


def _write_tiff(file, photo, exif, quality):
    import tifffile

    array = _interleaved(photo)
    channels = array.shape[2]
    has_alpha = photo.alpha is not None
    directories = [tag for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) if tag in exif]
    resolution = [float(exif[tag]) for tag in _RESOLUTION if tag in exif]
    tags = []
    for tag in exif:
        if tag not in (*_RESOLUTION, _RESOLUTION_UNIT, _SOFTWARE, *directories):
            # Titles and comments of Windows are bytes, everything else is text.
            kind, count = ("B", len(exif[tag])) if tag >= 40091 else ("s", 0)
            tags.append((tag, kind, count, exif[tag], True))
    tifffile.imwrite(
        file,
        array[..., 0] if channels == 1 else array,
        byteorder="<",
        bigtiff=False,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if has_alpha else None,
        compression="deflate",
        predictor=True,
        rowsperstrip=max(1_000_000 // (photo.width * channels), 1),
        software=exif.get(_SOFTWARE, False),
        metadata=None,
        resolution=resolution or None,
        resolutionunit=exif.get(_RESOLUTION_UNIT),
        extratags=tags,
    )
    _append_directories(file, {tag: exif[tag] for tag in directories})
    return []


def _append_directories(file, directories):
    """Add directories of EXIF to a little-endian TIFF file of one page.

    tifffile writes no such pointers. So the directories are appended, after them a copy of the
    page's own directory with the pointers in it, and the header is led there.
    """
    if not directories:
        return
    file.seek(4)
    file.seek(struct.unpack("<I", file.read(4))[0])
    (count,) = struct.unpack("<H", file.read(2))
    entries = [file.read(12) for _ in range(count)]
    for tag, content in directories.items():
        directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\x08\0\0\0", group=tag)
        for name, value in content.items():
            directory[name] = value
        start = _append(file, directory.tobytes)
        entries.append(struct.pack("<HHII", tag, TiffTags.LONG, 1, start))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    page = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    start = _append(file, lambda start: page)
    file.seek(4)
    file.write(struct.pack("<I", start))


def _append(file, content_at):
    """Append what `content_at` gives for a position, on an even byte as TIFF wants it."""
    end = file.seek(0, os.SEEK_END)
    start = end + end % 2
    file.write(b"\0" * (start - end) + content_at(start))
    return start


# Format: encoder, and the longest side that the format can hold.
_ENCODERS = {
    "JPEG": (_write_jpeg, 65500),
    "PNG": (_write_png, 2**31 - 1),
    "TIFF": (_write_tiff, 2**31 - 1),
    "WebP": (_write_webp, 16383),
    "BMP": (_write_bmp, 2**31 - 1),
}
