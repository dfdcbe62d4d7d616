"""From a result to previews and downloads, without the networks."""

import io
import tempfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_refocus.page import finishing, sessions
from keras_refocus.page.finishing import Finish
from keras_refocus.pictures import color, faces, grayscale, images, provenance
from keras_refocus.restoration import pipeline


class HalvingEngine:
    """Halves luminance, and colours everything alike."""

    batch_size = 1

    def restore(self, tiles, *, model="restorer"):
        return tiles * np.float32(0.5)

    def colorize(self, luminance, *, model="colorizer"):
        chroma = np.array([0.1, -0.05], np.float32)
        return np.broadcast_to(chroma, (*luminance.shape[:3], 2)).copy()

    def versions(self, *models):
        known = {"restorer": "1", "colorizer": "2"}
        return {name: known[name] for name in (models or known)}

    def close(self):
        pass


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with sessions.Sessions() as kept:
        yield kept


@pytest.fixture
def session(kept):
    return kept.of("a")


def exif():
    metadata = Image.Exif()
    metadata[0x010F] = "Camera of mine"
    metadata[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return metadata.tobytes()


def restored(kept, session, photo, name="a.jpg", *, mode="restore"):
    """A picture as the page has it after the networks ran."""
    session.use([*(one.upload for one in session.pictures), kept.import_file(b"upload", name)])
    picture = session.pictures[-1]
    picture.result = pipeline.Restorer(HalvingEngine()).restore(
        photo, pipeline.RestoreOptions(mode=mode), keep_stages=True
    )
    return picture


def photo(**changes):
    rng = np.random.default_rng(0)
    rgb = (100 + 50 * rng.random((40, 50, 3))).astype(np.uint8)
    return images.Photo(**{"rgb": rgb, "format": "JPEG", "metadata": exif()} | changes)


def preview(session, token):
    with Image.open(session.find(token).path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def downloaded(session, picture):
    return images.read(session.find(picture.download).path)


def test_preview_and_download_show_the_result_and_preview_is_lossless(kept, session):
    source = photo(format="PNG")
    picture = restored(kept, session, source, "a.png")
    finishing.finish(session, picture, Finish())
    np.testing.assert_array_equal(preview(session, picture.before), source.rgb)
    np.testing.assert_array_equal(preview(session, picture.after), picture.result.image)
    np.testing.assert_array_equal(downloaded(session, picture).rgb, picture.result.image)
    assert color.rgb_to_luminance(picture.result.image).mean() == pytest.approx(
        color.rgb_to_luminance(source.rgb).mean() / 2, abs=0.01
    )
    assert picture.details["Detected"] == "a colour photo"
    assert picture.details["Models"] == "restorer 1"
    assert "50 × 40 pixels, 8 bits" in picture.details["Size"]


def test_strength_and_saturation_are_blended_from_what_is_kept(kept, session):
    source = photo(format="PNG", metadata=b"")
    picture = restored(kept, session, source)
    finishing.finish(session, picture, Finish(strength=0.0))
    np.testing.assert_array_equal(downloaded(session, picture).rgb, source.rgb)
    finishing.finish(session, picture, Finish(saturation=0.0))
    assert grayscale.is_grayscale(downloaded(session, picture).rgb)
    # Back and forth leaves no trace.
    finishing.finish(session, picture, Finish())
    fresh = restored(kept, session, source)
    np.testing.assert_array_equal(downloaded(session, picture).rgb, fresh.result.image)


def test_each_finish_replaces_the_files_of_the_last(kept, session):
    picture = restored(kept, session, photo())
    finishing.finish(session, picture, Finish())
    old = [picture.before, picture.after, picture.download]
    finishing.finish(session, picture, Finish(strength=0.5))
    assert not any(session.find(token) for token in old)
    assert len([path for path in kept.folder.rglob("*") if path.is_file()]) == 4  # And the upload.


@pytest.mark.parametrize(
    "format, name, dtype",
    [
        ("JPEG", "photo.jpeg", np.uint8),
        ("PNG", "photo.png", np.uint16),
        ("TIFF", "photo.tiff", np.uint16),
        ("WebP", "photo.webp", np.uint8),
        ("BMP", "photo.bmp", np.uint8),
    ],
)
def test_the_download_has_the_format_and_depth_of_the_upload(kept, session, format, name, dtype):
    rgb = photo().rgb.astype(dtype) * (257 if dtype == np.uint16 else 1)
    picture = restored(kept, session, photo(rgb=rgb, format=format), name)
    finishing.finish(session, picture, Finish())
    shared = session.find(picture.download)
    assert shared.name == name.replace("photo", "photo_restored")
    written = images.read(shared.path)
    assert (written.format, written.rgb.dtype) == (format, dtype)


def test_what_cannot_be_written_comes_back_as_png_and_is_said(kept, session):
    picture = restored(kept, session, photo(format="HEIC"), "photo.heic")
    finishing.finish(session, picture, Finish())
    assert session.find(picture.download).name == "photo_restored.png"
    assert "HEIC cannot be written" in picture.details["Notes"]


def test_metadata_is_removed_or_kept_and_the_place_never_is(kept, session):
    picture = restored(kept, session, photo())
    finishing.finish(session, picture, Finish())
    content = session.find(picture.download).path.read_bytes()
    assert b"Exif" not in content and b"Camera of mine" not in content
    finishing.finish(session, picture, Finish(remove_metadata=False))
    with Image.open(session.find(picture.download).path) as image:
        kept_exif = image.getexif()
    assert kept_exif[0x010F] == "Camera of mine"
    assert not kept_exif.get_ifd(0x8825)


def test_a_colourised_picture_says_so_whatever_else_is_removed(kept, session):
    gray = photo(rgb=np.repeat(photo().rgb[..., :1], 3, axis=-1))
    picture = restored(kept, session, gray, mode="restore+colorize")
    finishing.finish(session, picture, Finish())
    assert provenance.COLOURISED.encode() in session.find(picture.download).path.read_bytes()
    assert "coloured" in picture.details["Done"]
    unmarked = preview(session, picture.after)
    finishing.finish(session, picture, Finish(visible_mark=True, remove_metadata=False))
    assert provenance.COLOURISED.encode() in session.find(picture.download).path.read_bytes()
    assert (preview(session, picture.after) != unmarked).any()


def test_a_picture_that_was_not_coloured_is_not_marked(kept, session):
    picture = restored(kept, session, photo(), mode="restore+colorize")
    finishing.finish(session, picture, Finish(visible_mark=True))
    np.testing.assert_array_equal(preview(session, picture.after), picture.result.image)
    assert b"olourised" not in session.find(picture.download).path.read_bytes()


def test_faces_are_blurred_in_download_and_both_previews(kept, session, monkeypatch):
    looks = []
    monkeypatch.setattr(
        faces, "detect", lambda rgb: looks.append(1) or np.array([[10, 10, 12, 12]])
    )
    picture = restored(kept, session, photo(format="PNG"), "a.png")
    finishing.finish(session, picture, Finish())
    before, after = preview(session, picture.before), preview(session, picture.after)
    finishing.finish(session, picture, Finish(blur_faces=True))
    for old, new in ((before, picture.before), (after, picture.after), (after, picture.download)):
        new = preview(session, new)
        assert (new[10:22, 10:22] != old[10:22, 10:22]).mean() > 0.9
        np.testing.assert_array_equal(new[:, 35:], old[:, 35:])
    assert "1 face found" in picture.details["Faces"]
    # They are looked for once, and can be shown again.
    finishing.finish(session, picture, Finish(blur_faces=True, strength=0.5))
    finishing.finish(session, picture, Finish())
    np.testing.assert_array_equal(preview(session, picture.after), after)
    assert len(looks) == 1


def test_a_large_picture_is_shown_smaller_and_downloaded_whole(kept, session, monkeypatch):
    monkeypatch.setattr(finishing, "PREVIEW_PIXELS", 500)
    picture = restored(kept, session, photo())
    finishing.finish(session, picture, Finish())
    assert preview(session, picture.after).shape == (20, 25, 3)
    assert "Shown at 25 × 20" in picture.details["Notes"]
    assert downloaded(session, picture).rgb.shape == (40, 50, 3)


def test_an_archive_holds_every_result_under_a_name_of_its_own(kept, session):
    for _ in range(2):
        finishing.finish(session, restored(kept, session, photo(), "a.jpg"), Finish())
    restored(kept, session, photo(), "not finished.jpg")
    token = finishing.archive(session)
    content = session.find(token).path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archived:
        assert archived.namelist() == ["a_restored.jpg", "a_restored_2.jpg"]
        assert archived.testzip() is None


@pytest.mark.parametrize(
    "given, format, name",
    [
        ("IMG_1.JPG", "JPEG", "IMG_1_restored.jpg"),
        ("scan.tif", "TIFF", "scan_restored.tif"),
        ("really.png", "JPEG", "really_restored.jpg"),
        ("../../etc/passwd", "PNG", "passwd_restored.png"),
        ("C:\\photos\\me.bmp", "BMP", "me_restored.bmp"),
        ("a\nb\x00c.png", "PNG", "a b c_restored.png"),
        ("no suffix", None, "no suffix_restored.png"),
        (".png", "PNG", ".png_restored.png"),
        ("   ", "PNG", "photo_restored.png"),
        ("мама и ребёнок.webp", "WebP", "мама и ребёнок_restored.webp"),
        ('q"u<o>t|e?.png', "PNG", "q_u_o_t_e__restored.png"),
        ("x" * 300 + ".png", "PNG", "x" * 100 + "_restored.png"),
    ],
)
def test_names_are_sensible_whatever_the_upload_was_called(given, format, name):
    # A leading dot would hide the file: it is stripped like other dots at the ends.
    assert finishing.download_name(given, format) == name.removeprefix(".")


@pytest.mark.parametrize(
    "size, words", [(0, "0 bytes"), (999, "999 bytes"), (71_500, "71.5 kB"), (2.5e9, "2.5 GB")]
)
def test_sizes_in_words(size, words):
    assert finishing.size_words(size) == words
