import cv2
import numpy as np
import pytest

from keras_refocus.evaluation import restorer as evaluation
from keras_refocus.evaluation import sets
from keras_refocus.metrics import alignment


def texture(seed=0, shape=(96, 128)):
    noise = np.random.default_rng(seed).random(shape).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.clip(0.5 + 4.0 * (smooth - 0.5), 0.0, 1.0)[..., np.newaxis]


@pytest.mark.parametrize(
    "move",
    [
        np.array([[1, 0, 2.5], [0, 1, -1.25], [0, 0, 1]], np.float32),
        np.array([[1.01, 0.004, -1], [-0.004, 0.995, 2], [1e-5, 0, 1]], np.float32),
    ],
    ids=["shift", "homography"],
)
def test_a_moved_picture_comes_back(move):
    truth = texture()
    moved = alignment.warp(truth, np.linalg.inv(move).astype(np.float32))
    matrix = alignment.homography(moved, truth)
    corners = np.array([[[20, 20]], [[100, 20]], [[60, 48]], [[100, 80]]], np.float32)
    expected = cv2.perspectiveTransform(corners, move)
    np.testing.assert_allclose(cv2.perspectiveTransform(corners, matrix), expected, atol=0.3)
    back = alignment.warp(moved, matrix)
    window = alignment.covered(truth.shape[:2], matrix)
    assert evaluation.compare(moved, truth)[0] < 25
    assert evaluation.compare(back[window], truth[window])[0] > 37
    height, width = back[window].shape[:2]
    assert height >= 86 and width >= 114


def test_what_is_in_line_stays():
    truth = texture()
    matrix = alignment.homography(truth, truth)
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-4)
    assert alignment.covered((40, 50), np.eye(3)) == np.s_[:, :]


def test_aligned_scores_do_not_count_a_shift(tmp_path):
    truth = (255 * texture(3)).astype(np.uint8)[..., 0]
    for side, start in (("sharp", 8), ("blur", 10)):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "0.png"), truth[8:88, start : start + 100])
    picture_set = sets.PictureSet(folder=tmp_path, items=sets.pair_items(tmp_path))

    def score(align):
        protocol = evaluation.Protocol(align=align)
        assert protocol.label.endswith("aligned with the sharp side") == align
        return evaluation.score(picture_set, lambda x: x, protocol, 0)

    moved, aligned = score(False), score(True)
    for side in ("before", "after"):
        assert getattr(moved, side)["psnr_l"] < 20
        assert getattr(aligned, side)["psnr_l"] > getattr(moved, side)["psnr_l"] + 15
        assert getattr(aligned, side)["ssim_rgb"] > 0.98


def test_plain_surfaces_stay():
    plain = np.full((32, 32, 1), 0.5, np.float32)
    np.testing.assert_array_equal(alignment.homography(plain, plain), np.eye(3))
    np.testing.assert_array_equal(alignment.homography(texture(1, (32, 32)), plain), np.eye(3))


def test_only_what_a_moved_picture_covers_is_left():
    shift = np.array([[1, 0, 3], [0, 1, -2], [0, 0, 1]], np.float32)
    rows, columns = alignment.covered((40, 50), shift)
    picture = np.ones((40, 50, 1), np.float32)
    assert alignment.warp(picture, shift)[rows, columns].min() > 0.999
    assert (rows, columns) == (slice(4, 40), slice(0, 45))


@pytest.mark.parametrize("down, right", [(0, 0), (2, -3), (-4, 4), (1.25, -0.5), (-2.75, 3.5)])
def test_the_shift_is_found_to_a_quarter_of_a_pixel(down, right):
    truth = texture(4, (48, 60))
    expected = np.array([[1, 0, right], [0, 1, down], [0, 0, 1]], np.float32)
    picture = alignment.warp(truth, np.linalg.inv(expected).astype(np.float32))
    np.testing.assert_array_equal(alignment.shift(picture, truth), expected)


def test_a_shift_is_looked_for_within_its_reach():
    truth = texture(5, (48, 60))
    picture = alignment.warp(truth, np.array([[1, 0, 0], [0, 1, 3], [0, 0, 1]], np.float32))
    # It is three pixels higher; two is what comes nearest.
    for reach, nearest in ((2, -2), (3, -3)):
        assert alignment.shift(picture, truth, reach)[1, 2] == nearest
