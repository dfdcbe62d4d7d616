"""The batch command: what it hands to Beam, and what it refuses before."""

import pytest
from tiny_pictures import encoded, scene

from keras_refocus import batch
from keras_refocus.cloud import beam_job


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """Batches that would be run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(scene(1, height=12, width=10)))
    found = []

    def run(work, **options):
        found.append((work, options))
        return beam_job.Summary(restored=3, skipped=2, failed=len(found) - 1)

    monkeypatch.setattr(beam_job, "run", run)
    return found


def test_options_go_to_the_batch_and_those_behind_the_dashes_to_beam(jobs, capsys):
    command = ["in", "--out", "out", "--strength", "0.5", "--format", "PNG", "--shards", "3"]
    assert batch.main([*command, "--runner", "flink", "--", "--flink_master=host:8081"]) == 0
    work, options = jobs[0]
    assert work.settings.options.strength == 0.5 and work.settings.format == "PNG"
    assert (work.source, work.out, work.shards) == ("in", "out", 3)
    assert options == {"runner": "flink", "workers": 1, "options": ["--flink_master=host:8081"]}
    assert capsys.readouterr().out == "out: 3 restored, 2 were done, 0 failed\n"


def test_failures_make_the_status_1(jobs, capsys):
    batch.main(["in", "--out", "out"])
    assert batch.main(["in", "--out", "out"]) == 1
    assert "failed.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["in", "--out", "in/out"], "outside of what is watched"),
        (["gone", "--out", "out"], "must exist"),
        (["in", "--out", "out", "--shards", "0"], "at least one shard"),
        (["in", "--out", "out", "--quality", "0"], "quality"),
        (["in", "--out", "out", "--strenght", "1"], "unrecognized arguments"),
    ],
)
def test_mistakes_are_named_before_anything_runs(jobs, command, said, capsys):
    with pytest.raises(SystemExit) as stop:
        batch.main(command)
    assert stop.value.code == 2 and said in capsys.readouterr().err and not jobs
