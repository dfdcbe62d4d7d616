"""The data set builders: layouts, splits, checks, downloads, and what comes out of `tfds.load`."""

import hashlib
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tiny_pictures as tiny
from published_layouts import (
    hide_frame,
    make_coco,
    make_dvd,
    make_gopro,
    make_hide,
    make_high_speed,
    make_realblur,
    make_redistributed,
    make_reds,
    move,
    realblur_folder,
)

import tfds_builders.coco_lab
import tfds_builders.deblur_pairs
import tfds_builders.hide
from keras_refocus.data import integrity
from keras_refocus.pictures import color, images
from tfds_builders import (
    benchmark,
    downloads,
    lab_feature,
    lab_squares,
    pairs,
    shuffling,
    sources,
    splits,
)
from tfds_builders.coco_lab import coco_lab_dataset_builder as coco
from tfds_builders.hide import hide_dataset_builder as hide

ROOT = pathlib.Path(__file__).parents[2]


def zip_tree(root, path, *, prefix=""):
    """Put a tree into a zip, with the extra files that macOS adds, and remove it."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                name = prefix + file.relative_to(root).as_posix()
                archive.write(file, name)
                archive.writestr(f"__MACOSX/{name}", b"resource fork")
    shutil.rmtree(root)
    return path


def listing(root):
    return sources.Listing(root)


def names_of(layout):
    return {split: sorted(pair.name for pair in found) for split, found in layout.pairs.items()}


def builder(cls, config, data_dir):
    return cls(config=config, data_dir=data_dir)


def build(cls, config, manual, data_dir, **options):
    """Build a data set and return its builder."""
    made = builder(cls, config, data_dir)
    made.download_and_prepare(
        download_dir=data_dir / "downloads",
        download_config=tfds.download.DownloadConfig(manual_dir=manual, **options),
    )
    return made


def report_of(made):
    return json.loads((pathlib.Path(made.data_dir) / "report.json").read_text())


def left_out(made):
    return {reason: sorted(e["names"]) for reason, e in report_of(made)["left_out"].items()}


class TestSplits:
    videos = [f"GOPR{number}" for number in range(40)]

    def groups(self, sizes):
        return [video for video, size in zip(self.videos, sizes, strict=False) for _ in range(size)]

    def test_the_same_on_every_machine(self):
        # Worked out once and written down: Python's own `hash` would differ in every process.
        assert splits.stable_hash("GOPR1087.MP4") == 8319588005578016412
        held_out = splits.hold_out(self.groups([3] * 10), share=0.1, salt="hide")
        assert held_out == {"GOPR6"}

    def test_the_order_of_files_does_not_matter(self):
        groups = self.groups([2] * 10)
        expected = splits.hold_out(groups, share=0.1, salt="a")
        assert splits.hold_out(reversed(groups), share=0.1, salt="a") == expected
        salted = {splits.hold_out(groups, share=0.1, salt=str(n)) for n in range(20)}
        assert len(salted) > 1

    @pytest.mark.parametrize(
        ("sizes", "share", "closest"),
        [
            ([10] * 10, 0.1, 10),
            ([60, 25, 15], 0.1, 15),
            ([7, 7, 7, 7, 5, 7], 0.1, 5),
            ([50, 30, 13, 4, 3], 0.1, 7),  # 4 + 3, closer than 13
            ([50, 33, 8, 5, 4], 0.1, 9),  # 5 + 4, as close as none else
            ([96, 2, 1, 1], 0.03, 3),
            ([1] * 1000, 0.05, 50),
            ([1, 1], 0.01, 1),  # never none
            ([1, 99], 0.9, 99),  # never all
        ],
    )
    def test_as_close_as_whole_groups_come(self, sizes, share, closest):
        groups = (
            self.groups(sizes)
            if len(sizes) <= 40
            else [str(number) for number in range(len(sizes))]
        )
        for salt in ("a", "b", "c"):
            held_out = splits.hold_out(groups, share=share, salt=salt)
            assert sum(group in held_out for group in groups) == closest

    def test_one_group_cannot_be_divided(self):
        with pytest.raises(ValueError, match="at least two groups"):
            splits.hold_out(["a", "a"], share=0.1, salt="a")


class TestSources:
    def test_loose_files_and_zips_are_one_tree(self, tmp_path):
        tiny.save(tmp_path / "loose" / "a.png", tiny.scene(0))
        tiny.save(tmp_path / "packed" / "x" / "b.PNG", tiny.scene(1))
        (tmp_path / "packed" / "list.txt").write_text("words")
        (tmp_path / "packed" / "readme.md").write_text("words")
        zip_tree(tmp_path / "packed", tmp_path / "archive.zip")
        found = listing(tmp_path)
        assert found.all_folders() == ["", "archive", "loose", "archive/x"]
        assert found.subfolders("") == ["archive", "loose"]
        assert list(found.pictures("", deep=True)) == ["archive/x/b.PNG", "loose/a.png"]
        assert list(found.files("archive")) == ["list.txt"]
        file = found.pictures("archive/x")["b.PNG"]
        assert file.name == "b.PNG"
        assert np.array_equal(images.read(file.read()).rgb, tiny.scene(1))

    def test_a_zip_is_read_by_many_threads(self, tmp_path):
        for seed in range(20):
            tiny.save(tmp_path / "x" / f"{seed}.png", tiny.scene(seed))
        zip_tree(tmp_path / "x", tmp_path / "x.zip")
        files = list(listing(tmp_path).pictures("x").values())
        contents = list(integrity.map_in_threads(sources.File.read, files * 5, threads=8))
        assert contents == [file.read() for file in files] * 5

    def test_damage_inside_a_zip_is_an_os_error(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a.png", b"0123456789" * 10)
        content = (tmp_path / "x.zip").read_bytes()
        (tmp_path / "x.zip").write_bytes(content.replace(b"0123456789", b"9876543210", 1))
        with pytest.raises(OSError, match=r"a\.png cannot be read"):
            listing(tmp_path).pictures("x")["a.png"].read()

    def test_what_cannot_be_opened_is_said(self, tmp_path):
        (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
        (tmp_path / "set.tar.gz").write_bytes(b"")
        said = listing(tmp_path).describe()
        assert "cut.zip must be a whole zip archive" in said and "unpacked first" in said

    def test_a_named_folder_wins_and_loose_files_before_zips(self, tmp_path):
        for folder in ("first", "HIDE_dataset", "third"):
            tiny.save(tmp_path / folder / "train" / "a.png", tiny.scene(0))
        found = listing(tmp_path)
        assert found.find(["train"], name="x", hints=("hide",)) == "HIDE_dataset"
        with pytest.raises(ValueError, match="once.*'first', 'third'|once.*first"):
            found.find(["train"], name="x", hints=("other",))
        assert found.find(["test"], name="x", hints=("hide",)) is None

        zip_tree(tmp_path / "first", tmp_path / "first.zip")
        zip_tree(tmp_path / "HIDE_dataset", tmp_path / "HIDE_dataset.zip")
        assert listing(tmp_path).find(["train"], name="x", hints=("none",)) == "third"

    def test_partners_are_matched_without_suffix(self):
        blurred = {name: sources.File(f"b/{name}") for name in ("1.jpg", "2.png", "3.png")}
        sharp = {name: sources.File(f"s/{name}") for name in ("1.png", "2.png", "4.png")}
        found, alone = sources.match_pairs(blurred, sharp)
        assert [(name, pair[1].path) for name, *pair in found] == [
            ("1.jpg", "s/1.png"),
            ("2.png", "s/2.png"),
        ]
        assert alone == [("3.png", sources.NO_SHARP), ("4.png", sources.NO_BLURRED)]


class TestHideLayouts:
    def find(self, manual):
        return tfds_builders.hide.Builder(data_dir=manual / "unused").find_layout(listing(manual))

    @pytest.mark.parametrize("place", ["", "HIDE_dataset", "downloads/HIDE_dataset"])
    @pytest.mark.parametrize("packed", [False, True])
    def test_official(self, tmp_path, place, packed):
        # Without a telling folder name, the names of the frames tell.
        root = make_hide(tmp_path / "data" / place)
        if packed:
            zip_tree(tmp_path / "data", tmp_path / "archive.zip")
        found = self.find(tmp_path)
        assert {split: len(pairs) for split, pairs in found.pairs.items()} == {
            "train": 20,
            "test": 4,
        }
        first = min(found.pairs["train"], key=lambda pair: pair.name)
        assert first.name == f"train/{hide_frame(0, 1000)}"
        assert (first.scene, first.subset) == ("GOPR1000.MP4", "unspecified")
        assert first.blurred.name == first.sharp.name == hide_frame(0, 1000)
        subsets = [pair.subset for pair in found.pairs["test"]]
        assert subsets == ["close-ups", "close-ups", "long-shot", "long-shot"]
        assert found.alone == [] and found.published == {"train": 6397, "test": 2025}
        assert root.exists() is not packed

    @pytest.mark.parametrize("packed", [False, True])
    def test_redistributed(self, tmp_path, packed):
        make_redistributed(tmp_path / "data" / "HIDE")
        if packed:
            zip_tree(tmp_path / "data" / "HIDE", tmp_path / "data" / "HIDE.zip")
        found = self.find(tmp_path)
        assert {split: len(pairs) for split, pairs in found.pairs.items()} == {
            "train": 20,
            "test": 4,
        }
        assert found.pairs["test"][0].name == f"test/input/{hide_frame(0, 2000)}"
        assert {pair.scene for pair in found.pairs["test"]} == {"GOPR2000.MP4", "GOPR2001.MP4"}

    def test_the_folder_wins_over_the_zip_that_it_came_from(self, tmp_path):
        make_hide(tmp_path / "x")
        shutil.copytree(tmp_path / "x", tmp_path / "HIDE_dataset")
        zip_tree(tmp_path / "x", tmp_path / "HIDE_dataset.zip", prefix="HIDE_dataset/")
        found = self.find(tmp_path)
        assert len(found.pairs["train"]) == 20 and not found.pairs["train"][0].sharp.inner

    def test_files_without_partner(self, tmp_path):
        root = make_hide(tmp_path / "HIDE_dataset")
        (root / "GT" / hide_frame(0, 1000)).unlink()
        (root / "train" / hide_frame(1, 1000)).unlink()
        found = self.find(tmp_path)
        assert found.alone == [
            (f"train/{hide_frame(0, 1000)}", sources.NO_SHARP),
            (f"GT/{hide_frame(1, 1000)}", sources.NO_BLURRED),
        ]

    def test_another_set_in_the_same_folders_is_not_taken_for_it(self, tmp_path):
        for split in ("train", "test"):
            for side in ("input", "target"):
                tiny.save(tmp_path / split / side / "GOPR0372_07_00-000047.png", tiny.scene(0))
        with pytest.raises(FileNotFoundError, match="HIDE in a layout that is read"):
            self.find(tmp_path)

    def test_the_error_shows_found_needed_and_where_to_get_it(self, tmp_path):
        tiny.save(tmp_path / "stuff" / "a.png", tiny.scene(0))
        with pytest.raises(FileNotFoundError) as error:
            self.find(tmp_path)
        said = str(error.value)
        assert "stuff/: a.png" in said
        assert "test/test-close-ups/*.png" in said and "train/input/*.png" in said
        assert "https://github.com/joanshen0508/HA_deblur" in said

    @pytest.mark.parametrize("exists", [False, True])
    def test_a_missing_or_empty_manual_folder(self, tmp_path, exists):
        manual = tmp_path / "manual"
        if exists:
            manual.mkdir()
        with pytest.raises(FileNotFoundError) as error:
            build(tfds_builders.hide.Builder, "8bit", manual, tmp_path / "out")
        said = str(error.value)
        assert str(manual) in said and "GT/*.png" in said and "HA_deblur" in said
        assert not (tmp_path / "out" / "hide" / "8bit" / "1.0.0").exists()

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("1fromGOPR1087.MP4.png", "GOPR1087.MP4"),
            ("train/25fromGOPR0950.MP4.png", "GOPR0950.MP4"),
            ("picture.png", None),
        ],
    )
    def test_video_of_a_name(self, name, expected):
        assert hide.video(name) == expected


class TestHideBuild:
    def test_examples_are_luminance_and_the_split_keeps_videos_whole(self, tmp_path):
        root = make_hide(tmp_path / "HIDE_dataset")
        made = build(tfds_builders.hide.Builder, "8bit", tmp_path, tmp_path / "out")
        counts = {split: info.num_examples for split, info in made.info.splits.items()}
        assert counts == {"train": 18, "validation": 2, "test": 4}
        seen = {}
        for split in counts:
            for example in tfds.as_numpy(made.as_dataset(split=split)):
                name = example["name"].decode()
                seen.setdefault(hide.video(name), set()).add(split)
                sharp = images.read(root / "GT" / pathlib.PurePath(name).name).rgb
                expected = color.encode_luminance(color.rgb_to_luminance(sharp))
                assert example["sharp"].dtype == np.uint8
                assert np.array_equal(example["sharp"], expected)
                blurred = images.read(root / name).rgb
                expected = color.encode_luminance(color.rgb_to_luminance(blurred))
                assert np.array_equal(example["blurred"], expected)
        assert all(len(splits) == 1 for splits in seen.values())
        assert report_of(made)["examples"] == counts
        assert left_out(made) == {} and report_of(made)["published"]["test"] == 2025

    def test_sixteen_bits(self, tmp_path):
        root = make_hide(tmp_path / "HIDE_dataset")
        made = build(tfds_builders.hide.Builder, "16bit", tmp_path, tmp_path / "out")
        example = next(iter(tfds.as_numpy(made.as_dataset(split="test"))))
        assert example["blurred"].dtype == np.uint16
        luminance = color.rgb_to_luminance(images.read(root / example["name"].decode()).rgb)
        assert np.abs(color.decode_luminance(example["blurred"]) - luminance).max() < 1e-5

    def test_every_kind_of_damage_is_left_out_counted_and_named(self, tmp_path):
        root = make_hide(tmp_path / "HIDE_dataset", videos=20)

        def name(video):
            return hide_frame(0, 1000 + video)

        def train(video):
            return root / "train" / name(video)

        def sharp(video):
            return root / "GT" / name(video)

        sharp(0).unlink()
        train(1).write_bytes(train(1).read_bytes()[:-300])
        sharp(2).write_bytes(b"")
        tiny.save(train(3), tiny.scene(300, width=82))
        shutil.copy(sharp(4), train(4))
        shutil.copy(train(6), train(5))
        shutil.copy(sharp(6), sharp(5))
        # The scene of a test image under other names, saved again.
        tested = images.read(root / "GT" / hide_frame(0, 2000)).rgb
        tiny.save(sharp(7), np.clip(tested.astype(int) + 1, 0, 255).astype(np.uint8))
        tiny.save(train(7), tiny.blurred(tested))

        made = build(tfds_builders.hide.Builder, "8bit", tmp_path, tmp_path / "out")
        assert left_out(made) == {
            integrity.MISSING_PARTNER: [f"train/{name(0)}"],
            integrity.UNREADABLE: [f"train/{name(1)}", f"train/{name(2)}"],
            integrity.SIZE_MISMATCH: [f"train/{name(3)}"],
            integrity.IDENTICAL_SIDES: [f"train/{name(4)}"],
            integrity.DUPLICATE: [f"train/{name(6)}"],
            integrity.LEAK: [f"train/{name(7)}"],
        }
        built = {
            example["name"].decode()
            for split in ("train", "validation")
            for example in tfds.as_numpy(made.as_dataset(split=split))
        }
        assert len(built) == 40 - 7
        assert not built & {entry for names in left_out(made).values() for entry in names}

    def test_near_duplicates_of_one_split_stay_and_are_named(self, tmp_path):
        root = make_hide(tmp_path / "HIDE_dataset")
        made = builder(tfds_builders.hide.Builder, "8bit", tmp_path / "out")
        parts = made._divide(made.find_layout(listing(tmp_path)))
        one, other = [parts["train"][0], parts["train"][-1]]
        assert one.scene != other.scene
        # Another blur of the same sharp picture.
        tiny.save(root / "GT" / other.sharp.name, images.read(one.sharp.read()).rgb)
        tiny.save(root / other.name, cv2.blur(images.read(one.sharp.read()).rgb, (1, 9)))
        made = build(tfds_builders.hide.Builder, "8bit", tmp_path, tmp_path / "out")
        noted = report_of(made)["kept_although"][integrity.NEAR_DUPLICATE]["names"]
        assert len(noted) == 1 and made.info.splits["train"].num_examples == 18

    def test_an_interrupted_build_leaves_no_data_set(self, tmp_path, monkeypatch):
        make_hide(tmp_path / "HIDE_dataset")
        encode = pairs.Encode.__call__

        def interrupted(self, pair):
            if "test" in pair.name:
                raise KeyboardInterrupt
            return encode(self, pair)

        monkeypatch.setattr(pairs.Encode, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(tfds_builders.hide.Builder, "8bit", tmp_path, tmp_path / "out")
        monkeypatch.undo()
        assert not builder(tfds_builders.hide.Builder, "8bit", tmp_path / "out").is_prepared()
        made = build(tfds_builders.hide.Builder, "8bit", tmp_path, tmp_path / "out")
        assert made.info.splits["test"].num_examples == 4

    def test_a_split_with_nothing_left_is_an_error(self, tmp_path):
        root = make_hide(tmp_path / "HIDE_dataset")
        for path in root.glob("test/*/*.png"):
            path.write_bytes(b"damaged")
        with pytest.raises(ValueError, match="none for 'test'"):
            build(tfds_builders.hide.Builder, "8bit", tmp_path, tmp_path / "out")


class TestExposures:
    """High-speed clips as exposures, as `tfds.load` gives them."""

    def make(self, tmp_path, config, **options):
        make_high_speed(tmp_path / "clips", ("train/a", "train/b", "val/c"), **options)
        return build(tfds_builders.deblur_pairs.Builder, config, tmp_path / "clips", tmp_path)

    def test_seven_frames_and_their_mean_in_light(self, tmp_path):
        made = self.make(tmp_path, "folder_frames")
        assert {n: s.num_examples for n, s in made.info.splits.items()} == {
            "train": 4,
            "validation": 2,
        }
        example = next(iter(made.as_dataset("validation").take(1).as_numpy_iterator()))
        assert example["frames"].shape == (7, 60, 80, 3)
        clip, name = example["subset"].decode(), example["name"].decode()
        middle = int(pathlib.Path(name).stem)
        for offset, frame in enumerate(example["frames"]):
            path = tmp_path / "clips" / clip / f"{middle - 3 + offset:08}.png"
            np.testing.assert_array_equal(frame, images.read(path).rgb)
        light = (example["frames"] / 255.0) ** 3.2
        expected = 255 * light.mean(0) ** (1 / 3.2)
        assert np.abs(example["blurred"] - expected).max() < 1

    def test_the_code_tells_where_the_scene_was_first(self, tmp_path):
        made = self.make(tmp_path, "folder_coded", frames=7)
        plain = self.make(tmp_path, "folder_frames", frames=7)
        for coded, standard in zip(
            made.as_dataset("train").as_numpy_iterator(),
            plain.as_dataset("train").as_numpy_iterator(),
            strict=True,
        ):
            np.testing.assert_array_equal(coded["frames"], standard["frames"])
            inside = np.s_[14:-14, 14:-14]
            coded, standard = ((one["blurred"][inside] / 255.0) ** 3.2 for one in (coded, standard))
            assert np.abs(coded - standard).max() > 0.02
            assert coded.mean() == pytest.approx(standard.mean(), rel=0.05)  # No light is lost.

    def test_damaged_and_unequal_frames_leave_their_exposure_out(self, tmp_path):
        make_high_speed(tmp_path / "clips", ("a", "b", "c"))
        (tmp_path / "clips" / "a" / "00000002.png").write_bytes(b"damaged")
        tiny.save(tmp_path / "clips" / "b" / "00000009.png", tiny.scene(1, width=70))
        made = build(
            tfds_builders.deblur_pairs.Builder, "folder_frames", tmp_path / "clips", tmp_path
        )
        assert sum(split.num_examples for split in made.info.splits.values()) == 4
        assert left_out(made) == {
            integrity.UNREADABLE: ["a/00000003.png"],
            integrity.SIZE_MISMATCH: ["b/00000010.png"],
        }


class TestDeblurPairsLayouts:
    def find(self, manual, config):
        made = tfds_builders.deblur_pairs.Builder(config=config, data_dir=manual / "unused")
        return made.find_layout(listing(manual))

    @pytest.mark.parametrize("packed", [False, True])
    def test_gopro(self, tmp_path, packed):
        make_gopro(tmp_path / "GOPRO_Large")
        if packed:
            zip_tree(tmp_path / "GOPRO_Large", tmp_path / "GOPRO_Large.zip", prefix="GOPRO_Large/")
        found = self.find(tmp_path, "gopro")
        assert names_of(found)["test"] == [
            "test/GOPR0384_11_00/blur/000047.png",
            "test/GOPR0384_11_00/blur/000048.png",
        ]
        assert len(found.pairs["train"]) == 6
        # Clips cut out of one video are never separated.
        assert {pair.scene for pair in found.pairs["train"]} == {"GOPR0372", "GOPR0374"}
        assert {pair.subset for pair in found.pairs["test"]} == {"GOPR0384_11_00"}
        gamma = self.find(tmp_path, "gopro_gamma").pairs["train"][0]
        plain = found.pairs["train"][0]
        assert gamma.blurred.read() != plain.blurred.read()
        assert gamma.sharp == plain.sharp

    @pytest.mark.parametrize("packed", [False, True])
    def test_reds(self, tmp_path, packed):
        make_reds(tmp_path / "x")
        if packed:
            # Published as one zip for each part, with the same folders inside.
            for part in ("train", "val"):
                for side in ("blur", "sharp"):
                    name = f"{part}_{side}"
                    move(tmp_path / "x" / part / name, tmp_path / "y" / part / name)
                    zip_tree(tmp_path / "y", tmp_path / f"{name}.zip")
        found = self.find(tmp_path, "reds")
        assert names_of(found)["validation"] == [
            f"val_blur/{clip}/0000000{frame}.png" for clip in ("000", "001") for frame in (0, 1)
        ]
        assert {pair.scene for pair in found.pairs["train"]} == {"000", "001"}
        assert "test" not in found.pairs
        for pair in found.pairs["train"]:
            assert "train_blur" in pair.blurred.path + pair.blurred.inner
            assert "train_sharp" in pair.sharp.path + pair.sharp.inner

    def test_reds_without_validation_divides_the_clips(self, tmp_path):
        make_reds(tmp_path, parts=("train",))
        made = tfds_builders.deblur_pairs.Builder(config="reds", data_dir=tmp_path / "unused")
        parts = made._divide(self.find(tmp_path, "reds"))
        assert [len(parts[split]) for split in ("train", "validation")] == [2, 2]

    def test_sequences_of_reds(self, tmp_path):
        make_high_speed(tmp_path / "a" / "train" / "train_orig", ("000", "001"))
        zip_tree(tmp_path / "a", tmp_path / "train_orig_part0.zip")
        make_high_speed(tmp_path / "b" / "train" / "train_orig", ("002",), frames=21)
        make_high_speed(tmp_path / "b" / "train" / "train_orig", ("003",), frames=6)
        make_high_speed(tmp_path / "val" / "val_orig", ("000",), frames=7)
        found = self.find(tmp_path, "reds_frames")
        # The middle frames of seven, one exposure after the other; parts of zips are one set.
        names = [f"train_orig/{clip}/{n:08}.png" for clip in ("000", "001") for n in (3, 10)]
        names += [f"train_orig/002/{n:08}.png" for n in (3, 10, 17)]
        assert names_of(found) == {"train": names, "validation": ["val_orig/000/00000003.png"]}
        assert [name for name, _ in found.alone] == ["train_orig/003"]
        assert self.find(tmp_path, "reds_coded").pairs == found.pairs

    def test_any_high_speed_clips(self, tmp_path):
        make_high_speed(tmp_path, ("garden", "test/street"))
        found = self.find(tmp_path, "folder_frames")
        assert {split: len(found) for split, found in found.pairs.items()} == {
            "train": 2,
            "test": 2,
        }
        # One clip alone: its exposures are held out singly.
        assert len({window.scene for window in found.pairs["train"]}) == 2
        # Frame 10 comes after frame 9 whatever their names.
        for frame in (tmp_path / "garden").iterdir():
            frame.rename(frame.with_name(f"{int(frame.stem)}.png"))
        window = self.find(tmp_path, "folder_frames").pairs["train"][-1]
        assert [pathlib.Path(file.path).stem for file in window.frames] == list("789") + [
            str(number) for number in range(10, 14)
        ]

    @pytest.mark.parametrize("kind", ["J", "R"])
    def test_realblur(self, tmp_path, kind):
        root = make_realblur(tmp_path / "RealBlur", kind)
        found = self.find(tmp_path, f"realblur_{kind.lower()}")
        folder = realblur_folder(kind)
        assert names_of(found)["test"] == [f"{folder}/scene002/blur/blur_{n}.png" for n in (4, 5)]
        assert {pair.scene for pair in found.pairs["train"]} == {"scene000", "scene001"}
        (root / folder / "scene000" / "gt" / "gt_0.png").unlink()
        found = self.find(tmp_path, f"realblur_{kind.lower()}")
        assert [name for name, _ in found.alone] == [f"{folder}/scene000/blur/blur_0.png"]
        (root / f"RealBlur_{kind}_test_list.txt").unlink()
        with pytest.raises(FileNotFoundError, match="RealBlur_J_test_list"):
            self.find(tmp_path, f"realblur_{kind.lower()}")

    def test_dvd(self, tmp_path):
        make_dvd(tmp_path / "DeepVideoDeblurring_Dataset")
        found = self.find(tmp_path, "dvd")
        assert {pair.scene for pair in found.pairs["test"]} == {"720p_240fps_2", "IMG_0003"}
        assert {pair.scene for pair in found.pairs["train"]} == {"720p_240fps_1", "IMG_0001"}

    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            (["blur/1.png", "blur/2.png"], {"train": 2}),
            (["input/1.png", "input/2.png"], {"train": 2}),
            (
                ["train/blurred/1.png", "val/blurred/2.png", "test/blurred/3.png"],
                {"train": 1, "validation": 1, "test": 1},
            ),
            (["a/blur/1.png", "b/blur/x/2.png"], {"train": 2}),
        ],
    )
    def test_any_folder(self, tmp_path, files, expected):
        other = {"blur": "sharp", "input": "target", "blurred": "GT"}
        for seed, name in enumerate(files):
            side = next(part for part in name.split("/") if part in other)
            tiny.save_pair(tmp_path / name, tmp_path / name.replace(side, other[side]), seed)
        found = self.find(tmp_path, "folder")
        assert {split: len(found) for split, found in found.pairs.items()} == expected
        assert sorted(pair.name for found in found.pairs.values() for pair in found) == sorted(
            files
        )

    @pytest.mark.parametrize(
        ("names", "scenes"),
        [
            (["GOPR0372_07_00-000047", "GOPR0372_07_00-000050", "GOPR0374_11_00-000047"], 2),
            (["0001", "0002", "0003"], 3),
            # All of one video, as far as names tell: then single pictures have to do.
            (["frame_1", "frame_2", "frame_3"], 3),
        ],
    )
    def test_scenes_by_name(self, tmp_path, names, scenes):
        for seed, name in enumerate(names):
            tiny.save_pair(
                tmp_path / "blur" / f"{name}.png", tmp_path / "sharp" / f"{name}.png", seed
            )
        found = self.find(tmp_path, "folder")
        assert len({pair.scene for pair in found.pairs["train"]}) == scenes

    @pytest.mark.parametrize(
        "config", ["gopro", "reds", "reds_frames", "realblur_j", "dvd", "folder"]
    )
    def test_the_error_says_what_is_needed(self, tmp_path, config):
        tiny.save(tmp_path / "stuff" / "a.png", tiny.scene(0))
        with pytest.raises(FileNotFoundError) as error:
            self.find(tmp_path, config)
        said = str(error.value)
        assert "stuff/: a.png" in said and config in said
        assert "quantitative_datasets" in said and "https://github.com/rimchang/RealBlur" in said


class TestLabExample:
    feature = lab_feature.LabExample(size=8)
    luminance, chroma = color.rgb_to_lab(tiny.scene(0, height=8, width=8))

    def test_kept_as_one_png_of_three_channels(self):
        stored = self.feature.encode_example(
            {"luminance": self.luminance, "chroma": self.chroma, "name": "a"}
        )
        assert set(stored) == {"lab", "name"}
        lab = tf.io.decode_png(stored["lab"]).numpy()
        assert lab.shape == (8, 8, 3) and lab.dtype == np.uint8
        assert np.array_equal(lab[..., :1], np.rint(255 * self.luminance))
        assert np.array_equal(lab[..., 1:], np.rint(127.5 * (self.chroma + 1)))

    def test_decoded_as_floats_by_tensorflow_and_numpy_alike(self):
        stored = self.feature.encode_example(
            {"luminance": self.luminance, "chroma": self.chroma, "name": "a"}
        )
        by_tensorflow = self.feature.decode_example(
            {"lab": tf.constant(stored["lab"]), "name": tf.constant(b"a")}
        )
        by_numpy = self.feature.decode_example_np({"lab": stored["lab"], "name": b"a"})
        for name, original, step in (
            ("luminance", self.luminance, 1 / 255),
            ("chroma", self.chroma, 2 / 255),
        ):
            assert by_numpy[name].dtype == np.float32
            assert np.array_equal(by_tensorflow[name], by_numpy[name])
            assert np.abs(by_numpy[name] - original).max() <= step / 2 + 1e-6
        assert np.array_equal(
            by_numpy["luminance"],
            color.decode_luminance(color.encode_luminance(self.luminance)),
        )

    def test_its_description_survives_a_file(self):
        again = tfds.features.FeatureConnector.from_json(self.feature.to_json())
        assert isinstance(again, lab_feature.LabExample)
        assert again.get_tensor_info() == self.feature.get_tensor_info()


class TestSquare:
    @pytest.mark.parametrize("shape", [(40, 60), (60, 40), (32, 32), (33, 100), (20, 90)])
    def test_size(self, shape):
        rgb = tiny.scene(0, height=shape[0], width=shape[1])
        assert lab_squares.square(rgb, size=32).shape == (32, 32, 3)

    def test_shrink_shows_the_whole_short_side_and_crop_a_part(self):
        rgb = np.zeros((64, 128, 3), np.uint8)
        rgb[16:48, 48:80] = 255
        assert (lab_squares.square(rgb, size=32, large="crop") == 255).all()
        shrunk = lab_squares.square(rgb, size=32)
        assert (shrunk[10:22, 10:22] > 250).all() and (shrunk[:4] < 5).all()
        assert (shrunk[:, -4:] < 5).all()


class TestCocoBuild:
    def test_counts_reasons_and_splits(self, tmp_path):
        root = make_coco(tmp_path / "coco", train=40)
        train = root / "train2017"
        tiny.save(train / "gray.jpg", tiny.gray_scene(500, height=128, width=160))
        tiny.save(train / "small.jpg", tiny.scene(501, height=127, width=400))
        (train / "cut.jpg").write_bytes((train / "000000000000.jpg").read_bytes()[:-800])
        shutil.copy(train / "000000000001.jpg", train / "same.jpg")
        tested = images.read(root / "val2017" / "000000001000.jpg").rgb
        tiny.save(train / "leak.jpg", tested, quality=70)

        made = build(tfds_builders.coco_lab.Builder, "128", tmp_path, tmp_path / "out")
        assert left_out(made) == {
            integrity.GRAY: ["train2017/gray.jpg"],
            integrity.SMALL: ["train2017/small.jpg"],
            integrity.UNREADABLE: ["train2017/cut.jpg"],
            integrity.DUPLICATE: ["train2017/same.jpg"],
            integrity.LEAK: ["train2017/leak.jpg"],
        }
        counts = {split: info.num_examples for split, info in made.info.splits.items()}
        # 42 usable, 2 of them (5%) to validate on; the copy and the leak go after that.
        assert counts == report_of(made)["examples"]
        assert counts["train"] + counts["validation"] == 40 and counts["test"] == 3
        assert 1 <= counts["validation"] <= 2

        names = []
        for split in counts:
            for example in tfds.as_numpy(made.as_dataset(split=split)):
                name = example["name"].decode()
                names.append(name)
                part = "val2017" if split == "test" else "train2017"
                rgb = lab_squares.square(images.read(root / part / name).rgb, size=128)
                luminance, chroma = color.rgb_to_lab(rgb)
                assert example["luminance"].shape == (128, 128, 1)
                assert example["luminance"].dtype == example["chroma"].dtype == np.float32
                assert np.abs(example["luminance"] - luminance).max() <= 0.5 / 255 + 1e-6
                assert np.abs(example["chroma"] - chroma).max() <= 1 / 255 + 1e-6
        assert len(set(names)) == 43

    def test_small_pictures_are_enlarged_on_request(self, tmp_path):
        make_coco(tmp_path, train=4, val=1, size=(30, 40))
        config = tfds_builders.coco_lab.LabConfig(name="tiny", size=32, small="enlarge")
        made = build(tfds_builders.coco_lab.Builder, config, tmp_path, tmp_path / "out")
        assert sum(info.num_examples for info in made.info.splits.values()) == 5
        made = tfds.builder_from_directory(made.data_dir)
        example = next(iter(made.as_dataset(split="test")))
        assert example["luminance"].shape == (32, 32, 1)

    @pytest.mark.parametrize("form", ["deeper", "zips"])
    def test_forms_of_a_local_copy(self, tmp_path, form):
        root = make_coco(tmp_path / "coco" / "images", train=4, val=1)
        if form == "zips":
            for part in ("train2017", "val2017"):
                zip_tree(root / part, tmp_path / f"{part}.zip", prefix=f"{part}/")
        made = build(tfds_builders.coco_lab.Builder, "128", tmp_path, tmp_path / "out")
        assert sum(info.num_examples for info in made.info.splits.values()) == 5

    def test_a_named_folder_without_both_parts_is_an_error(self, tmp_path):
        make_coco(tmp_path / "manual", train=4, val=1)
        shutil.rmtree(tmp_path / "manual" / "val2017")
        for manual in (tmp_path / "manual", tmp_path / "nowhere"):
            with pytest.raises(FileNotFoundError, match="train2017_urls.txt"):
                build(tfds_builders.coco_lab.Builder, "128", manual, tmp_path / "out")

    def test_official_archives_are_downloaded_with_their_sums(self, tmp_path, monkeypatch):
        root = make_coco(tmp_path / "coco", train=4, val=1)
        archives = {
            part: zip_tree(root / part, tmp_path / f"{part}.zip", prefix=f"{part}/")
            for part in ("train2017", "val2017")
        }
        asked = []

        def download(self, urls):
            asked.append(urls)
            return {part: archives[part] for part in urls}

        monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
        made = builder(tfds_builders.coco_lab.Builder, "128", tmp_path / "out")
        made.download_and_prepare(download_dir=tmp_path / "downloads")
        assert sum(info.num_examples for info in made.info.splits.values()) == 5
        assert report_of(made)["source"] == asked[0] == coco._ARCHIVES
        sums = tfds_builders.coco_lab.Builder.url_infos
        assert set(asked[0].values()) == set(sums)
        assert sums[coco._ARCHIVES["train2017"]].size == 19336861798
        assert sums[coco._ARCHIVES["val2017"]].checksum.startswith("4f7e2ccb2866ec50")


class Server:
    """An HTTP server on this machine whose answers a test decides."""

    def __init__(self):
        self.pictures = {}
        self.trouble = {}  # Path: answers to give first, as (status, headers, content).
        self.asked = []
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with lock:
                    outer.asked.append(self.path)
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                    trouble = outer.trouble.get(self.path)
                    answer = trouble.pop(0) if trouble else None
                if answer is None:
                    found = self.path in outer.pictures
                    answer = (200 if found else 404), {}, outer.pictures.get(self.path, b"")
                status, headers, content = answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                with lock:
                    outer.at_once -= 1

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def add(self, seed, *, folder="train2017"):
        path = f"/{folder}/{seed:012}.jpg"
        rgb = tiny.scene(seed, height=128, width=160)
        self.pictures[path] = tiny.encoded(rgb, "JPEG", quality=90)
        return self.address + path

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


def interrupt(*arguments):
    raise KeyboardInterrupt


class TestDownloads:
    manners = downloads.Manners(connections=3, attempts=3, pause=0.01, timeout=5, give_up_after=4)

    def fetch(self, addresses, folder, **changes):
        failures = integrity.Findings()
        manners = downloads.dataclasses.replace(self.manners, **changes)
        files = downloads.fetch(addresses, folder, failures=failures, manners=manners)
        return files, failures

    def test_every_picture_is_kept_and_asked_for_once(self, server, tmp_path):
        addresses = [server.add(seed) for seed in range(12)]
        files, failures = self.fetch(addresses, tmp_path / "cache")
        assert len(files) == 12 and len(failures) == 0 and len(server.asked) == 12
        assert server.most_at_once <= 3
        path = "/train2017/000000000007.jpg"
        assert files["000000000007.jpg"].read() == server.pictures[path]
        files, _ = self.fetch(addresses, tmp_path / "cache")
        assert len(files) == 12 and len(server.asked) == 12

    def test_it_goes_on_where_it_stopped(self, server, tmp_path):
        addresses = [server.add(seed) for seed in range(10)]
        self.fetch(addresses[:6], tmp_path)
        (tmp_path / f".000000000009.jpg.{8 * '0f'}.tmp").write_bytes(b"half")
        self.fetch(addresses, tmp_path)
        assert sorted(server.asked[6:]) == [f"/train2017/{seed:012}.jpg" for seed in range(6, 10)]
        assert len(list(tmp_path.iterdir())) == 10

    @pytest.mark.parametrize(
        "trouble",
        [
            [(503, {}, b"")],
            [(500, {}, b""), (502, {}, b"")],
            [(429, {"Retry-After": "0"}, b"")],
            [(200, {}, b"<html>try again</html>")],
            [(200, {"Content-Length": "100000"}, b"half a picture")],
        ],
        ids=["503", "twice", "429", "no picture", "cut off"],
    )
    def test_passing_trouble_is_overcome(self, server, tmp_path, trouble):
        address = server.add(0)
        server.trouble["/train2017/000000000000.jpg"] = list(trouble)
        files, failures = self.fetch([address], tmp_path)
        assert len(server.asked) == len(trouble) + 1 and len(failures) == 0
        assert integrity.inspect(files["000000000000.jpg"].read()).problem is None

    def test_what_the_server_does_not_have_is_named_and_not_asked_for_again(self, server, tmp_path):
        addresses = [server.add(seed) for seed in range(4)] + [f"{server.address}/x/none.jpg"]
        files, failures = self.fetch(addresses, tmp_path, tolerated=0.2)
        assert len(files) == 4 and server.asked.count("/x/none.jpg") == 1
        assert failures.to_json()[downloads.NOT_DOWNLOADED]["names"] == {
            addresses[-1]: "status 404"
        }

    def test_too_many_failures_are_no_download(self, server, tmp_path):
        addresses = [server.add(0), f"{server.address}/x/none.jpg"]
        with pytest.raises(ConnectionError, match="1 of 2"):
            self.fetch(addresses, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["000000000000.jpg"]

    def test_a_server_out_of_reach_is_noticed_early(self, tmp_path):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        addresses = [f"{address}/{number}.jpg" for number in range(500)]
        failures = integrity.Findings()
        with pytest.raises(ConnectionError, match="run the same command again"):
            manners = downloads.dataclasses.replace(self.manners, attempts=1)
            downloads.fetch(addresses, tmp_path, failures=failures, manners=manners)
        assert len(failures) < 10

    def test_how_long_a_server_asks_to_wait(self):
        assert downloads._retry_after("7") == 7.0
        assert downloads._retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
        assert downloads._retry_after(None) is None and downloads._retry_after("soon") is None

    def test_lists(self, tmp_path):
        path = tmp_path / "train2017_urls.txt"
        path.write_text("# COCO\n\nhttp://a/b/1.jpg\nhttps://a/c/2.jpg?x=1\nhttp://a/b/1.jpg\n")
        found = downloads.read_list(sources.File(str(path)))
        assert found == ["http://a/b/1.jpg", "https://a/c/2.jpg?x=1"]
        for line in ("ftp://a/1.jpg", "a/1.jpg", "http://a/1.exe", "file:///etc/1.jpg"):
            path.write_text(line)
            with pytest.raises(ValueError, match="line 1"):
                downloads.read_list(sources.File(str(path)))
        path.write_text("http://a/1.jpg\nhttp://b/1.jpg\n")
        with pytest.raises(ValueError, match="end alike"):
            downloads.read_list(sources.File(str(path)))

    def test_archives_are_kept_when_a_build_is_interrupted(self, server, tmp_path, monkeypatch):
        root = make_coco(tmp_path / "coco", train=4, val=1)
        urls, sums = {}, {}
        for part in ("train2017", "val2017"):
            content = zip_tree(
                root / part, tmp_path / f"{part}.zip", prefix=f"{part}/"
            ).read_bytes()
            server.pictures[f"/{part}.zip"] = content
            urls[part] = f"{server.address}/{part}.zip"
            sums[urls[part]] = tfds.download.checksums.UrlInfo(
                size=len(content),
                checksum=hashlib.sha256(content).hexdigest(),
                filename=f"{part}.zip",
            )
        monkeypatch.setattr(coco, "_ARCHIVES", urls)
        monkeypatch.setattr(tfds_builders.coco_lab.Builder, "url_infos", sums)

        def prepare(out="out"):
            made = builder(tfds_builders.coco_lab.Builder, "128", tmp_path / out)
            made.download_and_prepare(download_dir=tmp_path / out / "downloads")
            return made

        with monkeypatch.context() as patch:
            patch.setattr(lab_squares.Encode, "__call__", interrupt)
            with pytest.raises(KeyboardInterrupt):
                prepare()
        assert sorted(server.asked) == ["/train2017.zip", "/val2017.zip"]
        made = prepare()
        assert sum(info.num_examples for info in made.info.splits.values()) == 5
        assert len(server.asked) == 2
        server.pictures["/val2017.zip"] += b"more"
        with pytest.raises(Exception, match="(?i)checksum"):
            prepare("other")

    def test_coco_out_of_lists(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(tfds_builders.coco_lab.Builder, "manners", self.manners)
        manual = tmp_path / "manual"
        manual.mkdir()
        for part, seeds in (("train2017", range(6)), ("val2017", range(100, 102))):
            addresses = [server.add(seed, folder=part) for seed in seeds]
            (manual / f"{part}_urls.txt").write_text("\n".join(addresses))
        made = build(tfds_builders.coco_lab.Builder, "128", manual, tmp_path / "out")
        assert sum(info.num_examples for info in made.info.splits.values()) == 8
        assert len(server.asked) == 8
        # Another configuration needs the same pictures, and has them.
        config = tfds_builders.coco_lab.LabConfig(name="tiny", size=32)
        build(tfds_builders.coco_lab.Builder, config, manual, tmp_path / "out")
        assert len(server.asked) == 8


# What TensorFlow Datasets itself checks of a builder


class _GeneratedExamples:
    """Makes the dummy data of a case instead of keeping it in the repository."""

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.make(pathlib.Path(cls.EXAMPLE_DIR))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)


class HideTest(_GeneratedExamples, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = tfds_builders.hide.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["8bit"]
    SPLITS = {"train": 18, "validation": 2, "test": 4}

    @staticmethod
    def make(root):
        make_hide(root / "HIDE_dataset")


class DeblurPairsTest(_GeneratedExamples, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = tfds_builders.deblur_pairs.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["gopro_gamma_16bit"]
    SPLITS = {"train": 4, "validation": 2, "test": 2}

    @staticmethod
    def make(root):
        make_gopro(root / "GOPRO_Large")


class CocoLabTest(_GeneratedExamples, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = tfds_builders.coco_lab.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["128"]
    SPLITS = {"train": 19, "validation": 1, "test": 2}

    @staticmethod
    def make(root):
        make_coco(root, train=20, val=2)


def contents(made):
    """Every example of a data set as bytes, by split and name."""
    return {
        (split, example["name"]): {
            key: np.asarray(value).tobytes() for key, value in example.items()
        }
        for split in made.info.splits
        for example in tfds.as_numpy(made.as_dataset(split=split))
    }


@pytest.mark.slow
class TestBeam:
    @pytest.fixture(autouse=True)
    def pipelines(self, monkeypatch):
        """Pipelines that were run."""
        beam = pytest.importorskip("apache_beam")
        run, self.run = beam.Pipeline.run, []

        def counted(pipeline, *arguments, **options):
            self.run.append(pipeline)
            return run(pipeline, *arguments, **options)

        monkeypatch.setattr(beam.Pipeline, "run", counted)

    def build_both_ways(self, cls, config, manual, tmp_path):
        import apache_beam as beam

        plain = build(cls, config, manual, tmp_path / "plain")
        assert not self.run
        options = beam.options.pipeline_options.PipelineOptions(["--runner=DirectRunner"])
        by_beam = build(cls, config, manual, tmp_path / "beam", beam_options=options)
        assert self.run
        return contents(plain), contents(by_beam)

    def test_pairs(self, tmp_path):
        make_hide(tmp_path / "manual" / "HIDE_dataset")
        plain, by_beam = self.build_both_ways(
            tfds_builders.hide.Builder, "8bit", tmp_path / "manual", tmp_path
        )
        assert len(plain) == 24 and plain == by_beam

    def test_coco(self, tmp_path):
        make_coco(tmp_path / "manual", train=8, val=2)
        plain, by_beam = self.build_both_ways(
            tfds_builders.coco_lab.Builder, "128", tmp_path / "manual", tmp_path
        )
        assert len(plain) == 10 and plain == by_beam


def test_beyond_some_memory_a_build_shuffles_in_files(tmp_path, monkeypatch):
    from tensorflow_datasets.core import shuffle

    limit, in_files = shuffle.MAX_MEM_BUFFER_SIZE, []
    add = shuffle._Bucket.add
    monkeypatch.setattr(
        shuffle._Bucket, "add", lambda *arguments: (in_files.append(1), add(*arguments))
    )
    make_coco(tmp_path / "manual", train=8, val=2)
    make_hide(tmp_path / "pairs", videos=4)
    orders = []
    for size, place in ((2**20, "memory"), (1000, "files")):
        monkeypatch.setattr(shuffling, "_BYTES", size)
        for cls, config, manual in (
            (tfds_builders.coco_lab.Builder, "128", "manual"),
            (tfds_builders.hide.Builder, "8bit", "pairs"),
        ):
            made = build(cls, config, tmp_path / manual, tmp_path / place)
            examples = tfds.as_numpy(made.as_dataset(split="train"))
            orders.append([example["name"] for example in examples])
        assert bool(in_files) == (place == "files")
    assert orders[:2] == orders[2:] and all(orders)
    assert shuffle.MAX_MEM_BUFFER_SIZE == limit


def tfds_build(name, *arguments):
    """The command `tfds build tfds_builders/<name>`, as a process of its own."""
    program = pathlib.Path(sys.executable).with_name("tfds")
    # What an installation does: the package can be imported from anywhere.
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [program, "build", f"tfds_builders/{name}", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
class TestCommand:
    def test_hide(self, tmp_path):
        make_hide(tmp_path / "manual" / "HIDE_dataset")
        places = ("--manual_dir", tmp_path / "manual", "--data_dir", tmp_path / "data")
        process = tfds_build("hide", *places)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        for config, dtype in (("8bit", tf.uint8), ("16bit", tf.uint16)):
            data, info = tfds.load(f"hide/{config}", data_dir=tmp_path / "data", with_info=True)
            assert {split: len(found) for split, found in data.items()} == {
                "train": 18,
                "validation": 2,
                "test": 4,
            }
            assert next(iter(data["train"]))["sharp"].dtype == dtype
            assert (pathlib.Path(info.data_dir) / "report.json").exists()

    def test_coco_lab_by_beam(self, tmp_path):
        pytest.importorskip("apache_beam")
        make_coco(tmp_path / "manual", train=8, val=2)
        process = tfds_build(
            "coco_lab",
            "--config=128",
            f"--manual_dir={tmp_path / 'manual'}",
            f"--data_dir={tmp_path / 'data'}",
            "--beam_pipeline_options=runner=DirectRunner",
        )
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        data = tfds.load("coco_lab/128", data_dir=tmp_path / "data", split="train")
        assert next(iter(data))["chroma"].shape == (128, 128, 2)

    def test_a_killed_build_is_not_taken_for_a_whole_one(self, tmp_path):
        make_hide(tmp_path / "manual" / "HIDE_dataset", videos=40, frames=4)
        places = ("--manual_dir", tmp_path / "manual", "--data_dir", tmp_path / "data")
        process = tfds_build("hide", "--config", "8bit", *places)
        folder = tmp_path / "data" / "hide" / "8bit"
        deadline = time.monotonic() + 200
        while not list(folder.glob("incomplete.*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert list(folder.glob("incomplete.*")) and not (folder / "1.0.0").exists()
        assert not tfds.builder("hide/8bit", data_dir=tmp_path / "data").is_prepared()
        process = tfds_build("hide", "--config", "8bit", *places)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert len(tfds.load("hide/8bit", data_dir=tmp_path / "data", split="train")) == 144


@pytest.mark.slow
def test_the_benchmark_builds_what_it_makes_and_extrapolates(tmp_path, capsys):
    benchmark.main(["coco_lab", "--images", "60", "--folder", str(tmp_path), "--keep"])
    figures = json.loads(capsys.readouterr().out)
    # Nothing is left out: its pictures are neither grey nor like each other.
    assert figures["examples"] == 60
    assert 100 < figures["largest_memory_mib"] < 2000 and figures["images_per_second"] > 0
    share = figures["megabytes"] / 60
    assert figures["full_set"]["gigabytes"] == pytest.approx(share * 123.287, abs=0.06)
    assert figures["full_set"]["gigabytes"] < 25
    data = tfds.load("coco_lab/256", data_dir=figures["data_dir"], split="test")
    assert len(data) == 2


@pytest.mark.parametrize("name", ["hide", "deblur_pairs", "coco_lab"])
def test_every_builder_says_where_it_comes_from_and_under_what_licence(name):
    folder = pathlib.Path(tfds_builders.__file__).parent / name
    readme = (folder / "README.md").read_text()
    assert (
        "icence" in readme and "https://" in readme and f"tfds build tfds_builders/{name}" in readme
    )
    assert "@inproceedings" in (folder / "CITATIONS.bib").read_text()
    assert (folder / "checksums.tsv").exists() and (folder / "TAGS.txt").exists()
