"""Options of commands that run models."""

import argparse

import pytest

from keras_refocus.engines import options


def test_models_lie_in_a_folder_or_on_a_server():
    parser = argparse.ArgumentParser()
    options.add_models_or_server(parser)
    assert parser.parse_args(["--server", "a:1"]).server == "a:1"
    assert parser.parse_args(["--models", "b"]).models == "b"
    assert "$REFOCUS_MODELS" in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--models", "b", "--server", "a:1"])
