"""Write photos: encode them in the depth that the format holds, all of a file or nothing."""

import io
import logging
import os
import pathlib
import struct

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin, TiffTags

from keras_refocus.pictures import color, metadata
from keras_refocus.pictures.photo import FORMAT_OF_SUFFIX, FORMATS, Photo, bands
from keras_refocus.system import files

logger = logging.getLogger(__name__)


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
    encoder = _encoder(_format_to_write(path, format), photo, quality, keep_metadata, keep_gps)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder of `path` must exist. Received: path={str(path)!r}. Create it first."
        )
    if path.is_dir():
        raise IsADirectoryError(
            f"`path` must be a file. Received: path={str(path)!r}, which is a folder."
        )
    if not overwrite and path.exists():
        raise files.exists_error(path)

    with files.replacing(path, overwrite=overwrite) as temporary, temporary.open("x+b") as file:
        files.lock(file)
        notices = encoder(_Sink(file))
    for notice in notices:
        logger.warning("%s: %s", path, notice)
    return tuple(notices)


def encode(
    photo: Photo,
    *,
    format: str,
    quality: int = 95,
    keep_metadata: bool = False,
    keep_gps: bool = False,
) -> bytes:
    """Encode a photo as the content of a file, which `write` would write.

    Args:
        photo: What to encode.
        format: A name of `FORMATS`, in any case, or a suffix.
        quality: 1 to 100, for JPEG and WebP.
        keep_metadata: Whether EXIF is kept, as by `write`.
        keep_gps: Whether the position is kept too; needs `keep_metadata`.

    Returns:
        The content.

    Raises:
        ValueError: As by `write`.
    """
    encoder = _encoder(_format_to_write(None, format), photo, quality, keep_metadata, keep_gps)
    file = io.BytesIO()
    for notice in encoder(_Sink(file)):
        logger.warning("%s", notice)
    return file.getvalue()


def _encoder(format_name, photo, quality, keep_metadata, keep_gps):
    """What writes a photo to a file and gives notices; refuses what cannot be written."""
    encode, limit = _ENCODERS[format_name]
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
    exif = metadata.metadata_to_write(photo.metadata if keep_metadata else b"", keep_gps)
    return lambda file: encode(file, photo, exif, quality)


def _format_to_write(path, format):
    if format is None:
        if path.suffix.lower() not in FORMAT_OF_SUFFIX:
            raise ValueError(
                f"The suffix of `path` must be one of {', '.join(FORMAT_OF_SUFFIX)}. "
                f"Received: path={str(path)!r}. Use one of these, or say `format`."
            )
        return FORMAT_OF_SUFFIX[path.suffix.lower()]
    found = FORMAT_OF_SUFFIX.get("." + format.lower().removeprefix("."))
    if found is None:
        raise ValueError(
            f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}."
        )
    return found


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
    for band in bands(photo.height, photo.width):
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
    for band in bands(photo.height, photo.width):
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
    if metadata.RESOLUTION_UNIT not in exif:
        return {}
    factor = 2.54 if exif[metadata.RESOLUTION_UNIT] == 3 else 1.0
    return {"dpi": tuple(factor * float(exif[tag]) for tag in metadata.RESOLUTION)}


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
    resolution = [float(exif[tag]) for tag in metadata.RESOLUTION if tag in exif]
    kept_elsewhere = {
        *metadata.RESOLUTION,
        metadata.RESOLUTION_UNIT,
        metadata.SOFTWARE,
        *directories,
    }
    tags = []
    for tag in exif:
        if tag not in kept_elsewhere:
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
        software=exif.get(metadata.SOFTWARE, False),
        metadata=None,
        resolution=resolution or None,
        resolutionunit=exif.get(metadata.RESOLUTION_UNIT),
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
