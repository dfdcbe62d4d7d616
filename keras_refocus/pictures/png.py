"""Decode PNG: chunks here, pixels by libpng through imagecodecs.

libpng gets the chunks that make pixels and no others, so that no text or profile, however large,
stands in its way; it refuses pixels that end early, which Pillow shows as black.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import PngImagePlugin

from keras_refocus.pictures.decoded import FIRST_ONLY, Decoded, from_array, take_info

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_COLOURS = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP")
# What Pillow reads of metadata. EXIF is also found in text, as ImageMagick writes it.
_METADATA = (b"eXIf", b"pHYs")
_EXIF_TEXT = b"Raw profile type "
# Larger than any profile or EXIF that was seen, small beside a picture.
_MOST = 16 << 20


def read_png(file: BinaryIO, check_size: Callable[[int, int], None]) -> Decoded:
    pixels, found, metadata = [_SIGNATURE], {}, []
    data_size = 0
    for name, length in _chunks(file):
        if name == b"IHDR" and not found:
            body = _body(file, length)
            found[name] = body[8:-4]
            width, height, bits, kind = struct.unpack(">IIBB", body[8:18])
            check_size(width, height)
            channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 4)
            # Rows, each with a byte for its filter; no compression makes them twice as large.
            limit = 2 * height * (1 + (width * channels * bits + 7) // 8) + _MOST
            pixels.append(body)
        elif not found:
            raise ValueError("the first chunk is not the header")
        elif name in _PIXELS:
            data_size += length
            if data_size > limit:
                raise ValueError("there is far more data than pixels")
            pixels.append(_body(file, length))
        elif length <= _MOST and name in (*_COLOURS, *_METADATA, b"acTL", b"tEXt", b"zTXt"):
            try:
                body = _body(file, length)
            except EOFError:
                break  # The pixels came before.
            if name in _COLOURS or name == b"acTL":
                found.setdefault(name, body[8:-4])
            elif name in _METADATA or body[8:].startswith(_EXIF_TEXT):
                metadata.append(body)
    pixels.append(_chunk(b"IEND"))

    import imagecodecs

    content = b"".join(pixels)
    pixels.clear()
    array = imagecodecs.png_decode(content)
    del content
    if array.ndim == 2:
        array = array[..., np.newaxis]
    picture = from_array(
        array, "gray" if array.shape[2] < 3 else "rgb", has_alpha=array.shape[2] in (2, 4)
    )
    _take_metadata(picture, metadata)
    _take_colours(picture, found)
    if len(found.get(b"acTL", b"")) >= 4 and struct.unpack(">I", found[b"acTL"][:4])[0] > 1:
        picture.notices.append(FIRST_ONLY)
    return picture


def _chunks(file):
    """Names and lengths; whoever takes them may read on or not."""
    position = len(_SIGNATURE)
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return  # Without an end; whether the pixels are whole, the decoder says.
        length, name = struct.unpack(">I4s", head)
        if name == b"IEND":
            return
        file.seek(position)
        yield name, length
        position += 12 + length


def _body(file, length):
    """Give a chunk, from its length to its checksum."""
    body = file.read(12 + length)
    if len(body) < 12 + length:
        raise EOFError("the file ends inside a chunk")
    return body


def _chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _take_metadata(picture, chunks):
    """Let Pillow read what describes the picture, from a file of one pixel.

    Where it has not found EXIF it decodes the pixels, behind which there may be some.
    """
    if not chunks:
        return
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = _chunk(b"IDAT", zlib.compress(bytes(2)))
    content = _SIGNATURE + header + b"".join(chunks) + pixel + _chunk(b"IEND")
    try:
        take_info(picture, PngImagePlugin.PngImageFile(io.BytesIO(content)))
    except Exception as error:  # Damaged metadata must not cost the picture.
        picture.notices.append(f"The metadata is damaged and was left out ({error}).")


def _take_colours(picture, found):
    """Take what says most of the colours: cICP, then a profile, then sRGB, then gamma."""
    picture.icc = None
    if len(found.get(b"cICP", b"")) >= 4:
        primaries, transfer, matrix, is_full = found[b"cICP"][:4]
        picture.code_points = (primaries, transfer)
        picture.is_narrow = not is_full
        if matrix:
            picture.notices.append(
                f"The file's matrix {matrix} is not one of PNG, and was left out."
            )
        return
    if b"iCCP" in found:
        try:
            _, _, packed = found[b"iCCP"].partition(b"\0")
            unpacker = zlib.decompressobj()
            picture.icc = unpacker.decompress(packed[1:], _MOST)
            if not unpacker.eof:
                raise ValueError("it is cut off or too large")
        except (zlib.error, ValueError) as error:
            picture.icc = None
            picture.notices.append(f"The colour profile is damaged and was left out ({error}).")
    if b"sRGB" not in found:
        if len(found.get(b"gAMA", b"")) == 4:
            picture.gamma = struct.unpack(">I", found[b"gAMA"])[0] / 100_000
        if len(found.get(b"cHRM", b"")) == 32:
            picture.chromaticities = tuple(
                v / 100_000 for v in struct.unpack(">8I", found[b"cHRM"])
            )
