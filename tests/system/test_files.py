"""Files appear whole or not at all, and leave nothing behind."""

import errno
import hashlib
import os
import pathlib
import subprocess
import sys
import time

import pytest

from keras_refocus.system import files


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "report.json"
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert files.is_left_over(temporary)
        assert temporary.name.startswith(".report.json.") and temporary.name.endswith(".tmp")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text() == "new"


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="other"), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("other")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file_and_not_its_temporary_one(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        files.write_text(tmp_path / "nowhere" / "a.txt", "text")
    assert error.value.filename == str(tmp_path / "nowhere" / "a.txt")
    with pytest.raises(OSError) as error, files.replacing(tmp_path / "full"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(tmp_path / "full")


def test_nothing_is_replaced_unasked(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(FileExistsError, match="replaced unasked.*a.txt"):
        files.write_text(path, "new", overwrite=False)
    # One that came while this one was being written.
    other = tmp_path / "b.txt"
    with (
        pytest.raises(FileExistsError, match="replaced unasked.*b.txt"),
        files.replacing(other, overwrite=False) as temporary,
    ):
        temporary.write_text("mine")
        other.write_text("theirs")
    assert path.read_text() == "old" and other.read_text() == "theirs"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    files.write_bytes(tmp_path / "a", b"1", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["state.weights.h5", "best.keras", "ä" * 120 + ".png"])
def test_the_suffix_is_kept_where_writers_go_by_it(tmp_path, name):
    with files.replacing(tmp_path / name, keep_suffix=True) as temporary:
        assert temporary.name.endswith((tmp_path / name).suffix)
        assert files.is_left_over(temporary)
        temporary.write_bytes(b"")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are bytes there")
def test_any_name_has_a_temporary_one_whatever_the_encoding_of_names(tmp_path):
    """Where the locale is that of ASCII, other characters are bytes of no meaning."""
    program = (
        "import os, sys\n"
        "from keras_refocus.system import files\n"
        "for name in os.listdir(sys.argv[1]):\n"
        "    files.write_text(os.path.join(sys.argv[1], name), 'new')\n"
    )
    names = ["ä.png".encode(), b"\xff\xfe.png", "中".encode() * 80]
    for name in names:
        pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    for locale in ({"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"}):
        environment = {**os.environ, "LC_ALL": "C", **locale}
        subprocess.run([sys.executable, "-c", program, tmp_path], env=environment, check=True)
    assert sorted(os.fsencode(path.name) for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("name", [".gitignore", "a.tmp", ".a.tmp", ".a.0123456789abcdeg.tmp", ".a"])
def test_files_of_others_are_not_taken_for_left_over(name):
    assert not files.is_left_over(name)


def test_what_was_left_over_is_removed(tmp_path):
    with pytest.raises(SystemExit), files.replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        left = tmp_path / temporary.name.replace(".a.", ".b.")  # as if the process had been killed
        left.write_text("half")
        raise SystemExit
    (tmp_path / "kept.tmp").write_text("")
    assert left.exists()
    files.remove_left_overs(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.tmp"]


def test_line_ends_stay(tmp_path):
    files.write_text(tmp_path / "a", "one\r\ntwo\n")
    assert (tmp_path / "a").read_bytes() == b"one\r\ntwo\n"


def test_sums_are_those_of_the_bytes(tmp_path):
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256(b"abc") == files.sha256(tmp_path / "abc") == expected
    assert files.sha256(str(tmp_path / "abc")) == hashlib.sha256(b"abc").hexdigest()


def make_old(path):
    then = time.time() - 60
    os.utime(path, (then, then))


def test_what_killed_programs_left_of_some_files_is_removed_and_nothing_else(tmp_path):
    target = tmp_path / "a.png"
    left = [tmp_path / f".a.png.{16 * digit}.tmp" for digit in "12"]
    kept = [tmp_path / name for name in ("a.png", ".b.png.0123456789abcdef.tmp", ".a.png.tmp")]
    for path in (*left, *kept):
        path.write_bytes(b"half")
        make_old(path)
    (tmp_path / ".a.png.fedcba9876543210.tmp").mkdir()
    just_written = tmp_path / ".a.png.aaaaaaaaaaaaaaaa.tmp"
    just_written.touch()
    assert files.remove_abandoned([target, tmp_path / "gone" / "a.png", target]) == left
    assert just_written.exists() and all(path.exists() for path in kept)


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted there")
def test_what_another_program_writes_stays_until_it_is_killed(tmp_path):
    target = tmp_path / "a.png"
    program = (
        "import pathlib, sys, time\n"
        "from keras_refocus.system import files\n"
        "with files.replacing(sys.argv[1]) as path, path.open('x+b') as file:\n"
        "    files.lock(file)\n"
        "    print(path, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE, text=True
    ) as process:
        path = process.stdout.readline().strip()
        make_old(path)
        assert files.remove_abandoned([target]) == []
        process.kill()
    assert [str(found) for found in files.remove_abandoned([target])] == [path]
