"""Colours of clips: from key frame to key frame, carried, and steadier than frame by frame."""

import av
import numpy as np
import pytest
import tiny_clips

from keras_refocus.pictures import color
from keras_refocus.video import colors, frames


def luminances(count=5, *, step=0.5):
    lumas = tiny_clips.moving(0, count, height=96, width=96, step=step)
    return [frame[..., np.newaxis] for frame in lumas]


def scene_of(seen, colorize, *, start=0, **settings):
    """A scene of these frames, the first of which has this index."""

    def read(index):
        yield from seen[index - start :]

    return colors.SceneColors((start, start + len(seen)), read, colorize, **settings)


def all_of(scene):
    return [scene.of(index)[1] for index in range(*scene.scene)]


@pytest.mark.parametrize(
    ("count", "keys"),
    [(1, [0]), (12, [0, 11]), (13, [0, 12]), (14, [0, 12, 13]), (40, [0, 12, 24, 36, 39])],
)
def test_key_frames_are_every_twelfth_and_the_last_and_seen_once(count, keys):
    seen = [np.full((64, 64, 1), index / 64, np.float32) for index in range(count)]
    asked = []

    def colorize(luminance):
        asked.append(round(float(luminance[0, 0, 0]) * 64))
        return np.full((16, 16, 2), len(asked) / 10, np.float32)

    scene = scene_of(seen, colorize, start=100)
    for index in range(count):
        luminance, chroma = scene.of(100 + index)
        assert luminance is seen[index]
        assert chroma.shape == (64, 64, 2)
    assert asked == keys


def test_frames_between_key_frames_are_blended():
    given = iter((0.1, 0.2))
    scene = scene_of(luminances(), lambda _: np.full((24, 24, 2), next(given), np.float32), reach=0)
    chroma = [float(c.mean()) for c in all_of(scene)]
    assert chroma == pytest.approx([0.1, 0.125, 0.15, 0.175, 0.2])


def test_guesses_that_agree_are_kept_and_the_less_they_do_the_less_colour_there_is():
    weights = np.ones((4, 8, 8), np.float32)
    same = np.full((4, 8, 8, 2), (0.1, -0.2), np.float32)
    np.testing.assert_allclose(colors.agreed(same, weights), same[0], atol=1e-6)
    yellow = same.copy()
    yellow[1:] = 0
    # One of four is coloured: the mean is a quarter, and the variance is three times its square.
    np.testing.assert_allclose(colors.agreed(yellow, weights), same[0] / 16, atol=1e-4)
    weights[1:] = 0
    np.testing.assert_allclose(colors.agreed(yellow, weights), same[0], atol=1e-6)
    assert np.array_equal(colors.agreed(0 * same, weights), 0 * same[0])
    assert np.array_equal(colors.agreed(same, 0 * weights), 0 * same[0])


def test_a_key_frame_of_other_colours_than_its_neighbours_is_outvoted():
    seen = luminances(25, step=1.0)
    calls = iter(range(100))

    def colorize(luminance):
        wrong = 0.5 if next(calls) == 3 else 0.0
        return np.full((96, 96, 2), (0.1, 0.2 + wrong), np.float32)

    chroma = np.stack(all_of(scene_of(seen, colorize, every=4)))
    middle = np.s_[:, 20:-20, 20:-20]
    # Alone it is 0.7; a blob that comes and goes becomes a seventh of that, spread over all.
    assert chroma[12][middle[1:]][..., 1].max() < 0.32
    assert chroma[middle][..., 1].min() > 0.15
    np.testing.assert_allclose(chroma[middle][..., 0], 0.1, atol=0.03)


def test_key_frames_are_brought_into_place_before_they_agree():
    """A picture that moves by 48 pixels; the first and the last key frame are off by 0.1."""
    seen = luminances(25, step=2.0)
    offsets = iter((0.1, 0, 0, 0, 0, 0, 0.1))

    def true(luminance):
        return np.concatenate([luminance / 2, -luminance / 3], axis=-1)

    chroma = all_of(scene_of(seen, lambda plane: true(plane) + np.float32(next(offsets)), every=4))
    for index in (0, 24):
        left = (chroma[index] - true(seen[index]))[8:-8, 8:-8]
        # Things have moved by 8 pixels to the next key frame, and been seen there.
        assert 0.01 < np.median(left) < 0.06
        assert left.std() < 0.02


def test_what_was_not_there_before_has_no_say():
    """A square that appears over grey; before that the place has no colour."""
    texture = tiny_clips.scene(3, height=96, width=96)
    shown = texture.copy()
    shown[32:64, 32:64] = 0.5 + 0.5 * tiny_clips.scene(5, height=32, width=32)
    seen = [(shown if index >= 12 else 0.5 * texture)[..., np.newaxis] for index in range(25)]
    calls = iter(range(100))

    def colorize(luminance):
        chroma = np.zeros((96, 96, 2), np.float32)
        if next(calls) >= 3:
            chroma[32:64, 32:64] = 0.4
        return chroma

    chroma = all_of(scene_of(seen, colorize, every=4))
    assert np.abs(chroma[8]).max() < 0.02
    assert np.median(chroma[12][36:60, 36:60]) > 0.39


