"""The command `refocus`: help, version, spelling, and handing over."""

import importlib
import re
import shlex
import subprocess
import sys

import pytest

import keras_refocus
from keras_refocus import __main__ as command
from keras_refocus import restore


def test_help_lists_each_verb_with_an_example(capsys):
    assert command.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert command.main([]) == 0
    assert capsys.readouterr().out == text
    for verb in command._installed():
        assert re.search(rf"^  {verb} +\S", text, re.M)
        assert f"refocus {verb}" in text


def test_every_verb_listed_has_a_module_with_a_main():
    for verb in command._installed():
        module = importlib.import_module(command._module(verb))
        assert callable(module.main)


@pytest.mark.parametrize("verb", command._installed())
def test_the_examples_name_options_that_exist(verb, capsys):
    words = shlex.split(command._EXAMPLES[verb])[2:]
    module = importlib.import_module(command._module(verb))
    positional = [word for word in words if not word.startswith("-")]
    for arguments in (["--help"], [*positional[:1], "--help"]):
        try:
            module.main(arguments)
        except SystemExit:
            pass
    help_text = capsys.readouterr().out
    for word in words:
        if word.startswith("--"):
            assert word in help_text


def test_version(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"refocus {keras_refocus.__version__}\n"


def test_a_misspelt_verb_gets_a_suggestion(capsys):
    assert command.main(["restor"]) == 2
    error = capsys.readouterr().err
    assert "Received: 'restor'" in error and "did you mean 'restore'" in error
    assert command.main(["qqq"]) == 2
    assert "refocus --help" in capsys.readouterr().err


def test_the_rest_goes_to_the_verb_and_its_status_comes_back(monkeypatch):
    received = []
    monkeypatch.setattr(restore, "main", lambda argv: received.append(argv) or 7)
    assert command.main(["restore", "a.jpg", "--help"]) == 7
    assert received == [["a.jpg", "--help"]]


def test_help_is_quick():
    # Time of the processor, start of the interpreter included: a busy machine fails no test.
    program = (
        "import sys, time\n"
        "from keras_refocus.__main__ import main\n"
        "main(['--help'])\n"
        "print(time.process_time(), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert float(done.stderr) < 0.5
