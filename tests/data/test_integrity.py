"""Damage, broken pairs and copies."""

import dataclasses
import hashlib
import threading
import time

import cv2
import numpy as np
import pytest
import tiny_pictures as tiny

from keras_refocus.data import integrity


def prints(pictures):
    return integrity.Fingerprints(integrity.inspect(tiny.encoded(rgb)) for rgb in pictures)


def inspection(value, thumbnail=None):
    if thumbnail is None:
        thumbnail = np.random.default_rng(value % 1000).integers(0, 256, 256).astype(np.uint8)
    return integrity.Inspection(
        sha256=f"{value:064x}", bytes=1, hash=value, thumbnail=thumbnail.tobytes()
    )


class TestInspect:
    def test_a_whole_picture(self):
        content = tiny.encoded(tiny.scene(0))
        found = integrity.inspect(content, ask_gray=True)
        assert (found.height, found.width, found.bits) == (60, 80, 8)
        assert found.problem is None and found.gray is False
        assert found.bytes == len(content) and found.sha256 == hashlib.sha256(content).hexdigest()
        assert integrity.inspect(tiny.encoded(tiny.gray_scene(0)), ask_gray=True).gray is True

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"not a picture",
            tiny.encoded(tiny.scene(0))[:-200],
            tiny.encoded(tiny.scene(0, height=200, width=300), "JPEG")[:-500],
        ],
        ids=["empty", "text", "cut PNG", "cut JPEG"],
    )
    def test_damage_is_described_and_not_raised(self, content):
        found = integrity.inspect(content)
        assert found.problem and found.height == 0

    def test_the_sum_is_that_of_sha256sum(self):
        expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert integrity.inspect(b"abc").sha256 == expected


class TestInspectPair:
    sharp = tiny.scene(0)

    def problem(self, blurred, sharp):
        return integrity.inspect_pair(blurred, sharp)[2]

    def test_a_good_pair(self):
        assert (
            self.problem(tiny.encoded(tiny.blurred(self.sharp)), tiny.encoded(self.sharp)) is None
        )

    def test_what_can_be_wrong(self):
        good = tiny.encoded(self.sharp)
        assert self.problem(good[:-100], good) == integrity.UNREADABLE
        assert self.problem(good, b"") == integrity.UNREADABLE
        other = tiny.encoded(tiny.scene(1, width=81))
        assert self.problem(other, good) == integrity.SIZE_MISMATCH

    def test_identical_sides_are_found_by_their_pixels(self):
        # The same picture in two files that differ in every byte that matters.
        left, right = tiny.encoded(self.sharp), tiny.encoded(self.sharp, "BMP")
        assert left != right
        assert self.problem(left, right) == integrity.IDENTICAL_SIDES