def test_a_key_frame_on_which_the_colorizer_fails_has_the_colours_of_others():
    calls = iter(range(100))

    def colorize(luminance):
        if next(calls) == 2:
            return None
        return np.full((96, 96, 2), (0.1, 0.2), np.float32)

    scene = scene_of(luminances(25), colorize, every=4)
    failed = []
    for index in range(25):
        _, chroma = scene.of(index)
        np.testing.assert_allclose(chroma[10:-10, 10:-10].mean(axis=(0, 1)), (0.1, 0.2), atol=0.01)
        failed += [index] * scene.is_without_guess(index)
    assert failed == [8]
    scene = scene_of(luminances(5), lambda _: None, every=4)
    assert all(np.array_equal(chroma, np.zeros((96, 96, 2))) for chroma in all_of(scene))
    assert scene.is_without_guess(4)


def test_trust_ends_where_flow_leaves_the_frame_does_not_come_back_or_finds_another_thing():
    luminance = np.full((64, 64, 1), 0.5, np.float32)
    there = np.zeros((64, 64, 2), np.float32)
    there[..., 0] = 20
    weight = colors._trust(luminance, luminance, there, -there)
    assert weight[:, :44].min() == 1 and weight[:, 44:].max() == 0
    assert colors._trust(luminance, luminance, there, 0 * there).max() == 0
    assert colors._trust(luminance, luminance + 0.3, 0 * there, 0 * there).max() < 0.001


def test_colours_are_the_same_wherever_one_begins_to_ask():
    seen = [one[:64, :64] for one in luminances(30, step=1.0)]

    def colorize(luminance):
        return np.concatenate([luminance / 3, luminance[::-1] / 4], axis=-1)

    settings = {"every": 3, "reach": 2}
    whole = all_of(scene_of(seen, colorize, **settings))
    for start in (4, 17, 29):
        scene = scene_of(seen, colorize, **settings)
        for index in range(start, 30):
            assert np.array_equal(scene.of(index)[1], whole[index])
    scene = scene_of(seen, colorize, **settings)
    for index in (20, 3, 11, 12, 0, 28):
        assert np.array_equal(scene.of(index)[1], whole[index])


def test_what_is_held_does_not_grow_with_the_scene():
    seen = [one[:64, :64] for one in luminances(8)]
    frame = iter(range(10**6))

    def read(start):
        while True:
            yield seen[next(frame) % 8]

    scene = colors.SceneColors((0, 200), read, lambda plane: plane[..., [0, 0]], every=3, reach=2)
    held = []
    for index in range(90):
        scene.of(index)
        held.append((len(scene._small), len(scene._keys), len(scene._links)))
    assert max(held[20:]) == max(held[:20])
    assert max(small for small, _, _ in held) <= 3 * (1 + 2) + 1


def test_carried_colours_flicker_less_than_those_of_single_frames():
    rng = np.random.default_rng(0)

    def colorize(luminance):
        return (luminance * 0.3 + 0.2 * rng.random((1, 1, 2))).astype(np.float32)

    seen = luminances(25)
    alone = colors.flicker([colorize(one) for one in seen], seen)
    assert colors.flicker(all_of(scene_of(seen, colorize)), seen) < 0.1 * alone


@pytest.mark.parametrize("format", ["yuv420p", "yuv444p10le"])
def test_colours_are_those_that_were_asked_for_and_luminance_stays(format):
    frame = tiny_clips.frame_of(np.full((32, 48), 0.5), format, gray=True)
    frame.colorspace, frame.color_range = 1, 1
    layout = frames.layout_of(frame)
    luma = frames.luma(frame, layout)
    small = colors.small_luminance(luma)
    chroma = np.full((256, 256, 2), (0.1, 0.2), np.float32)
    result = colors.put_on(frame, layout, luma, small, chroma, format)
    picture = av.VideoFrame.from_ndarray(
        result.reformat(
            format="rgb24", src_colorspace=1, src_color_range=1, dst_color_range=2
        ).to_ndarray(),
        format="rgb24",
    )
    luminance, back = color.rgb_to_lab(picture.to_ndarray())
    assert np.abs(back[8:-8, 8:-8].mean(axis=(0, 1)) - (0.1, 0.2)).max() < 0.01
    gray = color.rgb_to_luminance(np.repeat(luma[..., np.newaxis], 3, axis=-1))
    assert abs(float(luminance.mean() - gray.mean())) < 0.01
