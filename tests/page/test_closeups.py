"""A place of a large photo in full: right to the pixel, and no more work than it shows."""

import io

import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page import closeups, finishing
from keras_refocus.page.finishing import Finish
from keras_refocus.page.words import Words
from keras_refocus.pictures import color, images
from keras_refocus.restoration import pipeline
from keras_refocus.restoration.hints import ColorHints

BOX = (60, 30, 50, 40)
PLACE = np.s_[30:70, 60:110]


@pytest.fixture(autouse=True)
def small_previews(monkeypatch):
    monkeypatch.setattr(finishing, "SCREEN_PIXELS", 500)
    monkeypatch.setattr(finishing, "PREVIEW_PIXELS", 2000)


def restored(session, *, gray=False, **options):
    rng = np.random.default_rng(0)
    small = Image.fromarray((60 + 120 * rng.random((8, 10, 3))).astype(np.uint8))
    rgb = np.asarray(small.resize((200, 120), Image.BICUBIC))
    if gray:
        rgb = np.repeat(rgb[..., :1], 3, axis=-1)
    path = session.reserve()
    path.write_bytes(b"upload")
    picture = session.add(path, "a.png")
    picture.result = pipeline.Restorer(ArithmeticEngine("restorer", "colorizer")).restore(
        images.Photo(rgb=rgb, format="PNG"), pipeline.RestoreOptions(**options), keep_stages=True
    )
    return picture


def closeup(session, picture, settings=None, box=BOX, **options):
    content = closeups.draw(session, picture, settings or Finish(), box, before=False, **options)
    return None if content is None else np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(
    "settings",
    [Finish(), Finish(strength=0.4), Finish(saturation=0.0), Finish(strength=0.7, saturation=1.3)],
)
@pytest.mark.parametrize("mode", ["restore", "colorize"])
def test_it_shows_what_the_download_will_hold(session, settings, mode):
    picture = restored(session, gray=mode == "colorize", mode=mode)
    seen = closeup(session, picture, settings)
    # The whole is blended for the download only.
    assert picture.result.options.strength == picture.result.options.saturation == 1
    whole = finishing.blended(picture, settings).image
    np.testing.assert_array_equal(seen, whole[PLACE])
    np.testing.assert_array_equal(closeup(session, picture, settings), whole[PLACE])


def test_the_other_side_is_the_input_and_both_are_reduced_to_the_screen(session):
    picture = restored(session)
    content = closeups.draw(session, picture, Finish(), BOX, before=True)
    seen = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(seen, picture.result.planes.source[PLACE])
    assert closeup(session, picture, width=25).shape == (20, 25, 3)
    assert closeup(session, picture, width=400).shape == (40, 50, 3)
    # What hangs over the edge is cut off.
    assert closeup(session, picture, box=(190, 110, 100, 100)).shape == (10, 10, 3)


def test_hints_a_part_and_a_stored_result_are_seen(kept, session):
    picture = restored(session, gray=True, mode="colorize")
    picture.hints = ColorHints([{"color": (200, 30, 30), "points": [(80, 50)]}])
    seen = closeup(session, picture)
    np.testing.assert_array_equal(seen, finishing.blended(picture, Finish()).image[PLACE])
    kept.make_room(2**60)
    assert picture.result is None
    np.testing.assert_array_equal(closeup(session, picture), seen)
    part = restored(session, region=(70, 40, 20, 10))
    seen = closeup(session, part, Finish(strength=0.5)).astype(int)
    changed = (seen != part.result.planes.source[PLACE]).any(axis=-1)
    assert changed[13:17, 13:27].all()
    changed[10:20, 10:30] = False
    assert not changed.any()


def test_work_does_not_grow_with_the_photo(session, monkeypatch):
    picture = restored(session)
    converted = []
    real = color.rgb_to_lab
    monkeypatch.setattr(
        color, "rgb_to_lab", lambda rgb: converted.append(rgb[..., 0].size) or real(rgb)
    )
    closeup(session, picture, Finish(strength=0.5))
    assert sum(converted) == 50 * 40
    # Nor does a change of strength, until the file is fetched.
    converted.clear()
    finishing.show(session, picture, Finish(strength=0.3), Words(), quickly=True)
    assert sum(converted) <= 500
    finishing.show(session, picture, Finish(strength=0.3), Words())
    assert sum(converted) <= 2500
    finishing.offer(session, picture)
    finishing.write(session, picture, Finish(strength=0.3), Words())
    assert sum(converted) >= 200 * 120


def test_no_part_of_a_blurred_face_and_no_unmarked_colour_is_shown(session):
    picture = restored(session, gray=True, mode="colorize")
    hidden = Finish(blur_faces=True)
    assert closeup(session, picture, hidden) is None  # They are still to be looked for.
    picture.faces = np.array([[100, 60, 30, 30]])
    assert closeup(session, picture, hidden) is None
    assert closeup(session, picture, hidden, box=(0, 0, 40, 30)) is not None
    assert closeup(session, picture, Finish(visible_mark=True)) is None
    assert closeup(session, restored(session), Finish(visible_mark=True)) is not None


def test_transparency_is_seen(session):
    picture = restored(session)
    alpha = np.zeros((120, 200), np.uint8)
    alpha[:, 80:] = 255
    photo = images.Photo(rgb=picture.result.photo.rgb, format="PNG", alpha=alpha)
    object.__setattr__(picture.result, "photo", photo)
    np.testing.assert_array_equal(closeup(session, picture)[..., 3], alpha[PLACE])


@pytest.mark.parametrize("box", [(300, 0, 10, 10), (0, 0, 0, 10), (-50, 0, 20, 20)])
def test_places_that_are_none_are_refused(session, box):
    with pytest.raises(ValueError, match="must lie in the photo"):
        closeup(session, restored(session), box=box)


def test_more_than_fits_is_refused(session, monkeypatch):
    monkeypatch.setattr(closeups, "MOST_PIXELS", 1999)
    with pytest.raises(ValueError, match="at most 1,999 pixels"):
        closeup(session, restored(session))


def test_what_has_been_deleted_is_said(session):
    picture = restored(session)
    session.forget_result(picture)
    with pytest.raises(FileNotFoundError):
        closeup(session, picture)
