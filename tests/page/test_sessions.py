"""What the page keeps of its visitors' pictures: where, whose, and until when."""

import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest

from keras_refocus.page import sessions
from keras_refocus.page.sessions import Sessions
from keras_refocus.restoration import pipeline


def upload(session, content=b"picture", name="a.jpg"):
    """What the page's own route does: the file lies in the folder of its visitor."""
    path = session.reserve()
    path.write_bytes(content)
    return session.add(path, name)


def uploaded_by_program(kept, content=b"picture", name="a.jpg", folder="content-hash"):
    """What Gradio does: the file lies under a hash of its content, over the old one."""
    path = kept.uploads / folder / name
    with kept.arriving() as arrived:
        path.parent.mkdir(exist_ok=True)
        part = path.with_name("part")
        part.write_bytes(content)
        part.replace(path)
        arrived([str(path)])
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
        upload(kept.of("a"))
        uploaded_by_program(kept)
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
            kept.claim(path, kept.of("a"))
    assert secret.exists()


def test_removing_a_photo_deletes_all_of_it_and_nothing_else(kept):
    session = kept.of("a")
    first, second = upload(session), upload(session, name="b.jpg")
    give_result(session, first)
    session.delete([first])
    # The previews and the result went with the upload.
    assert session.pictures == [second] and files(kept.folder) == [second.upload]


def test_a_download_deletes_upload_and_result_if_asked_to(kept):
    session = kept.of("a")
    first, second = upload(session), upload(session, name="b.jpg")
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


def test_an_archive_goes_as_soon_as_it_is_fetched_or_one_of_its_pictures_changes(kept):
    session = kept.of("a")
    picture = upload(session)
    session.delete_after_download = False
    session.archive, path = session.new_file(".zip", "all.zip")
    path.write_bytes(b"zip")
    kept.downloaded(session, session.find(session.archive))
    assert not path.exists() and session.find(session.archive)
    path.write_bytes(b"zip")
    session.drop_download(picture)
    assert not path.exists() and session.find(session.archive)


class Job:
    """A job under way."""

    def __init__(self):
        self.is_over = False

    def cancel(self):
        self.is_over = True

    def drop(self, pictures):
        pass


def test_nothing_is_kept_longer_than_promised(kept, monkeypatch):
    session = kept.of("a")
    path = upload(session).upload
    stray = uploaded_by_program(kept)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + kept.keep_seconds - 1)
    kept.sweep()
    assert path.exists() and stray.exists() and 0 < session.remaining < 2
    monkeypatch.setattr(time, "monotonic", lambda: now + kept.keep_seconds + 1)
    # While work is under way the time waits.
    session.job = Job()
    kept.sweep()
    assert path.exists()
    session.job.cancel()
    kept.sweep()
    assert not path.exists() and session.is_over
    # The page can then say why there is nothing.
    assert kept.of("a").is_renewed and not kept.of("b").is_renewed
    long_ago = time.time() - kept.keep_seconds - 1
    os.utime(stray, (long_ago, long_ago))
    kept.sweep()
    assert not files(kept.folder)


def test_work_for_whoever_is_gone_ends_before_the_photos_do(kept, monkeypatch):
    session = kept.of("a")
    upload(session)
    session.job = Job()
    now = time.monotonic()
    kept.leave("a")
    monkeypatch.setattr(time, "monotonic", lambda: now + 29)
    kept.sweep()
    assert not session.job.is_over
    # Who comes back keeps it.
    session.come_back()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    kept.sweep()
    assert not session.job.is_over
    kept.leave("a")
    monkeypatch.setattr(time, "monotonic", lambda: now + 91)
    kept.sweep()
    assert session.job.is_over and kept.of("a") is session


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
        path = upload(kept.of("a")).upload
        deadline = time.monotonic() + 10
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not path.exists()


def test_visitors_have_their_own_pictures(kept):
    one, other = kept.of("a"), kept.of("b")
    mine, yours = upload(one), upload(other)
    give_result(one, mine)
    assert other.find(mine.download) is None and kept.find(mine.download)[0] is one
    one.delete()
    assert not mine.upload.exists() and yours.upload.exists()


def test_each_page_has_a_door_of_its_own(kept):
    door = kept.door("a")
    assert kept.door("a") == door != kept.door("b")
    assert kept.behind(door) == "a" and kept.behind("x") is None
    assert kept.existing("a") is None
    session = kept.of("a")
    assert kept.existing("a") is session


def test_equal_uploads_of_programs_are_claimed_one_by_one(kept):
    visitors = [kept.of(str(number)) for number in range(3)]
    path = uploaded_by_program(kept)
    assert uploaded_by_program(kept) == path
    first = kept.claim(path, visitors[0])
    visitors[0].end()
    assert not first.upload.exists() and path.exists()
    # A third one is just arriving: Gradio puts it over the old file.
    with kept.arriving() as arrived:
        second = kept.claim(path, visitors[1])
        path.write_bytes(b"picture")
        arrived([str(path)])
    third = kept.claim(path, visitors[2], "mine.jpg")
    assert second.upload.read_bytes() == third.upload.read_bytes() == b"picture"
    assert third.name == "mine.jpg" and not path.exists() and not path.parent.exists()


def result():
    source = np.zeros((10, 10, 3), np.uint8)
    plane = np.full((10, 10, 1), 0.5, np.float32)
    return pipeline.RestoreResult(
        image=source,
        is_grayscale=False,
        stages=("restore",),
        versions={},
        seconds=0,
        options=pipeline.RestoreOptions(),
        planes=pipeline.Planes(source, plane, None, None),
    )


def test_memory_is_bounded_and_the_least_recent_goes_to_a_file_first(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Sessions(memory=2500) as kept:
        for visitor in ("a", "b"):
            upload(kept.of(visitor)).result = result()
        first, second = kept.of("a").pictures[0], kept.of("b").pictures[0]
        # 300 for the image, 300 for the source, 400 for the luminance.
        assert first.memory == second.memory == 1000
        kept.make_room(500)
        assert first.result and second.result
        kept.make_room(600)
        assert first.result is None and first.is_done and second.result is not None
        stored = first.stored
        assert stored.is_relative_to(kept.folder)
        # It comes back as it was, blended anew.
        again = kept.of("a").recall(first)
        np.testing.assert_array_equal(again.planes.restored, second.result.planes.restored)
        np.testing.assert_array_equal(again.image, pipeline.reblend(second.result).image)
        assert not stored.exists()
        # Whoever works on it keeps it.
        with second.work:
            threading.Thread(target=kept.make_room, args=(2**40,)).start()
            deadline = time.monotonic() + 10
            while first.result is not None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert first.result is None and second.result is not None


def test_work_that_ends_after_its_picture_has_gone_leaves_nothing(kept):
    session = kept.of("a")
    picture = upload(session)
    session.delete()
    give_result(session, picture)
    session.settle(picture)
    assert not files(kept.folder)
    picture = upload(session)
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
    other = uploaded_by_program(kept)
    kept.fetched(other)
    kept.fetched(str(out))
    assert other.exists() and not out.exists() and not out.parent.exists()


def test_a_time_of_nothing_is_refused():
    with pytest.raises(ValueError, match="more than 0 seconds"):
        sessions.Sessions(keep_seconds=0)
