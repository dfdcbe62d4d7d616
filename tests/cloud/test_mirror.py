"""What works on folders works on a store, with nothing of it here but what is being read."""

import hashlib
import json

import numpy as np
import pytest
from tiny_pictures import encoded, scene

from keras_refocus.cloud import mirror
from keras_refocus.data import curation
from keras_refocus.evaluation import sets
from keras_refocus.pictures import images, staging


@pytest.fixture
def photos(store):
    for number in range(4):
        store.put(f"photos/{number % 2}/{number}.png", encoded(scene(number)))
    store.put("photos/notes.txt", b"a list")
    store.put("photos/large.bin", b"x")
    return store


def sizes(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_pictures_have_their_content_while_they_are_read(photos):
    with mirror.Mirror(photos.url + "/photos") as found:
        names = [f"{n % 2}/{n}.png" for n in range(4)]
        assert sizes(found.path) == dict.fromkeys(names, 0) | {"notes.txt": 6}
        np.testing.assert_array_equal(images.read(found.path / "1/3.png").rgb, scene(3))
        path = found.path / "1/3.png"
        with staging.readable(path), staging.readable(path):
            assert path.stat().st_size > 0
        assert set(sizes(found.path).values()) == {0, 6}
        folder = found.path
    assert not folder.exists()


def test_a_picture_that_is_gone_by_now_is_named(photos):
    with mirror.Mirror(photos.url + "/photos") as found:
        photos.client.delete_object(Bucket=photos.bucket, Key="photos/1/3.png")
        with pytest.raises(FileNotFoundError, match=r"photos/1/3\.png"):
            images.read(found.path / "1/3.png")


def test_a_survey_and_a_set_of_a_store_are_those_of_a_folder(photos, tmp_path):
    for number in range(4):
        path = tmp_path / "photos" / f"{number % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(scene(number)))
    with mirror.Mirror(photos.url + "/photos") as found:
        there, here = curation.inspect(found.path), curation.inspect(tmp_path / "photos")
        assert there.sums == here.sums and there.good == here.good and len(here.good) == 4
        items = sets.photo_items(found.path)
        assert items == sets.photo_items(tmp_path / "photos")
        picture_set = sets.PictureSet(
            folder=found.path, items=items, blur=sets.synthetic_blur("none")
        )
        np.testing.assert_array_equal(picture_set.pair(1)[0], scene(2))


def test_a_path_stands_for_itself(tmp_path):
    with mirror.Mirror(tmp_path) as found:
        assert found.path == tmp_path


def test_an_empty_store_is_named(store):
    with pytest.raises(FileNotFoundError, match="at least one picture"):
        mirror.Mirror(store.url + "/nothing")


def test_curate_over_a_store(photos, capsys):
    from keras_refocus import curate

    photos.put("photos/bad.png", b"<html>")
    status = curate.main(
        [
            photos.url + "/photos",
            "--on-bad",
            "skip",
            "--out",
            photos.url + "/chosen",
            "--size",
            "32",
        ]
    )
    assert status == 0, capsys.readouterr().err
    assert photos.keys("chosen/") == [
        *(f"chosen/{n % 2}/{n}.png" for n in (0, 2, 1, 3)),
        "chosen/manifest.sha256",
    ]
    line = photos.get("chosen/manifest.sha256").decode().splitlines()[0]
    assert line == f"{hashlib.sha256(photos.get('chosen/0/0.png')).hexdigest()}  0/0.png"
    report = json.loads(photos.get("photos/curation.json"))
    assert report["good"] == 4 and report["folder"] == photos.url + "/photos"
    assert curate.main([photos.url + "/chosen", "--verify"]) == 0
    photos.put("chosen/0/0.png", encoded(scene(9)))
    assert curate.main([photos.url + "/chosen", "--verify"]) == 1
    with pytest.raises(SystemExit):
        curate.main([photos.url + "/photos", "--out", photos.url + "/photos/chosen"])
    assert "apart from the pictures" in capsys.readouterr().err


def test_a_file_for_an_address_goes_there_when_all_went_well(photos, tmp_path):
    with mirror.outgoing(photos.url + "/scores/table.csv") as path:
        path.write_text("1")
        path.with_name("table_noise.csv").write_text("2")
    assert photos.get("scores/table.csv") == b"1" and not path.exists()
    assert photos.keys("scores/") == ["scores/table.csv", "scores/table_noise.csv"]
    with pytest.raises(RuntimeError), mirror.outgoing(photos.url + "/scores/torn.csv") as path:
        path.write_text("half")
        raise RuntimeError
    assert len(photos.keys("scores/")) == 2
    with mirror.outgoing(tmp_path / "here.csv") as path:
        assert path == tmp_path / "here.csv"


def test_evaluate_reads_and_writes_stores(photos, models, capsys):
    from keras_refocus import evaluate

    out = photos.url + "/scores"
    given = ["--photos", photos.url + "/photos", "--csv", f"{out}/a.csv", "--json", f"{out}/a.json"]
    model = str(models / "restorer")
    evaluate.main(["restorer", model, *given, "--write-manifest", f"{out}/list.json"])
    assert photos.keys("scores/") == ["scores/a.csv", "scores/a.json", "scores/list.json"]
    first, said = photos.get("scores/a.csv"), capsys.readouterr().out
    given[2:] = ["--csv", f"{out}/b.csv", "--manifest", f"{out}/list.json"]
    evaluate.main(["restorer", model, *given])
    assert photos.get("scores/b.csv") == first and len(first.splitlines()) == 5
    assert "PSNR RGB" in said
    with pytest.raises(SystemExit):
        evaluate.main(["restorer", model, *given[:-1], f"{out}/none.json"])
    assert f"{out}/none.json" in capsys.readouterr().err
