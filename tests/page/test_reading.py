"""Photos are read once: ahead where a part is marked, and not again for the next restoration."""

import io
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page import decoding, finishing, layout, reading
from keras_refocus.page.actions import Choices, PageActions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.words import Words
from keras_refocus.pictures import color, images
from keras_refocus.restoration import pipeline, regions


class Decoder:
    """Counts what it decodes; holds it back if it is told to."""

    def __init__(self):
        self.count = 0
        self.hold = threading.Event()
        self.hold.set()

    def read(self, content, *, max_pixels, must_stop=lambda: False):
        self.count += 1
        while not self.hold.wait(0.01):
            if must_stop():
                raise CancelledError
        return images.read(content, max_pixels=max_pixels)


@pytest.fixture
def decoder(monkeypatch):
    decoder = Decoder()
    monkeypatch.setattr(decoding, "decoder", lambda: decoder)
    monkeypatch.setattr(reading, "_WORTH_IT", 1000)
    return decoder


@pytest.fixture
def reader(kept):
    return reading.PhotoReader(kept, AppSettings(max_seconds=60))


def add(kept, visitor="a", size=(600, 800)):
    session = kept.of(visitor)
    path = session.reserve()
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    small = Image.fromarray((60 + 120 * rng.random((6, 8, 3))).astype(np.uint8))
    small.resize(size[::-1], Image.BICUBIC).save(file, "JPEG", quality=95)
    path.write_bytes(file.getvalue())
    picture = session.add(path, "a.jpg", size=size[::-1])
    picture.region = (400, 300, 60, 40)
    return session, picture


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def never():
    return False


def test_what_was_read_ahead_is_not_read_again(kept, reader, decoder):
    session, picture = add(kept)
    reader.read_ahead(session, picture)
    until(lambda: picture.photo is not None)
    assert picture.memory == 600 * 800 * 3
    reader.read_ahead(session, picture)
    assert reader.read(picture, never) is picture.photo and decoder.count == 1
    # Where memory is needed it goes.
    kept.make_room(2**60)
    assert picture.photo is None and reader.read(picture, never).width == 800
    assert decoder.count == 2


def test_who_presses_restore_meanwhile_waits_for_it_and_may_cancel(kept, reader, decoder):
    session, picture = add(kept)
    decoder.hold.clear()
    reader.read_ahead(session, picture)
    until(lambda: decoder.count == 1)
    with pytest.raises(CancelledError):
        reader.read(picture, lambda: True)
    threading.Timer(0.1, decoder.hold.set).start()
    assert reader.read(picture, never).width == 800 and decoder.count == 1


def test_of_a_photo_that_is_gone_nothing_is_kept(kept, reader, decoder):
    session, picture = add(kept)
    decoder.hold.clear()
    reader.read_ahead(session, picture)
    until(lambda: decoder.count == 1)
    session.delete([picture])
    until(picture.reading.acquire)
    assert picture.photo is None


def test_small_whole_and_damaged_photos_are_not_read_ahead(kept, reader, decoder, monkeypatch):
    session, picture = add(kept)
    picture.region = None
    reader.read_ahead(session, picture)
    reader._ahead.submit(lambda: None).result()
    assert decoder.count == 0
    picture.region = (0, 0, 9, 9)
    picture.upload.write_bytes(b"\x89PNG")
    reader.read_ahead(session, picture)
    reader._ahead.submit(lambda: None).result()
    assert picture.photo is None
    with pytest.raises(ValueError):
        reader.read(picture, never)
    monkeypatch.setattr(reading, "_WORTH_IT", 600 * 800 + 1)
    counted = decoder.count
    reader.read_ahead(session, picture)
    reader._ahead.submit(lambda: None).result()
    assert decoder.count == counted


class CountingEngine(ArithmeticEngine):
    """Counts the pixels that go through the network."""

    pixels = 0

    def restore(self, tiles, *, model="restorer"):
        self.pixels += tiles.size
        return super().restore(tiles, model=model)


@pytest.mark.parametrize("mode", ["restore", "colorize"])
def test_a_part_of_a_large_photo_takes_no_more_work_than_the_part(kept, decoder, monkeypatch, mode):
    """Pixels through network, conversion, previews and files, not seconds."""
    monkeypatch.setattr(finishing, "SCREEN_PIXELS", 20_000)
    monkeypatch.setattr(finishing, "PREVIEW_PIXELS", 60_000)
    converted, encoded, written = [], [], []
    for name in ("rgb_to_lab", "rgb_to_luminance"):
        real = getattr(color, name)
        monkeypatch.setattr(
            color, name, lambda rgb, real=real: converted.append(rgb[..., 0].size) or real(rgb)
        )
    real_encode = finishing.encode_preview
    monkeypatch.setattr(
        finishing,
        "encode_preview",
        lambda rgb, alpha: encoded.append(rgb[..., 0].size) or real_encode(rgb, alpha),
    )
    monkeypatch.setattr(images, "write", lambda *_, **__: written.append(1))
    monkeypatch.setattr(pipeline, "_AROUND", 64)
    engine = CountingEngine("restorer", "colorizer")
    actions = PageActions(pipeline.Restorer(engine), kept, AppSettings(), layout.EXAMPLES)
    session, picture = add(kept, size=(3000, 4000))
    picture.result = None
    actions._reader.read_ahead(session, picture)
    until(lambda: picture.photo is not None)
    choices = Choices(mode=mode)
    window = regions.window(picture.region, (3000, 4000))
    part = np.zeros((3000, 4000), bool)
    part[window] = True
    session.finish = choices.finish()
    picture.result = actions._run(picture, choices, never, lambda done, total: None)
    finishing.finish(session, picture, session.finish, Words())
    assert decoder.count == 1 and not written
    # A tile may be larger than the part; the whole is 12 megapixels.
    assert engine.pixels <= 2 * part.sum()
    assert sum(converted) <= 5 * part.sum()
    assert sum(encoded) <= 2 * 20_000 + 96 * 96
    # Another part of it is not decoded again.
    picture.region = (100, 100, 60, 40)
    again = actions._run(picture, choices, never, lambda done, total: None)
    assert decoder.count == 1
    changed = (again.image != again.planes.source).any(axis=-1)
    assert changed[110:130, 110:150].all() and not changed[300:340, 400:460].any()
