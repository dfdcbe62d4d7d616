"""Which files are restored and where results go, and what is refused before work."""

import os
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_refocus.pictures import images
from keras_refocus.restoration import jobs


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


def plan(inputs, **options):
    return jobs.plan(inputs, **options).jobs


def targets(*inputs, **options):
    return [job.target.as_posix() for job in plan(inputs, **options)]


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
        plan(["album/*.webp"])


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
        plan(["clip.MP4"], out="new")


def test_a_comparison_lies_beside_the_result(folder):
    (job,) = plan(["album/one.png"], compare=True)
    assert job.compare.as_posix() == "album/one_restored_compare.png"
    (job,) = plan(["album/one.png"], out="new", compare=True)
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
        plan(["gone.jpg"])
    pathlib.Path("empty").mkdir()
    with pytest.raises(ValueError, match="at least one picture.*--recursive"):
        plan(["empty"])


# Clashes.


def test_existing_results_are_refused_unless_overwriting(folder):
    shutil.copy("album/one.png", "album/one_restored.png")
    planned = plan(["album/one.png"])
    with pytest.raises(FileExistsError, match="one_restored.png.*--overwrite"):
        jobs.refuse_clashes(planned)
    jobs.refuse_clashes(planned, overwrite=True)


def test_two_results_of_one_name_are_refused(folder):
    shutil.copy("album/trip/two.jpg", "two.jpg")
    planned = plan(["two.jpg", "album/trip/two.jpg"], out="new")
    with pytest.raises(ValueError, match="name of its own.*two.jpg"):
        jobs.refuse_clashes(planned, overwrite=True)
    # A comparison and a result can meet as well.
    shutil.copy("album/one.png", "album/one_compare.png")
    planned = plan(["album"], out="new", compare=True)
    with pytest.raises(ValueError, match="one_compare.png"):
        jobs.refuse_clashes(planned)


def test_an_input_is_never_replaced(folder):
    planned = plan(["album/one.png"], out="album")
    with pytest.raises(ValueError, match="must not replace an input"):
        jobs.refuse_clashes(planned, overwrite=True)
    planned = plan(["album/one.png"])
    with pytest.raises(ValueError, match="must not replace an input"):
        jobs.refuse_clashes(planned, report=pathlib.Path("album/one.png"), overwrite=True)


def test_a_file_in_the_place_of_a_folder_is_refused(folder):
    with pytest.raises(NotADirectoryError, match="notes.txt"):
        jobs.refuse_clashes(plan(["album/one.png"], out="album/notes.txt/deep"))


# What is taken and what is passed by.


def test_every_kind_of_picture_is_taken_and_the_rest_is_named(folder):
    names = "a.jfif b.jpe c.mpo d.dib e.gif f.avif g.jp2 h.JPG".split()
    for name in [*names, "clip.mov", "._h.JPG", ".DS_Store"]:
        pathlib.Path("album", name).touch()
    pathlib.Path("album/.hidden").mkdir()
    pathlib.Path("album/.hidden/i.jpg").touch()
    pathlib.Path("album/folder.png").mkdir()
    found = jobs.plan(["album"], out="new")
    assert [job.source.name for job in found.jobs] == [*names, "one.png"]
    assert [path.name for path in found.others] == ["clip.mov", "notes.txt"]
    assert [path.name for path in found.hidden] == ["._h.JPG"]
    found = jobs.plan(["album/*"], out="new")
    assert [job.source.name for job in found.jobs] == [*names, "one.png"]
    assert {path.name for path in found.others} >= {"clip.mov", "notes.txt"}
    assert [path.name for path in found.hidden] == ["._h.JPG"]
    assert targets("album/._*", out="new") == ["new/._h.JPG"]  # asked for by name


def test_a_format_that_can_be_written_is_kept(folder):
    names = "a.jfif a.jpe b.dib c.tiff d.JPEG".split()
    for name in [*names, "e.mpo", "f.gif", "g.heic"]:
        pathlib.Path(name).touch()
    assert targets(*names, out="new") == [f"new/{name}" for name in names]
    assert targets("e.mpo", "f.gif", "g.heic", out="new") == [
        "new/e.jpg",
        "new/f.png",
        "new/g.png",
    ]


def test_brackets_in_the_name_of_a_folder_are_part_of_it(folder):
    shutil.copytree("album/trip", "set [1]")
    assert targets("set [1]/*.jpg", out="new") == ["new/two.jpg"]
    assert targets("album/tri[p]/*.jpg", out="new") == ["new/trip/two.jpg"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="all may be read")
