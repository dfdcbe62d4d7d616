"""Triplets: three frames of one scene, and patches of what moves in them."""

import numpy as np
import pytest
import tiny_clips

from keras_refocus.video import interpolation, triplets


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two shots of seven frames, and a still of four."""
    still = [tiny_clips.scene(5, height=80, width=96)] * 4
    lumas = [
        frame
        for seed in (0, 1)
        for frame in tiny_clips.moving(seed, 7, height=80, width=96, step=2.0)
    ]
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    return tiny_clips.write(path, lumas + still, gray=True)


def test_no_triplet_lies_over_a_cut_and_what_stands_still_is_left_out(source, tmp_path):
    paths = triplets.extract([source], tmp_path / "patches", every=1, size=64)
    found = sorted({tuple(map(int, path.stem.split("_")[1:3])) for path in paths})
    assert found == [(0, index) for index in range(5)] + [(1, index) for index in range(7, 12)]
    assert len(paths) == 10 * triplets.PATCHES


def test_a_patch_holds_what_the_middle_frame_is_mixed_of(source, tmp_path):
    paths = triplets.extract([source], tmp_path / "patches", every=5, size=64)
    patch = np.load(paths[0]).astype(np.float32)
    assert patch.shape == (64, 64, 2 * interpolation.PARTS + 1)
    parts, weights, truth = np.split(patch, [interpolation.PARTS, 2 * interpolation.PARTS], axis=-1)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=5e-3)
    mixed = interpolation.mixed(parts, weights)
    blend = (parts[..., 0] + parts[..., 1]) / 2
    errors = (np.square(made - truth[..., 0])[8:-8, 8:-8].mean() for made in (mixed, blend))
    assert next(errors) < 0.3 * next(errors)


def test_one_clip_will_do_and_nothing_is_a_sentence(source, tmp_path):
    assert triplets.find(source) == [source] == triplets.find(source.parent)
    with pytest.raises(FileNotFoundError, match="must hold some"):
        triplets.find(tmp_path)
    with pytest.raises(ValueError, match="Something must move"):
        triplets.extract([source], tmp_path / "patches", size=128)
    assert not (tmp_path / "patches").exists()
