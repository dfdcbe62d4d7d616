"""From what the networks gave to what a visitor of the web page sees and downloads.

Nothing here runs the restorer or the colorizer: strength, saturation, blurred faces, metadata, the
visible mark and the format can be changed as often as one likes. What is looked at is made first,
at the size of a screen; work on all pixels of a large photo is for its file alone, which is written
when it is fetched, unless it is there already.
"""

import dataclasses
import datetime
import json
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

import cv2
import numpy as np

import keras_refocus
from keras_refocus.page import shakes
from keras_refocus.page.sessions import Picture, Session, SharedFile
from keras_refocus.page.words import Words
from keras_refocus.pictures import color, faces, images, provenance
from keras_refocus.restoration import pipeline, regions
from keras_refocus.restoration.hints import ColorHints
from keras_refocus.system import files

#: Pixels of the largest preview; a larger picture is shown reduced, and the page says so. Whoever
#: looks closer is shown that place in full (`closeups`).
PREVIEW_PIXELS = 3_000_000
#: Pixels of the first preview after a change: made in a fraction of a second.
SCREEN_PIXELS = 500_000
_THUMBNAIL = 96

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
        format: Format of the download, a name of `images.FORMATS`; `None` for that of the upload.
        quality: 1 to 100, for JPEG and WebP.
    """

    strength: float = 1.0
    saturation: float = 1.0
    blur_faces: bool = False
    remove_metadata: bool = True
    visible_mark: bool = False
    format: str | None = None
    quality: int = 95

    @property
    def look(self) -> tuple:
        """What is seen of it in the page."""
        return self.strength, self.saturation, self.blur_faces, self.visible_mark


def finish(session: Session, picture: Picture, settings: Finish, words: Words) -> None:
    """Make what is seen and fetched of a picture that has just got a result.

    Of a part of a large one that is the preview alone: who marks a part waits for it, and the file
    holds all of the picture.

    Args:
        session: Whose picture it is.
        picture: The picture; its `result` holds the stages.
        settings: What to make of it.
        words: The language of the details.

    Raises:
        ImportError: Faces are to be blurred and there is no detector.
        OSError: A file cannot be written.
        ValueError: A number is out of range, or the format cannot hold a picture of this size.
    """
    of_part = picture.result.options.region is not None
    show(session, picture, settings, words, quickly=of_part)
    offer(session, picture)
    if not of_part or is_quick(picture):
        write(session, picture, settings, words)


def is_quick(picture: Picture) -> bool:
    """Whether a picture is small enough to be shown in full at once."""
    return picture.result is not None and _pixels(picture.result) <= SCREEN_PIXELS


def is_first_look(picture: Picture) -> bool:
    """Whether a large picture is shown at the size of a screen so far."""
    return picture.is_done and picture.shown is not None and bool(picture.shown[-1])


def show(
    session: Session,
    picture: Picture,
    settings: Finish,
    words: Words,
    *,
    quickly: bool = False,
) -> None:
    """Write the previews of a picture in place of older ones, unless they are right already.

    Args:
        session: Whose picture it is.
        picture: A picture with a result.
        settings: What to make of it.
        words: The language of the details.
        quickly: Whether the size of a screen is enough.

    Raises:
        As `finish`.
    """
    with picture.work:
        result = session.recall(picture)
        quickly = quickly and _pixels(result) > SCREEN_PIXELS
        wanted = (settings.look, picture.hints, quickly)
        if picture.shown in (wanted, (*wanted[:2], False)):
            if picture.written != settings:
                picture.details = _details(picture, settings, words)
            return
        if settings.blur_faces and picture.faces is None:
            picture.faces = faces.detect(blended(picture, settings).as_photo().rgb)
        result = _for_preview(picture, settings, quickly=quickly)
        before, after = _looks(picture, result, settings)
        alpha = None if picture.result.photo is None else picture.result.photo.alpha
        new_before = _write_preview(session, before, alpha)
        new_after = _write_preview(session, after, alpha)
        new_thumbnail = _write_preview(session, after, alpha, side=_THUMBNAIL)
        session.drop_files([picture.before, picture.after, picture.thumbnail])
        picture.before, picture.after, picture.thumbnail = new_before, new_after, new_thumbnail
        picture.shown = wanted
        if picture.written != settings or not picture.details:
            picture.details = _details(picture, settings, words)


def hint(session: Session, picture: Picture, hints: ColorHints) -> None:
    """Take what a visitor says of the colours of a picture, in place of what was said before."""
    with picture.work:
        picture.hints = hints
        # The file that lies there has other colours.
        picture.written = None


def offer(session: Session, picture: Picture) -> None:
    """Offer the download of a picture, to be written when it is fetched."""
    if picture.download is None:
        picture.download, _ = session.new_file("", "", pictures=[picture])


def write(session: Session, picture: Picture, settings: Finish, words: Words) -> SharedFile:
    """Write the download of a picture, unless it is there already.

    Raises:
        As `finish`; and FileNotFoundError: the picture has been deleted meanwhile.
    """
    with picture.work:
        shared = session.find(picture.download)
        result = session.recall(picture)
        if shared is None or result is None:
            raise FileNotFoundError(2, "The picture has been deleted.")
        if picture.written == settings and shared.path.is_file():
            return shared
        result = blended(picture, settings)
        photo = result.as_photo()
        if settings.blur_faces and picture.faces is None:
            picture.faces = faces.detect(photo.rgb)
        _, after = _looks(picture, result, settings, before=False)
        colourised = "colorize" in result.stages
        metadata = b"" if settings.remove_metadata else photo.metadata
        if colourised:
            metadata = provenance.tag_colourised(metadata)
        photo = dataclasses.replace(photo, rgb=after, metadata=metadata)
        name = download_name(picture.name, photo.format, settings.format)
        suffix = PurePath(name).suffix
        path = session.reserve().with_suffix(suffix)
        notices = images.write(path, photo, quality=settings.quality, keep_metadata=bool(metadata))
        shared.path.unlink(missing_ok=True)
        shared.path, shared.name = path, name
        picture.written = settings
        notices = [*photo.notices, *notices]
        if not settings.format and photo.format and photo.format not in images.FORMATS:
            notices.append(words.say("written_as", format=photo.format))
        picture.record = _record(picture, shared, settings)
        picture.details = _details(picture, settings, words, notices) | {
            words.say("download"): size_words(path.stat().st_size),
            words.say("output_hash"): picture.record["output_sha256"],
        }
        return shared


def archive(
    session: Session,
    settings: Finish,
    words: Words,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write all results of a visitor, and the report of them, into the file of its archive.

    Raises:
        As `write`.
    """
    shared = session.find(session.archive)
    if shared is None:
        raise FileNotFoundError(2, "The pictures have been deleted.")
    done = [picture for picture in session.pictures if picture.is_done]
    taken: set[str] = {"report.json"}
    records = []
    # Stored: pictures do not get smaller.
    with files.replacing(shared.path) as part, zipfile.ZipFile(part, "w") as archived:
        for number, picture in enumerate(done):
            progress(number, len(done))
            written = write(session, picture, settings, words)
            name = _unused(written.name, taken)
            archived.write(written.path, name)
            records.append(picture.record | {"output": name})
        archived.writestr("report.json", report(records))
    shared.pictures = tuple(done)


