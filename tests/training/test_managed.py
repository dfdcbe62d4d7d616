"""What SageMaker tells a job becomes its command line; elsewhere nothing changes."""

from keras_refocus.system import run_files
from keras_refocus.training import managed

# As the toolkit of SageMaker sets them.
VARIABLES = {
    "SM_HPS": "{}",
    "SM_MODEL_DIR": "/opt/ml/model",
    "SM_CHANNEL_PHOTOS": "/opt/ml/input/data/photos",
    "SM_NUM_GPUS": "0",
}


def test_elsewhere_the_command_line_stays():
    given = ["restorer", "--photos", "p", "--run", "r"]
    assert managed.arguments(given, {}) == given
    assert managed.arguments(given, {"SM_MODEL_DIR": "/set/by/somebody"}) == given


def test_hyperparameters_and_channels_make_the_command_line():
    given = ["--epochs", "3", "--stage", "restorer"]
    assert managed.arguments(given, VARIABLES) == [
        "restorer",
        *("--epochs", "3", "--photos", "/opt/ml/input/data/photos"),
        *("--model-dir", "/opt/ml/model", "--run", "/opt/ml/checkpoints", "--resume-if-there"),
    ]


def test_the_place_in_s3_that_the_sdk_adds_is_passed_over():
    place = "s3://bucket/job/model"
    for added in (["--model_dir", place], [f"--model_dir={place}"]):
        given = ["--epochs", "3", *added, "--stage", "restorer"]
        assert managed.arguments(given, VARIABLES)[:3] == ["restorer", "--epochs", "3"]
        assert place not in " ".join(managed.arguments(given, VARIABLES))


def test_what_is_given_wins():
    given = ["restorer", "--photos", "mine", "--run=r", "--model-dir", "m"]
    assert managed.arguments(given, VARIABLES) == given


def test_several_gpus_are_used():
    found = managed.arguments(["restorer"], {**VARIABLES, "SM_NUM_GPUS": "4"})
    assert found[-2:] == ["--strategy", "mirrored"]


def test_a_record_without_weights_is_no_run_to_go_on_with(tmp_path):
    assert not managed.holds_run(tmp_path)
    (tmp_path / run_files.RECORD).write_text("{}")
    assert not managed.holds_run(tmp_path) and list(tmp_path.iterdir()) == []
    for name in (run_files.RECORD, run_files.STATE):
        (tmp_path / name).touch()
    assert managed.holds_run(tmp_path)


def test_network_and_record_are_copied(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in (run_files.AVERAGED, run_files.RECORD, run_files.STATE):
        (run / name).write_text(name)
    managed.keep_model(run, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == sorted(
        [run_files.AVERAGED, run_files.RECORD]
    )
