"""What the page keeps of its visitors' pictures: where, whose, and until when."""

import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from keras_refocus.page import sessions
from keras_refocus.page.sessions import Sessions
from keras_refocus.restoration import pipeline


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Sessions() as kept:
        yield kept


def upload(kept, content=b"picture", name="a.jpg", folder="content-hash"):
    """What Gradio does: the file lies under a hash of its content."""
    path = kept.uploads / folder / name
    path.parent.mkdir(exist_ok=True)
    part = path.with_name("part")
    part.write_bytes(content)
    part.replace(path)
    return path


def files(folder):
    return [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]


def give_result(session, picture):
    """What finishing leaves."""
    for name in ("before", "after", "download"):
        token, path = session.new_file(".png", "a.png" if name == "download" else None)
        path.write_bytes(b"result")
        setattr(picture, name, token)
        if name == "download":
            session.find(token).pictures = (picture,)
    picture.details = {"Done": "yes"}


def test_the_folder_is_private_and_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Sessions() as kept:
        assert kept.folder.parent == tmp_path
        if os.name == "posix":
            for folder in (kept.folder, kept.uploads):
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        kept.of("a").use([upload(kept)])
    assert not list(tmp_path.iterdir())


def test_folders_of_killed_pages_are_deleted_and_those_of_living_ones_kept(kept, tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    abandoned = tmp_path / f"refocus-page-{child.stdout.strip()}-x"
    abandoned.mkdir()
    (abandoned / "left.jpg").write_bytes(b"x")
    with Sessions():
        assert not abandoned.exists()
        assert kept.folder.is_dir()


def test_only_uploads_are_taken(kept, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    link = kept.uploads / "link.jpg"
    link.symlink_to(secret)
    for path in (secret, link, kept.uploads / ".." / ".." / "secret.txt", kept.uploads / "none"):
        with pytest.raises(ValueError, match="just uploaded"):
            kept.of("a").use([path])


def test_a_longer_list_keeps_results_and_a_shorter_one_deletes(kept):
    session = kept.of("a")
    first, second = upload(kept), upload(kept, b"other", "b.jpg", "other-hash")
    session.use([first])
    (picture,) = session.pictures
    give_result(session, picture)
    session.use([first, second])
    assert session.pictures[0] is picture and picture.download
    session.use([second])
    assert not first.exists() and second.exists()
    # The preview and the result went with the upload.
    assert files(kept.folder) == [second]


def test_a_download_deletes_upload_and_result_if_asked_to(kept):
    session = kept.of("a")
    session.use([upload(kept), upload(kept, b"other", "b.jpg", "other-hash")])
    first, second = session.pictures
    give_result(session, first)
    give_result(session, second)
    session.delete_after_download = False
    kept.downloaded(session, session.find(first.download))
    assert len(files(kept.folder)) == 8
    # Looking at a preview deletes nothing.
    session.delete_after_download = True
    kept.downloaded(session, session.find(first.before))
    assert len(files(kept.folder)) == 8
    token = first.download
    kept.downloaded(session, session.find(token))
    assert session.pictures == [second] and len(files(kept.folder)) == 4
    assert kept.find(token) is None


def test_an_archive_goes_with_any_of_its_pictures(kept):
    session = kept.of("a")
    session.use([upload(kept), upload(kept, b"other", "b.jpg", "other-hash")])
    token, path = session.new_file(".zip", "all.zip", pictures=session.pictures)
    path.write_bytes(b"zip")
    session.delete(session.pictures[:1])
    assert not path.exists() and session.find(token) is None


def test_nothing_is_kept_longer_than_promised(kept, monkeypatch):
    session = kept.of("a")
    path = upload(kept)
    session.use([path])
    stray = upload(kept, b"never used", "s.jpg", "stray-hash")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + kept.keep_seconds - 1)
    kept.sweep()
    assert path.exists() and stray.exists()
    monkeypatch.setattr(time, "monotonic", lambda: now + kept.keep_seconds + 1)
    # While work is under way the time waits.
    with session.work:
        kept.sweep()
    assert path.exists()
    kept.sweep()
    assert not path.exists() and session.is_over
    # The page can then say why there is nothing.
    assert kept.of("a").is_renewed and not kept.of("b").is_renewed
    long_ago = time.time() - kept.keep_seconds - 1
    os.utime(stray, (long_ago, long_ago))
    kept.sweep()
    assert not files(kept.folder)


def test_whoever_leaves_has_two_minutes_to_come_back(kept, monkeypatch):
    now = time.monotonic()
    session = kept.of("a")
    kept.leave("a")
    kept.leave("nobody")
    monkeypatch.setattr(time, "monotonic", lambda: now + 100)
    kept.sweep()
    assert kept.of("a") is session
    kept.leave("a")
    monkeypatch.setattr(time, "monotonic", lambda: now + 100 + 121)
    kept.sweep()
    assert kept.of("a") is not session


def test_the_sweeper_runs_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Sessions(keep_seconds=0.2) as kept:
        path = upload(kept)
        kept.of("a").use([path])
        deadline = time.monotonic() + 10
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not path.exists()


def test_visitors_have_their_own_pictures_and_share_an_equal_upload(kept):
    one, other = kept.of("a"), kept.of("b")
    path = upload(kept)
    one.use([path])
    # Gradio puts the same content in the same place, over the old file.
    assert upload(kept) == path
    other.use([path])
    give_result(one, one.pictures[0])
    assert other.find(one.pictures[0].download) is None
    one.delete()
    assert path.exists() and not one.pictures
    other.delete()
    assert not path.exists()


def test_an_upload_that_has_not_reached_its_session_yet_survives_another_s_deletion(kept):
    one = kept.of("a")
    path = upload(kept)
    one.use([path])
    upload(kept)  # By another visitor, whose page is about to say so.
    one.delete()
    assert path.exists()
    kept.of("b").use([path])
    kept.of("b").delete()
    assert not path.exists()


def test_memory_is_bounded_and_the_least_recent_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = np.zeros((10, 10, 3), np.uint8)
    plane = np.zeros((10, 10, 1), np.float32)
    with Sessions(memory=2500) as kept:
        for visitor in ("a", "b"):
            session = kept.of(visitor)
            session.use([upload(kept, visitor.encode(), "a.jpg", visitor)])
            session.pictures[0].result = pipeline.RestoreResult(
                image=source,
                is_grayscale=False,
                stages=(),
                versions={},
                seconds=0,
                options=pipeline.RestoreOptions(),
                planes=pipeline.Planes(source, plane, None, None),
            )
        first, second = kept.of("a").pictures[0], kept.of("b").pictures[0]
        # 300 for the image, 300 for the source, 400 for the luminance.
        assert first.memory == second.memory == 1000
        kept.make_room(500)
        assert first.result and second.result
        kept.make_room(600)
        assert first.result is None and second.result is not None


def test_work_that_ends_after_its_picture_has_gone_leaves_nothing(kept):
    session = kept.of("a")
    session.use([upload(kept)])
    (picture,) = session.pictures
    session.delete()
    give_result(session, picture)
    session.settle(picture)
    assert not files(kept.folder)
    session.use([upload(kept)])
    (picture,) = session.pictures
    kept.end("a")
    give_result(session, picture)
    session.settle(picture)
    assert not files(kept.folder)


def test_what_is_handed_out_is_deleted_when_fetched(kept):
    session = kept.of("a")
    token, path = session.new_file(".jpg", "photo_restored.jpg")
    path.write_bytes(b"x")
    out = kept.hand_out(session.find(token))
    assert out.name == "photo_restored.jpg" and out.is_relative_to(kept.uploads)
    other = upload(kept)
    kept.fetched(other)
    kept.fetched(str(out))
    assert other.exists() and not out.exists() and not out.parent.exists()


def test_a_time_of_nothing_is_refused():
    with pytest.raises(ValueError, match="more than 0 seconds"):
        sessions.Sessions(keep_seconds=0)
