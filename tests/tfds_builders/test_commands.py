"""The commands of docs/data_sets.md, run as printed on small trees in the official layouts."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from published_layouts import make_coco, make_gopro, make_hide
from tiny_training import GENERATOR

ROOT = pathlib.Path(__file__).parents[2]

# What makes a training of hours one of seconds; the rest of the command is that of the page.
BRIEF = (
    "--epochs 1 --final-epochs 0 --steps-per-epoch 2 --warmup-steps 1 --batch-size 2 "
    "--patch-size 32 --validation-count 2"
).split()
TOYS = {
    "restorer": ["--generator", "unet", "--generator-options", json.dumps(GENERATOR)],
    "colorizer": [
        *("--adversarial-epochs", "0"),
        *("--generator", "resnet_colorizer", "--color-losses", json.dumps({"color_aware": 1.0})),
        *("--generator-options", json.dumps({"filters": 2, "residual_blocks": 1})),
    ],
}


def commands():
    """The commands of the page's block of builds and trainings, without comments."""
    text = (ROOT / "docs" / "data_sets.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(tfds build .*?)```", text, re.DOTALL)[1]
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def test_every_builder_is_built_and_trained_on():
    for name in ("hide", "deblur_pairs", "coco_lab"):
        assert any(c.startswith(f"tfds build tfds_builders/{name} ") for c in commands())
        assert any(re.search(rf"^refocus train .*--data {name}\b", c) for c in commands())


# Runs commands one after the other as their programs would, in one process: most of the time of
# each would go into importing TensorFlow.
ONE_AFTER_THE_OTHER = """
import json
import sys

if sys.argv[1] == "tfds":
    from tensorflow_datasets.scripts.cli.main import launch_cli as program
else:
    from keras_refocus.__main__ import main as program

for words in json.loads(sys.argv[2]):
    print(words, flush=True)
    sys.argv = words
    try:
        status = program()
    except SystemExit as end:
        status = end.code
    if status:
        sys.exit(status)
"""


@pytest.mark.slow
def test_the_commands_run_as_printed(tmp_path):
    home = tmp_path / "home"
    make_hide(home / "data/hide/HIDE_dataset")
    make_gopro(home / "data/gopro/GOPRO_Large")
    make_coco(home / "data/coco", train=20, val=2, size=(256, 300))
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    of_program = {"tfds": [], "refocus": []}
    for command in commands():
        # As a shell does.
        words = shlex.split(command.replace(" ~/", f" {home}/"))
        if words[0] == "refocus":
            # The run goes into the test's own folder, not into the checkout.
            words = [word.replace("runs/", f"{home}/runs/") for word in words]
            words += [*BRIEF, *TOYS[words[2]]]
        of_program[words[0]].append(words)
    for program, all_words in of_program.items():
        done = subprocess.run(
            [sys.executable, "-c", ONE_AFTER_THE_OTHER, program, json.dumps(all_words)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
    for run, name in (("hide", "hide"), ("gopro", "deblur_pairs"), ("coco", "coco_lab")):
        record = json.loads((home / "runs" / run / "record.json").read_text())
        assert record["data"]["data_set"]["name"] == name
        assert (home / "runs" / run / "best.keras").exists()
