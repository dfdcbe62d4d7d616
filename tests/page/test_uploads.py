"""What comes in: names, and what is said of files that the page does not take."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_refocus.page import uploads
from keras_refocus.page.words import Words


def picture(format="PNG", size=(40, 30), **options):
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(file, format, **options)
    return file.getvalue()


@pytest.fixture
def check(tmp_path):
    def check(content, name="a.jpg", language="en"):
        path = tmp_path / "x.upload"
        path.write_bytes(content)
        return uploads.check(path, name, max_pixels=10_000, words=Words(language))

    return check


@pytest.mark.parametrize(
    "given, name",
    [
        (".hidden.jpg", "hidden.jpg"),
        ("..\\..\\up.jpg", "up.jpg"),
        ("../../../up.png", "up.png"),
        ("C:\\Photos\\a.jpg", "a.jpg"),
        ("a\x00b\n c.jpg", "a b c.jpg"),
        ("...", "photo"),
        ("", "photo"),
        ("Mu\u0308ll.jpg", "M\u00fcll.jpg"),
    ],
)
def test_names_are_made_fit_to_be_shown(given, name):
    assert uploads.clean_name(given) == name


def test_leavings_of_macos_are_known_by_their_names():
    assert uploads.is_leaving("._IMG_1.jpg") and uploads.is_leaving("x\\._a.jpg")
    assert not uploads.is_leaving(".IMG_1.jpg") and not uploads.is_leaving("a._b.jpg")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF", "AVIF"])
def test_pictures_are_taken_with_their_size(check, format):
    assert check(picture(format)) == (40, 30)


@pytest.mark.parametrize(
    "content, name, said",
    [
        (b"", "a.jpg", "empty"),
        (b"\0\0\0\x18ftypisom" + bytes(200), "a.jpg", "a video. Refocus reads JPEG, PNG"),
        (b"%PDF-1.7" + bytes(200), "a.jpg", "a PDF document"),
        (b"PK\3\4" + bytes(200), "a.jpg", "an archive"),
        (b"8BPS" + bytes(200), "a.psd", "a Photoshop file"),
        (b"MZ\x90\0" + bytes(200), "a.jpg", "a program"),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", "a.svg", "a drawing"),
        (b"just words, nothing else", "a.jpg", "a text"),
        ("Wörter ".encode() * 200, "a.jpg", "a text"),
        (b"\x93\x01\xff\xee" * 40, "a.jpg", "no picture that Refocus reads"),
        (b"II*\0" + bytes(200), "a.nef", "a raw file of a camera"),
        (picture()[:20], "a.png", "damaged or cut off"),
        (picture(size=(200, 100)), "a.png", "0.02 megapixels; this page takes up to 0.01"),
    ],
)
def test_what_is_not_taken_is_refused_in_words_for_people(check, content, name, said):
    with pytest.raises(uploads.Unwanted, match=said) as refused:
        check(content, name)
    assert "upload" not in str(refused.value) and "Received" not in str(refused.value)


def test_a_large_photo_names_the_flag_for_who_runs_the_page(check):
    with pytest.raises(uploads.Unwanted, match="--max-megapixels 1"):
        check(picture(size=(200, 100)))
    with pytest.raises(uploads.Unwanted, match="Megapixel; diese Seite"):
        check(picture(size=(200, 100)), language="de")


def test_a_heavy_file_names_its_flag_too():
    said = uploads.too_heavy(250_000_000, 300_000_000, Words())
    assert "300 MB" in said and "up to 250 MB" in said and "--max-upload-mb 300" in said
    assert "> 250 MB" in uploads.too_heavy(250_000_000, None, Words())