def test_a_folder_that_may_not_be_read_is_named(folder):
    pathlib.Path("album/trip").chmod(0)
    found = jobs.plan(["album"], recursive=True)
    pathlib.Path("album/trip").chmod(0o700)
    assert [path.name for path in found.closed] == ["trip"]


# Standard input and output.


def test_standard_input_goes_to_standard_output(folder):
    (job,) = plan(["-"])
    assert job == jobs.FileJob(jobs.STREAM, jobs.STREAM)
    assert job.outputs == []
    assert plan(["-"], out="-", format="PNG") == [
        jobs.FileJob(job.source, job.target, format="PNG")
    ]


def test_a_file_can_go_to_standard_output_in_its_own_format(folder):
    (job,) = plan(["album/trip/two.jpg"], out="-")
    assert (job.source.name, job.target, job.format) == ("two.jpg", jobs.STREAM, "JPEG")
    jobs.refuse_clashes([job])


def test_a_file_called_minus_is_a_file(folder):
    shutil.copy("album/one.png", "-")
    (job,) = plan(["./-"], out="new")
    assert job.source != jobs.STREAM and job.source.name == "-"


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["-", "album/one.png"], {}, "2 inputs"),
        (["album/one.png", "album"], {"out": "-"}, "2 inputs"),
        (["-"], {"out": "new"}, "send the output to a file with >"),
        (["-"], {"compare": True}, "--compare"),
        (["album"], {"out": "-"}, "must be a file"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(folder, inputs, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        jobs.plan(inputs, **options)


# Going on.


def test_results_that_exist_are_no_clash_where_they_are_skipped(folder):
    shutil.copy("album/one.png", "album/one_restored.png")
    report = folder / "report.json"
    report.touch()
    planned = plan(["album/one.png"])
    jobs.refuse_clashes(planned, report=report, skip_done=True)
    with pytest.raises(FileExistsError, match="--skip-done"):
        jobs.refuse_clashes(planned)
    with pytest.raises(ValueError, match="must not replace an input"):
        jobs.refuse_clashes(planned, report=planned[0].source, skip_done=True)


def test_what_a_killed_run_left_of_the_results_is_removed(folder):
    pathlib.Path("new").mkdir()
    left = [pathlib.Path("new/.one.png.0123456789abcdef.tmp")]
    left.append(pathlib.Path("new/.one_compare.png.0123456789abcdef.tmp"))
    others = [pathlib.Path("new/.two.png.0123456789abcdef.tmp")]
    for path in (*left, *others):
        path.touch()
        os.utime(path, (0, 0))
    assert jobs.remove_leftovers(plan(["album"], out="new", compare=True)) == left
    assert others[0].exists()


# Whatever the names.

NAMES = st.text("ab[]*? -._", min_size=1, max_size=4).filter(lambda name: name.strip(". "))
SUFFIXES = st.sampled_from([".jpg", ".png", ".JPG", ".heic", ".gif", ".txt", "", "_restored.jpg"])
FILES = st.tuples(st.lists(NAMES, max_size=2), NAMES, SUFFIXES)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    files=st.lists(FILES, min_size=1, max_size=6),
    given_as=st.sampled_from(["folder", "files", "both", "pattern"]),
    out=st.sampled_from([None, "new", "in", "in/new"]),
    format=st.sampled_from([None, "PNG", "WebP"]),
    compare=st.booleans(),
    recursive=st.booleans(),
)
def test_no_plan_destroys_anything(files, given_as, out, format, compare, recursive):
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place, "in")
        root.mkdir()
        there = set()
        for folders, name, suffix in files:
            path = root.joinpath(*folders, name + suffix)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except OSError:  # A file stands where the folder would be.
                continue
            there.add(path)
        inputs = {
            "folder": [root],
            "files": sorted(there),
            "both": [root, *sorted(there)],
            "pattern": [f"{root}/**/*"],
        }[given_as]
        if out is not None:
            out = pathlib.Path(place, out)
        try:
            found = jobs.plan(inputs, out=out, format=format, compare=compare, recursive=recursive)
            jobs.refuse_clashes(found.jobs)
        except (ValueError, OSError) as error:
            assert str(error).endswith(".")  # a sentence
            return
        outputs = [path for job in found.jobs for path in job.outputs]
        sources = [job.source.resolve() for job in found.jobs]
        assert len(set(outputs)) == len(outputs)
        assert len(set(sources)) == len(sources)
        assert not {path.resolve() for path in outputs} & {path.resolve() for path in there}
        assert all(path.is_relative_to(out or root) for path in outputs)
        # Each file is in the plan, passed by, or deeper than was asked for.
        if given_as in ("files", "both"):
            assert set(sources) == {path.resolve() for path in there}
        assert all(path.suffix.lower() in images.FORMAT_OF_SUFFIX for path in outputs)
