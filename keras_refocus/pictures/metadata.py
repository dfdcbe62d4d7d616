"""Choose what is kept of EXIF: descriptions, authorship, dates, camera, exposure, position."""

from PIL import ExifTags, Image

from keras_refocus.pictures.decoded import Decoded

_ORIENTATION = 274
RESOLUTION = (282, 283)  # XResolution, YResolution; kept where they say something.
RESOLUTION_UNIT = 296
SOFTWARE = 305
# What is kept of EXIF: what is not listed is how the file was stored, or is not ours to rewrite.
KEPT_TAGS = (
    270,  # ImageDescription
    271,  # Make
    272,  # Model
    SOFTWARE,
    306,  # DateTime
    315,  # Artist
    316,  # HostComputer
    33432,  # Copyright
    *range(40091, 40096),  # XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject
)
COLOR_SPACE = 0xA001
#: Value of the colour space that some cameras write for Adobe RGB (1998).
ADOBE_RGB = 2
_INTEROPERABILITY = 0xA005
# Maker notes hold offsets that moving breaks; sizes and the interoperability block no longer hold.
_DROPPED_EXIF_TAGS = (0x927C, 0xA002, 0xA003, 0xA005)


def clean_exif(picture: Decoded) -> tuple[bytes, int]:
    """Give the EXIF that is kept, as bytes, and the orientation."""
    exif = picture.exif
    orientation = exif.get(_ORIENTATION, 1)
    try:
        kept = Image.Exif()
        for tag in KEPT_TAGS:
            if isinstance(exif.get(tag), str | bytes):
                kept[tag] = _raw(exif[tag])
        kept.update(_resolution_tags(exif, picture.dpi))
        details = _raw_directory(exif, ExifTags.IFD.Exif)
        for tag in _DROPPED_EXIF_TAGS:
            details.pop(tag, None)
        if details:
            details[COLOR_SPACE] = 1  # sRGB, now.
            kept[ExifTags.IFD.Exif] = details
        if position := _raw_directory(exif, ExifTags.IFD.GPSInfo):
            kept[ExifTags.IFD.GPSInfo] = position
        return (kept.tobytes() if len(kept) else b""), orientation
    except Exception as error:  # Damaged metadata must not cost the picture.
        picture.notices.append(f"The metadata is damaged and was left out ({error}).")
        return b"", orientation


def adobe_rgb(exif: Image.Exif) -> bool | None:
    """Whether EXIF says that colours are those of Adobe RGB (1998).

    By the interoperability index `R03` (DCF 2.0), or by 2 as the colour space, which some cameras
    write.

    Returns:
        `None` if EXIF says only that they are not those of sRGB.
    """
    try:
        details = exif.get_ifd(ExifTags.IFD.Exif)
        space = details.get(COLOR_SPACE)
        index = ""
        if _INTEROPERABILITY in details:
            index = (exif.get_ifd(ExifTags.IFD.Interop) or {}).get(1, "")
        if space == ADOBE_RGB or is_adobe_index(index):
            return True
        return None if space == 0xFFFF else False
    except Exception:  # Damaged metadata says nothing.
        return False


def is_adobe_index(index: object) -> bool:
    """Whether an interoperability index is that of Adobe RGB (DCF 2.0)."""
    return str(index).rstrip("\0 ") == "R03"


def _raw(value):
    """Undo Pillow's decoding of text beyond ASCII: it reads any byte, but writes question marks."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1")
    return value


def _raw_directory(exif, tag):
    return {name: _raw(value) for name, value in exif.get_ifd(tag).items()}


def _resolution_tags(exif, dpi):
    """Resolution in pixels per inch or centimetre, if the file says it in either."""
    unit = exif.get(RESOLUTION_UNIT, 2)
    values = [exif.get(tag) for tag in RESOLUTION]
    if None in values or unit not in (2, 3):
        values, unit = dpi or (0, 0), 2
    values = [float(value) for value in values]
    if not all(0 < value < 1e6 for value in values):
        return {}
    return {**dict(zip(RESOLUTION, values, strict=True)), RESOLUTION_UNIT: unit}


def metadata_to_write(metadata: bytes, keep_gps: bool) -> bytes:
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
