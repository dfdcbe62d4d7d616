"""The benchmark of live streams, jobs and lengths: its clips and what it measures."""

import json

import pytest
import tiny_clips
from tiny_models import write_models

from keras_refocus.benchmarks import live
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer
from keras_refocus.video import containers


@pytest.fixture
def restorer():
    return Restorer(tiny_clips.ArithmeticEngine())


def test_the_clips_move_and_have_the_size_that_is_asked_for(tmp_path):
    path = live.write_clip(tmp_path / "clip.mp4", 7, (96, 64), rate=60, distinct=4)
    found = containers.survey(path)
    assert (len(found.frames), found.width, found.height) == (7, 96, 64)
    assert found.seconds == pytest.approx(7 / 60, abs=0.02)
    planes = [frame[0].astype(int) for frame in tiny_clips.planes(path)]
    assert abs(planes[0] - planes[1]).mean() > 2
    assert abs(planes[0] - planes[4]).mean() < 2


def test_a_live_rate_is_of_the_frames_that_were_restored(tmp_path, restorer):
    row = live.live_rate(tmp_path, restorer, RestoreOptions(), (64, 48), seconds=0.5)
    assert (row["width"], row["height"]) == (64, 48)
    assert row["rate"] > 0
    written = len(containers.survey(tmp_path / "live.mp4").frames)
    assert written + row["dropped"] == 60


def test_jobs_restore_the_whole_clip(tmp_path, restorer):
    rows = [
        live.job_rate(tmp_path, restorer, RestoreOptions(), jobs, frames=5, size=(64, 48))
        for jobs in (1, 2)
    ]
    assert [row["jobs"] for row in rows] == [1, 2]
    assert all(row["rate"] > 0 for row in rows)
    for jobs in (1, 2):
        assert len(containers.survey(tmp_path / "restored" / f"jobs{jobs}.mp4").frames) == 5


def test_memory_is_that_of_a_process_of_its_own(tmp_path):
    models = write_models(tmp_path / "models")
    row = live.peak_memory(tmp_path, 3, models, size=(64, 48))
    assert (row["width"], row["height"], row["frames"]) == (64, 48, 3)
    found = containers.survey(tmp_path / "lengths" / "length3.mp4")
    assert (found.width, found.height, len(found.frames)) == (64, 48, 3)
    # TensorFlow alone takes more than the first; no clip of three small frames takes the second.
    assert 100 < row["peak_memory_mib"] < 3000
    with pytest.raises(ValueError, match="could not be restored"):
        live.peak_memory(tmp_path, 3, tmp_path / "nowhere")


def test_what_is_not_asked_for_is_not_measured(capsys):
    assert live.main(["--sizes", "--jobs", "--json"]) is None
    figures = json.loads(capsys.readouterr().out)
    assert figures["lengths"] == []
    assert "live" not in figures
