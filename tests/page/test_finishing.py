"""From a result to previews and downloads, without the networks."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page import finishing
from keras_refocus.page.finishing import Finish
from keras_refocus.page.words import Words
from keras_refocus.pictures import color, faces, grayscale, images, provenance
from keras_refocus.restoration import pipeline


def exif():
    metadata = Image.Exif()
    metadata[0x010F] = "Camera of mine"
    metadata[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return metadata.tobytes()


def restored(kept, session, photo, name="a.jpg", *, mode="restore"):
    """A picture as the page has it after the networks ran."""
    path = session.reserve()
    path.write_bytes(b"upload")
    picture = session.add(path, name)
    picture.result = pipeline.Restorer(ArithmeticEngine("restorer", "colorizer")).restore(
        photo, pipeline.RestoreOptions(mode=mode), keep_stages=True
    )
    return picture


def photo(**changes):
    rng = np.random.default_rng(0)
    rgb = (100 + 50 * rng.random((40, 50, 3))).astype(np.uint8)
    return images.Photo(**{"rgb": rgb, "format": "JPEG", "metadata": exif()} | changes)


def finish(session, picture, settings):
    finishing.finish(session, picture, settings, Words())


def preview(session, token):
    with Image.open(session.find(token).path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def downloaded(session, picture):
    return images.read(session.find(picture.download).path)


def test_preview_and_download_show_the_result_and_preview_is_lossless(kept, session):
    # Smooth: of patterns of single pixels the means are kept.
    down, across = np.mgrid[:40, :50]
    smooth = np.stack([150 + down, 90 + across, 40 + down], axis=-1).astype(np.uint8)
    source = photo(format="PNG", rgb=smooth)
    picture = restored(kept, session, source, "a.png")
    finish(session, picture, Finish())
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
    finish(session, picture, Finish(strength=0.0))
    np.testing.assert_array_equal(downloaded(session, picture).rgb, source.rgb)
    finish(session, picture, Finish(saturation=0.0))
    assert grayscale.is_grayscale(downloaded(session, picture).rgb)
    # Back and forth leaves no trace.
    finish(session, picture, Finish())
    fresh = restored(kept, session, source)
    np.testing.assert_array_equal(downloaded(session, picture).rgb, fresh.result.image)


def test_each_finish_replaces_the_files_of_the_last(kept, session):
    picture = restored(kept, session, photo())
    finish(session, picture, Finish())
    old = [picture.before, picture.after, picture.thumbnail]
    first = session.find(picture.download).path
    finish(session, picture, Finish(strength=0.5))
    assert not any(session.find(token) for token in old) and not first.exists()
    # Previews, thumbnail, download, and the upload.
    assert len([path for path in kept.folder.rglob("*") if path.is_file()]) == 5


def test_what_is_asked_for_again_is_not_made_again(kept, session, monkeypatch):
    picture = restored(kept, session, photo())
    finish(session, picture, Finish())
    monkeypatch.setattr(images, "write", None)
    token = picture.after
    finish(session, picture, Finish())
    assert picture.after == token


def test_a_large_picture_is_shown_at_screen_size_first_and_written_in_full(
    kept, session, monkeypatch
):
    monkeypatch.setattr(finishing, "SCREEN_PIXELS", 500)
    gray = photo(rgb=np.repeat(photo().rgb[..., :1], 3, axis=-1), format="PNG")
    picture = restored(kept, session, gray, "a.png", mode="colorize")
    full = np.asarray(picture.result.image)
    finishing.show(session, picture, Finish(saturation=0.5), Words(), quickly=True)
    quick = preview(session, picture.after)
    assert quick.shape == (20, 25, 3) and preview(session, picture.before).shape == quick.shape
    # The full size is only blended when it is asked for.
    assert picture.result.options.saturation == 1
    finishing.offer(session, picture)
    finishing.write(session, picture, Finish(saturation=0.5), Words())
    written = downloaded(session, picture).rgb
    assert written.shape == full.shape
    small = np.asarray(Image.fromarray(written).resize((25, 20), Image.BOX))
    assert np.abs(small.astype(int) - quick).mean() < 2


def test_transparency_is_shown_and_kept(kept, session):
    alpha = np.zeros((40, 50), np.uint8)
    alpha[:, 25:] = 255
    picture = restored(kept, session, photo(format="PNG", alpha=alpha), "a.png")
    finish(session, picture, Finish())
    for token in (picture.before, picture.after):
        np.testing.assert_array_equal(preview(session, token)[..., 3], alpha)
    np.testing.assert_array_equal(downloaded(session, picture).alpha, alpha)


def test_format_and_quality_are_chosen(kept, session):
    picture = restored(kept, session, photo(), "a.jpg")
    finish(session, picture, Finish(format="WebP", quality=50))
    shared = session.find(picture.download)
    small = shared.path.stat().st_size
    assert shared.name == "a_restored.webp" and images.read(shared.path).format == "WebP"
    finish(session, picture, Finish(format="WebP", quality=95))
    assert shared.path.stat().st_size > small


def test_what_was_done_is_recorded_with_digests(kept, session):
    picture = restored(kept, session, photo(), "a.jpg")
    finish(session, picture, Finish(strength=0.5))
    record = picture.record
    content = session.find(picture.download).path.read_bytes()
    assert record["output_sha256"] == hashlib.sha256(content).hexdigest()
    assert record["input_sha256"] == hashlib.sha256(b"upload").hexdigest()
    assert record["options"]["strength"] == 0.5 and record["model_versions"] == {"restorer": "1"}
    assert record["output_sha256"] in picture.details.values()
    assert "strength 0.5, saturation 1" in picture.details["Settings"]


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
    finish(session, picture, Finish())
    shared = session.find(picture.download)
    assert shared.name == name.replace("photo", "photo_restored")
    written = images.read(shared.path)
    assert (written.format, written.rgb.dtype) == (format, dtype)


def test_what_cannot_be_written_comes_back_as_png_and_is_said(kept, session):
    picture = restored(kept, session, photo(format="HEIC"), "photo.heic")
    finish(session, picture, Finish())
    assert session.find(picture.download).name == "photo_restored.png"
    assert "HEIC cannot be written" in picture.details["Notes"]


def test_metadata_is_removed_or_kept_and_the_place_never_is(kept, session):
    picture = restored(kept, session, photo())
    finish(session, picture, Finish())
    content = session.find(picture.download).path.read_bytes()
    assert b"Exif" not in content and b"Camera of mine" not in content
    finish(session, picture, Finish(remove_metadata=False))
    with Image.open(session.find(picture.download).path) as image:
        kept_exif = image.getexif()
    assert kept_exif[0x010F] == "Camera of mine"
    assert not kept_exif.get_ifd(0x8825)


def test_a_colourised_picture_says_so_whatever_else_is_removed(kept, session):
    gray = photo(rgb=np.repeat(photo().rgb[..., :1], 3, axis=-1))
    picture = restored(kept, session, gray, mode="restore+colorize")
    finish(session, picture, Finish())
    assert provenance.COLOURISED.encode() in session.find(picture.download).path.read_bytes()
    assert "coloured" in picture.details["Done"]
    unmarked = preview(session, picture.after)
    finish(session, picture, Finish(visible_mark=True, remove_metadata=False))
    assert provenance.COLOURISED.encode() in session.find(picture.download).path.read_bytes()
    assert (preview(session, picture.after) != unmarked).any()


def test_a_picture_that_was_not_coloured_is_not_marked(kept, session):
    picture = restored(kept, session, photo(), mode="restore+colorize")
    finish(session, picture, Finish(visible_mark=True))
    np.testing.assert_array_equal(preview(session, picture.after), picture.result.image)
    assert b"olourised" not in session.find(picture.download).path.read_bytes()


def test_faces_are_blurred_in_download_and_both_previews(kept, session, monkeypatch):
    looks = []
    monkeypatch.setattr(
        faces, "detect", lambda rgb: looks.append(1) or np.array([[10, 10, 12, 12]])
    )
    picture = restored(kept, session, photo(format="PNG"), "a.png")
    finish(session, picture, Finish())
    before, after = preview(session, picture.before), preview(session, picture.after)
    finish(session, picture, Finish(blur_faces=True))
    for old, new in ((before, picture.before), (after, picture.after), (after, picture.download)):
        new = preview(session, new)
        assert (new[10:22, 10:22] != old[10:22, 10:22]).mean() > 0.9
        np.testing.assert_array_equal(new[:, 35:], old[:, 35:])
    assert "1 face found" in picture.details["Faces"]
    # They are looked for once, and can be shown again.
    finish(session, picture, Finish(blur_faces=True, strength=0.5))
    finish(session, picture, Finish())
    np.testing.assert_array_equal(preview(session, picture.after), after)
    assert len(looks) == 1


def test_a_large_picture_is_shown_smaller_and_downloaded_whole(kept, session, monkeypatch):
    monkeypatch.setattr(finishing, "PREVIEW_PIXELS", 500)
    picture = restored(kept, session, photo())
    finish(session, picture, Finish())
    assert preview(session, picture.after).shape == (20, 25, 3)
    assert "Shown at 25 × 20" in picture.details["Notes"]
    assert downloaded(session, picture).rgb.shape == (40, 50, 3)


def test_an_archive_holds_every_result_under_a_name_of_its_own(kept, session):
    for _ in range(2):
        finish(session, restored(kept, session, photo(), "a.jpg"), Finish())
    path = session.reserve()
    path.write_bytes(b"bad")
    session.add(path, "not restored.jpg")
    session.archive, path = session.new_file(".zip", "restored.zip")
    finishing.archive(session, Finish(), Words())
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archived:
        assert archived.namelist() == ["a_restored.jpg", "a_restored_2.jpg", "report.json"]
        assert archived.testzip() is None
        report = json.loads(archived.read("report.json"))
    assert [record["output"] for record in report["files"]] == archived.namelist()[:2]
    assert session.find(session.archive).pictures == tuple(session.pictures[:2])


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
