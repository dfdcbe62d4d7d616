"""The video command: where results go, what is refused before work, what is said afterwards."""

import json

import numpy as np
import pytest
import tiny_clips

from keras_refocus import restore_video
from keras_refocus.restoration.pipeline import Restorer


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    (folder / "trip").mkdir()
    (folder / "notes.txt").write_text("no clip")
    tiny_clips.write(folder / "one.mkv", tiny_clips.moving(0, 4))
    tiny_clips.write(folder / "trip" / "two.mkv", tiny_clips.moving(1, 4))
    return folder


def planned(*arguments):
    parsed = restore_video._parser().parse_args(arguments)
    jobs = restore_video.plan(parsed.inputs, parsed, restore_video._options(parsed))
    restore_video.refuse_clashes(jobs, report=parsed.report, overwrite=parsed.overwrite)
    return [(job.folder / job.name).as_posix() for job in jobs]


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as status:
        restore_video.main(list(arguments))
    assert status.value.code == 2
    return capsys.readouterr().err


def test_folders_are_mirrored_and_patterns_expanded(clips, tmp_path):
    out = str(tmp_path)
    assert planned(str(clips), "--out", out) == [f"{out}/one"]
    assert planned(str(clips), "--recursive", "--out", out) == [f"{out}/one", f"{out}/trip/two"]
    assert planned(f"{clips}/**/*.mkv", "--out", out) == [f"{out}/one", f"{out}/trip/two"]
    assert planned(str(clips / "one.mkv"), str(clips), "--out", out) == [f"{out}/one"]


def test_nothing_is_replaced_unasked(clips, tmp_path):
    (tmp_path / "one.mkv").touch()
    with pytest.raises(FileExistsError, match="add --overwrite"):
        planned(str(clips), "--out", str(tmp_path))
    assert planned(str(clips), "--out", str(tmp_path), "--overwrite")
    with pytest.raises(ValueError, match="must not replace an input"):
        planned(str(clips / "one.mkv"), "--out", str(clips), "--overwrite")


def test_two_results_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").touch()
    names = [str(tmp_path / folder / "clip.mp4") for folder in ("a", "b")]
    with pytest.raises(ValueError, match="must not have one name"):
        planned(*names, "--out", str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fps", "fast"], "For example: 2x, 60"),
        (["--strength", "2"], "strength must be 0 to 1"),
        (["--start", "5", "--end", "3"], "--end must be after --start"),
        (["--keep-gps"], "needs --keep-metadata"),
        (["--jobs", "0"], "at least 1"),
        (["--start", "soon"], "HH:MM:SS"),
    ],
)
def test_mistakes_are_said_before_work(clips, tmp_path, capsys, arguments, message):
    assert message in refused(capsys, str(clips), "--out", str(tmp_path / "new"), *arguments)
    assert not (tmp_path / "new").exists()


def test_a_clip_of_known_length_is_restored_where_no_bar_is_shown(tmp_path, capsys, monkeypatch):
    """Standard error is no terminal here, as in a job that writes a log; MP4 tells its length."""
    engine = tiny_clips.ArithmeticEngine()
    monkeypatch.setattr(restore_video, "_restorer", lambda *_: Restorer(engine))
    source = tiny_clips.write(tmp_path / "phone.mp4", tiny_clips.moving(0, 4), codec="libx264")
    status = restore_video.main([str(source), "--out", str(tmp_path / "out")])
    assert status == 0, capsys.readouterr().err
    assert len(tiny_clips.planes(tmp_path / "out" / "phone.mp4")) == 4


def test_missing_inputs_are_named(tmp_path, capsys):
    assert "does not exist" in refused(capsys, "nothing.mp4", "--out", str(tmp_path))
    assert "at least one video" in refused(capsys, str(tmp_path), "--out", str(tmp_path / "new"))


def test_clips_are_restored_and_reported(clips, tmp_path, capsys, monkeypatch):
    engine = tiny_clips.ArithmeticEngine()
    engine.models_dir = tmp_path
    monkeypatch.setattr(restore_video, "_restorer", lambda *_: Restorer(engine))
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"no clip" * 50)
    status = restore_video.main(
        [str(broken), str(clips / "one.mkv"), "--out", str(tmp_path / "out"), "--jobs", "2"]
        + ["--report", str(tmp_path / "report.json"), "--compare"]
        + ["--start", "0:00.03"]
    )
    said = capsys.readouterr()
    assert status == 1
    assert said.out.splitlines() == [str(tmp_path / "out" / "one.mkv")]
    assert "broken.mkv: A video must be one that FFmpeg reads" in said.err
    assert "1 of 2 clips done" in said.err
    report = json.loads((tmp_path / "report.json").read_text())
    failed, done = report["clips"]
    assert "FFmpeg" in failed["error"]
    assert (done["frames"], done["frames_failed"], done["encoder"]) == (3, {}, "ffv1")
    assert len(done["output_sha256"]) == 64
    before = tiny_clips.planes(clips / "one.mkv")[1:]
    after = tiny_clips.planes(tmp_path / "out" / "one.mkv")
    assert len(after) == 3
    assert not np.array_equal(after[1][0], before[1][0])
    assert np.array_equal(after[1][1], before[1][1])
    assert (tmp_path / "out" / "one_compare.mkv").exists()


def test_a_frame_that_fails_is_told_and_in_the_report(tmp_path, capsys, monkeypatch):
    lumas = tiny_clips.moving(0, 5)
    lumas[2] = np.full_like(lumas[2], 0.9)
    source = tiny_clips.write(tmp_path / "clip.mkv", lumas)
    engine = tiny_clips.ArithmeticEngine(fails=lambda tile: tile.mean() > 0.85)
    engine.models_dir = tmp_path
    monkeypatch.setattr(restore_video, "_restorer", lambda *_: Restorer(engine))
    out, report = tmp_path / "out", tmp_path / "report.json"
    assert restore_video.main([str(source), "--out", str(out), "--report", str(report)]) == 0
    assert "1 of 5 frames could not be restored and are as they were; the first is frame 2" in (
        capsys.readouterr().err
    )
    (done,) = json.loads(report.read_text())["clips"]
    assert (done["frames"], done["frames_written"]) == (5, 5)
    assert done["frames_failed"] == {"2": "MemoryError: no memory for this frame"}
    before = tiny_clips.planes(source)
    after = tiny_clips.planes(out / "clip.mkv")
    assert np.array_equal(before[2][0], after[2][0])
