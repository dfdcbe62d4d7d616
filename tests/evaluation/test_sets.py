import json

import numpy as np
import published_layouts as layouts
import pytest
from measured_sets import pair_set, photo_set, picture, save

from keras_refocus.blur import exposure
from keras_refocus.evaluation import sets


def manifest_of(path, listed):
    sets.write_manifest(path, listed, input_psnrs=[20.0] * len(listed))
    return path


def test_manifest_brings_back_the_same_pictures(photos, tmp_path):
    listed = [photo_set(photos, name, seed=5) for name in ("evaluation", "none")]
    path = manifest_of(tmp_path / "set.json", listed)
    save(photos / "later.png", picture(9))  # What is not in the list is not measured.
    again = sets.read_manifest(path, photos)
    assert [one.items for one in again] == [one.items for one in listed]
    assert [one.blur.name for one in again] == ["evaluation", "none"]
    assert again[0].blur.input_psnr == 20.0
    np.testing.assert_array_equal(again[0].pair(1)[0], listed[0].pair(1)[0])
    assert str(tmp_path) not in path.read_text()


def test_manifest_keeps_the_settings_it_was_written_with(photos, tmp_path, monkeypatch):
    path = manifest_of(tmp_path / "set.json", [photo_set(photos)])
    before = photo_set(photos).pair(0)[0]
    monkeypatch.setitem(exposure.SETTINGS, "evaluation", exposure.SETTINGS["noise"])
    np.testing.assert_array_equal(sets.read_manifest(path, photos)[0].pair(0)[0], before)
    assert (photo_set(photos).pair(0)[0] != before).any()


def test_manifest_of_pairs(pairs, tmp_path):
    path = manifest_of(tmp_path / "set.json", [pair_set(pairs)])
    (again,) = sets.read_manifest(path, pairs)
    assert again == pair_set(pairs)


def test_manifest_refuses_other_pictures(photos, tmp_path):
    path = manifest_of(tmp_path / "set.json", [photo_set(photos)])
    save(photos / "2.png", picture(7))
    with pytest.raises(ValueError, match="2.png.*differs"):
        sets.read_manifest(path, photos)
    (photos / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match="without 2.png"):
        sets.read_manifest(path, photos)


def test_manifest_of_another_kind_is_refused(photos, tmp_path):
    path = tmp_path / "set.json"
    for text in ("{", "[]", "{}", json.dumps({"format": "other"})):
        path.write_text(text)
        with pytest.raises(ValueError, match="manifest must be.*set.json"):
            sets.read_manifest(path, photos)


def test_unknown_blur_lists_the_known_ones():
    with pytest.raises(ValueError, match="evaluation.*none.*'foggy'"):
        sets.synthetic_blur("foggy")


def test_blur_of_a_photo_does_not_depend_on_the_others(photos):
    before = photo_set(photos).pair(3)[0]
    (photos / "1.png").unlink()
    np.testing.assert_array_equal(photo_set(photos).pair(2)[0], before)
    assert (photo_set(photos, seed=1).pair(2)[0] != before).any()


def test_published_sets_are_measured_on_their_test_half(tmp_path):
    root = layouts.make_hide(tmp_path / "HIDE_dataset")
    items = sets.pair_items(root)
    assert len(items) == 4
    assert all(item.blurred.startswith("test/") for item in items)
    # The half itself can be named; its sharp sides lie beside it.
    named = sets.pair_items(root / "test")
    assert [item.sharp_sha256 for item in named] == [item.sharp_sha256 for item in items]
    assert all((root / "test" / item.sharp).is_file() for item in named)
