import errno
import logging
import os
import pathlib
import shutil

import published_layouts as layouts
import pytest
import tiny_pictures as tiny

from keras_refocus.pictures import catalogue


def names(pairs, root):
    return [tuple(path.relative_to(root).as_posix() for path in pair) for pair in pairs]


@pytest.mark.parametrize("make", [layouts.make_hide, layouts.make_redistributed])
def test_training_takes_the_training_half_of_hide_and_no_test_pair(tmp_path, make):
    root = make(tmp_path / "HIDE_dataset")
    training = catalogue.list_pairs(root, split="train")
    testing = catalogue.list_pairs(root, split="test")
    assert len(training) == 20 and len(testing) == 4
    assert not {pair[0].name for pair in training} & {pair[0].name for pair in testing}
    assert all(name.startswith("train/") for name, _ in names(training, root))
    assert all(name.startswith("test/") for name, _ in names(testing, root))
    assert all(blurred.name == sharp.name for blurred, sharp in training + testing)


@pytest.mark.parametrize("make", [layouts.make_hide, layouts.make_redistributed])
def test_each_half_of_hide_can_be_named(tmp_path, make):
    root = make(tmp_path / "HIDE_dataset")
    # A purpose does not change what was named outright.
    for half, count in (("train", 20), ("test", 4)):
        for split in (None, "train", "test"):
            assert len(catalogue.list_pairs(root / half, split=split)) == count


def test_a_half_is_found_from_inside_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(layouts.make_hide(tmp_path / "HIDE_dataset") / "train")
    assert len(catalogue.list_pairs(".", split="train")) == 20


def test_gopro_trains_on_train_and_tests_on_test(tmp_path):
    root = layouts.make_gopro(tmp_path / "GOPRO_Large")
    training = names(catalogue.list_pairs(root, split="train"), root)
    testing = names(catalogue.list_pairs(root, split="test"), root)
    assert len(training) == 6 and all(pair[0].startswith("train/") for pair in training)
    assert testing == [
        tuple(f"test/GOPR0384_11_00/{side}/{frame}.png" for side in ("blur", "sharp"))
        for frame in ("000047", "000048")
    ]
    assert len(catalogue.list_pairs(root)) == 8


def test_reds_trains_on_train_and_is_measured_on_val(tmp_path):
    root = layouts.make_reds(tmp_path)
    training = names(catalogue.list_pairs(root, split="train"), root)
    assert training[0] == (
        "train/train_blur/000/00000000.png",
        "train/train_sharp/000/00000000.png",
    )
    assert len(training) == 4
    testing = names(catalogue.list_pairs(root, split="test"), root)
    assert len(testing) == 4 and all(pair[0].startswith("val/val_blur/") for pair in testing)


def test_realblur_keeps_to_its_lists(tmp_path):
    root = layouts.make_realblur(tmp_path)
    training = names(catalogue.list_pairs(root, split="train"), root)
    testing = names(catalogue.list_pairs(root, split="test"), root)
    folder = layouts.realblur_folder("J")
    assert training[0] == (
        f"{folder}/scene000/blur/blur_0.png",
        f"{folder}/scene000/gt/gt_0.png",
    )
    assert len(training) == 4
    assert [pair[0][-10:] for pair in testing] == ["blur_4.png", "blur_5.png"]
    # The folder inside is of the same halves, and so is one scene.
    for inside, count in ((folder, 4), (f"{folder}/scene000", 2)):
        assert len(catalogue.list_pairs(root / inside, split="train")) == count
    with pytest.raises(FileNotFoundError, match=r"\['test'\] only"):
        catalogue.list_pairs(root / folder / "scene002", split="train")
    assert len(catalogue.list_pairs(root / folder)) == 6
    # Without the lists the pairs are still told by their names.
    for path in root.glob("*.txt"):
        path.unlink()
    assert len(catalogue.list_pairs(root / folder)) == 6


def test_several_published_sets_in_one_folder_keep_their_halves(tmp_path):
    layouts.make_gopro(tmp_path / "GOPRO_Large")
    layouts.make_hide(tmp_path / "HIDE_dataset")
    layouts.make_realblur(tmp_path / "RealBlur")
    layouts.make_reds(tmp_path / "REDS")
    counts = {"GOPRO_Large": 6, "HIDE_dataset": 20, "RealBlur": 4, "REDS": 4}
    training = names(catalogue.list_pairs(tmp_path, split="train"), tmp_path)
    for name, count in counts.items():
        own = [pair for pair in training if pair[0].startswith(f"{name}/")]
        assert len(own) == count, name
        alone = catalogue.list_pairs(tmp_path / name, split="train")
        assert own == names(alone, tmp_path)


def test_test_pairs_alone_are_refused_for_training(tmp_path):
    layouts.make_gopro(tmp_path)
    (tmp_path / "train").rename(tmp_path.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError, match=r"half 'train'.*\['test'\] only"):
        catalogue.list_pairs(tmp_path, split="train")


def test_plain_pairs_serve_both_purposes(tmp_path):
    tiny.save_pair(tmp_path / "Blur" / "a.png", tmp_path / "SHARP" / "a.png", 0)
    expected = [(tmp_path / "Blur" / "a.png", tmp_path / "SHARP" / "a.png")]
    for split in (None, "train", "test"):
        assert catalogue.list_pairs(tmp_path, split=split) == expected


def test_pairs_of_no_half_are_not_tested_on_beside_a_test_half(tmp_path):
    for place in (tmp_path, tmp_path / "test"):
        tiny.save_pair(place / "blur" / "a.png", place / "GT" / "a.png", 0)
    assert names(catalogue.list_pairs(tmp_path, split="train"), tmp_path) == [
        ("blur/a.png", "GT/a.png")
    ]
    assert names(catalogue.list_pairs(tmp_path, split="test"), tmp_path) == [
        ("test/blur/a.png", "test/GT/a.png")
    ]


