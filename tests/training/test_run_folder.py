import errno
import subprocess

import numpy as np
import pytest
from PIL import Image

from keras_refocus.training import run_folder

ROWS = [
    {"epoch": 1, "loss": 0.5, "val_psnr": 20.0, "val_ssim": 0.5, "seconds": 30.0},
    {"epoch": 2, "loss": 0.4, "val_psnr": 22.0, "val_ssim": 0.6, "seconds": 31.0},
    {
        "epoch": 3,
        "loss": 0.3,
        "discriminator_loss": -1.0,
        "val_psnr": 21.0,
        "val_ssim": 0.7,
        "seconds": 3600.0,
    },
]
RECORD = {
    "config": {"steps_per_epoch": 1000},
    "data": {
        "files": 7,
        "training_pictures": 5,
        "manifest_sha256": "abc",
        "license": "CC0",
    },
    "validation": {"pictures": 2, "psnr": 19.5, "ssim": 0.45},
    "sessions": [{"commit": "1234", "versions": {"keras": "3.15"}, "platform": "here"}],
}


def fail_with(error):
    def write(path):
        path.write_text("half")
        raise error

    return write


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # As HDF5 words it.
        OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
        RuntimeError("Can't decrement id ref count (No space left on device)"),
    ],
)
def test_full_disk_is_said_and_leaves_the_file_as_it_was(tmp_path, error):
    path = tmp_path / "state.weights.h5"
    path.write_text("good")
    with pytest.raises(OSError, match="must have room.*state.weights.h5.*--resume"):
        run_folder.write_atomically(path, fail_with(error))
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [PermissionError("not yours"), RuntimeError("other")])
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error), match=str(error)):
        run_folder.write_atomically(tmp_path / "log.csv", fail_with(error))
    assert not list(tmp_path.iterdir())


def test_log_round_trip_with_gaps(tmp_path):
    run_folder.write_log(tmp_path / "log.csv", ROWS)
    assert run_folder.read_log(tmp_path / "log.csv") == ROWS


def test_curves_are_a_picture_of_every_row(tmp_path):
    run_folder.draw_curves(tmp_path / "one.png", ROWS[:1])
    run_folder.draw_curves(tmp_path / "all.png", ROWS)
    one, every = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "all"))
    assert one.shape == every.shape
    assert (one != every).any()


@pytest.mark.parametrize(
    ("seconds", "text"), [(12, "12 s"), (61, "1 min"), (3540, "59 min"), (7265, "2 h 01 min")]
)
def test_durations_are_written_for_people(seconds, text):
    assert run_folder.duration(seconds) == text


def test_report_tells_the_whole_run(tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "epoch_0003.png").touch()
    run_folder.write_report(
        tmp_path,
        RECORD,
        ROWS,
        status="Epoch 3 of 3.",
        command="refocus train restorer --run mine",
        next_steps=[("Measure it", "refocus evaluate restorer mine")],
    )
    text = (tmp_path / "report.md").read_text()
    for part in (
        "Epoch 3 of 3. 1 h 01 min of training, 3,000 steps.",
        "| blurred input | 19.50 | 0.4500 |",
        "| best epoch, 2 | 22.00 | 0.6000 |",
        "| last epoch, 3 | 21.00 | 0.7000 |",
        "](curves.png)",
        "](samples/epoch_0003.png)",
        "refocus train restorer --run mine",
        "Commit 1234; keras 3.15; here.",
        "7 files, 5 of them to train on",
        "Licence: CC0.",
        "- Measure it: `refocus evaluate restorer mine`",
    ):
        assert part in text


def test_environment_names_commit_and_versions():
    values = run_folder.environment()
    assert {"python", "keras", "numpy"} <= set(values["versions"])
    assert values["versions"]["numpy"] == np.__version__


def repository(folder, *, name, tracked):
    """A repository with the module in it, and its commit; git knows of it where it is tracked."""
    module = folder / "keras_refocus" / "training" / "run_folder.py"
    module.parent.mkdir(parents=True)
    module.touch()
    (folder / "setup.cfg").write_text(f"[metadata]\nname = {name}\n")
    identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    for words in (
        ["init", "-q"],
        ["add", "setup.cfg", *(["keras_refocus"] if tracked else [])],
        [*identity, "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    return module, head.stdout.strip()


def test_commit_is_that_of_our_own_repository(tmp_path, monkeypatch):
    module, head = repository(tmp_path / "ours", name="keras_refocus", tracked=True)
    assert run_folder.own_commit(module) == head
    # A hook of another repository, in which a training is started.
    _, other = repository(tmp_path / "theirs", name="gallery", tracked=False)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs" / ".git"))
    assert run_folder.own_commit(module) == head != other
    module.write_text("changed")
    assert run_folder.own_commit(module) == f"{head}-dirty"


@pytest.mark.parametrize(
    ("place", "name", "tracked"),
    [
        ("", "gallery", True),  # Copied into somebody's repository.
        ("", "keras_refocus", False),  # A checkout that the module is no part of.
        ("venv/lib/python3.11/site-packages", "keras_refocus", True),
    ],
)
def test_commit_of_somebody_elses_repository_is_not_recorded(tmp_path, place, name, tracked):
    module, _ = repository(tmp_path, name=name, tracked=tracked)
    if place:
        installed = tmp_path / place / module.relative_to(tmp_path)
        installed.parent.mkdir(parents=True)
        module.rename(installed)
        module = installed
    assert run_folder.own_commit(module) is None


def test_report_without_a_commit_names_the_version(tmp_path):
    session = RECORD["sessions"][0] | {"commit": None, "versions": {"keras_refocus": "0.2.0"}}
    run_folder.write_report(
        tmp_path, RECORD | {"sessions": [session]}, ROWS, status="", command="", next_steps=[]
    )
    text = (tmp_path / "report.md").read_text()
    assert "\nkeras_refocus 0.2.0; here.\n" in text and "Commit" not in text
