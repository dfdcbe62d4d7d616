"""What comes in: the names of files, and whether the page can take them.

A file is looked at as soon as it has arrived, by its head alone, so that whoever uploads it is told
at once and in words for people, not after pressing a button.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePath

from keras_refocus.page.words import Words
from keras_refocus.pictures import images

#: Formats as people name them, for messages.
FORMATS = "JPEG, PNG, TIFF, WebP, HEIC, AVIF, GIF, BMP, JPEG 2000, JPEG XL"

# What else people upload, by the beginning of the file: name of the sentence, and a test.
_KINDS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("kind_pdf", lambda head: head.startswith(b"%PDF")),
    ("kind_psd", lambda head: head.startswith(b"8BPS")),
    (
        "kind_archive",
        lambda head: head.startswith((b"PK\3\4", b"Rar!", b"7z\xbc", b"\x1f\x8b")),
    ),
    ("kind_video", lambda head: head[4:8] == b"ftyp" or head.startswith(b"\x1a\x45\xdf\xa3")),
    ("kind_video", lambda head: head.startswith(b"RIFF") and head[8:11] == b"AVI"),
    ("kind_sound", lambda head: head.startswith((b"ID3", b"OggS", b"fLaC"))),
    ("kind_sound", lambda head: head.startswith(b"RIFF") and head[8:12] == b"WAVE"),
    ("kind_raw", lambda head: head.startswith((b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\0"))),
    ("kind_program", lambda head: head.startswith((b"MZ", b"\x7fELF", b"#!"))),
    ("kind_svg", lambda head: b"<svg" in head.lower()),
    ("kind_text", lambda head: _is_text(head)),
)
_RAW_SUFFIXES = frozenset(".cr2 .cr3 .nef .arw .dng .orf .rw2 .pef .raf .srw".split())


class Unwanted(ValueError):
    """A file that the page does not take; the message says why to whoever uploaded it."""


def clean_name(name: str) -> str:
    """Make the name of an upload fit to be shown and to name a download by.

    Args:
        name: As the browser gives it; may hold anything.

    Returns:
        The name without folders, control characters and dots at its beginning.
    """
    name = PurePath(unicodedata.normalize("NFC", name).replace("\\", "/")).name
    name = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in name)
    return re.sub(r"\s+", " ", name).strip().lstrip(".").strip()[-150:] or "photo"


def is_leaving(name: str) -> bool:
    """Whether a file of this name is what macOS leaves beside a photo on foreign disks."""
    return PurePath(name.replace("\\", "/")).name.startswith("._")


def check(
    path: Path, name: str, *, max_pixels: int, words: Words, videos: bool = False
) -> tuple[int, int]:
    """Look at an upload; returns its width and height as they are stored.

    Args:
        path: The file.
        name: Its name, which tells raw files of cameras.
        max_pixels: Pixels of the largest photo that is accepted.
        words: The language to refuse it in.
        videos: Whether the page takes videos, elsewhere.

    Raises:
        Unwanted: The page cannot take it.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise Unwanted(words.say("is_empty"))
    if PurePath(name).suffix.lower() in _RAW_SUFFIXES:
        raise Unwanted(words.say("is_kind", kind=words.say("kind_raw"), formats=FORMATS))
    try:
        _, width, height = images.look(path)
    except ValueError as error:
        said = str(error)
        if said.startswith("The picture must"):
            # It is one of a format that is read, and damaged or of a kind that is not supported.
            supported = "not supported" not in said
            message = words.say("is_damaged") if supported else _without_place(said)
            raise Unwanted(message) from None
        for kind, fits in _KINDS:
            if fits(head):
                if videos and kind == "kind_video":
                    raise Unwanted(words.say("is_video")) from None
                message = words.say("is_kind", kind=words.say(kind), formats=FORMATS)
                raise Unwanted(message) from None
        if "pillow-heif" in said:
            raise Unwanted(_without_place(said)) from None
        raise Unwanted(words.say("is_unknown", formats=FORMATS)) from None
    if width * height > max_pixels:
        size = width * height / 1e6
        raise Unwanted(
            words.say(
                "is_large",
                size=_megapixels(size),
                most=_megapixels(max_pixels / 1e6),
                suggested=math.ceil(size),
            )
        )
    return width, height


def too_heavy(most: int, size: int | None, words: Words, *, flag: str = "--max-upload-mb") -> str:
    """Say that a file has too many bytes."""
    suggested = math.ceil((size or 2 * most) / 1e6)
    return words.say(
        "is_heavy",
        size=f"{(size or most) / 1e6:.3g} MB" if size else f"> {most / 1e6:.3g} MB",
        most=f"{most / 1e6:.3g} MB",
        suggested=suggested,
        flag=flag,
    )


def _megapixels(size: float) -> str:
    return f"{size:,.0f}" if size >= 10 else f"{size:.2g}"


def _without_place(said: str) -> str:
    """A message of the reader without the path of the upload."""
    return re.sub(r"source='[^']*', ", "", said)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # Not merely cut in the middle of a letter.
            return False
        text = head[: error.start].decode("utf-8")
    return all(c.isprintable() or c.isspace() for c in text)
