"""The command `refocus curate`."""

import json
import shutil

import pytest
import tiny_pictures as tiny
from PIL import Image

from keras_refocus import __main__ as command
from keras_refocus import curate
from keras_refocus.data import curation


@pytest.fixture
def folder(tmp_path):
    """Three good photos, a copy and a truncated file."""
    folder = tmp_path / "photos"
    for seed in range(3):
        tiny.save(folder / f"{seed}.png", tiny.scene(seed))
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "cut.png").write_bytes((folder / "1.png").read_bytes()[:-300])
    return folder


def test_report_names_what_is_bad_and_goes_on(folder, capsys):
    assert curate.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "5 photos, 3 good" in said
    assert "1 byte-identical copy: copy.png" in said and "1 unreadable: cut.png" in said
    assert list(curation.read_sums(folder / curation.MANIFEST)) == [
        "0.png",
        "1.png",
        "2.png",
        "copy.png",
    ]
    report = json.loads((folder / curation.REPORT).read_text())
    assert report["bad"]["unreadable"]["count"] == 1 and report["good"] == 3


def test_skip_leaves_it_out(folder, tmp_path):
    out = tmp_path / "clean"
    options = ["--on-bad", "skip", "--out", str(out), "--size", "30", "--format", "jpeg"]
    assert command.main(["curate", str(folder), *options]) == 0
    assert list(curation.read_sums(folder / curation.MANIFEST)) == ["0.png", "1.png", "2.png"]
    names = ["0.jpg", "1.jpg", "2.jpg"]
    assert list(curation.read_sums(out / curation.MANIFEST)) == names
    assert sorted(path.name for path in out.glob("*.jpg")) == names
    with Image.open(out / "0.jpg") as picture:
        assert picture.format == "JPEG" and picture.size == (40, 30)
    assert curate.main([str(out), "--verify"]) == 0


def test_fail_writes_the_report_alone(folder, tmp_path, capsys):
    options = ["--on-bad", "fail", "--out", str(tmp_path / "clean")]
    assert curate.main([str(folder), *options]) == 1
    assert (folder / curation.REPORT).exists()
    assert not (folder / curation.MANIFEST).exists() and not (tmp_path / "clean").exists()
    assert "Nothing else was written" in capsys.readouterr().out

    (folder / "copy.png").unlink()
    (folder / "cut.png").unlink()
    assert curate.main([str(folder), *options]) == 0
    assert len(list((tmp_path / "clean").glob("*.png"))) == 3


def test_verify_tells_what_changed(folder, capsys):
    curate.main([str(folder), "--on-bad", "skip"])
    assert curate.main([str(folder), "--verify"]) == 0
    said = capsys.readouterr().out
    assert "3 of 3 files are as in" in said and "not in the manifest: 2: copy.png, cut.png" in said
    tiny.save(folder / "1.png", tiny.scene(9))
    (folder / "2.png").unlink()
    assert curate.main([str(folder), "--verify"]) == 1
    said = capsys.readouterr().out
    assert "changed: 1: 1.png" in said and "missing: 1: 2.png" in said


def test_manifest_and_report_elsewhere(folder, tmp_path):
    manifest, report = tmp_path / "m.sha256", tmp_path / "r.json"
    options = ["--manifest", str(manifest)]
    assert curate.main([str(folder), *options, "--report", str(report)]) == 0
    assert not (folder / curation.MANIFEST).exists() and report.exists()
    assert curate.main([str(folder), "--verify", *options]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "must exist"),
        ([".", "--verify"], "manifest must exist"),
        ([".", "--out", "./inside"], "apart from the pictures"),
        ([".", "--out", "../full"], "new or empty folder"),
        ([".", "--out", "../clean", "--bits", "16", "--format", "jpeg"], "16 bits need"),
    ],
)
def test_mistakes_are_explained(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    tiny.save("../full/x.png", tiny.scene(0))
    with pytest.raises(SystemExit) as exit:
        curate.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err
    assert not (folder / curation.MANIFEST).exists()


def test_nothing_is_written_when_names_clash(folder, tmp_path, capsys):
    tiny.save(folder / "0.jpg", tiny.scene(8))
    with pytest.raises(SystemExit):
        curate.main([str(folder), "--out", str(tmp_path / "clean")])
    assert "both to become 0.png" in capsys.readouterr().err
    assert not (folder / curation.MANIFEST).exists() and not (tmp_path / "clean").exists()


def test_blur_is_shown_and_nothing_else_is_done(folder, tmp_path, capsys):
    (folder / "cut.png").unlink()
    before = sorted(folder.iterdir())
    tiny.save(folder / "large.png", tiny.scene(9, height=300, width=280))
    sheet = tmp_path / "sheets" / "sheet.jpg"
    assert curate.main([str(folder), "--show-blur", str(sheet), "--blur", "mild"]) == 0
    said = capsys.readouterr().out
    assert "24 samples of 'mild'" in said and str(sheet) in said
    with Image.open(sheet) as picture:
        assert picture.format == "JPEG" and picture.size == (4 * 2 * 256, 6 * 256)
    assert sorted(folder.iterdir()) == sorted([*before, folder / "large.png"])
    for wrong, message in (("--verify", "--verify"), ("--out=x", "--out")):
        with pytest.raises(SystemExit):
            curate.main([str(folder), "--show-blur", str(sheet), wrong])
        assert message in capsys.readouterr().err
