"""Decode TIFF, a strip or tile at a time, with tifffile and imagecodecs.

Nothing is decoded whose size was not looked at first: that of the picture, of a strip or tile, of
the stream inside it where the codec has a header of its own, and how much a compressed strip may
become. The codecs that have no header are told how much room there is.
"""

import math
import os
import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from keras_refocus.pictures import codestreams, color, metadata
from keras_refocus.pictures.decoded import (
    FIRST_ONLY,
    READABLE,
    Decoded,
    Refused,
    from_array,
    stretched,
)

# Codes of compression (TIFF 6.0 and the registry of libtiff) whose decoders stop at a given size.
_BOUNDED = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000}
# JPEG in its kinds: decoded to RGB already.
_JPEG = {6, 7, 33007, 34892}
_JPEG_2000 = {33003, 33004, 33005, 34712}
# Codecs with a header of their own: JPEG 2000, PNG, WebP, JPEG XL.
_STREAMS = _JPEG_2000 | {34927, 34933, 50001, 50002, 52546}

# Room for a strip or tile beside the picture, however small that is.
_SEGMENT = 16 << 20


def read_tiff(file: BinaryIO, check_size: Callable[..., None]) -> Decoded:
    import tifffile

    photometrics = tifffile.PHOTOMETRIC
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        height, width = page.imagelength, page.imagewidth
        check_size(width, height)
        if page.compression in _JPEG_2000 and 4 * math.prod(_segment(page)) > height * width:
            check_size(width, height, cost=codestreams.JPEG_2000_COST)
        has_more = len(tiff.pages) > 1
        if 50706 in page.tags or page.photometric in (photometrics.CFA, photometrics.LINEAR_RAW):
            raise Refused(
                f"The file must be a {READABLE} picture. Received: a camera raw file. Develop it "
                "and save it as TIFF or PNG first."
            )
        if page.is_reduced:
            raise Refused(
                "The first page of a TIFF file must be the picture. Received: a first page that "
                "is only a preview, as in camera raw files. Save it as an ordinary TIFF first."
            )
        is_few = page.bitspersample in (1, 2, 4) and page.samplesperpixel == 1
        is_deep_jpeg = page.bitspersample == 12 and page.compression in _JPEG
        if (
            not (is_few or is_deep_jpeg or page.bitspersample in (8, 16))
            or page.sampleformat != tifffile.SAMPLEFORMAT.UINT
            or page.imagedepth != 1
        ):
            raise Refused(
                "A TIFF file must hold unsigned integers of 8 or 16 bits a channel. Received: "
                f"{page.bitspersample} bits of {_name(page.sampleformat)}, "
                f"{page.imagedepth} deep. "
                "Convert it first."
            )
        picture = _from_page(file, page)
        if has_more:
            picture.notices.append(FIRST_ONLY)
        try:
            file.seek(0)
            picture.orientation = _orientation(page)
            if tiff.is_bigtiff:
                picture.exif.load(_exif_of_bigtiff(file, tiff.byteorder))
            else:
                # The directory of a TIFF file is laid out as EXIF is.
                picture.exif.load_from_fp(file)
                for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                    picture.exif.get_ifd(directory)
        except Exception as error:  # Damaged metadata must not cost the picture.
            picture.exif = Image.Exif()
            picture.notices.append(f"The metadata is damaged and was left out ({error}).")
        return picture


def _name(value):
    """What tifffile calls a value of a tag; the number where it has no name for it."""
    return getattr(value, "name", value)


