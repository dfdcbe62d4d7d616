"""The search for a kernel, on small planes whose blur is known."""

import numpy as np
import pytest
from shaken_scenes import blurred, scene

from keras_refocus.restoration.deconvolution import blind, fourier, kernels, known


def test_scales_go_from_coarse_to_fine_and_are_odd():
    assert blind._sides(95)[0] == 5 and blind._sides(95)[-1] == 95
    for side in (5, 7, 21, 37, 61, 95):
        sides = blind._sides(side)
        assert all(size % 2 for size in sides)
        assert sides == sorted(set(sides)) and sides[-1] == side


def test_the_fit_finds_the_kernel_between_true_edges_and_the_photo(monkeypatch):
    kernel = kernels.motion_kernel(9, 40)
    seen, truth = blurred(scene(), kernel)
    # What keeps a path together makes it wider.
    assert 0.97 > kernels.similarity(blind.refine(seen, truth, 13), kernel) > 0.85
    monkeypatch.setattr(blind, "_SMOOTH", 0.0)
    found = blind.refine(seen, truth, 13)
    assert kernels.similarity(found, kernel) > 0.97
    assert found.min() >= 0 and found.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("angle", [0, 20])
def test_a_path_that_fell_apart_into_dots_is_put_together_again(angle, monkeypatch):
    kernel = kernels.motion_kernel(21, angle)
    seen, _ = blurred(scene((170, 210)), kernel)
    seen = seen + np.random.default_rng(0).normal(0, 0.003, seen.shape).astype(np.float32)
    dots = kernel.copy()
    dots[:, 1::3] = 0
    dots /= dots.sum()
    edges = known.deconvolve(seen, dots)

    def alike():
        return kernels.similarity(blind.refine(seen, edges, 27), kernel)

    fitted = alike()
    assert fitted > kernels.similarity(dots, kernel) + 0.1
    monkeypatch.setattr(blind, "_SMOOTH", 0.0)
    assert fitted > alike() + 0.05


@pytest.mark.parametrize(("length", "angle"), [(9, 90), (13, 30)])
def test_a_kernel_is_found_from_the_photo_alone(length, angle):
    kernel = kernels.motion_kernel(length, angle)
    rng = np.random.default_rng(0)
    seen, _ = blurred(scene((150, 180)), kernel)
    seen = seen + rng.normal(0, 0.002, seen.shape).astype(np.float32)
    found = blind.estimate(seen, 17)
    assert kernels.similarity(found, kernel) > 0.7
    assert np.abs(kernels.centroid(found)).max() <= 0.5


def test_a_search_from_several_starts_gives_the_best_first_and_counts_those_that_agree():
    kernel = kernels.motion_kernel(13, 30)
    rng = np.random.default_rng(0)
    seen, _ = blurred(scene((150, 180)), kernel)
    seen = seen + rng.normal(0, 0.002, seen.shape).astype(np.float32)
    found = blind.search(seen, 21)
    assert 1 <= len(found) <= blind._BEAM
    costs = [one.cost for one in found]
    assert costs == sorted(costs)
    assert kernels.similarity(found[0].kernel, kernel) > 0.75
    assert 2 <= found[0].votes <= len(blind.STARTS)


def test_the_same_photo_gives_the_same_kernel_to_the_bit():
    seen, _ = blurred(scene(), kernels.motion_kernel(9, 0))
    first, second = (blind.estimate(seen, 11, fits=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_blur_and_noise_and_rings_are_less_sparse_than_the_truth():
    kernel = kernels.motion_kernel(9, 0)
    seen, truth = blurred(scene(), kernel)
    noisy = truth + np.random.default_rng(0).normal(0, 0.04, truth.shape)
    assert blind.sparsity(truth) < blind.sparsity(seen)
    assert blind.sparsity(truth) < blind.sparsity(noisy)
    wrong = blind.judged(seen, kernels.motion_kernel(9, 90))
    assert blind.judged(seen, kernel).cost < wrong.cost
    assert blind.sparsity(np.zeros((8, 8))) == 0


def test_a_plane_without_edges_gives_a_kernel_all_the_same():
    found = blind.estimate(np.full((40, 40), 0.5, np.float32), 7)
    assert np.isfinite(found).all() and found.sum() == pytest.approx(1, abs=1e-5)


def test_a_search_can_be_stopped():
    def check():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        blind.estimate(scene(), 11, check=check)


def test_gradients_are_chosen_in_every_direction():
    light = np.zeros((64, 64), np.float32)
    light[:, 20:40] = 1.0  # strong, upright
    light[30:34] += 0.1  # weak, level
    scale = blind._Scale(light, 5)
    gradients = fourier.across(scale.wide), fourier.down(scale.wide)
    assert scale.threshold(*gradients) <= 0.1


@pytest.mark.parametrize("angle", [0, 60, 90, 150])
def test_a_straight_motion_shows_in_which_direction_detail_is_least(angle):
    light, truth = blurred(scene((150, 180)), kernels.motion_kernel(15, angle))
    found = blind.least_direction(light)
    assert abs((found - angle + 90) % 180 - 90) < 20
    assert blind.evenness(light) < 0.7 * blind.evenness(truth)


def test_weak_edges_that_were_made_up_do_not_count_where_edges_must_be_strong():
    kernel = kernels.motion_kernel(9, 40)
    seen, truth = blurred(scene(), kernel)
    # A fine pattern that is in the restored picture alone, and the photo as it is.
    pattern = np.random.default_rng(0).normal(0, 0.04, truth.shape).astype(np.float32)
    alike = [
        kernels.similarity(blind.refine(seen, truth + pattern, 13, strength=strength), kernel)
        for strength in (1.0, 2.0)
    ]
    assert alike[1] > alike[0] + 0.02
