"""From what the networks gave to what a visitor of the web page sees and downloads.

Nothing here runs the restorer or the colorizer: strength, saturation, blurred faces, metadata and
the visible mark can be changed as often as one likes.
"""

import dataclasses
import re
import unicodedata
import zipfile
from pathlib import PurePath

import cv2
import numpy as np

from keras_refocus.page.sessions import Picture, Session
from keras_refocus.pictures import color, faces, images, provenance
from keras_refocus.restoration import pipeline

#: Pixels of the largest preview; a larger picture is shown reduced, and the page says so.
PREVIEW_PIXELS = 25_000_000

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WebP": (".webp",),
    "BMP": (".bmp",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finish:
    """What can be changed without running the networks again.

    Attributes:
        strength: How much of the restoration to take, 0 to 1.
        saturation: Factor on the chroma, 0 to 1.5.
        blur_faces: Whether faces are made unrecognisable.
        remove_metadata: Whether camera, date and author are left out. The position always is.
        visible_mark: Whether a colourised picture says so in its corner.
    """

    strength: float = 1.0
    saturation: float = 1.0
    blur_faces: bool = False
    remove_metadata: bool = True
    visible_mark: bool = False


def finish(session: Session, picture: Picture, settings: Finish) -> None:
    """Write previews and download of a picture that has a result, in place of older ones.

    Args:
        session: Whose picture it is.
        picture: The picture; its `result` holds the stages.
        settings: What to make of it.

    Raises:
        ImportError: Faces are to be blurred and there is no detector.
        OSError: A file cannot be written.
        ValueError: A number is out of range, or the format cannot hold a picture of this size.
    """
    result = picture.result
    options = result.options
    if (options.strength, options.saturation) != (settings.strength, settings.saturation):
        result = pipeline.reblend(
            result, strength=settings.strength, saturation=settings.saturation
        )
        picture.result = result
    photo = result.as_photo()
    colourised = "colorize" in result.stages
    before, after = result.planes.source, photo.rgb
    if settings.blur_faces:
        if picture.faces is None:
            picture.faces = faces.detect(after)
        # On both sides of the comparison: whoever looks over the shoulder sees it too.
        before, after = faces.blur(before, picture.faces), faces.blur(after, picture.faces)
    if colourised and settings.visible_mark:
        after = provenance.mark_colourised(after)
    metadata = b"" if settings.remove_metadata else photo.metadata
    if colourised:
        metadata = provenance.tag_colourised(metadata)
    photo = dataclasses.replace(photo, rgb=after, metadata=metadata)

    name = download_name(picture.name, photo.format)
    suffix = PurePath(name).suffix
    token, path = session.new_file(suffix, name, pictures=[picture])
    notices = images.write(path, photo, keep_metadata=bool(metadata))
    new_before, shown = _write_preview(session, before)
    new_after, _ = _write_preview(session, after)
    session.drop_files([picture.download, picture.before, picture.after])
    picture.download, picture.before, picture.after = token, new_before, new_after
    picture.details = _details(picture, photo, path.stat().st_size, settings)
    notices = [*photo.notices, *notices]
    if shown != photo.rgb.shape[:2]:
        notices.append(f"Shown at {shown[1]} × {shown[0]}; the download has full size.")
    if photo.format is not None and photo.format not in images.FORMATS:
        notices.append(f"{photo.format} cannot be written; the download is PNG.")
    if notices:
        picture.details["Notes"] = " ".join(notices)


def archive(session: Session) -> str:
    """Write all results of a visitor into one zip file; returns its token.

    Raises:
        OSError: It cannot be written.
    """
    done = [picture for picture in session.pictures if picture.download]
    token, path = session.new_file(".zip", "restored.zip", pictures=done)
    taken = set()
    with zipfile.ZipFile(path, "w") as archived:  # Stored: pictures do not get smaller.
        for picture in done:
            shared = session.find(picture.download)
            archived.write(shared.path, _unused(shared.name, taken))
    return token


def download_name(name: str, format: str | None) -> str:
    """Make the name of a download: that of the upload, `_restored`, and the suffix of its format.

    Args:
        name: Name of the upload; may hold anything.
        format: Format of the upload, a name of `images.FORMATS` or another; `None` for PNG.

    Returns:
        A name without folders, control characters or what a file system refuses.
    """
    given = PurePath(name.replace("\\", "/"))
    stem, suffix = given.stem, given.suffix
    allowed = _SUFFIXES.get(format, (".png",))
    suffix = suffix.lower() if suffix.lower() in allowed else allowed[0]
    stem = unicodedata.normalize("NFC", stem)
    stem = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in stem)
    stem = re.sub(r'[<>:"/\\|?*]', "_", stem)
    stem = re.sub(r"\s+", " ", stem).strip(" .")[:100] or "photo"
    return f"{stem}_restored{suffix}"


def size_words(size: int) -> str:
    """Say a number of bytes."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _unused(name: str, taken: set[str]) -> str:
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    number, unused = 2, name
    while unused.lower() in taken:
        number, unused = number + 1, f"{stem}_{number}{suffix}"
    taken.add(unused.lower())
    return unused


def _write_preview(session: Session, rgb: np.ndarray) -> tuple[str, tuple[int, int]]:
    """Write a lossless preview of 8 bits; returns its token and size."""
    height, width = rgb.shape[:2]
    scale = min(1.0, (PREVIEW_PIXELS / (height * width)) ** 0.5)
    if scale < 1:
        size = max(int(width * scale), 1), max(int(height * scale), 1)
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    if rgb.dtype != np.uint8:
        rgb = color.from_float(color.to_float(rgb), np.uint8)
    token, path = session.new_file(".png")
    # The quickest compression: the file goes to this browser and nowhere else.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    path.write_bytes(encoded)
    return token, rgb.shape[:2]


def _details(picture: Picture, photo: images.Photo, size: int, settings: Finish) -> dict[str, str]:
    result = picture.result
    done = ["blur removed"] * ("restore" in result.stages)
    if "colorize" in result.stages:
        done.append("coloured")
    elif result.options.mode == "restore+colorize":
        done.append("its own colours kept")
    details = {
        "Detected": "a grey photo" if result.is_grayscale else "a colour photo",
        "Done": f"{', '.join(done)}, in {picture.seconds:.1f} s",
        "Size": f"{photo.width} × {photo.height} pixels, {photo.bits} bits a channel",
        "Models": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        "Metadata": "removed" if settings.remove_metadata else "kept, but for the place",
        "Download": size_words(size),
    }
    if settings.blur_faces:
        count = len(picture.faces)
        found = "1 face" if count == 1 else f"{count or 'no'} faces"
        details["Faces"] = f"{found} found and blurred. Some are missed: look at the picture."
    return details