def _from_page(file, page):
    import tifffile

    photometrics, kinds = tifffile.PHOTOMETRIC, tifffile.EXTRASAMPLE
    space, channels = {
        photometrics.MINISWHITE: ("gray", 1),
        photometrics.MINISBLACK: ("gray", 1),
        photometrics.PALETTE: ("rgb", 1),
        photometrics.RGB: ("rgb", 3),
        photometrics.YCBCR: ("rgb", 3),
        photometrics.SEPARATED: ("cmyk", 4),
    }.get(page.photometric, (None, 0))
    if space is None or page.samplesperpixel < channels:
        raise Refused(
            "A TIFF file must be grey, RGB or CMYK. Received: "
            f"{_name(page.photometric)} with {page.samplesperpixel} channels. Convert it first."
        )
    # A further channel is alpha if the file says so, or says nothing at all.
    extra = page.extrasamples[:1]
    has_alpha = page.samplesperpixel > channels and (
        not extra or extra[0] in (kinds.ASSOCALPHA, kinds.UNASSALPHA)
    )
    is_ycbcr = _is_ycbcr(page)
    is_bare = is_ycbcr and page.compression in _BOUNDED
    subsampling = _subsampling(file, page) if is_bare else (1, 1)
    array = _pixels(file, page, channels + has_alpha, subsampling)
    picture = from_array(array, space, has_alpha=has_alpha)
    picture.is_premultiplied = has_alpha and bool(extra) and extra[0] == kinds.ASSOCALPHA
    picture.icc = page.iccprofile
    if page.photometric == photometrics.PALETTE:
        _look_up(picture, array, page)
    elif space == "gray":
        _stretch(picture, array, page, is_inverted=page.photometric == photometrics.MINISWHITE)
    elif is_ycbcr:
        _from_ycbcr(picture, array, page)
    elif page.bitspersample == 12:
        picture.rows = stretched(array, 12)
    return picture