class TestFingerprints:
    def test_unlike_pictures_are_not_grouped(self):
        assert prints(tiny.scene(seed) for seed in range(60)).groups() == []

    def test_changed_copies_are_grouped(self):
        original = tiny.scene(0, height=240, width=320)
        pictures = [
            tiny.scene(1),
            original,
            cv2.resize(original, (160, 120), interpolation=cv2.INTER_AREA),
            np.clip(original * 1.1, 0, 255).astype(np.uint8),
            original[3:-3, 4:-4],
            tiny.scene(2),
        ]
        assert prints(pictures).groups() == [[1, 2, 3, 4]]

    def test_frames_of_one_scene_are_not_compared(self):
        pictures = [tiny.scene(0), tiny.scene(0), tiny.scene(1), tiny.scene(1)]
        assert prints(pictures).groups(["a", "a", "b", "c"]) == [[2, 3]]
        # A picture of another scene joins all that it resembles.
        pictures = [tiny.scene(0)] * 3
        assert prints(pictures).groups(["a", "a", "b"]) == [[0, 1, 2]]

    def test_equal_hashes_of_other_pictures_are_no_copies(self):
        noise = np.random.default_rng(0).integers(0, 256, (2, 256)).astype(np.uint8)
        found = integrity.Fingerprints(inspection(5, thumbnail) for thumbnail in noise)
        assert found.groups() == []

    @pytest.mark.parametrize(("correlation", "alike"), [(0.85, False), (0.95, True)])
    def test_equal_hashes_need_thumbnails_that_agree_closely(self, correlation, alike):
        one, other = np.random.default_rng(0).standard_normal((2, 256))
        other -= one * (one @ other) / (one @ one)
        one, other = ((v - v.mean()) / v.std() for v in (one, other))
        mixed = correlation * one + np.sqrt(1 - correlation**2) * other
        thumbnails = [np.clip(128 + 25 * v, 0, 255).astype(np.uint8) for v in (one, mixed)]
        assert np.corrcoef(*thumbnails)[0, 1] == pytest.approx(correlation, abs=0.02)
        found = integrity.Fingerprints(inspection(5, thumbnail) for thumbnail in thumbnails)
        assert found.groups() == ([[0, 1]] if alike else [])

    def test_flat_pictures_are_compared_by_their_level(self):
        levels = [np.full((60, 80, 3), level, np.uint8) for level in (10, 12, 200)]
        assert prints(levels).groups() == [[0, 1]]

    def test_matches_name_the_first_look_alike(self):
        references = prints([tiny.scene(7), tiny.scene(0), tiny.scene(0)])
        queries = prints([tiny.scene(3), tiny.blurred(tiny.scene(0)), tiny.scene(7)])
        assert queries.matches(references).tolist() == [-1, 1, 0]

    def test_nothing_matches_nothing(self):
        empty = prints([])
        assert empty.groups() == [] and len(empty) == 0
        assert prints([tiny.scene(0)]).matches(empty).tolist() == [-1]

    @pytest.mark.parametrize("bits", [0, 1, integrity.MAX_DISTANCE, integrity.MAX_DISTANCE + 1])
    def test_the_search_misses_no_distance(self, bits):
        # Against comparing each with each, for bits flipped wherever.
        rng = np.random.default_rng(bits)
        thumbnail = np.arange(256, dtype=np.uint8)
        values = [int(value) for value in rng.integers(0, 2**64 - 1, 40, np.uint64)]
        for value in values[:40]:
            for place in rng.choice(64, bits, replace=False):
                value ^= 1 << int(place)
            values.append(value)
        found = integrity.Fingerprints(inspection(value, thumbnail) for value in values).groups()
        expected = [] if bits > integrity.MAX_DISTANCE else [[i, i + 40] for i in range(40)]
        assert found == expected

    def test_the_work_does_not_grow_with_the_square(self, monkeypatch):
        compared = []
        count = np.bitwise_count
        monkeypatch.setattr(np, "bitwise_count", lambda x: compared.append(x.size) or count(x))
        rng = np.random.default_rng(0)
        many = integrity.Fingerprints([])
        many._hashes = rng.integers(0, 2**64 - 1, 20_000, np.uint64)
        many._thumbnails = rng.integers(0, 256, (20_000, 256)).astype(np.uint8)
        assert many.groups() == []
        # Nine pieces of seven bits: 9 / 128 of all pairs.
        assert sum(compared) < 0.1 * 20_000**2

    def test_a_thousand_black_frames_are_one_group(self):
        black = np.zeros(256, np.uint8)
        many = integrity.Fingerprints(inspection(0, black) for _ in range(1000))
        assert [len(group) for group in many.groups()] == [1000]


def subject(name, split, seed, *, scene=None, content=None):
    found = integrity.inspect(tiny.encoded(tiny.scene(seed)))
    return integrity.Subject(
        name=name, split=split, content=content or name, inspection=found, scene=scene
    )


