"""Clips out of one blurred picture, and the files that hold them."""

import dataclasses

import cv2
import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.blur import exposure, optics
from keras_refocus.pictures import color
from keras_refocus.restoration.pipeline import Restorer
from keras_refocus.video import from_blur, unblur


class Sharpening(ArithmeticEngine):
    """A restorer that knows the answer, and perhaps a motion network that bends the ways."""

    def __init__(self, sharp, *names, way=None):
        super().__init__("restorer", *names)
        self.sharp, self.way, self.seen = sharp, way, None

    def restore(self, tiles, *, model="restorer"):
        return np.broadcast_to(self.sharp[None, ..., None], tiles.shape).astype(np.float32)

    def estimate_motion(self, seen, *, model="motion"):
        self.seen = seen
        motion = np.zeros((*seen.shape[:3], 12), np.float32)
        motion[..., :2] = self.way
        motion[..., 4] = 0.02
        motion[..., 5:] = np.linspace(0, 0.06, 7)
        return motion


@pytest.fixture(scope="module")
def pair():
    """A sharp picture in grey and the same moved by 12 pixels along x."""
    cells = np.random.default_rng(0).random((14, 18), dtype="float32")
    sharp = cv2.resize(cells, (96, 80), interpolation=cv2.INTER_CUBIC).clip(0.2, 0.8)
    field = np.broadcast_to(np.float32([12, 0]), (80, 96, 2))
    blurred = np.mean(from_blur.frames_along(sharp, field, from_blur.moments(41)), 0)
    gray = color.luminance_to_gray(np.clip(blurred, 0, 1))
    return sharp, color.from_float(np.repeat(gray[..., None], 3, -1), np.uint8)


def luminance(frame):
    return color.rgb_to_luminance(frame)[..., 0]


def shift_between(one, other):
    (right, down), _ = cv2.phaseCorrelate(
        one.astype(np.float64),
        other.astype(np.float64),
        cv2.createHanningWindow(one.shape[::-1], cv2.CV_64F),
    )
    return right, down


def test_frames_move_as_the_scene_did(pair):
    sharp, blurred = pair
    clip = unblur.unblur(blurred, Restorer(Sharpening(sharp)))
    assert clip.frames.shape == (7, 80, 96, 3) and clip.frames.dtype == np.uint8
    assert (clip.method, clip.direction, clip.reversed) == ("classical", "guessed", False)
    assert 10 < clip.length < 14
    right, down = shift_between(luminance(clip.frames[0]), luminance(clip.frames[-1]))
    assert abs(right) == pytest.approx(12, abs=1.5) and abs(down) < 1
    middle = np.abs(luminance(clip.frames[3]) - sharp)[10:-10, 10:-10]
    assert middle.mean() < 0.02
    backward = unblur.unblur(blurred, Restorer(Sharpening(sharp)), reverse=True)
    np.testing.assert_array_equal(backward.frames, clip.frames[::-1])
    assert "guess" in clip.describe() and "reversed" in backward.describe()


def test_a_motion_network_is_asked_where_there_is_one(pair):
    sharp, blurred = pair
    engine = Sharpening(sharp, "motion", way=(0.0, 12.0))
    clip = unblur.unblur(blurred, Restorer(engine), frames=13)
    assert clip.method == "motion 1" and len(clip.frames) == 13
    assert engine.seen.shape == (1, 80, 96, 5)
    right, down = shift_between(luminance(clip.frames[0]), luminance(clip.frames[-1]))
    assert down == pytest.approx(12, abs=0.5) and abs(right) < 0.5
    # Residuals of seven moments, also between them: 0.06 more at the end than at the beginning;
    # and 0.02 more in all of them.
    means = [luminance(frame)[20:-20].mean() for frame in clip.frames]
    assert means[6] - sharp[20:-20].mean() == pytest.approx(0.05, abs=0.006)
    classical = unblur.unblur(blurred, Restorer(engine), model="classical")
    assert classical.method == "classical"
    coded = unblur.unblur(blurred, Restorer(engine), model="motion", coded=True)
    assert coded.direction == "coded" and engine.seen.shape[-1] == 7
    assert "guess" not in coded.describe()


