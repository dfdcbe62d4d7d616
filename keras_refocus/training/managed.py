"""Training on managed machines: what SageMaker tells a job, as defaults of the command line.

SageMaker's script mode starts the entry point with `--name value` for each hyperparameter, and with
variables. What is not given as a hyperparameter is taken from them:

    stage (hyperparameter)        the stage, in front of everything else
    SM_CHANNEL_PHOTOS             --photos; of further channels likewise: PAIRS, VALIDATION_PHOTOS,
                                  VALIDATION_PAIRS, and DATA for --data-dir
    SM_MODEL_DIR                  --model-dir
    /opt/ml/checkpoints           --run, with --resume-if-there: SageMaker copies the folder to S3
                                  and back, so that a job on spot machines goes on
    SM_NUM_GPUS above 1           --strategy mirrored

Reference: https://github.com/aws/sagemaker-training-toolkit, ENVIRONMENT_VARIABLES.md.
"""

import logging
import os
import pathlib
from collections.abc import Mapping, Sequence

from keras_refocus.system import files, run_files

_log = logging.getLogger(__name__)

#: Folder that SageMaker keeps in S3 while a job runs.
CHECKPOINTS = "/opt/ml/checkpoints"

_CHANNELS = {
    "SM_CHANNEL_PHOTOS": "--photos",
    "SM_CHANNEL_PAIRS": "--pairs",
    "SM_CHANNEL_VALIDATION_PHOTOS": "--validation-photos",
    "SM_CHANNEL_VALIDATION_PAIRS": "--validation-pairs",
    "SM_CHANNEL_DATA": "--data-dir",
    "SM_MODEL_DIR": "--model-dir",
}


def _without(given: Sequence[str], flag: str) -> list[str]:
    """A command line without a flag and its value."""
    kept: list[str] = []
    is_value = False
    for word in given:
        if not is_value and not word.startswith(f"{flag}=") and word != flag:
            kept.append(word)
        is_value = word == flag
    return kept


def arguments(given: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Complete a command line with what SageMaker tells; elsewhere it stays as it is.

    Args:
        given: The command line without the program.
        environment: Variables of the process.

    Returns:
        The command line, with the stage in front.
    """
    given = list(given)
    if "SM_MODEL_DIR" not in environment or "SM_HPS" not in environment:
        return given
    # Of every job the SDK's estimator of TensorFlow adds a place in S3 for checkpoints; those are
    # in CHECKPOINTS here.
    given = _without(given, "--model_dir")
    if "--stage" in given:
        at = given.index("--stage")
        given = [*given[at + 1 : at + 2], *given[:at], *given[at + 2 :]]
    if "-h" in given or "--help" in given:
        return given
    there = {word.split("=")[0] for word in given}
    for variable, flag in _CHANNELS.items():
        if environment.get(variable) and flag not in there:
            given += [flag, environment[variable]]
    if "--run" not in there:
        given += ["--run", CHECKPOINTS]
        if "--resume" not in there and "--resume-if-there" not in there:
            given.append("--resume-if-there")
    if "--strategy" not in there and environment.get("SM_NUM_GPUS", "0") not in ("", "0", "1"):
        given += ["--strategy", "mirrored"]
    return given


def holds_run(folder: str | os.PathLike) -> bool:
    """Tell whether a folder holds a run that can go on.

    A run that was stopped in its first epoch has a record and nothing to go on from: the record is
    removed, and the run can begin.
    """
    folder = pathlib.Path(folder)
    if (folder / run_files.STATE).exists() and (folder / run_files.RECORD).exists():
        return True
    (folder / run_files.RECORD).unlink(missing_ok=True)
    return False


def keep_model(run: str | os.PathLike, folder: str | os.PathLike) -> list[pathlib.Path]:
    """Copy the trained network and its record to where a managed job takes models from.

    Args:
        run: Folder of a run that has ended.
        folder: Where they go; it is made.

    Returns:
        The files that were written.
    """
    run, folder = pathlib.Path(run), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in (run_files.AVERAGED, run_files.BEST, run_files.RECORD, run_files.LOG):
        if (run / name).is_file():
            files.write_bytes(folder / name, (run / name).read_bytes())
            written.append(folder / name)
    _log.info("the trained network is in %s", folder)
    return written