def _segment(page):
    """Rows and columns of a strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(max(page.rowsperstrip, 1), page.imagelength), page.imagewidth


def _pixels(file, page, channels, subsampling):
    """Decode the first channels of a page; array of shape (height, width, channels)."""
    if page.compression not in _BOUNDED | _JPEG | _STREAMS:
        raise Refused(
            "The compression of a TIFF file must be of a kind that is read. Received: "
            f"{_name(page.compression)}, not supported. Save it with LZW, Deflate or none."
        )
    is_separate = int(page.planarconfig) == 2 and page.samplesperpixel > 1
    samples = 1 if is_separate else page.samplesperpixel
    height, width = page.imagelength, page.imagewidth
    rows, columns = _segment(page)
    if rows < 1 or columns < 1:
        raise ValueError("a tile has no pixels")
    itemsize = 2 if page.bitspersample == 16 else 1
    most = height * width * 4 * itemsize + _SEGMENT
    if rows * columns * samples * itemsize > most:
        raise Refused(
            "The strips or tiles of a TIFF file must be of the size of its picture at most. "
            f"Received: {columns} x {rows} pixels of {samples} channels in a picture of "
            f"{width} x {height}. Save it again as an ordinary TIFF."
        )
    count = math.ceil(height / rows) * math.ceil(width / columns)
    count *= channels if is_separate else 1
    size = file.seek(0, os.SEEK_END)
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))[:count]
    if len(places) < count or any(length < 1 for _, length in places):
        raise EOFError("strips or tiles are missing")
    if max(start + length for start, length in places) > size:
        raise EOFError(f"the pixels end after the file, which has {size} bytes")
    if max(length for _, length in places) > 2 * most:
        raise ValueError("a strip has far more data than pixels")

    array = None
    for index, (start, length) in enumerate(places):
        file.seek(start)
        data = file.read(length)
        if page.compression in _JPEG | _STREAMS:
            _check_stream(page, data, rows, columns)
        if subsampling != (1, 1):
            top = index // math.ceil(width / columns) * rows
            left = index % math.ceil(width / columns) * columns
            plane = 0
            # A tile is stored whole, the last strip as far as the picture goes.
            part = _from_units(
                page, data, rows if page.is_tiled else min(rows, height - top), columns, subsampling
            )
        else:
            part, (plane, _, top, left, _), _ = page.decode(
                data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader
            )
            part = part[0]
        del data
        part = part[: height - top, : width - left, : 1 if is_separate else channels]
        if array is None:
            if count == 1:
                return part if part.dtype.isnative else part.astype(part.dtype.newbyteorder("="))
            array = np.empty((height, width, channels), part.dtype.newbyteorder("="))
        bottom, right = top + part.shape[0], left + part.shape[1]
        array[top:bottom, left:right, plane : plane + part.shape[2]] = part
    return array


def _check_stream(page, data, rows, columns):
    """Refuse a stream in a strip or tile that holds more pixels than that has."""
    tables_only = page.compression == 6  # Old JPEG: the header may lie in tags.
    try:
        header = codestreams.header(data)
    except ValueError:
        if tables_only:
            raise Refused(
                "JPEG in a TIFF file must be of the newer kind. Received: the kind of 1992, "
                "without a header of its own. Convert it first."
            ) from None
        raise
    if page.compression in _JPEG and header.marker not in codestreams.DCT_FRAMES:
        raise Refused(
            "JPEG in a TIFF file must be of a kind that is read. Received: "
            f"{codestreams.jpeg_kind(header)}, not supported. Save it with LZW or Deflate."
        )
    if header.height > rows or header.width > columns:
        raise ValueError(
            f"a strip or tile of {columns} x {rows} pixels holds a picture of "
            f"{header.width} x {header.height}"
        )


def _orientation(page):
    """As EXIF has it, whatever type of number the writer took."""
    value = page.tags.valueof(274, 1)
    return value[0] if isinstance(value, bytes | tuple) and value else int(value)


# Few bits, palettes, YCbCr


def _stretch(picture, array, page, *, is_inverted):
    """Spread 1, 2 and 4 bits over 8; turn over what has white at zero."""
    picture.dtype = np.dtype("uint16" if page.bitspersample == 16 else "uint8")
    most = np.iinfo(picture.dtype).max
    factor = most // ((1 << page.bitspersample) - 1)

    def rows(top, bottom):
        band = array[top:bottom].astype(picture.dtype) * picture.dtype.type(factor)
        if is_inverted:
            band[..., :1] = most - band[..., :1]
        return band

    picture.rows = rows


def _look_up(picture, array, page):
    if page.colormap is None or page.colormap.shape != (3, 1 << page.bitspersample):
        raise ValueError("the palette does not fit the pixels")
    picture.dtype = np.dtype("uint16" if page.bitspersample == 16 else "uint8")
    # Palettes hold 16 bits by the standard; some writers fill in 8.
    is_wide = page.colormap.max() > np.iinfo("uint8").max
    shift = 8 if is_wide and picture.dtype == np.uint8 else 0
    palette = (page.colormap >> shift).astype(picture.dtype).T

    def rows(top, bottom):
        band = array[top:bottom]
        colors = palette[band[..., 0].astype("intp")]
        return np.concatenate([colors, band[..., 1:].astype(picture.dtype)], axis=-1)

    picture.rows = rows


# JPEG 2000 of Aperio's scanners, of which the code alone says that it is YCbCr.
_APERIO_YCBCR = 33003


def _is_ycbcr(page):
    """Whether what a decoder gives is YCbCr; of JPEG it is RGB already."""
    import tifffile

    says_so = page.photometric == tifffile.PHOTOMETRIC.YCBCR
    if page.compression in _JPEG or not (says_so or page.compression == _APERIO_YCBCR):
        return False
    if page.bitspersample != 8 or page.samplesperpixel != 3:
        raise Refused(
            "YCbCr in a TIFF file must have three channels of 8 bits. Received: "
            f"{page.samplesperpixel} channels of {page.bitspersample} bits. Convert it first."
        )
    return True


def _subsampling(file, page):
    """Luma pixels across and down to one of chroma; the standard says 2 and 2 if the file does not.

    Some writers leave it out where nothing is subsampled; the first strip or tile shows it.
    """
    across, down = page.tags.valueof(530, (1, 1) if _is_full(file, page) else (2, 2))
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise ValueError(f"chroma cannot be subsampled {across} by {down}")
    if (across, down) != (1, 1) and (page.predictor != 1 or int(page.planarconfig) != 1):
        raise Refused(
            "Subsampled YCbCr in a TIFF file must be stored without a predictor, channels "
            "together. Convert it first."
        )
    page.subsampling = (across, down)
    return across, down


def _is_full(file, page):
    """Whether the first strip or tile of a page has chroma for every pixel."""
    import tifffile

    if not page.dataoffsets or int(page.planarconfig) != 1:
        return True
    rows, columns = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    )
    size = 3 * rows * columns
    if size > 3 * page.imagelength * page.imagewidth + _SEGMENT:
        return False  # Which is refused where pixels are read.
    file.seek(page.dataoffsets[0])
    data = file.read(min(page.databytecounts[0], 2 * size + _SEGMENT))
    if page.compression != 1:
        data = tifffile.TIFF.DECOMPRESSORS[page.compression](data, out=size)
    return len(data) >= size


def _from_units(page, data, rows, columns, subsampling):
    """Decode subsampled YCbCr: units of some luma values, a Cb and a Cr (TIFF 6.0, section 21)."""
    import tifffile

    across, down = subsampling
    tall, wide = math.ceil(rows / down), math.ceil(columns / across)
    values = across * down + 2
    size = tall * wide * values
    if page.compression != 1:
        data = tifffile.TIFF.DECOMPRESSORS[page.compression](data, out=size)
    if len(data) < size:
        raise EOFError("a strip or tile ends early")
    units = np.frombuffer(data, "uint8", size).reshape(tall, wide, values)
    luma = units[..., :-2].reshape(tall, wide, down, across).swapaxes(1, 2)
    part = np.empty((tall * down, wide * across, 3), "uint8")
    part[..., 0] = luma.reshape(tall * down, wide * across)
    part[..., 1:] = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return part[:rows, :columns]


def _from_ycbcr(picture, array, page):
    """Convert to RGB by the file's own weights and ranges (TIFF 6.0, sections 20 and 21)."""
    red, green, blue = _ratios(page, 529) or (0.299, 0.587, 0.114)
    codes = _ratios(page, 532) or (0, 255, 128, 255, 128, 255)
    lows, highs = np.array(codes[::2], "float32"), np.array(codes[1::2], "float32")
    if not (highs > lows).all() or green <= 0:
        raise ValueError("the weights or ranges of YCbCr make no colours")
    # The highest code of chroma stands for 127 levels of 255 away from grey.
    spans = highs - lows
    spans[1:] /= 127 / np.iinfo("uint8").max

    def rows(top, bottom):
        luma, cb, cr = np.moveaxis((array[top:bottom] - lows) / spans, -1, 0)
        rgb = np.empty((*luma.shape, 3), "float32")
        rgb[..., 0] = luma + cr * (2 - 2 * red)
        rgb[..., 2] = luma + cb * (2 - 2 * blue)
        rgb[..., 1] = (luma - red * rgb[..., 0] - blue * rgb[..., 2]) / green
        return color.from_float(np.clip(rgb, 0.0, 1.0), np.uint8)

    picture.rows = rows


