"""What a build says of what is there already."""

import json

import pytest
import tensorflow_datasets as tfds

import tfds_builders.coco_lab
import tfds_builders.deblur_pairs
from tfds_builders import reports


@pytest.fixture
def asked(monkeypatch):
    """Builds that TensorFlow Datasets would be asked for."""
    calls = []
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        lambda builder, **options: calls.append(options["download_config"]),
    )
    return calls


def prepared(builder, source):
    builder.data_path.mkdir(parents=True)
    (builder.data_path / reports.REPORT).write_text(json.dumps({"source": source}))


def download_config(manual_dir, mode="reuse_dataset_if_exists"):
    return tfds.download.DownloadConfig(
        manual_dir=manual_dir, download_mode=tfds.GenerateMode(mode)
    )


@pytest.mark.parametrize("kind", ["pairs", "coco"])
def test_another_manual_folder_is_noticed(kind, asked, tmp_path):
    mine = tmp_path / "mine"
    if kind == "pairs":
        builder = tfds_builders.deblur_pairs.Builder(config="folder", data_dir=tmp_path / "data")
        prepared(builder, {"layout": "blur|sharp", "location": str(mine / "deeper")})
    else:
        builder = tfds_builders.coco_lab.Builder(config="128", data_dir=tmp_path / "data")
        prepared(builder, {part: str(mine / part) for part in ("train2017", "val2017")})
    same, other = download_config(mine), download_config(tmp_path / "other")
    anew = download_config(tmp_path / "other", "reuse_cache_if_exists")
    with pytest.raises(ValueError, match="other.*mine.*--overwrite"):
        builder.download_and_prepare(download_config=other)
    for config in (same, anew, download_config(None), None):
        builder.download_and_prepare(download_config=config)
    assert asked == [same, anew, asked[2], None]


def test_what_a_killed_build_left_is_named(tmp_path, caplog):
    data = tmp_path / "hide" / "8bit" / "1.0.0"
    assert reports.name_leftovers(data) == []
    left = data.with_name("incomplete.ABC123_1.0.0")
    for folder in (data, left, data.with_name("incomplete.ABC123_2.0.0")):
        folder.mkdir(parents=True)
    assert reports.name_leftovers(data) == [str(left)]
    assert str(left) in caplog.text and "remove it" in caplog.text
