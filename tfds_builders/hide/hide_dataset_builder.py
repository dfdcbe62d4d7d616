"""HIDE as pairs of blurred and sharp luminance."""

import posixpath
import re

import tensorflow_datasets as tfds

from tfds_builders import pairs, sources

_HOMEPAGE = "https://github.com/joanshen0508/HA_deblur"

# Stated by the authors.
_PUBLISHED = {"train": 6397, "test": 2025}

# 1fromGOPR1087.MP4.png: frame 1 of video GOPR1087.MP4.
_FRAME_OF_VIDEO = re.compile(r"\d+from(?P<video>.+)", re.IGNORECASE)

_OFFICIAL = ("train", "test", "GT")
_TEST_FOLDERS = {"test-close-ups": "close-ups", "test-long-shot": "long-shot"}
_UNSPECIFIED = "unspecified"
_REDISTRIBUTED = ("train/input", "train/target", "test/input", "test/target")


def video(file_name: str) -> str | None:
    """Video that a frame of HIDE was taken from, by its file name; `None` if it does not say."""
    match = _FRAME_OF_VIDEO.fullmatch(posixpath.splitext(posixpath.basename(file_name))[0])
    return match["video"] if match else None


class Builder(pairs.PairsBuilder):
    """DatasetBuilder for HIDE."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS = [
        pairs.PairsConfig(name="8bit", bits=8, description=pairs.bits_text(8)),
        pairs.PairsConfig(name="16bit", bits=16, description=pairs.bits_text(16)),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Needed is HIDE, as a folder or as the zip itself, in one of these layouts, possibly some folders
    deeper:

      train/*.png                    blurred, official layout
      test/test-close-ups/*.png      blurred
      test/test-long-shot/*.png      blurred
      GT/*.png                       sharp, under the same names

      train/input/*.png, train/target/*.png, test/input/*.png, test/target/*.png
                                     as other projects redistribute it

    Get HIDE_dataset.zip through the link on {_HOMEPAGE} and put it into the manual folder as it is.
    """

    def homepage(self):
        return _HOMEPAGE

    def find_layout(self, listing):
        """See base class."""
        for required, read in ((_OFFICIAL, _official), (_REDISTRIBUTED, _redistributed)):
            root = listing.find(required, name="HIDE", hints=("hide",))
            if root is None:
                continue
            parts, alone = read(listing, root)
            if self._is_hide(listing, root, parts["train"]):
                return pairs.Layout(
                    kind=", ".join(required),
                    location=posixpath.join(listing.root, root).rstrip("/"),
                    pairs=parts,
                    alone=alone,
                    published=_PUBLISHED,
                )
        raise sources.layout_error("HIDE", listing, self.MANUAL_DOWNLOAD_INSTRUCTIONS)

    @staticmethod
    def _is_hide(listing, root, train):
        """Other data sets are redistributed in the same folders; names tell them apart."""
        location = posixpath.join(listing.root, root).lower()
        return "hide" in location or any(video(pair.name) for pair in train)


def _official(listing, root):
    sharp = listing.pictures(posixpath.join(root, "GT"))
    folders = {"train": ["train"], "test": ["test"]}
    folders["test"] += [
        posixpath.join("test", name) for name in listing.subfolders(posixpath.join(root, "test"))
    ]
    parts, alone, used = {}, [], set()
    for split, inside in folders.items():
        parts[split] = []
        for folder in inside:
            blurred = listing.pictures(posixpath.join(root, folder))
            found, without = sources.match_pairs(blurred, sharp)
            # The sharp side is one folder for all: what this part does not use, another may.
            alone += [
                (posixpath.join(folder, name), detail)
                for name, detail in without
                if detail == sources.NO_SHARP
            ]
            used |= {files[1].name for _, *files in found}
            parts[split] += [_pair(folder, *pair) for pair in found]
    alone += [(f"GT/{name}", sources.NO_BLURRED) for name in sorted(sharp.keys() - used)]
    return parts, alone


def _redistributed(listing, root):
    parts, alone = {}, []
    for split in ("train", "test"):
        found, without = sources.match_pairs(
            listing.pictures(posixpath.join(root, split, "input")),
            listing.pictures(posixpath.join(root, split, "target")),
        )
        parts[split] = [_pair(f"{split}/input", *pair) for pair in found]
        alone += [(f"{split}/{name}", detail) for name, detail in without]
    return parts, alone


def _pair(folder, name, blurred, sharp):
    return pairs.Pair(
        name=posixpath.join(folder, name),
        subset=_TEST_FOLDERS.get(posixpath.basename(folder), _UNSPECIFIED),
        # A name that does not tell its video is a scene of its own.
        scene=video(name) or name,
        blurred=blurred,
        sharp=sharp,
    )
