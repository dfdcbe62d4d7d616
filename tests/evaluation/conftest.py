"""Folders of pictures to measure on."""

import numpy as np
import pytest
from measured_sets import picture, save

from keras_refocus.pictures import color


@pytest.fixture
def photos(tmp_path):
    for index in range(4):
        save(tmp_path / "photos" / f"{index}.png", picture(index))
    return tmp_path / "photos"


@pytest.fixture
def pairs(tmp_path):
    """Grey pairs: the sharp sides are L = 0.5, the blurred ones off by a known amount."""
    sharp = color.lab_to_rgb(np.full((16, 20, 1), 0.5), np.zeros((16, 20, 2)))
    for index, level in enumerate((100, 119, 140)):
        grey = np.full((16, 20, 3), level, np.uint8)
        save(tmp_path / "pairs" / "blur" / f"{index}.png", grey)
        save(tmp_path / "pairs" / "sharp" / f"{index}.png", color.from_float(sharp, "uint8"))
    return tmp_path / "pairs"
