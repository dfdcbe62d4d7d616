"""Batches out of prepared data sets."""

import numpy as np
import pytest
import tiny_data_sets
import tiny_pictures as tiny

from keras_refocus.data import prepared as tfds_batches
from keras_refocus.pictures import color

SIZE = 16


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Twelve pairs to train on, and as many colour pictures."""
    return tiny_data_sets.prepare(tmp_path_factory.mktemp("data"))


@pytest.fixture
def batches(data_dir):
    def make(name="deblur_pairs/folder", **options):
        options = {"size": SIZE, "batch_size": 4, "seed": 1, "first": 0, "count": 9} | options
        return tfds_batches.TfdsBatches(name, data_dir=data_dir, **options)

    return make


def equal(left, right):
    return all(np.array_equal(*sides) for sides in zip(left, right, strict=True))


def same(left, right):
    left, right = list(left), list(right)
    return len(left) == len(right) and all(map(equal, left, right))


def test_shapes_and_ranges(batches):
    made = list(batches())
    assert len(made) == len(batches()) == 9
    for blurred, sharp in made:
        assert blurred.shape == sharp.shape == (4, SIZE, SIZE, 1)
        assert blurred.dtype == sharp.dtype == np.float32
        assert 0 <= min(blurred.min(), sharp.min()) and max(blurred.max(), sharp.max()) <= 1


def test_colour(batches):
    made = list(batches("coco_lab/small"))
    for luminance, chroma in made:
        assert luminance.shape == (4, SIZE, SIZE, 1) and chroma.shape == (4, SIZE, SIZE, 2)
        assert luminance.dtype == chroma.dtype == np.float32
        assert 0 <= luminance.min() and luminance.max() <= 1 and np.abs(chroma).max() <= 1
    assert np.abs(made[0][1]).max() > 0.1


def test_a_batch_depends_on_seed_and_number_alone(batches):
    made = list(batches())
    assert same(batches(), made)
    # Whatever came before: also when the passes over twelve examples began earlier.
    for first in (1, 3, 7):
        assert same(batches(first=first, count=9 - first), made[first:])
    assert not same(batches(seed=2), made)


def test_every_pass_sees_everything_once_in_another_order(batches):
    # Whole pictures: 12 examples a pass, as 3 batches of 4.
    made = [sharp for _, sharp in batches(flip=False, crop="center", size=60)]
    passes = [np.concatenate(made[start : start + 3]) for start in (0, 3, 6)]
    keys = [[example.tobytes() for example in examples] for examples in passes]
    assert all(len(set(key)) == 12 for key in keys)
    assert set(keys[0]) == set(keys[1]) == set(keys[2])
    assert keys[0] != keys[1] != keys[2]


def test_both_sides_are_cut_turned_and_mirrored_alike(batches):
    # Where blur is a shift-invariant filter it commutes with a crop but not with a wrong turn.
    for blurred, sharp in batches(count=6):
        for pair in zip(blurred, sharp, strict=True):
            inner = [side[2:-2, 2:-2].ravel() for side in pair]
            assert np.corrcoef(*inner)[0, 1] > 0.8


def test_turns_and_mirrors_cover_the_square(batches):
    upright = {
        sharp.tobytes()
        for _, batch in batches(count=3, flip=False, crop="center")
        for sharp in batch
    }
    seen = set()
    for _, batch in batches(count=60, crop="center"):
        for sharp in batch:
            for number in range(8):
                turned = np.rot90(sharp, -(number % 4))
                undone = turned[:, ::-1] if number >= 4 else turned
                if undone.tobytes() in upright:
                    seen.add(number)
    assert seen == set(range(8))


def test_colour_is_mirrored_but_never_turned(batches):
    upright = {
        luminance.tobytes()
        for batch, _ in batches("coco_lab/small", count=8, flip=False, crop="center")
        for luminance in batch
    }
    mirrored = 0
    for batch, _ in batches("coco_lab/small", count=8, crop="center"):
        for luminance in batch:
            flipped = np.ascontiguousarray(luminance[:, ::-1])
            mirrored += flipped.tobytes() in upright
            assert luminance.tobytes() in upright or flipped.tobytes() in upright
    assert 4 < mirrored < 28


def test_random_crops_reach_every_corner(batches):
    patches = np.concatenate([sharp for _, sharp in batches(count=60, flip=False, seed=5)])
    assert len({patch.tobytes() for patch in patches}) > 200
    centre = np.concatenate([sharp for _, sharp in batches(count=60, flip=False, crop="center")])
    assert len({patch.tobytes() for patch in centre}) == 12


def test_small_pictures_are_extended_by_their_mirror(batches):
    _, sharp = next(iter(batches(size=100, flip=False, crop="center", batch_size=1)))
    # 60 x 80 pictures: below row 60 they continue backwards.
    assert sharp.shape == (1, 100, 100, 1)
    assert np.array_equal(sharp[0, 60:100], sharp[0, 20:60][::-1])
    assert np.array_equal(sharp[0, :, 80:100], sharp[0, :, 60:80][:, ::-1])


def test_degradations_touch_the_blurred_side_alone(batches):
    plain = list(batches(count=3))
    noisy = list(batches(count=3, degradations="noise"))
    assert same(noisy, batches(count=3, degradations="noise"))
    for (blurred, sharp), (degraded, untouched) in zip(plain, noisy, strict=True):
        assert np.array_equal(sharp, untouched)
        difference = np.abs(degraded - blurred)
        assert 0.001 < difference.mean() < 0.1


def test_parts_of_a_batch_make_the_whole(batches):
    whole = list(batches(count=5))
    halves = [list(batches(count=5, part=(index, 2))) for index in (0, 1)]
    for number, batch in enumerate(whole):
        for side in (0, 1):
            joined = np.concatenate([half[number][side] for half in halves])
            assert np.array_equal(joined, batch[side])
    with pytest.raises(ValueError, match="equally large"):
        batches(part=(0, 3))


def test_echoes_are_other_patches_of_the_same_pictures(batches):
    whole = {"flip": False, "crop": "center", "size": 60}  # A picture is its whole centre.
    once = [sharp for _, sharp in batches(count=3, **whole)]
    echoed = [sharp for _, sharp in batches(count=9, echo=3, **whole)]
    for number, sharp in enumerate(echoed):
        assert np.array_equal(sharp, once[number // 3])
    patches = [sharp for _, sharp in batches(count=3, echo=3)]
    assert len({patch.tobytes() for batch in patches for patch in batch}) == 12


def test_an_echoed_batch_depends_on_seed_and_number_alone(batches):
    made = list(batches(echo=4))
    for first in (1, 4, 6):
        assert same(batches(echo=4, first=first, count=9 - first), made[first:])
    halves = [list(batches(echo=4, part=(index, 2))) for index in (0, 1)]
    for whole, *parts in zip(made, *halves, strict=True):
        assert equal(whole, [np.concatenate(sides) for sides in zip(*parts, strict=True)])


def test_colour_is_seen_as_whole_scenes(batches):
    small = dict(count=3, batch_size=4, flip=False, size=16, smallest_part=1.0)
    full = list(batches("coco_lab/small", count=3, flip=False, crop="center", size=32))
    for shrunk, whole in zip(batches("coco_lab/small", **small), full, strict=True):
        for side, large in zip(shrunk, whole, strict=True):
            expected = large.reshape(4, 16, 2, 16, 2, -1).mean((2, 4))
            assert np.abs(side - expected).mean() < 0.01
    parts = list(batches("coco_lab/small", **small | {"smallest_part": 0.5}))
    assert not same(parts, batches("coco_lab/small", **small))
    # The tone curve changes luminance alone.
    toned = list(batches("coco_lab/small", **small | {"tone": 0.5}))
    plain = list(batches("coco_lab/small", **small))
    for (curved, chroma), (luminance, same_chroma) in zip(toned, plain, strict=True):
        assert np.array_equal(chroma, same_chroma)
        exponents = np.log(curved.mean((1, 2, 3))) / np.log(luminance.mean((1, 2, 3)))
        assert 0.6 < exponents.min() < exponents.max() < 1.6 and exponents.std() > 0.02


def test_the_cache_repeats_nothing_and_loses_nothing(batches):
    made = [sharp for _, sharp in batches(cache=True, flip=False, crop="center", size=60)]
    for start in (0, 3, 6):
        examples = np.concatenate(made[start : start + 3])
        assert len({example.tobytes() for example in examples}) == 12
    assert same(batches(cache=True, first=4, count=5), list(batches(cache=True))[4:])


def test_sixteen_bits_are_finer(batches):
    coarse = list(batches(count=2))
    fine = list(batches("deblur_pairs/folder_16bit", count=2))
    for left, right in zip(coarse, fine, strict=True):
        for eight, sixteen in zip(left, right, strict=True):
            assert 0 < np.abs(eight - sixteen).max() <= 0.5 / 255 + 1e-4


def test_validation_is_fixed(data_dir):
    arrays = [
        tfds_batches.validation_arrays("deblur_pairs/folder", size=40, count=10, data_dir=data_dir)
        for _ in range(2)
    ]
    assert equal(*arrays)
    blurred, sharp = arrays[0]
    assert blurred.shape == sharp.shape == (3, 40, 40, 1)
    expected = {
        color.encode_luminance(color.rgb_to_luminance(tiny.scene(seed)[10:50, 20:60])).tobytes()
        for seed in range(20, 23)
    }
    assert {color.encode_luminance(side).tobytes() for side in sharp} == expected


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("hide/16bit", {}, FileNotFoundError, "tfds_builders/hide --config 16bit --data_dir"),
        ("deblur_pairs/folder", {"smallest_part": 0.5}, ValueError, "are for colour"),
        ("deblur_pairs/folder", {"split": "test"}, ValueError, "one of train, validation"),
        ("deblur_pairs/folder", {"crop": "corner"}, ValueError, "crop='corner'"),
        ("coco_lab/small", {"degradations": "noise"}, ValueError, "blurred side of pairs"),
    ],
)
def test_mistakes_are_explained(batches, name, options, error, message):
    with pytest.raises(error, match=message):
        batches(name, **options)


def test_a_prepared_set_says_what_it_is(data_dir):
    found = tfds_batches.PreparedSet(
        "deblur_pairs/folder", keys=("blurred", "sharp"), data_dir=data_dir
    )
    assert len(found) == 12
    facts = found.describe()
    assert (facts["name"], facts["config"], facts["version"]) == ("deblur_pairs", "folder", "1.0.0")
    assert facts["examples"] == {"train": 12, "validation": 3}
    names = [line.rpartition("/")[2] for line in found.manifest().splitlines()]
    assert names == ["dataset_info.json", "features.json", "report.json"]
    with pytest.raises(ValueError, match="luminance and chroma. Received: 'deblur_pairs/folder'"):
        tfds_batches.PreparedSet(
            "deblur_pairs/folder", keys=("luminance", "chroma"), data_dir=data_dir
        )
