"""The restore command: where files go, what is refused before work, and what is said afterwards."""

import hashlib
import json
import pathlib
import shutil

import numpy as np
import origins
import pytest
from PIL import Image
from tiny_models import write_models

import keras_refocus
from keras_refocus import restore
from keras_refocus.engines import store
from keras_refocus.pictures import images


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two pictures, one of them in a sub-folder, and a text file."""
    (tmp_path / "album" / "trip").mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "album" / "one.png")
    Image.fromarray(picture).save(tmp_path / "album" / "trip" / "two.jpg")
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(*inputs, **options):
    return [job.target.as_posix() for job in restore.plan(inputs, **options)]


# Where results go.


def test_results_lie_beside_the_inputs_by_default(folder):
    assert targets("album/one.png") == ["album/one_restored.png"]


def test_results_in_a_folder_keep_their_names_and_sub_folders(folder):
    assert targets("album", out="new") == ["new/one.png"]
    assert targets("album", out="new", recursive=True) == ["new/one.png", "new/trip/two.jpg"]
    assert targets("album/trip/two.jpg", out="new") == ["new/two.jpg"]


def test_patterns_are_expanded_and_mirrored(folder):
    assert targets("album/*", out="new") == ["new/one.png"]
    assert targets("album/**/*.jpg", out="new") == ["new/trip/two.jpg"]
    with pytest.raises(FileNotFoundError, match="pattern must match"):
        restore.plan(["album/*.webp"])


def test_a_file_whose_name_looks_like_a_pattern_is_taken_as_it_is(folder):
    shutil.copy("album/one.png", "photo[1].png")
    assert targets("photo[1].png") == ["photo[1]_restored.png"]


def test_an_input_named_twice_is_restored_once(folder):
    assert targets("album/one.png", "album", "./album/*.png") == ["album/one_restored.png"]


def test_the_format_changes_the_suffix(folder):
    assert targets("album", out="new", recursive=True, format="WebP") == [
        "new/one.webp",
        "new/trip/two.webp",
    ]
    pathlib.Path("phone.HEIC").touch()
    assert targets("phone.HEIC", out="new") == ["new/phone.png"]


def test_a_video_is_told_the_command_for_it(folder):
    pathlib.Path("clip.MP4").touch()
    with pytest.raises(ValueError, match="Type: refocus video clip.MP4 --out new"):
        restore.plan(["clip.MP4"], out="new")


def test_a_comparison_lies_beside_the_result(folder):
    (job,) = restore.plan(["album/one.png"], compare=True)
    assert job.compare.as_posix() == "album/one_restored_compare.png"
    (job,) = restore.plan(["album/one.png"], out="new", compare=True)
    assert job.compare.as_posix() == "new/one_compare.png"


def test_results_of_an_earlier_run_are_no_inputs(folder):
    shutil.copy("album/one.png", "album/one_restored.png")
    shutil.copy("album/one.png", "album/one_restored_compare.png")
    shutil.copy("album/one.png", "album/statue_restored.png")  # a photo of its own
    assert targets("album") == ["album/one_restored.png", "album/statue_restored_restored.png"]
    assert targets("album", out="album/new") == [
        "album/new/one.png",
        "album/new/one_restored.png",
        "album/new/one_restored_compare.png",
        "album/new/statue_restored.png",
    ]
    pathlib.Path("album/new").mkdir()
    shutil.copy("album/one.png", "album/new/one.png")
    assert (
        targets("album/trip", "album", out="album/new", recursive=True).count("album/new/one.png")
        == 1
    )


def test_inputs_that_name_nothing_are_refused(folder):
    with pytest.raises(FileNotFoundError, match="'gone.jpg', which does not exist"):
        restore.plan(["gone.jpg"])
    pathlib.Path("empty").mkdir()
    with pytest.raises(ValueError, match="at least one picture.*--recursive"):
        restore.plan(["empty"])


# Clashes.


def test_existing_results_are_refused_unless_overwriting(folder):
    shutil.copy("album/one.png", "album/one_restored.png")
    jobs = restore.plan(["album/one.png"])
    with pytest.raises(FileExistsError, match="one_restored.png.*--overwrite"):
        restore.refuse_clashes(jobs)
    restore.refuse_clashes(jobs, overwrite=True)


def test_two_results_of_one_name_are_refused(folder):
    shutil.copy("album/trip/two.jpg", "two.jpg")
    jobs = restore.plan(["two.jpg", "album/trip/two.jpg"], out="new")
    with pytest.raises(ValueError, match="name of its own.*two.jpg"):
        restore.refuse_clashes(jobs, overwrite=True)
    # A comparison and a result can meet as well.
    shutil.copy("album/one.png", "album/one_compare.png")
    jobs = restore.plan(["album"], out="new", compare=True)
    with pytest.raises(ValueError, match="one_compare.png"):
        restore.refuse_clashes(jobs)


def test_an_input_is_never_replaced(folder):
    jobs = restore.plan(["album/one.png"], out="album")
    with pytest.raises(ValueError, match="must not replace an input"):
        restore.refuse_clashes(jobs, overwrite=True)
    jobs = restore.plan(["album/one.png"])
    with pytest.raises(ValueError, match="must not replace an input"):
        restore.refuse_clashes(jobs, report=pathlib.Path("album/one.png"), overwrite=True)


def test_a_file_in_the_place_of_a_folder_is_refused(folder):
    with pytest.raises(NotADirectoryError, match="notes.txt"):
        restore.refuse_clashes(restore.plan(["album/one.png"], out="album/notes.txt/deep"))


# The command.


def run(*arguments, models):
    return restore.main(
        [*map(str, arguments), "--models", str(models), "--tile", "16", "--overlap", "4"]
    )


def test_a_folder_is_restored(folder, models, capsys):
    status = run("album", "--recursive", "--out", "new", "--report", "out.json", models=models)
    output = capsys.readouterr()
    assert status == 0
    assert output.out.split() == [
        str(pathlib.Path("new/one.png")),
        str(pathlib.Path("new/trip/two.jpg")),
    ]
    assert output.err == ""
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
    assert compared.shape == (12, 10 + restore._COMPARE_GAP + 10, 3)
    np.testing.assert_array_equal(compared[:, :10], images.read("album/one.png").rgb)
    np.testing.assert_array_equal(compared[:, -10:], images.read("new/one.png").rgb)


def test_gray_pictures_are_compared_too(folder, models):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)).save("gray.png")
    assert run("gray.png", "--out", "new", "--compare", models=models) == 0
    compared = images.read("new/gray_compare.png").rgb
    np.testing.assert_array_equal(compared[:, :9], images.read("gray.png").rgb)
    np.testing.assert_array_equal(compared[:, -9:], images.read("new/gray.png").rgb)


def test_comparisons_of_large_pictures_are_bounded():
    before = np.zeros((100, 9000, 3), np.uint16)
    after = np.full((100, 9000, 3), 65535, np.uint16)
    compared = restore._side_by_side(before, after)
    assert compared.dtype == np.uint8 and compared.shape == (23, 4096, 3)
    assert compared[:, 0].max() == 0 and compared[:, -1].min() == 255


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
        (["album/one.png", "--out", "album"], "must not replace an input"),
        (["album/one.png", "--format", "gif"], "invalid choice"),
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


def test_version(capsys):
    with pytest.raises(SystemExit) as status:
        restore.main(["--version"])
    assert status.value.code == 0
    assert capsys.readouterr().out == f"refocus {keras_refocus.__version__}\n"
