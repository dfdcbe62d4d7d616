"""Figures of exposures: what is counted, and what of."""

import cv2
import numpy as np
import pytest
import tiny_pictures as tiny
from published_layouts import make_high_speed

from keras_refocus.evaluation import models, motion
from keras_refocus.video import from_blur


class Echo:
    """The restored picture is the blurred one."""

    def restore(self, tiles, *, model):
        return tiles


@pytest.fixture
def photos(tmp_path):
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 60, (80, 90, 3))
        rgb = np.clip(tiny.scene(seed, height=80, width=90).astype(int) + noise, 0, 255)
        tiny.save(tmp_path / "photos" / f"{seed}.png", rgb.astype(np.uint8))
    return tmp_path / "photos"


def network(motion_of, channels=5):
    return models.Network(lambda seen: motion_of(seen), 12, channels)


def test_baselines_and_a_network_that_knows(photos):
    protocol = motion.Protocol(count=4, size=48)
    exposed = motion.exposures_of(protocol, photos=photos)
    truths = iter(frames for _, frames in exposed)

    def know(seen):
        assert seen.shape == (1, 48, 48, 5)
        restored = seen[..., 1:2]
        return np.concatenate(
            [np.zeros((1, 48, 48, 5), np.float32), next(truths)[None] - restored], axis=-1
        )

    told = []
    rows = motion.score(
        exposed, Echo(), "restorer", [("knows", network(know))], done=lambda: told.append(1)
    )
    assert [row.name for row in rows][-1] == "knows" and len(rows) == 5 and len(told) == 4
    found = {row.name: motion.summary(row) for row in rows}
    assert found["knows"]["psnr"] > 60 and found["knows"]["others_ssim"] > 0.999
    assert found["knows"]["worse"] == 0 and found["knows"]["parameters"] == 12
    blurred = found["blurred, seven times"]
    assert blurred["psnr"] == pytest.approx(found["restored, seven times"]["psnr"])
    # By hand, of the same pictures.
    errors = [np.mean((frames - picture[..., :1]) ** 2) for picture, frames in exposed]
    assert blurred["psnr"] == pytest.approx(np.mean(-10 * np.log10(errors)), abs=1e-3)
    assert blurred["pooled_psnr"] == pytest.approx(-10 * np.log10(np.mean(errors)), abs=1e-3)
    table = motion.as_text(rows)
    assert "| knows |" in table and "forward" not in table


def test_true_ways_tell_how_far_the_restored_picture_reaches():
    cells = np.random.default_rng(0).random((8, 8), dtype="float32")
    plane = cv2.resize(cells, (96, 96), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    way = np.broadcast_to(np.float32([9.0, 4.0]), (96, 96, 2))
    frames = np.stack(from_blur.frames_along(plane, way, from_blur.moments(7)), axis=-1)
    picture = np.concatenate([plane[..., None], np.zeros((96, 96, 2), np.float32)], axis=-1)
    # A restorer that is right, and nothing that tells the motion: the picture is not blurred.
    rows = motion.score([(picture, frames)], Echo(), "restorer", [])
    found = {row.name: motion.summary(row)["others_psnr"] for row in rows}
    assert found["restored, along the true ways"] > 33
    assert found["classical lines"] < 25


def test_the_better_direction_counts_unless_pictures_are_coded(photos):
    exposed = motion.exposures_of(motion.Protocol(count=2, size=40), photos=photos)

    def backward_of(truths):
        def run(seen):
            residual = next(truths)[None, ..., ::-1] - seen[..., -4:-3]
            return np.concatenate([np.zeros((1, 40, 40, 5), np.float32), residual], axis=-1)

        return run

    for coded in (False, True):
        backward = backward_of(iter(frames for _, frames in exposed))
        row = motion.score(exposed, Echo(), "r", [("b", network(backward))], coded=coded)[-1]
        found = motion.summary(row)
        assert found["forward"] == 0
        assert (found["psnr"] > 60) != coded
        assert found["middle_psnr"] > 60
    assert "0%" in motion.as_text([row], coded=True).splitlines()[-1]


def test_coded_pictures_are_seen_in_colour(photos):
    protocol = motion.Protocol(count=1, size=40, coded=True)
    exposed = motion.exposures_of(protocol, photos=photos)
    plain = motion.exposures_of(motion.Protocol(count=1, size=40), photos=photos)
    np.testing.assert_allclose(exposed[0][1], plain[0][1], atol=1e-6)
    assert np.abs(exposed[0][0] - plain[0][0]).max() > 0.01
    shapes = []

    def remember(seen):
        shapes.append(seen.shape)
        return np.zeros((1, 40, 40, 12), np.float32)

    motion.score(exposed, Echo(), "r", [("c", network(remember, channels=7))])
    assert shapes == [(1, 40, 40, 7)] and "coded aperture" in protocol.label


def test_clips(tmp_path):
    make_high_speed(tmp_path, ("a", "b"), frames=15)
    exposed = motion.exposures_of(motion.Protocol(count=64, size=40), clips=tmp_path)
    assert len(exposed) == 4
    with pytest.raises(ValueError, match="count=0"):
        motion.Protocol(count=0)