def _ratios(page, tag):
    """Values of a tag of fractions, or of numbers; `None` if the page has none."""
    if tag not in page.tags:
        return None
    entry = page.tags[tag]
    values = np.asarray(entry.value, "float64").ravel()
    if int(entry.dtype) == 5:
        values = values[::2] / np.maximum(values[1::2], 1)
    return tuple(float(value) for value in values)


# Metadata of BigTIFF, which Pillow reads in part

_VALUE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8, 13: 4, 16: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 9: "i", 13: "I", 16: "Q", 18: "Q"}


def _exif_of_bigtiff(file, order):
    """Give the EXIF of a BigTIFF file in the form that it has in other files."""
    file.seek(8)
    directory = _directory(file, order, struct.unpack(order + "Q", file.read(8))[0])
    exif = Image.Exif()
    for tag in (*metadata.KEPT_TAGS, *metadata.RESOLUTION, metadata.RESOLUTION_UNIT):
        if tag in directory:
            exif[tag] = directory[tag]
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if tag in directory:
            found = _directory(file, order, directory[tag])
            if (place := found.pop(ExifTags.IFD.Interop, None)) is not None:
                # Pillow writes no directory of interoperability; this says the same.
                if metadata.is_adobe_index(_directory(file, order, place).get(1)):
                    found[metadata.COLOR_SPACE] = metadata.ADOBE_RGB
            exif[tag] = found
    return exif.tobytes()


def _directory(file, order, position):
    file.seek(position)
    (count,) = struct.unpack(order + "Q", file.read(8))
    entries = [file.read(20) for _ in range(min(count, 1000))]
    found = {}
    for entry in entries:
        tag, kind, count = struct.unpack(order + "HHQ", entry[:12])
        size = count * _VALUE_SIZES.get(kind, 0)
        if not 0 < size <= 1 << 16:
            continue  # Of an unknown type, or as large as only pixels are.
        data = entry[12 : 12 + size]
        if size > 8:
            file.seek(struct.unpack(order + "Q", entry[12:])[0])
            data = file.read(size)
        found[tag] = _value(order, kind, count, data)
    return found


def _value(order, kind, count, data):
    if kind == 2:
        return data.rstrip(b"\0").decode("latin-1")
    if kind == 7 or (kind == 1 and count > 1):
        return data
    if kind in (5, 10):
        numbers = struct.unpack(f"{order}{2 * count}{'iI'[kind == 5]}", data)
        values = [
            TiffImagePlugin.IFDRational(a, b)
            for a, b in zip(numbers[::2], numbers[1::2], strict=True)
        ]
    else:
        values = struct.unpack(f"{order}{count}{_INTEGERS[kind]}", data)
    return values[0] if count == 1 else tuple(values)
