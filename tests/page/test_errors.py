"""Errors of the libraries below, as they are raised, in the words of the page."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page.errors import say, translated
from keras_refocus.page.words import Words
from keras_refocus.pictures import faces, images
from keras_refocus.restoration import pipeline


def png():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(
        file, "PNG"
    )
    return file.getvalue()


def vast():
    """The head of a picture that no memory holds."""
    head = struct.pack(">IIBBBBB", 2_000_000, 2, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    end = struct.pack(">I", zlib.crc32(chunk))
    return png()[:8] + struct.pack(">I", len(head)) + chunk + end + png()[33:]


def read(content):
    images.read(content)


def restore(**options):
    source = np.full((20, 20, 3), 90, np.uint8)
    restorer = pipeline.Restorer(ArithmeticEngine())
    restorer.restore(source, pipeline.RestoreOptions(**options))


def of_a_server():
    from keras_refocus.engines.serving import ServingEngine

    with ServingEngine("grpc://127.0.0.1:9", connect_timeout=0.2) as engine:
        engine.restore(np.zeros((1, 4, 4, 1), np.float32))


def without_detector(monkeypatch):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    faces._detector.cache_clear()
    faces.detect(np.zeros((30, 30, 3), np.uint8))


@pytest.mark.parametrize(
    ("work", "english", "german"),
    [
        (lambda: read(png()[:-60]), "It is damaged or cut off", "beschädigt"),
        (lambda: read(vast()), "pixels wide and high", "Pixel breit oder hoch"),
        (lambda: restore(restorer="mine"), "model='mine'", "Das Modell „mine“ ist nicht da"),
        (lambda: restore(region=(90, 0, 5, 5)), "lies outside of the photo", "außerhalb des Fotos"),
        (of_a_server, "cannot reach TF Serving", "nicht zu erreichen (127.0.0.1:9)"),
        (
            lambda: images.encode(
                images.Photo(rgb=np.zeros((1, 70_000, 3), np.uint8)), format="JPEG"
            ),
            "A JPEG picture must be at most",
            "Ein Bild in JPEG kann höchstens 65500",
        ),
    ],
)
def test_what_people_meet_is_said_in_their_language(work, english, german):
    with pytest.raises(Exception) as raised:
        work()
    assert english in say(raised.value) and german in say(raised.value, Words("de"))


def test_a_missing_face_detector_is_said_in_both_languages(monkeypatch):
    with pytest.raises(ImportError) as raised:
        without_detector(monkeypatch)
    assert "needs a package" in say(raised.value)
    assert "ein Paket fehlt" in say(raised.value, Words("de"))


def test_what_is_not_known_says_that_it_is_english():
    said = translated("The moon must be full. Received: half.", Words("de"))
    assert said.startswith("Es hat nicht geklappt") and "The moon must be full" in said
    assert translated("The moon must be full.", Words()) == "The moon must be full."
