"""Data sets that the builders have prepared of a few tiny pictures."""

import atexit
import functools
import pathlib
import shutil
import tempfile

import tensorflow_datasets as tfds
import tiny_pictures as tiny

import tfds_builders.coco_lab
import tfds_builders.deblur_pairs


def prepare(root):
    """Prepare `deblur_pairs/folder`, its 16 bits, and `coco_lab/small` in a folder, and return it.

    Twelve pairs of 60 x 80 to train on and three to validate on; colour pictures of 32 x 32.
    """
    return shutil.copytree(_prepared(), root, dirs_exist_ok=True)


@functools.cache
def _prepared():
    """The folder, made once in a process."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="tiny-data-sets-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for split, seeds in (("train", range(12)), ("val", range(20, 23))):
        for seed in seeds:
            place = root / "pairs" / split
            tiny.save_pair(place / f"blur/{seed}.png", place / f"sharp/{seed}.png", seed)
    for part, seeds in (("train2017", range(100, 116)), ("val2017", range(200, 202))):
        for seed in seeds:
            tiny.save(root / "coco" / part / f"{seed}.png", tiny.scene(seed, height=40, width=40))
    config = tfds_builders.coco_lab.LabConfig(name="small", size=32)
    for made, manual in (
        (tfds_builders.deblur_pairs.Builder(config="folder", data_dir=root), "pairs"),
        (tfds_builders.deblur_pairs.Builder(config="folder_16bit", data_dir=root), "pairs"),
        (tfds_builders.coco_lab.Builder(config=config, data_dir=root), "coco"),
    ):
        download_config = tfds.download.DownloadConfig(manual_dir=root / manual)
        made.download_and_prepare(download_config=download_config)
    return root
