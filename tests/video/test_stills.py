"""Frames of clips as photos: the sharpest of each scene, the sharpest first."""

import cv2
import numpy as np
import pytest
import tiny_clips

from keras_refocus.pictures import images
from keras_refocus.video import stills


def test_one_frame_a_scene_is_taken_the_sharpest_first(tmp_path):
    first, second = tiny_clips.moving(0, 6), tiny_clips.moving(1, 5)
    # Sharp are frame 3 of the first scene, less so frame 1 of the second.
    first = [f if i == 3 else cv2.blur(f, (9, 9)) for i, f in enumerate(first)]
    second = [cv2.blur(f, (3, 3) if i == 1 else (9, 9)) for i, f in enumerate(second)]
    clip = tiny_clips.write(tmp_path / "clip.mkv", first + second, gray=True)
    paths = stills.extract([clip], tmp_path / "frames")
    assert [path.name for path in paths] == ["00000_clip_000003.png", "00001_clip_000007.png"]
    rgb = images.read(paths[0]).rgb
    assert np.abs(rgb[..., 1] / 255 - first[3]).mean() < 0.01


def test_long_scenes_give_one_frame_in_so_many_seconds(tmp_path):
    clip = tiny_clips.write(tmp_path / "clip.mkv", tiny_clips.moving(0, 30))
    assert len(stills.extract([clip], tmp_path / "frames", every=0.4)) == 3


def test_sharpness_does_not_depend_on_contrast():
    picture = tiny_clips.scene(0)
    assert stills.sharpness(0.2 + picture / 4) == pytest.approx(stills.sharpness(picture), rel=1e-3)
    assert stills.sharpness(np.full((48, 64), 0.5, np.float32)) == 0


def test_an_unfinished_folder_is_not_left_behind(tmp_path):
    black = tiny_clips.write(tmp_path / "clip.mkv", [np.zeros((48, 64), np.float32)] * 3)
    with pytest.raises(ValueError, match="must show something"):
        stills.extract([black], tmp_path / "frames")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv"]
    with pytest.raises(FileNotFoundError, match="must hold some"):
        stills.find(tmp_path / "nowhere")