def report(records: list[dict[str, Any]]) -> str:
    """Make the report of what was done, as `refocus restore --report` writes it."""
    content = {
        "program": f"keras_refocus {keras_refocus.__version__}",
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "files": records,
    }
    return json.dumps(content, indent=2) + "\n"


def download_name(name: str, format: str | None, wanted: str | None = None) -> str:
    """Make the name of a download: that of the upload, `_restored`, and the suffix of its format.

    Args:
        name: Name of the upload; may hold anything.
        format: Format of the upload, a name of `images.FORMATS` or another; `None` for PNG.
        wanted: Format of the download, if that is to be another.

    Returns:
        A name without folders, control characters or what a file system refuses.
    """
    given = PurePath(name.replace("\\", "/"))
    stem, suffix = given.stem, given.suffix
    allowed = _SUFFIXES.get(wanted or format, (".png",))
    suffix = suffix.lower() if suffix.lower() in allowed else allowed[0]
    stem = unicodedata.normalize("NFC", stem)
    stem = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in stem)
    stem = re.sub(r'[<>:"/\\|?*]', "_", stem)
    stem = re.sub(r"\s+", " ", stem).strip(" .")[:100] or "photo"
    return f"{stem}_restored{suffix}"


def size_words(size: float) -> str:
    """Say a number of bytes."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _pixels(result: pipeline.RestoreResult) -> int:
    height, width = result.planes.source.shape[:2]
    return height * width


def blended(picture: Picture, settings: Finish) -> pipeline.RestoreResult:
    """The result with these settings, which it keeps."""
    picture.result = reblended(picture.result, settings, picture.hints)
    return picture.result


def is_blended(picture: Picture, settings: Finish) -> bool:
    """Whether the result has these settings already."""
    return _has(picture.result, settings, _hints(picture.result, picture.hints))


def _has(result: pipeline.RestoreResult, settings: Finish, hints: ColorHints) -> bool:
    options = result.options
    have = options.strength, options.saturation, options.hints or ColorHints()
    return have == (settings.strength, settings.saturation, hints)


def _hints(result: pipeline.RestoreResult, hints: ColorHints) -> ColorHints:
    """A picture that was not coloured has its own colours, whatever was said of them earlier."""
    return hints if "colorize" in result.stages else ColorHints()


def reblended(
    result: pipeline.RestoreResult, settings: Finish, hints: ColorHints
) -> pipeline.RestoreResult:
    """Blend a result, or a part of one, again, unless it has these settings already."""
    hints = _hints(result, hints)
    if _has(result, settings, hints):
        return result
    return pipeline.reblend(
        result, strength=settings.strength, saturation=settings.saturation, hints=hints
    )


def _for_preview(picture: Picture, settings: Finish, *, quickly: bool) -> pipeline.RestoreResult:
    """The result with these settings, at the size of the screen or of the largest preview."""
    pixels = SCREEN_PIXELS if quickly else PREVIEW_PIXELS
    if _pixels(picture.result) <= pixels:
        return blended(picture, settings)
    if picture.result.options.region is not None:
        # Only the part is blended, so all of it is there at once.
        return _reduced(blended(picture, settings), pixels, with_stages=False)
    name = "small" if quickly else "medium"
    result = getattr(picture, name) or _reduced(picture.result, pixels)
    result = reblended(result, settings, picture.hints)
    setattr(picture, name, result)
    return result


def _reduced(
    result: pipeline.RestoreResult, pixels: int, *, with_stages: bool = True
) -> pipeline.RestoreResult:
    """A result at a smaller size, with all its stages or as it is."""
    planes = result.planes
    height, width = planes.source.shape[:2]
    scale = (pixels / (height * width)) ** 0.5
    size = max(int(height * scale), 1), max(int(width * scale), 1)

    def shrink(array):
        small = cv2.resize(array, size[::-1], interpolation=cv2.INTER_AREA)
        return small.reshape(*size, *array.shape[2:])

    smaller = dataclasses.replace(planes, source=shrink(planes.source))
    if with_stages:
        smaller = dataclasses.replace(
            smaller,
            restored=None if planes.restored is None else shrink(planes.restored),
            chroma=None if planes.chroma is None else planes.chroma.resized(size),
        )
    return dataclasses.replace(result, image=shrink(result.image), planes=smaller, photo=None)


def _looks(
    picture: Picture, result: pipeline.RestoreResult, settings: Finish, *, before: bool = True
) -> tuple[np.ndarray | None, np.ndarray]:
    """Both sides of the comparison, in RGB, as they may be seen."""
    after = result.as_photo().rgb
    source = result.planes.source if before else None
    if source is not None and source.ndim == 2:
        source = np.repeat(source[..., np.newaxis], 3, axis=-1)
    if settings.blur_faces:
        scale = after.shape[1] / picture.result.planes.source.shape[1]
        boxes = np.asarray(picture.faces) * scale
        # On both sides: whoever looks over the shoulder sees it too.
        after = faces.anonymize(after, boxes)
        source = None if source is None else faces.anonymize(source, boxes)
    if settings.visible_mark and "colorize" in result.stages:
        after = provenance.mark_colourised(after)
    return source, after


def _write_preview(
    session: Session, rgb: np.ndarray, alpha: np.ndarray | None, *, side: int | None = None
) -> str:
    """Write a preview; returns its token."""
    height, width = rgb.shape[:2]
    size = _preview_size(height, width)
    if side is not None:
        scale = min(1.0, side / max(height, width))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size != (width, height):
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    token, path = session.new_file(".png")
    path.write_bytes(encode_preview(rgb, alpha))
    return token


def encode_preview(rgb: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """Make a lossless PNG of 8 bits, transparent where the picture is.

    Args:
        rgb: Array of shape (height, width, 3).
        alpha: Array of shape (rows, columns) of any size, or `None`.
    """
    planes = [_eight_bits(rgb)[..., ::-1]]
    if alpha is not None:
        if alpha.shape != rgb.shape[:2]:
            alpha = cv2.resize(alpha, rgb.shape[1::-1], interpolation=cv2.INTER_AREA)
        planes.append(_eight_bits(alpha)[..., np.newaxis])
    # The quickest compression: the file goes to this browser and nowhere else.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, encoded = cv2.imencode(".png", np.concatenate(planes, axis=-1), options)
    return encoded.tobytes()


def _preview_size(height: int, width: int) -> tuple[int, int]:
    """Width and height of the largest preview of a picture."""
    scale = min(1.0, (PREVIEW_PIXELS / (height * width)) ** 0.5)
    return max(int(width * scale), 1), max(int(height * scale), 1)


def _eight_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    return color.from_float(color.to_float(array), np.uint8)


def _details(
    picture: Picture, settings: Finish, words: Words, notices: Iterable[str] = ()
) -> dict[str, str]:
    result, photo = picture.result, picture.result.photo
    done = [words.say("blur_removed")] * ("restore" in result.stages)
    if "colorize" in result.stages:
        done.append(words.say("coloured"))
    elif result.options.mode == "restore+colorize":
        done.append(words.say("own_colours"))
    height, width = result.image.shape[:2]
    seen = "a_grey_photo" if result.is_grayscale else "a_colour_photo"
    removed = "metadata_removed" if settings.remove_metadata else "metadata_kept"
    chosen = words.say("strength_is", strength=settings.strength, saturation=settings.saturation)
    if result.options.region is not None:
        left, top, *size = regions.bounds(result.options.region, (height, width))
        place = f"{size[0]} × {size[1]} + {left} + {top}"
        painted = isinstance(result.options.region, regions.Strokes)
        chosen += f", {words.say('in_painted' if painted else 'in_region', region=place)}"
    if picture.hints and "colorize" in result.stages:
        chosen += f", {words.count('one_hint', 'many_hints', len(picture.hints.hints))}"
    what = words.say("in_seconds", what=", ".join(done), seconds=picture.seconds)
    models = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    details = {
        words.say("detected"): words.say(seen),
        words.say("what_done"): what,
        words.say("size"): words.say("pixels", width=width, height=height, bits=photo.bits),
        words.say("models"): models,
        words.say("settings"): chosen,
        words.say("metadata"): words.say(removed),
    }
    if result.shake is not None:
        details[words.say("shake")] = shakes.said(result.shake, words)
    if settings.blur_faces:
        count = len(picture.faces)
        found = words.count("one_face", "many_faces", count) if count else words.say("no_faces")
        details[words.say("faces")] = words.say("faces_found", faces=found)
    details[words.say("input_hash")] = _hash_of_input(picture)
    notices = list(notices)
    shown = _preview_size(height, width)
    if shown != (width, height):
        notices.append(words.say("shown_at", width=shown[0], height=shown[1]))
    if notices:
        details[words.say("notes")] = " ".join(dict.fromkeys(notices))
    return details


def _hash_of_input(picture: Picture) -> str:
    if "input_sha256" not in picture.record:
        picture.record = {**picture.record, "input_sha256": files.sha256(picture.upload)}
    return picture.record["input_sha256"]


def _record(picture: Picture, shared: SharedFile, settings: Finish) -> dict[str, Any]:
    """What the report says of a picture, by the names of `refocus restore --report`."""
    result = picture.result
    height, width = result.image.shape[:2]
    shake = {} if result.shake is None else {"shake": result.shake.record()}
    return {
        "input": picture.name,
        "output": shared.name,
        "input_sha256": _hash_of_input(picture),
        "output_sha256": files.sha256(shared.path),
        "width": width,
        "height": height,
        "is_grayscale": result.is_grayscale,
        "stages": [*result.stages, *["blur_faces"] * settings.blur_faces],
        "model_versions": result.versions,
        "seconds": round(picture.seconds, 3),
        "options": result.options.record() | dataclasses.asdict(settings),
        **shake,
    }


def _unused(name: str, taken: set[str]) -> str:
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    number, unused = 2, name
    while unused.lower() in taken:
        number, unused = number + 1, f"{stem}_{number}{suffix}"
    taken.add(unused.lower())
    return unused
