"""What an installation without extras can do, and what it says of the rest."""

import configparser
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_refocus.system import extras

ROOT = pathlib.Path(__file__).parents[2]

# Runs a command in an interpreter that has none of the packages of the extras. They raise as a
# package that is not there does, whoever imports them.
PROGRAM = """
import importlib.abc, sys
hidden = set({hidden!r})
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
sys.meta_path.insert(0, Hide())
from keras_refocus import __main__
sys.exit(__main__.main(sys.argv[1:]))
"""
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
HIDDEN = frozenset().union(*extras.EXTRAS.values())


def refocus(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hidden=sorted(HIDDEN)), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


# A TensorFlow of its own; `.ci/run` does the same with the wheel.
@pytest.mark.slow
def test_a_picture_is_restored_without_any_extra(tmp_path):
    Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(tmp_path / "a.png")
    done = refocus("restore", tmp_path / "a.png", "--out", tmp_path / "restored")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "restored" / "a.png").size == (32, 24)


@pytest.mark.parametrize(
    "arguments, extra",
    [
        ("demo", "app"),
        ("serve", "serving"),
        ("restore docs/before_after.jpg --server localhost:1 --out out", "serving"),
        ("train restorer --photos . --run run", "train"),
        ("export run --out models", "train"),
        ("curate .", "train"),
        ("benchmark input", "benchmark"),
        ("benchmark serving", "benchmark"),
    ],
)
def test_a_command_whose_extra_is_missing_names_the_command_to_run(arguments, extra):
    done = refocus(*arguments.split())
    assert done.returncode == 2
    assert f'Run: pip install "keras_refocus[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_missing_is_named():
    with pytest.raises(extras.MissingPackageError, match=r"Sailing needs .*\(no_such_boat\)\. Run"):
        extras.require("app", "Sailing", "numpy", "no_such_boat")


def test_a_package_of_no_extra_is_a_fault_and_stays_one():
    @extras.says_what_is_missing
    def main():
        import no_such_package  # noqa: F401

    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        main()


def test_an_extra_of_a_module_is_one_of_setup_cfg():
    listed = set(SETUP["options.extras_require"])
    assert set(extras.EXTRAS) <= listed


def test_every_package_that_the_extras_import_is_installed_with_them():
    """By the names on the package index; what is imported as something else is listed."""
    names = {
        "pillow_heif": "pillow-heif",
        "tensorflow_serving": "tensorflow-serving-api",
        "grpc_health": "grpcio-health-checking",
        "grpc_reflection": "grpcio-reflection",
        "tensorflow_datasets": "tensorflow-datasets",
        "skimage": "scikit-image",
        "apache_beam": "apache-beam",
        "aws_lambda_powertools": "aws-lambda-powertools",
    }
    for extra, modules in extras.EXTRAS.items():
        lines = SETUP["options.extras_require"][extra].splitlines()
        asked = {re.split(r"[<>=\[]", line)[0] for line in lines}
        assert {names.get(module, module) for module in modules} <= asked, extra