class TestFindCopies:
    splits = ("test", "validation", "train")

    def find(self, subjects, **options):
        left_out, kept = integrity.Findings(), integrity.Findings()
        gone = integrity.find_copies(
            subjects, left_out=left_out, kept=kept, splits=self.splits, **options
        )
        return {subjects[index].name for index in gone}, left_out, kept

    def test_of_identical_files_the_better_guarded_stays(self):
        subjects = [
            subject("a", "train", 0, content="x"),
            subject("b", "test", 0, content="x"),
            subject("c", "train", 1, content="y"),
            subject("d", "train", 1, content="y"),
        ]
        gone, left_out, _ = self.find(subjects)
        assert gone == {"a", "d"}
        assert left_out.to_json()[integrity.DUPLICATE]["names"] == {
            "a": "of b in test",
            "d": "of c in train",
        }

    def test_what_resembles_a_held_out_picture_goes(self):
        subjects = [
            subject("a", "train", 0),
            subject("b", "validation", 0),
            subject("c", "validation", 1),
            subject("d", "test", 1),
            subject("e", "train", 2),
        ]
        gone, left_out, kept = self.find(subjects)
        assert gone == {"a", "c"}
        assert left_out.names(integrity.LEAK) == ["a", "c"]
        assert len(kept) == 0

    def test_look_alikes_inside_a_split_stay_and_are_named(self):
        subjects = [
            subject("a", "train", 0),
            subject("b", "train", 0),
            subject("c", "train", 1, scene="s"),
            subject("d", "train", 1, scene="s"),
        ]
        gone, left_out, kept = self.find(subjects)
        assert gone == set() and len(left_out) == 0
        assert kept.names(integrity.NEAR_DUPLICATE) == ["b"]

    def test_nothing_goes_out_of_a_protected_split(self):
        subjects = [
            subject("a", "test", 0, content="x"),
            subject("b", "test", 0, content="x"),
        ]
        gone, left_out, kept = self.find(subjects, protected=("test",))
        assert gone == set() and len(left_out) == 0
        assert kept.names(integrity.DUPLICATE) == ["b"]


class TestFindings:
    def test_counts_names_and_lines(self):
        findings = integrity.Findings()
        for name in "cab":
            findings.add(integrity.SMALL, name, "8x8")
        findings.add(integrity.GRAY, "d")
        assert len(findings) == 4 and list(findings) == [integrity.GRAY, integrity.SMALL]
        assert findings.count(integrity.SMALL) == 3 and findings.count("nothing") == 0
        assert findings.lines(most=2) == ["1 gray: d", "3 too small: a, b, ..."]
        assert findings.to_json()[integrity.SMALL] == {
            "count": 3,
            "names": {"a": "8x8", "b": "8x8", "c": "8x8"},
        }
        rest, taken = findings.without(integrity.SMALL)
        assert list(rest) == [integrity.GRAY] and len(taken) == 3 and len(findings) == 4


class TestMapInThreads:
    @pytest.mark.parametrize("threads", [1, 3])
    def test_results_come_in_order(self, threads):
        def slow_if_even(number):
            time.sleep(0.002 * (number % 2 == 0))
            return number * number

        found = list(integrity.map_in_threads(slow_if_even, range(30), threads=threads))
        assert found == [number * number for number in range(30)]

    def test_it_reads_ahead_only_so_far(self):
        taken = []

        def items():
            for number in range(1000):
                taken.append(number)
                yield number

        results = integrity.map_in_threads(lambda number: number, items(), threads=2)
        assert next(results) == 0
        assert len(taken) < 20
        results.close()

    def test_an_error_reaches_the_caller_and_ends_the_threads(self):
        def fail_at_five(number):
            if number == 5:
                raise KeyError(number)
            return number

        before = threading.active_count()
        with pytest.raises(KeyError):
            list(integrity.map_in_threads(fail_at_five, range(100), threads=2))
        assert threading.active_count() == before


def test_an_inspection_is_small():
    # 100,000 of them must fit beside everything else.
    assert not hasattr(integrity.inspect(b""), "__dict__")
    assert {field.name for field in dataclasses.fields(integrity.Inspection)} >= {"hash"}
