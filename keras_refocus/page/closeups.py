"""A place of a large photo in full, for who looks closer than the preview goes.

The preview of a large photo is reduced. Whoever zooms in is shown the pixels of that place, blended
for the occasion: work that depends on what is seen of a photo, not on how large it is.
"""

import dataclasses

import cv2
import numpy as np

from keras_refocus.page import finishing
from keras_refocus.page.sessions import Picture, Session
from keras_refocus.pictures import faces
from keras_refocus.restoration import pipeline

#: Pixels of the photo that one closeup may show.
MOST_PIXELS = 4_000_000

Box = tuple[int, int, int, int]


def draw(
    session: Session,
    picture: Picture,
    settings: finishing.Finish,
    box: Box,
    *,
    before: bool,
    width: int | None = None,
) -> bytes | None:
    """Draw a place of one side of the comparison.

    Args:
        session: Whose picture it is.
        picture: A picture with a result.
        settings: What to make of it.
        box: Left, top, width and height of the place in pixels of the photo.
        before: Whether of the input, otherwise of the result.
        width: Pixels that it is shown at; it is reduced to them if they are fewer.

    Returns:
        A lossless PNG of 8 bits; `None` where the preview has to do: where a face is made
        unrecognisable, of which a part alone would show more, and where the picture is marked.

    Raises:
        FileNotFoundError: The picture has been deleted meanwhile.
        ValueError: The place is none of the photo, or too large.
    """
    with picture.work:
        result = session.recall(picture)
        if result is None:
            raise FileNotFoundError(2, "The picture has been deleted.")
        rows, columns = _place(box, result.planes.source.shape[:2])
        if not _may_be_seen(picture, settings, rows, columns):
            return None
        if before:
            rgb = result.planes.source[rows, columns]
        else:
            rgb = _blended(picture, settings, rows, columns)
        alpha = None if result.photo is None else result.photo.alpha
        alpha = None if alpha is None else alpha[rows, columns]
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., np.newaxis], 3, axis=-1)
    height = rgb.shape[0]
    if width is not None and 0 < width < rgb.shape[1]:
        height = max(round(height * width / rgb.shape[1]), 1)
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return finishing.encode_preview(rgb, alpha)


def _place(box: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a place."""
    left, top, width, height = box
    right, bottom = min(left + width, size[1]), min(top + height, size[0])
    left, top = max(left, 0), max(top, 0)
    if right <= left or bottom <= top or (right - left) * (bottom - top) > MOST_PIXELS:
        raise ValueError(
            f"A closeup must lie in the photo and show at most {MOST_PIXELS:,} pixels of it. "
            f"Received: {box}, and a photo of {size[1]} x {size[0]} pixels. Ask for less."
        )
    return slice(top, bottom), slice(left, right)


def _may_be_seen(picture: Picture, settings: finishing.Finish, rows: slice, columns: slice) -> bool:
    if settings.visible_mark and "colorize" in picture.result.stages:
        return False
    if not settings.blur_faces:
        return True
    if picture.faces is None:  # They are being looked for.
        return False
    size = picture.result.planes.source.shape[:2]
    return not faces.covered(size, picture.faces)[rows, columns].any()


def _blended(
    picture: Picture, settings: finishing.Finish, rows: slice, columns: slice
) -> np.ndarray:
    """The result at a place, in RGB; the rest is not blended for it."""
    result, planes = picture.result, picture.result.planes
    if result.options.region is not None or finishing.is_blended(picture, settings):
        image = finishing.blended(picture, settings).image[rows, columns]
        return dataclasses.replace(result, image=image, photo=None).as_photo().rgb
    part = dataclasses.replace(
        planes,
        source=planes.source[rows, columns],
        restored=None if planes.restored is None else planes.restored[rows, columns],
        chroma=None if planes.chroma is None else planes.chroma.part(rows, columns),
    )
    here: pipeline.RestoreResult = dataclasses.replace(
        result, image=result.image[rows, columns], planes=part, photo=None
    )
    return finishing.reblended(here, settings, picture.hints).as_photo().rgb
