"""Read photos: tell the format, decode, and put colours, orientation and metadata right."""

import contextlib
import io
import logging
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from keras_refocus.pictures import decoders, metadata, png, srgb, staging, tiff
from keras_refocus.pictures.decoded import READABLE, Refused
from keras_refocus.pictures.photo import Photo

logger = logging.getLogger(__name__)


# Decoders keep a pointer for every row. No scanner or stitcher makes longer sides.
_LONGEST = 1_000_000


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
            is decoded, so that a small file cannot fill the memory. Of JPEG 2000, whose decoder
            takes twice the memory of others, half as many.
        enough: Of a picture of some height and width, what height and width are enough; `None`: all
            of it. A JPEG is then decoded at a half, a quarter or an eighth of its size if that is
            as much, in half the time. Shrinking it the rest of the way is the caller's.

    Returns:
        The photo, upright, in sRGB.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a picture of a format that is read (or HEIC, and pillow-heif is not
            installed), it is damaged or cut off, it has no pixels, more than `max_pixels`, a side
            of more than a million, or needs more memory than there is.
    """
    with _open(source) as (file, name):
        reader, kind = _identify(file, name)

        def check_size(width, height, *, cost=1):
            if width < 1 or height < 1:
                raise Refused(
                    "The picture must have at least one pixel. Received: "
                    f"source={name}, {width} x {height} pixels."
                )
            if max(width, height) > _LONGEST:
                raise Refused(
                    f"The picture must be at most {_LONGEST:,} pixels wide and high. Received: "
                    f"source={name}, {width} x {height} pixels. Cut it into parts."
                )
            if width * height * cost > max_pixels:
                most = f"at most {max_pixels:,} pixels"
                if cost > 1:
                    most += f", {kind} 1/{cost} of that: decoding takes {cost} times the memory"
                raise Refused(
                    f"The picture must have {most}. Received: "
                    f"source={name}, {width} x {height} = {width * height:,} pixels. "
                    "Make it smaller, or raise `max_pixels` if there is memory for it."
                )

        try:
            if reader is decoders.read_jpeg:
                picture = reader(file, check_size, enough)
            else:
                picture = reader(file, check_size)
            rgb, alpha = srgb.to_srgb(picture)
        except Refused as error:
            raise ValueError(str(error)) from None
        except MemoryError:
            raise ValueError(
                f"The picture must fit into the memory. Received: source={name}, for which there "
                "is not enough. Make it smaller, or close other programs."
            ) from None
        except Exception as error:
            # Decoders on damaged input raise whatever they stumble over: OSError, SyntaxError,
            # struct.error, KeyError and more. For the caller it is one thing.
            raise ValueError(
                f"The picture must be whole. Received: source={name}, a {kind} file that is "
                f"damaged or cut off ({type(error).__name__}: {error}). Get it again from where "
                "it came."
            ) from error
        return _photo(picture, rgb, alpha, kind, name)


def from_image(image: Image.Image) -> Photo:
    """Take over a picture that Pillow has in memory, as `read` does with that of a file.

    Args:
        image: Of any mode of Pillow: palettes, CMYK, YCbCr, Lab and the like become sRGB, an
            embedded profile and the orientation of EXIF are applied; the picture is left as it was.
            Mode `I` has values from 0 to 65535, mode `F` from 0 to 1.

    Returns:
        The photo, upright, in sRGB: 16 bits for grey of more than 8 bits, else 8.

    Raises:
        ValueError: It cannot be decoded, has no pixels, or values out of range.
    """
    name = repr(getattr(image, "filename", "") or type(image).__name__)
    if 0 in image.size:
        raise ValueError(
            "The picture must have at least one pixel. Received: "
            f"{name}, {image.width} x {image.height} pixels."
        )
    try:
        picture = decoders.from_image(image)
        rgb, alpha = srgb.to_srgb(picture)
    except Refused as error:
        raise ValueError(str(error)) from None
    except (OSError, SyntaxError) as error:  # What is decoded only now may be damaged.
        raise ValueError(f"The picture must be whole. Received: {name} ({error}).") from error
    return _photo(picture, rgb, alpha, image.format, name)


def _photo(picture, rgb, alpha, kind, name):
    exif, orientation = metadata.clean_exif(picture)
    if picture.orientation is not None:
        orientation = picture.orientation
    for notice in picture.notices:
        logger.warning("%s: %s", name, notice)
    return Photo(
        rgb=_upright(rgb, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        metadata=exif,
        format=kind,
        is_gray=picture.space == "gray",
        notices=tuple(picture.notices),
    )


class _Seen(BaseException):
    """Ends reading as soon as the size is known; no decoder catches it."""


def look(source: str | os.PathLike | bytes | BinaryIO) -> tuple[str, int, int]:
    """Tell what a file is by its head, without decoding a pixel.

    Args:
        source: As of `read`.

    Returns:
        Its format and its width and height in pixels as they are stored: a picture that has to be
        turned is turned by `read` only.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a picture of a format that is read, or its head is damaged.
    """
    with _open(source) as (file, name):
        reader, kind = _identify(file, name)
        size = []

        def see(width, height):
            size[:] = width, height
            raise _Seen

        try:
            if reader is decoders.read_jpeg:
                reader(file, see, None)
            else:
                reader(file, see)
        except _Seen:
            return kind, *size
        except Refused as error:
            raise ValueError(str(error)) from None
        except Exception as error:
            raise ValueError(
                f"The picture must be whole. Received: source={name}, a {kind} file whose head is "
                f"damaged or cut off ({type(error).__name__}). Get it again from where it came."
            ) from error
    raise ValueError(f"The picture must have a size. Received: source={name}, a {kind} file.")


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
        with staging.readable(path), path.open("rb") as file:
            yield file, repr(str(path))
    elif hasattr(source, "read"):
        if not isinstance(source.read(0), bytes):
            raise TypeError(
                "A file object must be opened for reading in binary mode. Received: one that gives "
                f"text, {type(source).__name__}. Open it with mode='rb'."
            )
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
    head = file.read(32)
    file.seek(0)
    if not head:
        raise ValueError(
            f"The picture must have content. Received: source={name}, which is empty (0 bytes)."
        )
    if head.startswith(b"\xff\xd8\xff"):
        return decoders.read_jpeg, "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return png.read_png, "PNG"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return tiff.read_tiff, "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return decoders.read_webp, "WebP"
    if head.startswith(b"GIF8"):
        return decoders.read_gif, "GIF"
    if head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        return decoders.read_jpeg_2000, "JPEG 2000"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return decoders.read_jpeg_xl, "JPEG XL"
    if head[4:8] == b"ftyp" and (head[8:12] in (b"avif", b"avis") or b"avif" in head[16:]):
        return decoders.read_avif, "AVIF"
    if head.startswith(b"BM"):
        return decoders.read_bmp, "BMP"
    if head[4:8] == b"ftyp" and head[8:12] in (
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
    ):  # fmt: skip
        return decoders.read_heic, "HEIC"
    raise ValueError(
        f"The file must be a {READABLE} picture. Received: source={name}, whose content starts "
        f"with {head[:8]!r} and is none of these, whatever its name says. Convert it first."
    )


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
