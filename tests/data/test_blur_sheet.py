"""The sheet of synthetic blur."""

import multiprocessing

import numpy as np
import pytest
import tiny_pictures as tiny
from PIL import Image

from keras_refocus.data import blur_sheet


def test_sheet_shows_both_sides_of_each_sample(tmp_path, capsys):
    folder = tmp_path / "photos"
    for seed in range(2):
        tiny.save(folder / f"{seed}.png", tiny.scene(seed, height=80, width=90))
    out = tmp_path / "sheet.png"
    options = ["--out", str(out), "--size", "64", "--rows", "2", "--columns", "3", "--seed", "4"]
    blur_sheet.main([str(folder), *options])
    first = out.read_bytes()
    assert np.asarray(Image.open(out)).shape == (2 * 64, 3 * 2 * 64, 3)
    blur_sheet.main([str(folder), *options])
    assert out.read_bytes() == first
    assert str(out) in capsys.readouterr().out


def test_sheet_refuses_an_empty_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        blur_sheet.main([str(tmp_path), "--out", str(tmp_path / "sheet.png")])
    assert "picture" in capsys.readouterr().err


def test_benchmark_counts_patches(tmp_path, capsys):
    tiny.save(tmp_path / "photo.png", tiny.scene(0, height=80, width=90))
    options = ["--benchmark", "0.3", "--workers", "1", "--size", "64"]
    blur_sheet.main([str(tmp_path), *options])
    assert "patches a second" in capsys.readouterr().out
    assert not multiprocessing.active_children()
