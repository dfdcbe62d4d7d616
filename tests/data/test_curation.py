"""Inspections of folders, manifests, cleaned copies."""

import hashlib
import shutil
import subprocess

import numpy as np
import published_layouts as layouts
import pytest
import tiny_pictures as tiny
from PIL import Image

from keras_refocus.data import curation, integrity
from keras_refocus.pictures import images


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pictures"


def photos(folder, count=3):
    for seed in range(count):
        tiny.save(folder / f"{seed}.png", tiny.scene(seed))


class TestInspection:
    def test_good_photos(self, folder):
        photos(folder)
        tiny.save(folder / "deeper" / "3.jpg", tiny.scene(3), quality=95)
        (folder / "notes.txt").write_text("not a picture")
        tiny.save(folder / ".hidden" / "4.png", tiny.scene(4))
        found = curation.inspect(folder)
        assert found.good == ["0.png", "1.png", "2.png", "deeper/3.jpg"]
        assert (found.photos, found.pairs, len(found.bad)) == (4, 0, 0)
        content = (folder / "0.png").read_bytes()
        assert found.sums["0.png"] == hashlib.sha256(content).hexdigest()

    def test_damage(self, folder):
        photos(folder)
        (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:-300])
        (folder / "empty.jpg").write_bytes(b"")
        (folder / "text.png").write_text("<html>not found</html>")
        found = curation.inspect(folder)
        assert found.good == ["0.png", "1.png", "2.png"]
        assert found.bad.names(integrity.UNREADABLE) == ["cut.png", "empty.jpg", "text.png"]
        assert "cut.png" not in found.kept_files(leave_out_bad=False)

    def test_copies(self, folder):
        photos(folder)
        shutil.copy(folder / "1.png", folder / "same.png")
        tiny.save(folder / "again.jpg", tiny.scene(2), quality=80)
        found = curation.inspect(folder)
        assert found.bad.names(integrity.DUPLICATE) == ["same.png"]
        assert found.noted.names(integrity.NEAR_DUPLICATE) == ["again.jpg"]
        assert found.good == ["0.png", "1.png", "2.png", "again.jpg"]

        strict = curation.inspect(folder, curation.Rules(drop_near_duplicates=True))
        assert strict.bad.names(integrity.NEAR_DUPLICATE) == ["again.jpg"]
        assert strict.good == ["0.png", "1.png", "2.png"]

    def test_parts_of_the_data_share_nothing(self, folder):
        tiny.save(folder / "train" / "a.png", tiny.scene(0))
        tiny.save(folder / "train" / "b.png", tiny.scene(1))
        tiny.save(folder / "val" / "c.jpg", tiny.scene(0), quality=80)
        tiny.save(folder / "Test" / "d.jpg", tiny.scene(2), quality=80)
        found = curation.inspect(folder)
        assert found.bad.names(integrity.LEAK) == ["train/a.png"]
        assert found.good == ["Test/d.jpg", "train/b.png", "val/c.jpg"]

    def test_gray_and_small(self, folder):
        photos(folder, 1)
        tiny.save(folder / "gray.png", tiny.gray_scene(1))
        tiny.save(folder / "small.png", tiny.scene(2, height=30, width=40))
        found = curation.inspect(folder)
        assert found.noted.names(integrity.GRAY) == ["gray.png"] and len(found.bad) == 0
        found = curation.inspect(folder, curation.Rules(drop_gray=True, min_size=40))
        assert found.bad.names(integrity.GRAY) == ["gray.png"]
        assert found.bad.names(integrity.SMALL) == ["small.png"]
        assert found.good == ["0.png"]

    @pytest.mark.parametrize(
        ("make", "pairs"),
        [(layouts.make_hide, 8), (layouts.make_redistributed, 8), (layouts.make_realblur, 6)],
    )
    def test_published_layouts_are_pairs(self, make, pairs, folder):
        options = {} if make is layouts.make_realblur else {"videos": 2}
        found = curation.inspect(make(folder, **options))
        assert (found.photos, found.pairs, len(found.bad)) == (0, pairs, 0)

    def test_a_shared_folder_of_sharp_sides_may_hold_too_much(self, folder):
        layouts.make_hide(folder, videos=1)
        tiny.save(folder / "GT" / "unused.png", tiny.scene(9))
        found = curation.inspect(folder)
        assert found.bad.names(integrity.MISSING_PARTNER) == ["GT/unused.png"]
        # A half that was named has its sharp sides elsewhere.
        assert (found.pairs, curation.inspect(folder / "train").photos) == (6, 2)

    def test_pairs_and_what_breaks_them(self, folder):
        for seed in range(3):
            tiny.save_pair(folder / f"blur/{seed}.png", folder / f"sharp/{seed}.png", seed)
        tiny.save(folder / "blur" / "lonely.png", tiny.scene(5))
        tiny.save(folder / "sharp" / "alone.png", tiny.scene(6))
        for side in ("blur", "sharp"):
            tiny.save(folder / side / "equal.png", tiny.scene(7))
        tiny.save(folder / "blur" / "size.png", tiny.scene(8, width=81))
        tiny.save(folder / "sharp" / "size.png", tiny.scene(8))
        tiny.save(folder / "blur" / "cut.png", tiny.scene(9))
        (folder / "sharp" / "cut.png").write_bytes(tiny.encoded(tiny.scene(9))[:-300])
        for side in ("blur", "sharp"):
            shutil.copy(folder / side / "2.png", folder / side / "same.png")

        found = curation.inspect(folder)
        assert found.good == ["blur/0.png", "blur/1.png", "blur/2.png"]
        assert {reason: found.bad.names(reason) for reason in found.bad} == {
            integrity.MISSING_PARTNER: ["blur/lonely.png", "sharp/alone.png"],
            integrity.IDENTICAL_SIDES: ["blur/equal.png"],
            integrity.SIZE_MISMATCH: ["blur/size.png"],
            integrity.UNREADABLE: ["blur/cut.png"],
            integrity.DUPLICATE: ["blur/same.png"],
        }
        assert found.kept_files(leave_out_bad=True) == [
            f"{side}/{seed}.png" for side in ("blur", "sharp") for seed in range(3)
        ]

    @pytest.mark.parametrize(
        ("blurred", "sharp"),
        [
            ("train/input/0.png", "train/target/0.png"),
            ("video/blurred/x/0.jpg", "video/gt/x/0.png"),
            ("Input/0.png", "GT/0.png"),
        ],
    )
    def test_names_of_the_two_sides(self, folder, blurred, sharp):
        tiny.save_pair(folder / blurred, folder / sharp, 0)
        found = curation.inspect(folder)
        assert found.pairs == 1 and found.good == [blurred]
        assert found.files[blurred] == (blurred, sharp)

    def test_photos_beside_pairs(self, folder):
        tiny.save_pair(folder / "pairs/blur/0.png", folder / "pairs/sharp/0.png", 0)
        tiny.save(folder / "photos" / "1.png", tiny.scene(1))
        found = curation.inspect(folder)
        assert (found.photos, found.pairs) == (1, 1)

    def test_progress_counts_to_the_end(self, folder):
        photos(folder)
        seen = []
        curation.inspect(folder, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_a_missing_and_an_empty_folder(self, folder):
        with pytest.raises(FileNotFoundError, match="must exist"):
            curation.inspect(folder)
        folder.mkdir()
        with pytest.raises(FileNotFoundError, match="at least one picture"):
            curation.inspect(folder)


class TestManifest:
    sums = {"b/c.png": "0" * 64, "a.png": "f" * 64}

    def test_round_trip_sorted(self, tmp_path):
        path = tmp_path / "manifest.sha256"
        curation.write_sums(path, self.sums)
        assert path.read_text() == f"{'f' * 64}  a.png\n{'0' * 64}  b/c.png\n"
        assert curation.read_sums(path) == self.sums
        assert [file.name for file in tmp_path.iterdir()] == ["manifest.sha256"]

    def test_odd_names(self, tmp_path):
        sums = {
            "two  spaces.png": "1" * 64,
            "line\nbreak.png": "2" * 64,
            "back\\slash.png": "3" * 64,
        }
        curation.write_sums(tmp_path / "m", sums)
        assert curation.read_sums(tmp_path / "m") == sums

    @pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
    def test_sha256sum_agrees(self, folder):
        photos(folder)
        tiny.save(folder / "back\\slash.png", tiny.scene(8))
        curation.write_sums(folder / "m", curation.inspect(folder).sums)
        command = ["sha256sum", "--check", "--strict", "--quiet", "m"]
        assert subprocess.run(command, cwd=folder, check=False).returncode == 0
        (folder / "1.png").write_bytes(b"other")
        assert subprocess.run(command, cwd=folder, check=False).returncode == 1

    @pytest.mark.parametrize(
        "line",
        [
            "no sum  a.png",
            f"{'0' * 63}  a.png",
            f"{'0' * 64} a.png",
            f"{'0' * 64}  ../a.png",
            f"{'0' * 64}  /a.png",
            f"{'0' * 64}  ",
        ],
    )
    def test_other_lines_are_refused(self, tmp_path, line):
        (tmp_path / "m").write_text(line + "\n")
        with pytest.raises(ValueError, match="line 1"):
            curation.read_sums(tmp_path / "m")

    def test_no_manifest(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="refocus curate"):
            curation.read_sums(tmp_path / "m")

    def test_verification(self, folder):
        photos(folder, 4)
        sums = curation.inspect(folder).sums
        found = curation.verify(folder, sums)
        assert found.holds and found.unchanged == 4
        (folder / "0.png").unlink()
        with (folder / "1.png").open("ab") as file:
            file.write(b"\0")
        tiny.save(folder / "9.png", tiny.scene(9))
        found = curation.verify(folder, sums)
        assert not found.holds and found.unchanged == 2
        assert (found.missing, found.changed, found.new) == (["0.png"], ["1.png"], ["9.png"])


class TestCopyClean:
    def test_everything_becomes_one_kind(self, folder, tmp_path):
        upright = tiny.scene(0, height=60, width=80)
        exif = Image.Exif()
        exif[0x0112] = 6  # Stored lying on its side: to be turned clockwise.
        tiny.save(folder / "turned.jpg", np.rot90(upright), exif=exif, quality=95)
        tiny.save(folder / "gray.png", tiny.gray_scene(1)[..., 0])
        deep = tiny.scene(2).astype(np.uint16) * 257
        images.write(folder / "deep.png", images.Photo(rgb=deep))
        opacity = np.full((60, 80, 1), 255, np.uint8)
        opacity[:, :40] = 0
        tiny.save(folder / "sub" / "alpha.png", np.dstack([tiny.scene(3), opacity]))

        out = tmp_path / "out"
        names = ["deep.png", "gray.png", "sub/alpha.png", "turned.jpg"]
        sums = curation.copy_clean(folder, out, names)
        assert sorted(sums) == ["deep.png", "gray.png", "sub/alpha.png", "turned.png"]
        for name in sums:
            with Image.open(out / name) as picture:
                assert (picture.mode, picture.format, picture.size) == ("RGB", "PNG", (80, 60))
                assert not picture.getexif()
            assert sums[name] == hashlib.sha256((out / name).read_bytes()).hexdigest()

        def read(name):
            return np.asarray(Image.open(out / name)).astype(int)

        assert np.abs(read("turned.png") - upright).mean() < 5
        assert np.array_equal(read("deep.png"), tiny.scene(2))
        assert (read("sub/alpha.png")[:, :40] == 255).all()
        assert np.array_equal(read("sub/alpha.png")[:, 40:], tiny.scene(3)[:, 40:])

    def test_clashing_names_are_refused_before_anything_is_written(self, folder, tmp_path):
        tiny.save(folder / "a.png", tiny.scene(0))
        tiny.save(folder / "A.bmp", tiny.scene(1))
        with pytest.raises(ValueError, match=r"A\.bmp.*a\.png|a\.png.*A\.bmp"):
            curation.copy_clean(folder, tmp_path / "out", ["A.bmp", "a.png"])
        assert not (tmp_path / "out").exists()
