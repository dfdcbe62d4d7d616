import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_refocus.data import sampling
from keras_refocus.pictures import catalogue, color, images


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(5):
        small = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((96, 80), Image.Resampling.BICUBIC)
        save(tmp_path / "photos" / f"{index}.png", np.asarray(picture))
    return tmp_path / "photos"


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(1)
    for index in range(3):
        sharp = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        save(tmp_path / "pairs" / "sharp" / f"{index}.png", sharp)
        save(tmp_path / "pairs" / "blur" / f"{index}.png", 255 - sharp)
    return tmp_path / "pairs"


def photo_sampler(folder, **options):
    source = sampling.PhotoSource(paths=tuple(catalogue.list_photos(folder)))
    values = {"sources": (source,), "shares": (1.0,), "size": 32, "batch_size": 4, "seed": 7}
    return sampling.Sampler(**values | options)


def pair_sampler(folder, **options):
    source = sampling.PairSource(paths=tuple(catalogue.list_pairs(folder)))
    values = {"sources": (source,), "shares": (1.0,), "size": 32, "batch_size": 4, "seed": 7}
    return sampling.Sampler(**values | options)


def test_batch_is_a_pure_function_of_its_number(photos):
    sampler, other = photo_sampler(photos), photo_sampler(photos)
    first = sampler.batch(3)
    other.batch(9)
    for a, b in zip(first, other.batch(3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (sampler.batch(4)[0] != first[0]).any()
    assert (photo_sampler(photos, seed=8).batch(3)[0] != first[0]).any()


@pytest.mark.parametrize("kind", ["photos", "pairs", "color"])
def test_echoes_are_other_patches_of_pictures_read_once(kind, photos, pairs, monkeypatch):
    read = []
    monkeypatch.setattr(
        sampling, "read_rgb", lambda path, *, _real=sampling.read_rgb, **options: (
            read.append(path), _real(path, **options)
        )[1]
    )  # fmt: skip
    if kind == "color":
        source = sampling.ColorSource(paths=tuple(catalogue.list_photos(photos)))
        options = {"sources": (source,), "shares": (1.0,), "size": 32, "batch_size": 4, "seed": 7}
        make = lambda **more: sampling.ColorSampler(**options | more)  # noqa: E731
    else:
        folder, function = (photos, photo_sampler) if kind == "photos" else (pairs, pair_sampler)
        make = lambda **more: function(folder, **more)  # noqa: E731
    echoed = make(echo=3, cache_bytes=0).batches([3, 4, 5])
    assert len(read) <= 4 * (2 if kind == "pairs" else 1)
    np.testing.assert_array_equal(echoed[0][1], make().batch(1)[1])
    assert len({patch.tobytes() for batch in echoed for patch in batch[1]}) == 12
    for number, batch in zip((3, 4, 5), echoed, strict=True):
        np.testing.assert_array_equal(batch[0], make(echo=3).batch(number)[0])
    halves = [make(echo=3).batches([4, 5], part=(index, 2)) for index in (0, 1)]
    for turn in (0, 1):
        joined = np.concatenate([half[turn][1] for half in halves])
        np.testing.assert_array_equal(joined, echoed[turn + 1][1])


def test_a_pickled_sampler_makes_the_same_batches(photos):
    sampler = photo_sampler(photos)
    for a, b in zip(sampler.batch(0), pickle.loads(pickle.dumps(sampler)).batch(0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_are_luminance_planes(photos):
    for side in photo_sampler(photos).batch(0):
        assert side.shape == (4, 32, 32, 1)
        assert side.dtype == np.float32
        assert -1e-6 <= side.min() and side.max() <= 1 + 1e-6


def test_every_picture_is_seen_once_in_a_pass():
    for seed in range(3):
        passes = [sampling.shuffled_index(position, 7, seed) for position in range(14)]
        assert sorted(passes[:7]) == sorted(passes[7:]) == list(range(7))
        assert passes[:7] != passes[7:]


def test_pairs_share_crop_and_flip(pairs):
    # The blurred side of the test pairs is the negative: where lightness is monotonic in the
    # value, equal crops make every bright pixel dark. Compare through the RGB values instead.
    path = catalogue.list_pairs(pairs)[0]
    source = sampling.PairSource(paths=(path,))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        blurred, sharp = source.example(0, rng, 32, "random", sampling._Cache(10**6))
        np.testing.assert_allclose(blurred, 1 - sharp, atol=1e-6)


def test_flips_turn_both_sides_alike(pairs):
    for side in (
        sharp_from_negative(*pair) for pair in zip(*pair_sampler(pairs).batch(0), strict=True)
    ):
        assert side


def sharp_from_negative(blurred, sharp):
    """Grey test pictures are not used here, so only an order-preserving property holds."""
    return np.corrcoef(blurred.ravel(), sharp.ravel())[0, 1] < -0.8


def test_fixed_crops_are_the_corners(tmp_path):
    ramp = np.add.outer(np.arange(20), 10 * np.arange(24)).astype(np.uint8)
    save(tmp_path / "a.png", np.repeat(ramp[..., None], 3, axis=2))
    source = sampling.PairSource(paths=((tmp_path / "a.png", tmp_path / "a.png"),))
    found = {}
    for crop in sampling.WINDOWS:
        sharp = source.example(0, None, 16, crop, sampling._Cache(0))[1]
        found[crop] = round(float(sharp[0, 0, 0]) * 255)
    assert found == {
        "center": 42, "top left": 0, "bottom right": 84, "top right": 80, "bottom left": 4,
    }  # fmt: skip


def test_center_crop_is_the_central_square(pairs):
    paths = catalogue.list_pairs(pairs)
    rng = np.random.default_rng(0)
    source = sampling.PairSource(paths=tuple(paths))
    _, sharp = source.example(0, rng, 32, "center", sampling._Cache(10**6))
    expected = np.asarray(Image.open(paths[0][1]))[4:36, 9:41]
    np.testing.assert_allclose(sharp, expected / 255, atol=1e-6)


def test_pictures_below_the_patch_size_are_extended(pairs):
    for side in pair_sampler(pairs, size=64).batch(0):
        assert side.shape == (4, 64, 64, 1)


def test_degradations_touch_the_blurred_side_only(pairs):
    paths = tuple(catalogue.list_pairs(pairs))
    examples = []
    for degradations in (None, "mixed"):
        source = sampling.PairSource(paths=paths, degradations=degradations)
        cache = sampling._Cache(10**6)
        examples.append(
            [source.example(0, np.random.default_rng(s), 32, "center", cache) for s in range(8)]
        )
    clean, degraded = examples
    assert all((a[1] == b[1]).all() for a, b in zip(clean, degraded, strict=True))
    assert any((a[0] != b[0]).any() for a, b in zip(clean, degraded, strict=True))


def test_sources_are_drawn_at_their_shares(photos, pairs):
    sources = (
        sampling.PhotoSource(paths=tuple(catalogue.list_photos(photos)), blur="clean"),
        sampling.PairSource(paths=tuple(catalogue.list_pairs(pairs))),
    )
    only_pairs = sampling.Sampler(
        sources=sources, shares=(0.0, 1.0), size=32, batch_size=4, seed=0
    ).batch(0)
    for blurred, sharp in zip(*only_pairs, strict=True):
        assert sharp_from_negative(blurred, sharp)
    with pytest.raises(ValueError, match="sum to 1"):
        sampling.Sampler(sources=sources, shares=(0.5, 0.1), size=32, batch_size=4, seed=0)


def test_large_photos_are_shrunk_by_area(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = 200
    save(tmp_path / "large.png", picture)
    shrunk = sampling.read_rgb(tmp_path / "large.png", max_pixels=600)
    assert shrunk.shape == (20, 30, 3)
    assert (shrunk[:, :14] == 0).all() and (shrunk[:, 16:] == 200).all()


def test_large_jpegs_are_decoded_at_a_part_of_their_size(tmp_path, monkeypatch):
    scene = np.add.outer(np.arange(160), np.arange(240))[..., None] % 200
    picture = np.broadcast_to(scene, (160, 240, 3)).astype(np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    Image.fromarray(picture).save(tmp_path / "large.jpg", quality=95)
    decoded = []
    read = images.read

    def spy(*arguments, **options):
        photo = read(*arguments, **options)
        decoded.append(photo.rgb.shape[:2])
        return photo

    monkeypatch.setattr(images, "read", spy)
    shrunk = sampling.read_rgb(tmp_path / "large.jpg", max_pixels=60 * 90)
    assert decoded == [(80, 120)] and shrunk.shape == (60, 90, 3)
    whole = cv2.resize(picture, (90, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - whole).mean() < 1.5
    sampling.read_rgb(tmp_path / "large.jpg", max_pixels=81 * 121)
    sampling.read_rgb(tmp_path / "large.jpg")
    assert decoded[1:] == [(160, 240)] * 2


def test_deep_pictures_become_8_bit(tmp_path):
    grey = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    rgb = sampling.read_rgb(tmp_path / "deep.png")
    np.testing.assert_array_equal(rgb[..., 0], color.from_float(color.to_float(grey), np.uint8))


def test_the_cache_keeps_what_came_first_and_the_last_two():
    cache = sampling._Cache(max_bytes=25)
    loads = []

    def load(key):
        def make():
            loads.append(key)
            return np.full(10, ord(key), np.uint8)

        return make

    for key in "abcdcdeabc":
        assert (cache.get(key, load(key)) == ord(key)).all()
    # a and b fit; c and d were the last two until e came; then c is read again.
    assert loads == ["a", "b", "c", "d", "e", "c"]


def test_what_does_not_fit_into_memory_is_read_once_for_several_batches():
    assert sampling.default_echo(sampling.CACHE_BYTES) == 1
    assert sampling.default_echo(2 * sampling.CACHE_BYTES) > 1


def test_pairs_need_partners(pairs):
    (pairs / "blur" / "1.png").unlink()
    with pytest.raises(ValueError, match="1 without.*'sharp/1.png'"):
        catalogue.list_pairs(pairs)


def test_other_folder_names_are_known(pairs):
    (pairs / "blur").rename(pairs / "input")
    (pairs / "sharp").rename(pairs / "target")
    assert len(catalogue.list_pairs(pairs)) == 3


def test_pairs_of_sequences_are_found_in_sub_folders(pairs, tmp_path):
    # As GoPro comes: one folder for each sequence, a third version of each picture beside the two.
    for sequence in "ba":
        for side in ("blur", "blur_gamma", "sharp"):
            save(
                tmp_path / "gopro" / "test" / sequence / side / "000001.png",
                np.zeros((8, 8, 3), np.uint8),
            )
    folder = tmp_path / "gopro" / "test"
    assert catalogue.list_pairs(folder) == [
        (folder / name / "blur" / "000001.png", folder / name / "sharp" / "000001.png")
        for name in "ab"
    ]


def test_pairs_of_hide_share_one_folder_of_sharp_pictures(tmp_path):
    black = np.zeros((8, 8, 3), np.uint8)
    for name in ("1", "2", "only_for_training"):
        save(tmp_path / "GT" / f"{name}.png", black)
    save(tmp_path / "test" / "test-close-ups" / "2.png", black)
    save(tmp_path / "test" / "test-long-shot" / "1.png", black)
    assert catalogue.list_pairs(tmp_path) == [
        (tmp_path / "test" / "test-long-shot" / "1.png", tmp_path / "GT" / "1.png"),
        (tmp_path / "test" / "test-close-ups" / "2.png", tmp_path / "GT" / "2.png"),
    ]
    (tmp_path / "GT" / "1.png").unlink()
    with pytest.raises(ValueError, match="1 without.*'test/test-long-shot/1.png'"):
        catalogue.list_pairs(tmp_path)


def test_missing_side_shows_what_was_found(pairs):
    (pairs / "blur").rename(pairs / "fuzzy")
    with pytest.raises(FileNotFoundError, match="fuzzy"):
        catalogue.list_pairs(pairs)


def test_empty_and_missing_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="at least one picture"):
        catalogue.list_photos(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        catalogue.list_photos(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        catalogue.list_pairs(tmp_path / "nowhere")


def test_hold_out_is_seeded_disjoint_and_bounded():
    paths = [f"{index}.png" for index in range(100)]
    training, validation = sampling.split_hold_out(paths, share=0.1)
    assert len(validation) == 10
    assert sorted(training + validation) == sorted(paths)
    assert sampling.split_hold_out(paths, share=0.1) == (training, validation)
    assert len(sampling.split_hold_out(paths, share=0.9, most=5)[1]) == 5
    with pytest.raises(ValueError, match="at least two"):
        sampling.split_hold_out(paths[:1])
    # Of a few still several.
    assert [len(sampling.split_hold_out(paths[:count])[1]) for count in (2, 9, 10, 20, 99)] == [
        1, 1, 2, 4, 5,
    ]  # fmt: skip


def test_whole_scenes_are_held_out_of_several_places():
    paths = [f"{scene}/{frame}.png" for scene in range(20) for frame in range(10)]
    training, validation = sampling.split_hold_out(
        paths, scenes=[path.split("/")[0] for path in paths]
    )
    assert sorted(training + validation) == sorted(paths)
    held = {path.split("/")[0] for path in validation}
    assert not held & {path.split("/")[0] for path in training}
    assert (len(held), len(validation)) == (2, 20)
    # Where a scene is too much of all, single pictures.
    for scenes in (["one"] * 40, ["one", "other"] * 20):
        assert len(sampling.split_hold_out(paths[:40], scenes=scenes)[1]) == 4


def color_sampler(folder, **options):
    source = sampling.ColorSource(paths=tuple(catalogue.list_photos(folder)))
    values = {"sources": (source,), "shares": (1.0,), "size": 32, "batch_size": 4, "seed": 7}
    return sampling.ColorSampler(**values | options)


def test_colour_batches_are_luminance_and_chroma(photos):
    sampler = color_sampler(photos)
    luminance, chroma = sampler.batch(3)
    assert luminance.shape == (4, 32, 32, 1) and chroma.shape == (4, 32, 32, 2)
    assert luminance.dtype == chroma.dtype == np.float32
    rgb = color.lab_to_rgb(luminance, chroma)
    assert -1e-3 <= rgb.min() and rgb.max() <= 1 + 1e-3
    for a, b in zip(
        pickle.loads(pickle.dumps(sampler)).batch(3), color_sampler(photos).batch(3), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert (sampler.batch(4)[1] != chroma).any()


def test_whole_scenes_are_squeezed_into_a_square(tmp_path):
    # Four quarters: red and green above, blue and grey below, in a picture twice as wide as high.
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:20, :40, 0] = picture[:20, 40:, 1] = picture[20:, :40, 2] = 200
    picture[20:, 40:] = 128
    save(tmp_path / "quarters.png", picture)
    sampler = color_sampler(tmp_path, crop="center", flip=False, size=8)
    luminance, chroma = sampler.example(0)
    expected = color.rgb_to_lab(picture[::5, ::10])
    np.testing.assert_allclose(luminance, expected[0], atol=1e-5)
    np.testing.assert_allclose(chroma, expected[1], atol=1e-5)


def test_photos_are_mirrored_where_that_is_asked_for_alone(tmp_path):
    ramp = np.linspace(0, 255, 12).astype(np.uint8)
    save(tmp_path / "ramp.png", np.broadcast_to(ramp[:, None], (12, 12, 3)).copy())

    def directions(flip):
        sampler = color_sampler(tmp_path, crop="center", flip=flip, size=12)
        planes = [sampler.example(position)[0][0, :, 0] for position in range(12)]
        return {bool(plane[0] < plane[-1]) for plane in planes}

    assert directions(flip=True) == {True, False}
    assert directions(flip=False) == {True}


def test_colour_crops_keep_the_sky_above(tmp_path):
    rows = np.linspace(250, 5, 60).astype(np.uint8)
    save(tmp_path / "sky.png", np.broadcast_to(rows[:, None, None], (60, 50, 3)).copy())
    sampler = color_sampler(tmp_path, size=16)
    for position in range(12):
        luminance, _ = sampler.example(position)
        assert (np.diff(luminance[..., 0], axis=0) <= 1e-6).all()
        # A crop has at least 0.6 of the height, and not more than the picture has.
        seen = float(luminance[0, 0, 0] - luminance[-1, 0, 0])
        assert 0.5 < seen < 1.0


def test_tone_changes_luminance_alone(photos):
    plain, varied = (color_sampler(photos, tone=tone).batch(0) for tone in (0.0, 0.5))
    np.testing.assert_array_equal(plain[1], varied[1])
    exponents = np.log(varied[0]) / np.log(plain[0])
    for one in exponents:
        np.testing.assert_allclose(one, one.mean(), rtol=1e-3)
        assert 1 / 1.5 <= one.mean() <= 1.5
    assert np.ptp(exponents.mean(axis=(1, 2, 3))) > 0.01


def test_old_prints_change_a_share_of_the_luminance_alone(photos):
    plain = color_sampler(photos, batch_size=200)
    some = color_sampler(photos, batch_size=200, old_prints=0.3)
    before, after = plain.batch(0), some.batch(0)
    np.testing.assert_array_equal(before[1], after[1])
    changed = [bool((one != other).any()) for one, other in zip(before[0], after[0], strict=True)]
    assert 40 <= sum(changed) <= 80
    np.testing.assert_array_equal(some.batch(0)[0], after[0])  # a pure function of the number
    # The others are bent as they would be without.
    both = color_sampler(photos, batch_size=200, old_prints=0.3, tone=0.5).batch(0)[0]
    bent = color_sampler(photos, batch_size=200, tone=0.5).batch(0)[0]
    for one, other, is_old in zip(both, bent, changed, strict=True):
        assert is_old or (one == other).all()


def test_unpaired_colour_batches_show_two_scenes(photos, pairs):
    gray = sampling.ColorSource(paths=tuple(catalogue.list_photos(pairs)))
    luminance, picture = color_sampler(photos, gray=gray).batch(0)
    assert luminance.shape == (4, 32, 32, 1) and picture.shape == (4, 32, 32, 3)
    assert np.abs(luminance - picture[..., :1]).max() > 0.1
    own = sampling.ColorSource(paths=tuple(catalogue.list_photos(photos)))
    same = color_sampler(photos, gray=own, crop="center", flip=False)
    pairs_of_scenes = [same.example(position) for position in range(5)]
    assert any((a != b[..., :1]).any() for a, b in pairs_of_scenes)