@pytest.mark.parametrize("way", [1, -1])
def test_colours_of_a_coded_picture_tell_the_direction(way):
    cells = np.random.default_rng(1).random((14, 18), dtype="float32")
    sharp = cv2.resize(cells, (96, 80), interpolation=cv2.INTER_CUBIC).clip(0.2, 0.8)
    gray = np.repeat(color.luminance_to_gray(sharp)[..., None], 3, -1)
    field = np.broadcast_to(np.float32([12 * way, 0]), (80, 96, 2))
    frames = np.stack(from_blur.frames_along(gray, field, from_blur.moments(21)))
    blurred = exposure.average_frames(frames, psfs=optics.psfs(optics.sweep(7)))
    clip = unblur.unblur(blurred, Restorer(Sharpening(sharp)), coded=True)
    assert (clip.method, clip.direction) == ("classical", "coded")
    right, _ = shift_between(luminance(clip.frames[0]), luminance(clip.frames[-1]))
    assert right * way > 8


def test_large_pictures_are_shrunk(pair):
    sharp, blurred = pair
    small = cv2.resize(sharp, (48, 40), interpolation=cv2.INTER_AREA)
    clip = unblur.unblur(blurred, Restorer(Sharpening(small)), longest_side=48, frames=2)
    assert clip.frames.shape == (2, 40, 48, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"frames": 1}, ValueError, "2 to 120"),
        ({"longest_side": 4}, ValueError, "at least 16"),
        ({"model": "other"}, FileNotFoundError, "model='other'"),
        ({"coded": True, "model": "other"}, FileNotFoundError, "not there"),
    ],
)
def test_mistakes_are_sentences(pair, options, error, message):
    sharp, blurred = pair
    with pytest.raises(error, match=message):
        unblur.unblur(blurred, Restorer(Sharpening(sharp)), **options)
    with pytest.raises(ValueError, match="height, width, 3"):
        unblur.unblur(blurred[..., 0], Restorer(Sharpening(sharp)))


@pytest.fixture(scope="module")
def clip():
    frames = np.zeros((4, 31, 45, 3), np.uint8)
    for number in range(4):
        frames[number, :, :, 0] = 60 * number
        frames[number, 8:20, 8 + 5 * number : 20 + 5 * number] = 220, 180, 40
    return unblur.Clip(
        frames=frames, method="classical", direction="guessed", reversed=False, length=15.0
    )


def test_video(clip, tmp_path):
    av = pytest.importorskip("av")
    for suffix in (".mp4", ".mkv", ".webm"):
        (path,) = unblur.write(tmp_path / f"clip{suffix}", clip, rate=12.5)
        with av.open(str(path)) as container:
            assert "guess" in {k.lower(): v for k, v in container.metadata.items()}["comment"]
            stream = container.streams.video[0]
            frames = list(container.decode(video=0))
            assert len(frames) == 4 and (stream.width, stream.height) == (46, 32)
            assert stream.average_rate == 12.5
            for frame, before in zip(frames, clip.frames, strict=True):
                after = frame.to_ndarray(format="rgb24")[:31, :45]
                assert np.abs(after.astype(int) - before).mean() < 6
    (path,) = unblur.write(tmp_path / "loop.mp4", clip, loop=True)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 6  # 1 2 3 4 3 2


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("loop", [False, True])
def test_moving_pictures(clip, tmp_path, suffix, loop):
    (path,) = unblur.write(tmp_path / f"clip{suffix}", clip, rate=5, loop=loop)
    with Image.open(path) as picture:
        assert picture.n_frames == (6 if loop else 4)
        assert picture.size == (45, 31)
        assert picture.info.get("loop", 1) == (0 if loop else 1)
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] == 200
        after = np.asarray(picture.convert("RGB")).astype(int)
        assert np.abs(after - clip.frames[1]).mean() < 6
    content = path.read_bytes()
    assert b"guess" in content


def test_a_folder_of_frames(clip, tmp_path):
    paths = unblur.write(tmp_path / "frames", clip)
    assert [path.name for path in paths] == [f"frame_00{number}.png" for number in (1, 2, 3, 4)]
    for path, frame in zip(paths, clip.frames, strict=True):
        with Image.open(path) as picture:
            np.testing.assert_array_equal(np.asarray(picture), frame)
            assert "guess" in picture.text["Description"]


def test_what_cannot_be_written(clip, tmp_path):
    with pytest.raises(ValueError, match=r"\.mp4"):
        unblur.write(tmp_path / "clip.avi", clip)
    with pytest.raises(ValueError, match="rate=0"):
        unblur.write(tmp_path / "clip.gif", clip, rate=0)
    (tmp_path / "clip.gif").touch()
    with pytest.raises(FileExistsError, match="unasked"):
        unblur.write(tmp_path / "clip.gif", clip, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]
    coded = dataclasses.replace(clip, direction="coded")
    assert "coded aperture" in coded.describe()
