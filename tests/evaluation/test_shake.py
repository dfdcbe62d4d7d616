"""Shaken photos, and what is said of the restored ones."""

import csv
import dataclasses

import cv2
import numpy as np
import pytest

from keras_refocus.evaluation import classical, sets, shake
from keras_refocus.metrics import alignment
from keras_refocus.pictures import color
from keras_refocus.restoration import pipeline
from keras_refocus.restoration.deconvolution import kernels


def photo(shape=(200, 240), seed=0):
    noise = np.random.default_rng(seed).random((*shape, 3), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return color.from_float((smooth - smooth.min()) / np.ptp(smooth), np.uint8)


@pytest.mark.parametrize("kind", shake.SHAKES)
def test_shakes_are_seeded_and_of_the_lengths_they_say(kind):
    first, second, other = (
        shake.shaken(photo(), kind, np.random.default_rng(seed), 96) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.blurred, second.blurred)
    assert not np.array_equal(first.kernel, other.kernel)
    assert first.blurred.shape == first.sharp.shape == (96, 96, 3)
    assert first.blurred.dtype == np.uint8
    for one in (first, other):
        assert 10 < kernels.extent(one.kernel).length < 48
        assert one.kernel.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(kernels.centroid(one.kernel)).max() < 0.5


def test_the_kernel_is_that_of_the_picture():
    made = shake.shaken(photo(), "paths", np.random.default_rng(3))
    light = color.luminance_to_light(color.rgb_to_luminance(made.sharp)[..., 0])
    again = cv2.filter2D(light, -1, made.kernel[::-1, ::-1].copy())
    seen = color.luminance_to_light(color.rgb_to_luminance(made.blurred)[..., 0])
    reach = len(made.kernel) // 2
    inside = np.s_[reach:-reach, reach:-reach]
    # Noise and JPEG are left.
    assert np.abs(again - seen)[inside].mean() < 0.01
    assert np.abs(light - seen)[inside].mean() > 0.03


def test_a_photo_smaller_than_its_shake_is_refused():
    with pytest.raises(ValueError, match="larger than the shake"):
        shake.shaken(photo((60, 240)), "uniform", np.random.default_rng(0))


class Halving:
    """A network that gives its input back, and counts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, luminance):
        self.calls += 1
        return luminance


def test_a_picture_is_scored_in_every_way():
    made = shake.shaken(photo((180, 200)), "uniform", np.random.default_rng(0), 120)
    restorer = pipeline.Restorer(shake.NetworkEngine(Halving()))
    options = pipeline.RestoreOptions(patient=True)
    item = shake.score("a.png", made, restorer, options)
    # A network that does nothing leaves 8 bits as they are.
    assert item.plain == pytest.approx(item.before, abs=0.01)
    assert item.known > item.before + 1
    assert 0 <= item.similarity <= 1
    assert item.ratio == pytest.approx(10 ** ((item.known - item.patient) / 10))
    assert set(item.peers) == {"wiener", "richardson_lucy"}
    assert item.seconds > 0


SCORE = shake.Score(
    name="a.png",
    before=20.0,
    plain=21.0,
    patient=25.0,
    known=26.0,
    peers={"wiener": 19.0, "richardson_lucy": 22.0},
    length=20.0,
    similarity=0.9,
    ratio=1.3,
    changed=1.0,
    reason="",
    seconds=2.0,
)


def test_the_summary_counts_what_was_asked_for(tmp_path):
    worse = dataclasses.replace(SCORE, patient=20.4, similarity=0.5, ratio=3.6, changed=0.0)
    values = shake.summary("set", [SCORE, worse])
    assert values["gain_psnr_l"] == {
        "plain": 1.0,
        "patient": 2.7,
        "true kernel": 6.0,
        "wiener": -1.0,
        "richardson_lucy": 2.0,
    }
    assert values["worse_than_plain"] == 1 and values["least_beyond_plain"] == -0.6
    assert values["similarity"] == 0.7 and values["ratio_at_most_2"] == 0.5
    assert values["left_alone"] == 1 and values["changed"] == 0.5
    assert [met for _, met in shake.bars(values)] == [False, False, False, False]
    assert all(met for _, met in shake.bars(shake.summary("set", [SCORE])))
    text = shake.as_text("set", [SCORE, worse])
    assert "similarity at least 0.75: no" in text
    assert "similarity 0.70" in text and "50%" in text
    shake.write_csv(tmp_path / "scores.csv", [("set", [SCORE])])
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["patient"] == "25.0000" and row["wiener"] == "19.0000" and row["set"] == "set"


def test_a_picture_is_a_line_as_it_is_measured():
    assert shake.line(SCORE) == (
        "a.png: 20.00, plain +1.00, patient +5.00, true kernel +6.00 dB, similarity 0.90, "
        "ratio 1.30, 100% changed"
    )
    left = dataclasses.replace(SCORE, known=None, patient=21.0, changed=0.0, reason="No shake.")
    assert shake.line(left) == "a.png: 20.00, plain +1.00, patient +1.00, 0% changed, No shake."


def test_a_set_without_kernels_has_none_of_their_figures():
    plain = shake.Score(name="b.png", before=20.0, plain=21.0, patient=21.0)
    values = shake.summary("pairs", [plain])
    assert list(values["gain_psnr_l"]) == ["plain", "patient"]
    assert "similarity" not in values
    text = shake.as_text("pairs", [plain])
    assert "kernel" not in text and text.endswith("worse than plain by more than 0.5 dB: yes")


def test_pictures_of_a_set_are_cut_and_shaken_by_their_content(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photo()[..., ::-1])
    blur = sets.synthetic_blur(sets.SHARP)
    photos = sets.PictureSet(folder=tmp_path, items=sets.photo_items(tmp_path), blur=blur)
    left = shake.load(photos, 0, None, 64)
    assert left.kernel is None and left.blurred.shape == (64, 64, 3)
    first, second = (shake.load(photos, 0, "paths", 64) for _ in range(2))
    np.testing.assert_array_equal(first.blurred, second.blurred)


@pytest.mark.parametrize(("down", "right"), [(2, -3), (0.5, 1.25), (0, 0)])
def test_a_shift_is_found_to_a_quarter_of_a_pixel(down, right):
    truth = color.rgb_to_luminance(photo((80, 90)))
    back = np.array([[1, 0, -right], [0, 1, -down], [0, 0, 1]], np.float32)
    moved = alignment.warp(truth, back)
    matrix = alignment.shift(moved, truth)
    np.testing.assert_allclose(matrix[:2, 2], [right, down], atol=0.01)


def test_the_unsupervised_wiener_filter_gives_what_blurs_to_the_photo():
    kernel = kernels.motion_kernel(9, 0)
    truth = color.luminance_to_light(color.rgb_to_luminance(photo((90, 110))))
    light = cv2.filter2D(truth, -1, kernel)[..., np.newaxis]
    light += np.random.default_rng(0).normal(0, 0.001, light.shape).astype(np.float32)
    first, second = (classical.unsupervised_wiener(light, kernel) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    again = cv2.filter2D(first, -1, kernel)[12:-12, 12:-12]
    assert np.abs(again - light[12:-12, 12:-12, 0]).mean() < 0.005
    assert first.shape == light.shape and first.min() >= 0 and first.max() <= 1
