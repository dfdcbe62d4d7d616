"""The restore command: where files go, what is refused before work, and what is said afterwards."""

import hashlib
import io
import json
import os
import pathlib
import shutil
import sys

import cv2
import numpy as np
import origins
import pytest
from PIL import Image
from tiny_models import write_models

import keras_refocus
from keras_refocus import restore
from keras_refocus.engines import store
from keras_refocus.pictures import images
from keras_refocus.restoration import batch
from keras_refocus.restoration.pipeline import RestoreOptions
from keras_refocus.restoration.reports import Report
from keras_refocus.system import console


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two pictures, one of them in a sub-folder, and a text file."""
    (tmp_path / "album" / "trip").mkdir(parents=True)
    # Smooth, so that the restorer may make it darker: patterns of single pixels keep their means.
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 2)
    Image.fromarray(picture).save(tmp_path / "album" / "one.png")
    Image.fromarray(picture).save(tmp_path / "album" / "trip" / "two.jpg")
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The command.


def run(*arguments, models, fails=False):
    arguments = [*map(str, arguments), "--models", str(models), "--tile", "16", "--overlap", "4"]
    if not fails:
        return restore.main(arguments)
    with pytest.raises(SystemExit) as status:
        restore.main(arguments)
    return status.value.code


def test_a_folder_is_restored(folder, models, capsys):
    status = run("album", "--recursive", "--out", "new", "--report", "out.json", models=models)
    output = capsys.readouterr()
    assert status == 0
    assert output.out.split() == [
        str(pathlib.Path("new/one.png")),
        str(pathlib.Path("new/trip/two.jpg")),
    ]
    assert output.err == "refocus restore: passed by 1, no pictures by their names: " + (
        f"{pathlib.Path('album/notes.txt')}\n"
    )
    before, after = images.read("album/one.png").rgb, images.read("new/one.png").rgb
    assert after.shape == before.shape
    assert after.mean() < 0.7 * before.mean()  # this restorer halves luminance
    report = json.loads(pathlib.Path("out.json").read_text())
    assert report["program"] == f"keras_refocus {keras_refocus.__version__}"
    assert report["options"]["strength"] == 1.0
    first = report["files"][0]
    for role in ("input", "output"):
        content = pathlib.Path(first[role]).read_bytes()
        assert first[f"{role}_sha256"] == hashlib.sha256(content).hexdigest()
    assert first["model_versions"] == {"restorer": "1"}
    assert first["stages"] == ["restore"]
    assert (first["width"], first["height"]) == (10, 12)


def test_a_bad_file_is_named_at_the_end_and_the_rest_is_done(folder, models, capsys):
    pathlib.Path("album/broken.jpg").write_bytes(b"\xff\xd8 not really")
    status = run("album", "--out", "new", "--report", "out.json", models=models)
    output = capsys.readouterr()
    assert status == 1
    assert [path.name for path in pathlib.Path("new").iterdir()] == ["one.png"]
    assert "broken.jpg: " in output.err and "1 of 2 files done" in output.err
    assert "Traceback" not in output.err
    failed = json.loads(pathlib.Path("out.json").read_text())["files"][0]
    assert failed["input"].endswith("broken.jpg") and failed["error"]


def test_strength_zero_gives_the_picture_back(folder, models):
    assert run("album/one.png", "--strength", "0", models=models) == 0
    np.testing.assert_array_equal(
        images.read("album/one_restored.png").rgb, images.read("album/one.png").rgb
    )


def test_a_region_alone_is_restored(folder, models):
    assert run("album/one.png", "--region", "2,3,5,4", "--out", "part", models=models) == 0
    changed = (images.read("part/one.png").rgb != images.read("album/one.png").rgb).any(axis=-1)
    assert changed[3:7, 2:7].all()
    changed[3:7, 2:7] = False
    assert not changed.any()


def test_what_a_mask_or_strokes_cover_is_restored(folder, models):
    size = images.read("album/one.png").rgb.shape[:2]
    mask = np.zeros((*size, 3), np.uint8)
    mask[3:7, 2:7] = 255
    images.write("mask.png", images.Photo(rgb=mask))
    strokes = {"strokes": [{"points": [[4, 5], [5, 5]], "radius": 2}]}
    pathlib.Path("strokes.json").write_text(json.dumps(strokes))
    for region in ("mask.png", "strokes.json"):
        arguments = ("--region", region, "--out", region[:4], "--report", f"{region[:4]}.json")
        assert run("album/one.png", *arguments, models=models) == 0
        before, after = (images.read(f"{place}/one.png").rgb for place in ("album", region[:4]))
        changed = (before != after).any(axis=-1)
        assert changed[4:6, 3:6].all()
        changed[2:8, 1:8] = False
        assert not changed.any()
    told = json.loads(pathlib.Path("stro.json").read_text())["options"]["region"]
    assert told["strokes"][0]["radius"] == 2


def test_the_model_can_be_chosen(folder, models):
    assert run("album/one.png", "--model", "restorer_gan", models=models) == 0
    before, after = images.read("album/one.png").rgb, images.read("album/one_restored.png").rgb
    assert np.abs(after.astype(int) - before).max() <= 1  # this one changes nothing


def test_the_colorizer_can_be_chosen(folder, models, tmp_path):
    own = shutil.copytree(models, tmp_path / "own")
    (own / "colorizer").rename(own / "mine")
    choice = ("--mode", "colorize", "--colorizer", "mine", "--report", "report.json")
    assert run("album/one.png", *choice, models=own) == 0
    (record,) = json.loads(pathlib.Path("report.json").read_text())["files"]
    assert set(record["model_versions"]) == {"restorer", "mine"}


def test_whose_weights_restored_is_in_the_report(folder, models, tmp_path):
    own = shutil.copytree(models, tmp_path / "own")
    for name, expected in ((None, set()), ("restorer", {"restorer"})):
        if name:
            origins.write_origin(store.newest_version(own / name))
        assert run("album", "--out", f"new{name}", "--report", f"{name}.json", models=own) == 0
        found = json.loads(pathlib.Path(f"{name}.json").read_text())["published_weights"]
        assert set(found) == expected
    assert found["restorer"]["licence"] == "unstated: none stated"
    assert found["restorer"]["accepted"] and found["restorer"]["files"] == origins.ORIGIN["files"]


def test_heavy_shake_is_in_the_report_and_its_kernel_beside_the_result(folder, models):
    noise = np.random.default_rng(0).integers(0, 256, (90, 100), np.uint8)
    Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 3)).save("album/large.png")
    options = ["--patient", "--patience", "100", "--write-kernel", "--report", "out.json"]
    status = run("album/large.png", "--out", "new", *options, models=models)
    (record,) = json.loads(pathlib.Path("out.json").read_text())["files"]
    assert status == 0
    assert set(record["shake"]) == {"blur_length", "blur_direction", "changed", "reason"}
    assert record["shake"]["blur_length"] > 0 and 0 <= record["shake"]["changed"] <= 1
    assert record["kernel"] == str(pathlib.Path("new/large_kernel.png"))
    drawn = images.read(record["kernel"]).rgb
    assert drawn.max() == 255 and drawn.shape[0] % 2 == 1
    # What was found can be given.
    given = ["--kernel", record["kernel"], "--out", "again"]
    assert run("album/large.png", *given, models=models) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--patience", "5"], "--patience needs --patient"),
        (["--write-kernel"], "--write-kernel needs --patient"),
        (["--patient", "--strength", "0"], "--strength 0"),
        (["--kernel", "motion:5"], "motion:LENGTH,ANGLE"),
        (["--kernel", "none.png"], "none.png"),
    ],
)
def test_mistakes_about_heavy_shake_are_said(options, message, folder, models, capsys):
    assert run("album/one.png", "--out", "new", *options, models=models, fails=True) == 2
    assert message in capsys.readouterr().err


def test_best_is_in_the_report(folder, models):
    for name, options in (("plain", []), ("best", ["--best"])):
        report = f"{name}.json"
        assert run("album", "--out", name, "--report", report, *options, models=models) == 0
        assert json.loads(pathlib.Path(report).read_text())["options"]["best"] is bool(options)
    # This restorer answers every flip alike.
    np.testing.assert_array_equal(images.read("best/one.png").rgb, images.read("plain/one.png").rgb)


def test_depth_alpha_and_format(folder, models):
    rng = np.random.default_rng(0)
    photo = images.Photo(
        rgb=rng.integers(0, 65536, (9, 7, 3), np.uint16),
        alpha=rng.integers(0, 65536, (9, 7), np.uint16),
    )
    images.write("deep.png", photo)
    assert run("deep.png", "--out", "new", "--format", "tiff", models=models) == 0
    result = images.read("new/deep.tif")
    assert result.rgb.dtype == np.uint16
    np.testing.assert_array_equal(result.alpha, photo.alpha)


def test_comparison_shows_before_and_after(folder, models):
    assert run("album/one.png", "--out", "new", "--compare", models=models) == 0
    compared = images.read("new/one_compare.png").rgb
    assert compared.shape == (12, 10 + batch.COMPARE_GAP + 10, 3)
    np.testing.assert_array_equal(compared[:, :10], images.read("album/one.png").rgb)
    np.testing.assert_array_equal(compared[:, -10:], images.read("new/one.png").rgb)


def test_gray_pictures_are_compared_too(folder, models):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)).save("gray.png")
    assert run("gray.png", "--out", "new", "--compare", models=models) == 0
    compared = images.read("new/gray_compare.png").rgb
    np.testing.assert_array_equal(compared[:, :9], images.read("gray.png").rgb)
    np.testing.assert_array_equal(compared[:, -9:], images.read("new/gray.png").rgb)


def test_gray_pictures_need_a_colorizer_only_when_asked_for(folder, models, capsys):
    restorer_only = folder / "restorer_only"
    shutil.copytree(models / "restorer", restorer_only / "restorer")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)).save("gray.png")
    assert run("gray.png", models=restorer_only) == 0
    assert images.read("gray_restored.png").is_gray
    assert run("gray.png", "--mode", "restore+colorize", "--overwrite", models=restorer_only) == 1
    assert "the mode 'restore' works" in capsys.readouterr().err
    assert run("gray.png", "--mode", "restore+colorize", "--overwrite", models=models) == 0
    assert not images.read("gray_restored.png").is_gray


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jpg"], "does not exist"),
        (["album/one.png", "--strength", "2"], "strength=2.0"),
        (["album/one.png", "--tile", "8", "--overlap", "9"], "overlap=9"),
        (["album/one.png", "--models", "gone"], "gone"),
        (["album/one.png", "--model", "restorer_gam"], "restorer_gan"),
        (["album/one.png", "--keep-gps"], "--keep-metadata"),
        (["album/one.png", "--quality", "101"], "101"),
        (["album/one.png", "--region", "1,2,3"], "LEFT,TOP,WIDTH,HEIGHT"),
        (["album/one.png", "--region", "1,2,0,3"], "at least 1 wide"),
        (["album/one.png", "--out", "album"], "must not replace an input"),
        (["album/one.png", "--format", "gif"], "invalid choice"),
        (["album/one.png", "--max-megapixels", "nan"], "above 0: 'nan'"),
        (["album/one.png", "--max-megapixels", "0"], "above 0: '0'"),
        (["album/one.png", "--server", "http://localhost:8501"], "The port of REST (8501)"),
        (["album/one.png", "--skip-done", "--overwrite"], "choose one"),
        ([], "INPUT"),
    ],
)
def test_mistakes_are_refused_before_work(folder, models, capsys, monkeypatch, arguments, message):
    monkeypatch.setenv("REFOCUS_MODELS", str(models))
    with pytest.raises(SystemExit) as status:
        restore.main(arguments)
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not list(folder.rglob("*_restored*"))


def test_stopping_keeps_what_is_done_and_says_so(folder, models, capsys, monkeypatch):
    read = images.read

    def interrupted(path, **options):
        if pathlib.Path(path).name == "two.jpg":
            raise KeyboardInterrupt
        return read(path, **options)

    monkeypatch.setattr(images, "read", interrupted)
    status = run("album", "--recursive", "--out", "new", "--report", "out.json", models=models)
    assert status == 130
    assert "stopped; 1 of 2" in capsys.readouterr().err
    assert len(json.loads(pathlib.Path("out.json").read_text())["files"]) == 1


def test_being_terminated_is_said_by_the_status(folder, models, capsys, monkeypatch):
    def terminated(path, **options):
        raise console.Terminated

    monkeypatch.setattr(images, "read", terminated)
    assert run("album", "--out", "new", models=models) == 143
    assert "stopped; 0 of 1" in capsys.readouterr().err


def test_a_run_goes_on_where_one_was_killed(folder, models, capsys):
    arguments = ["album", "--recursive", "--out", "new", "--compare", "--report", "out.json"]
    assert run(*arguments, models=models) == 0
    first = json.loads(pathlib.Path("out.json").read_text())["files"]
    # What a run leaves that was killed while it wrote the second result.
    pathlib.Path("new/trip/two.jpg").unlink()
    leftover = pathlib.Path("new/trip/.two.jpg.0123456789abcdef.tmp")
    leftover.touch()
    os.utime(leftover, (0, 0))
    kept = pathlib.Path("new/one.png").stat().st_mtime_ns
    capsys.readouterr()
    assert run(*arguments, "--skip-done", models=models) == 0
    output = capsys.readouterr()
    assert output.out.split() == [str(pathlib.Path("new/trip/two.jpg"))]
    assert "removed" in output.err and "1 of 2 files were done before" in output.err
    assert not leftover.exists()
    assert pathlib.Path("new/one.png").stat().st_mtime_ns == kept
    again = json.loads(pathlib.Path("out.json").read_text())["files"]
    for record in (*first, *again):
        record.pop("seconds")
    assert again == first
    assert run(*arguments, models=models, fails=True) == 2


def test_a_result_that_appears_meanwhile_is_kept(folder, models, capsys, monkeypatch):
    read = images.read

    def slow(path, **options):
        photo = read(path, **options)
        pathlib.Path("new").mkdir()
        pathlib.Path("new/one.png").write_bytes(b"another")
        return photo

    monkeypatch.setattr(images, "read", slow)
    assert run("album", "--out", "new", models=models) == 1
    error = capsys.readouterr().err
    assert "must not be replaced unasked" in error and "Errno" not in error
    assert pathlib.Path("new/one.png").read_bytes() == b"another"


def test_a_report_that_cannot_be_written_is_said_before_work(folder, models, capsys):
    assert run(
        "album", "--out", "new", "--report", "album/one.png/r.json", models=models, fails=True
    )
    assert "one.png', which is a file" in capsys.readouterr().err
    other = "other.json"
    with Report(pathlib.Path(other), options=RestoreOptions(), models="", origins=lambda names: {}):
        status = run(
            "album", "--out", "new", "--report", other, "--overwrite", models=models, fails=True
        )
    assert status == 2
    assert "another run is writing" in capsys.readouterr().err
    assert not pathlib.Path("new").exists()


def test_a_report_that_fails_hides_no_failure(folder, models, capsys, monkeypatch):
    def full(self, record):
        raise OSError(28, "No space left on device")

    pathlib.Path("album/broken.jpg").write_bytes(b"x")
    monkeypatch.setattr(Report, "add", full)
    assert run("album", "--out", "new", "--report", "out.json", models=models) == 1
    error = capsys.readouterr().err
    assert error.index("broken.jpg: The file must be a") < error.index("the report lacks something")
    assert pathlib.Path("new/one.png").exists()


class Broken(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_nobody_needs_to_read_the_names(folder, models, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken())
    assert run("album", "--recursive", "--out", "new", models=models) == 0
    monkeypatch.setattr(sys, "stdout", None)
    assert run("album", "--recursive", "--out", "new2", models=models) == 0
    assert pathlib.Path("new2/trip/two.jpg").exists()


@pytest.mark.parametrize(("arguments", "kind"), [([], "JPEG"), (["--format", "png"], "PNG")])
def test_standard_input_is_restored_to_standard_output(
    folder, models, monkeypatch, arguments, kind
):
    content = pathlib.Path("album/trip/two.jpg").read_bytes()
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, write_through=True))
    report = f"{kind}.json"
    assert run("-", "--report", report, *arguments, models=models) == 0
    result = images.read(written.getvalue())
    assert result.format == kind
    assert result.rgb.mean() < 0.7 * images.read(content).rgb.mean()
    (record,) = json.loads(pathlib.Path(report).read_text())["files"]
    assert record["output_sha256"] == hashlib.sha256(written.getvalue()).hexdigest()


def test_a_picture_is_not_written_to_a_screen(folder, models, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run("album/one.png", "--out", "-", models=models, fails=True) == 2
    assert "> restored.jpg" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as status:
        restore.main(["--version"])
    assert status.value.code == 0
    assert capsys.readouterr().out == f"refocus {keras_refocus.__version__}\n"


def test_hints_are_of_one_picture(folder, models, capsys):
    hints = pathlib.Path("hints.json")
    hints.write_text('{"hints": [{"color": "#b01e1e", "points": [[5, 5]]}]}')
    asked = ["--mode", "colorize", "--hints", hints, "--out", "out", "--report", "out.json"]
    assert run("album", "--recursive", *asked, models=models, fails=True) == 2
    assert "--hints with 2 pictures" in capsys.readouterr().err
    assert run("album/one.png", *asked, models=models) == 0
    red, green, blue = images.read("out/one.png").rgb[5, 5].astype(int)
    assert red > green + 30
    assert red > blue + 30
    said = json.loads(pathlib.Path("out.json").read_text())["options"]["hints"]["hints"]
    assert said[0]["color"] == [176, 30, 30]


def test_what_holds_no_hints_is_a_sentence(folder, models, capsys):
    pathlib.Path("hints.json").write_text("[]")
    for name, said in (("hints.json", "no file of hints"), ("hint.json", "must exist")):
        asked = ["--mode", "colorize", "--hints", name]
        assert run("album/one.png", *asked, models=models, fails=True) == 2
        assert said in capsys.readouterr().err