def test_the_half_that_was_taken_is_said(tmp_path, caplog):
    root = layouts.make_hide(tmp_path / "HIDE_dataset")
    with caplog.at_level(logging.WARNING):
        catalogue.list_pairs(root, split="train")
    assert "took 20 pairs of the half 'train'" in caplog.text


def test_a_folder_that_may_not_be_read_is_named_and_the_rest_is_listed(tmp_path, monkeypatch):
    photo = tiny.save(tmp_path / "a.png", tiny.scene(0))
    tiny.save(tmp_path / "shut" / "b.png", tiny.scene(1))
    plain = os.scandir

    def scandir(path):
        # As of a folder of somebody else; root may read all.
        if pathlib.Path(path).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = catalogue.list_folder(tmp_path)
    assert (found.pictures, found.closed) == ([photo], [tmp_path / "shut"])
    with pytest.raises(PermissionError):
        catalogue.list_folder(tmp_path / "shut")


def test_hidden_files_hidden_folders_and_folders_named_as_pictures_are_left_out(tmp_path):
    kept = tmp_path / "album" / "B.PNG"
    for path in (
        kept,
        tmp_path / "._B.png",
        tmp_path / ".thumbnails" / "b.png",
        tmp_path / "x.png" / "notes.png",
    ):
        tiny.save(path, tiny.scene(0))
    assert catalogue.list_photos(tmp_path) == [kept, tmp_path / "x.png" / "notes.png"]


@pytest.mark.parametrize(
    ("make", "scenes"),
    [
        (layouts.make_gopro, {"GOPR0372", "GOPR0374"}),
        (layouts.make_hide, {f"GOPR{1000 + video}" for video in range(10)}),
        (layouts.make_reds, {"000", "001"}),
        (layouts.make_realblur, {"scene000", "scene001"}),
    ],
)
def test_scenes_of_published_sets(tmp_path, make, scenes):
    pairs = catalogue.list_pairs(make(tmp_path / "set"), split="train")
    found = {catalogue.scene(pair) for pair in pairs}
    assert len(found) == len(scenes)
    for scene in scenes:
        assert sum(scene in name for name in found) == 1


def test_a_flat_folder_of_pairs_is_one_scene(tmp_path):
    for name in ("IMG_0001.png", "IMG_0002.png", "other.png"):
        tiny.save_pair(tmp_path / "blur" / name, tmp_path / "sharp" / name, 0)
    assert len({catalogue.scene(pair) for pair in catalogue.list_pairs(tmp_path)}) == 1


def test_what_has_no_partner_is_refused_where_it_is_taken(tmp_path):
    for half in ("training", "valid"):
        tiny.save_pair(tmp_path / half / "blur" / "a.png", tmp_path / half / "sharp" / "a.tif", 0)
    tiny.save(tmp_path / "valid" / "blur" / "b.png", tiny.scene(1))
    assert names(catalogue.list_pairs(tmp_path, split="train"), tmp_path) == [
        ("training/blur/a.png", "training/sharp/a.tif")
    ]
    with pytest.raises(ValueError, match=r"1 without one.*valid/blur/b.png"):
        catalogue.list_pairs(tmp_path, split="test")
    parts = catalogue.find_pairs(tmp_path)
    assert [(part.split, len(part.pairs)) for part in parts] == [("train", 1), ("val", 1)]
    assert parts[1].alone == [(tmp_path / "valid" / "blur" / "b.png", "sharp")]


def test_half_of_hide_may_be_missing(tmp_path):
    root = layouts.make_hide(tmp_path / "HIDE_dataset")
    shutil.rmtree(root / "test")
    assert len(catalogue.list_pairs(root, split="train")) == 20
    assert len(catalogue.find_pairs(root)[0].left_over) == 4


def test_names_are_matched_by_path_then_without_suffix():
    matched = catalogue.match_names(
        ["a.png", "a.jpg", "x/b.png", "blur_7.png", "lone.png"],
        ["a.png", "a.jpg", "x/b.tif", "gt_7.png", "y/b.png"],
        sides=("blur", "gt"),
    )
    assert matched == (
        [
            ("a.jpg", "a.jpg"),
            ("a.png", "a.png"),
            ("blur_7.png", "gt_7.png"),
            ("x/b.png", "x/b.tif"),
        ],
        ["lone.png"],
        ["y/b.png"],
    )


@pytest.mark.parametrize("name", ["._a.png", "__MACOSX/a.png", ".trash/a.png"])
def test_hidden_names(name):
    assert catalogue.is_hidden(name) and not catalogue.is_hidden("a.b/c.png")


@pytest.mark.parametrize(
    ("name", "side", "first"),
    [
        ("blur/001.png", "sharp", "sharp/001"),
        ("train/blur/a/001.png", "sharp", "train/sharp/a/001"),
        ("a/train/Blurred/001.v2.png", "sharp", "a/train/sharp/001.v2"),
        ("train/sharp/a/001.png", "blurred", "train/blur/a/001"),
        ("gt/001.jpg", "blurred", "blur/001"),
    ],
)
def test_the_other_side_lies_in_the_same_folders(name, side, first):
    found, stems = catalogue.other_side(name)
    assert (found, stems[0]) == (side, first)
    assert len(stems) == 3 and stems[0].rpartition("/")[2] in stems[2]


@pytest.mark.parametrize("name", ["001.png", "photos/001.png", "photos/blur.png", "blurry/001.png"])
def test_other_pictures_have_no_other_side(name):
    assert catalogue.other_side(name) is None
