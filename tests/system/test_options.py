"""Options that commands share."""

import argparse

import pytest

from keras_refocus.system import options


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (options.positive, "3", 3),
        (options.not_negative, "0", 0),
        (options.parse_size, "1280x720", (1280, 720)),
        (options.parse_size, "1X2", (1, 2)),
    ],
)
def test_values_are_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (options.positive, "0", "at least 1"),
        (options.not_negative, "-1", "not be negative"),
        (options.parse_size, "1280", "1280x720"),
        (options.parse_size, "0x2", "WIDTHxHEIGHT"),
        (options.parse_size, "1x2x3", "WIDTHxHEIGHT"),
    ],
)
def test_values_out_of_range_are_refused(read, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read(text)
