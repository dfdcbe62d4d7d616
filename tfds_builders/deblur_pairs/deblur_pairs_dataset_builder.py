"""Public deblurring sets as pairs of blurred and sharp luminance, one configuration for each."""

import dataclasses
import posixpath
import re
from collections.abc import Callable

import tensorflow_datasets as tfds

from keras_refocus.pictures import catalogue
from tfds_builders import exposures, pairs, sources

# The ten videos that video deblurring papers test on; the 61 others are for training.
_DVD_TEST = frozenset(
    "720p_240fps_2 IMG_0003 IMG_0021 IMG_0030 IMG_0031 IMG_0032 IMG_0033 IMG_0037 IMG_0039 "
    "IMG_0049".split()
)

_REALBLUR = {
    "j": "RealBlur-J_ECC_IMCORR_centroid_itensity_ref",
    "r": "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref",
}

_LAYOUTS = """
    Needed in the manual folder, as a folder or as the zip itself, possibly some folders deeper:

      gopro, gopro_gamma    train/<video>/blur/*.png (or blur_gamma/) and train/<video>/sharp/*.png,
                            the same below test/
      reds                  train_blur/<clip>/*.png and train_sharp/<clip>/*.png; val_blur and
                            val_sharp likewise if they are to be the validation split
      reds_frames, _coded   train_orig/<clip>/*.png, the sequences of 120 frames a second; val_orig
                            likewise if it is to be the validation split
      realblur_j, _r        RealBlur_J_train_list.txt and RealBlur_J_test_list.txt beside the folder
                            RealBlur-J_ECC_IMCORR_centroid_itensity_ref/<scene>/{blur,gt}/*.png;
                            the same with R and RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref
      dvd                   quantitative_datasets/<video>/{input,GT}/*.jpg
      folder                any folder with blur/ (or blurred/, input/) and sharp/ (or target/, gt/)
                            under equal names, at the top, or below train/, validation/ and test/,
                            or below a folder for each scene

      folder_frames, _coded any folder with a folder of frames for each high-speed clip, at least
                            seven; the top of them may be train/, validation/ and test/

    Where to get them:

      GoPro, REDS           https://seungjunnah.github.io/Datasets/gopro and .../reds
      RealBlur              https://github.com/rimchang/RealBlur
      DVD                   https://www.cs.ubc.ca/labs/imager/tr/2017/DeepVideoDeblurring/
    """


class Builder(pairs.PairsBuilder):
    """DatasetBuilder for public deblurring sets and folders of pairs."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = _LAYOUTS
    BUILDER_CONFIGS = [
        pairs.PairsConfig(
            name=source if bits == 8 else f"{source}_16bit",
            source=source,
            bits=bits,
            description=f"{title} {pairs.bits_text(bits)}",
        )
        for source, title in (
            ("gopro", "GoPro without a response curve (folder blur)."),
            ("gopro_gamma", "GoPro with a gamma response curve (folder blur_gamma)."),
            ("reds", "REDS, the track of motion blur without compression."),
            ("realblur_j", "RealBlur-J, JPEG of the camera."),
            ("realblur_r", "RealBlur-R, developed from raw."),
            ("dvd", "DVD, deep video deblurring, the quantitative part."),
            ("folder", "Any folder of pairs."),
        )
        for bits in (8, 16)
    ] + [
        exposures.ExposuresConfig(
            name=f"{source}_{kind}",
            source=f"{source}_frames",
            coded=kind == "coded",
            description=f"{title} {exposures.FRAMES} frames are one exposure, averaged in linear "
            f"light{' behind a phase-coded aperture' if kind == 'coded' else ''}; RGB, 8 bits.",
        )
        for source, title in (
            ("reds", "Sequences of REDS at 120 frames a second."),
            ("folder", "Any folder of high-speed clips."),
        )
        for kind in ("frames", "coded")
    ]

    def homepage(self):
        return "https://seungjunnah.github.io/Datasets/gopro"

    def find_layout(self, listing):
        """See base class."""
        source = self.builder_config.source
        layout = _FINDERS[source](listing)
        if layout is None:
            raise sources.layout_error(f"the set '{source}'", listing, _LAYOUTS)
        return layout


def _gopro(folder: str) -> Callable:
    """Finder of GOPRO_Large with one of its two kinds of blur."""

    def find(listing):
        root = listing.find(("train", "test"), name="GoPro", hints=("gopro",))
        if root is None:
            return None
        parts, alone = {}, []
        for split in ("train", "test"):
            parts[split] = []
            for clip in listing.subfolders(posixpath.join(root, split)):
                place = posixpath.join(root, split, clip)
                if folder not in listing.subfolders(place):
                    continue
                found, without = _sides(listing, place, folder, "sharp")
                # GOPR0374_11_00 and GOPR0374_11_01 are cut out of one video.
                video = clip.partition("_")[0]
                parts[split] += _pairs(f"{split}/{clip}/{folder}", found, subset=clip, scene=video)
                alone += [(f"{split}/{clip}/{name}", detail) for name, detail in without]
        if not all(parts.values()):
            return None
        return _layout(listing, root, f"train|test/<video>/{folder}|sharp", parts, alone, _GOPRO)

    return find


def _reds(listing):
    def holds_clips(folder):
        # Each part comes in a zip of its own, with folders such as `train/train_blur/<clip>`: the
        # name occurs twice in the path, and the one with clips directly inside is meant.
        return any(
            listing.pictures(posixpath.join(folder, clip)) for clip in listing.subfolders(folder)
        )

    parts, alone, places = {}, [], []
    for split, part in (("train", "train"), ("validation", "val")):
        blurred, sharp = (
            listing.find_folder(f"{part}_{side}", title=f"REDS {part}_{side}", holds=holds_clips)
            for side in ("blur", "sharp")
        )
        if blurred is None or sharp is None:
            if split == "train":
                return None
            continue
        found, without = sources.match_pairs(
            listing.pictures(blurred, deep=True), listing.pictures(sharp, deep=True)
        )
        parts[split] = [
            pairs.Pair(
                name=f"{part}_blur/{name}",
                subset=posixpath.dirname(name),
                scene=posixpath.dirname(name),
                blurred=blurred_file,
                sharp=sharp_file,
            )
            for name, blurred_file, sharp_file in found
        ]
        alone += [(f"{part}/{name}", detail) for name, detail in without]
        places += [blurred, sharp]
    root = posixpath.commonpath([f"/{place}" for place in places]).strip("/")
    return _layout(listing, root, "train|val _blur|_sharp", parts, alone, _REDS)


def _reds_frames(listing):
    parts, short, places = {}, [], []
    for split, part in (("train", "train"), ("validation", "val")):
        # In parts of fifteen zips, whose clips all belong together.
        clips = {}
        for place in listing.all_folders():
            if posixpath.basename(posixpath.dirname(place)) == f"{part}_orig":
                pictures = listing.pictures(place)
                if pictures:
                    clips.setdefault(f"{part}_orig/{posixpath.basename(place)}", pictures)
                    places.append(posixpath.dirname(place))
        found, without = exposures.windows(clips)
        short += without
        if found:
            parts[split] = found
    if "train" not in parts:
        return None
    root = posixpath.commonpath([f"/{place}" for place in places]).strip("/")
    return _layout(listing, root, "train|val _orig", parts, short, {})


def _folder_frames(listing):
    parts, short = {}, []
    clips = {}
    for place in listing.all_folders():
        pictures = listing.pictures(place)
        if pictures:
            words = [word.lower() for word in place.split("/")]
            halves = (catalogue.SPLIT_OF[word] for word in words if word in catalogue.SPLIT_OF)
            split = {"val": "validation"}.get(half := next(halves, "train"), half)
            clips.setdefault(split, {})[place] = pictures
    for split, found in clips.items():
        parts[split], without = exposures.windows(found)
        short += without
    parts = {split: found for split, found in parts.items() if found}
    if "train" not in parts:
        return None
    kind = "a folder of frames for each clip"
    if "validation" not in parts and len({window.scene for window in parts["train"]}) == 1:
        parts["train"] = [
            dataclasses.replace(window, scene=window.name) for window in parts["train"]
        ]
        kind += "; there is one clip, so single exposures of it are held out"
    return _layout(listing, "", kind, parts, short, {})


def _realblur(kind: str) -> Callable:
    """Finder of RealBlur-J or RealBlur-R, whose splits are lists of files."""
    folder = _REALBLUR[kind.lower()]

    def find(listing):
        root = listing.find((folder,), name=f"RealBlur-{kind}", hints=("realblur",))
        if root is None:
            return None
        pictures = listing.pictures(root, deep=True)
        parts, alone = {}, []
        for split in ("train", "test"):
            file = listing.files(root).get(f"RealBlur_{kind}_{split}_list.txt")
            if file is None:
                return None
            parts[split] = []
            for line in file.read().decode("utf-8-sig").splitlines():
                # The sharp file, then the blurred file.
                sharp, blurred, *_ = [*line.split(), "", ""]
                if not sharp:
                    continue
                missing = [path for path in (blurred, sharp) if path not in pictures]
                if missing:
                    alone.append((blurred or sharp, f"{missing[0] or 'no second name'} not there"))
                    continue
                scene = sharp.split("/")[1]
                parts[split] += [
                    pairs.Pair(
                        name=blurred,
                        subset=scene,
                        scene=scene,
                        blurred=pictures[blurred],
                        sharp=pictures[sharp],
                    )
                ]
        return _layout(
            listing, root, f"{folder} and lists of train and test", parts, alone, _REALBLUR_COUNTS
        )

    return find


def _dvd(listing):
    root = listing.find(("quantitative_datasets",), name="DVD", hints=("deblurring", "dvd"))
    if root is None:
        return None
    root = posixpath.join(root, "quantitative_datasets")
    parts, alone = {"train": [], "test": []}, []
    for video in listing.subfolders(root):
        found, without = _sides(listing, posixpath.join(root, video), "input", "GT")
        split = "test" if video in _DVD_TEST else "train"
        parts[split] += _pairs(f"{video}/input", found, subset=video, scene=video)
        alone += [(f"{video}/{name}", detail) for name, detail in without]
    if not parts["train"]:
        return None
    # A part of the set without the ten videos has no test split.
    parts = {split: found for split, found in parts.items() if found}
    return _layout(listing, root, "quantitative_datasets/<video>/input|GT", parts, alone, _DVD)


def _folder(listing):
    parts, alone, kinds = {}, [], set()
    for place in listing.all_folders():
        sides = [
            next((name for name in listing.subfolders(place) if name.lower() in names), None)
            for names in (catalogue.BLURRED_FOLDERS, catalogue.SHARP_FOLDERS)
        ]
        if None in sides:
            continue
        found, without = _sides(listing, place, *sides, deep=True)
        # The first folder named like a split, from the top.
        words = [word.lower() for word in place.split("/")]
        halves = (catalogue.SPLIT_OF[word] for word in words if word in catalogue.SPLIT_OF)
        split = {"val": "validation"}.get(half := next(halves, "train"), half)
        if found:
            kinds.add("|".join(sides))
            parts.setdefault(split, []).extend(
                pairs.Pair(
                    name=posixpath.join(place, sides[0], name),
                    subset=place,
                    scene=_scene(place, name),
                    blurred=blurred,
                    sharp=sharp,
                )
                for name, blurred, sharp in found
            )
        alone += [(posixpath.join(place, name), detail) for name, detail in without]
    if "train" not in parts:
        return None
    kind = ", ".join(sorted(kinds))
    if "validation" not in parts and len({pair.scene for pair in parts["train"]}) == 1:
        parts["train"] = [dataclasses.replace(pair, scene=pair.name) for pair in parts["train"]]
        kind += "; names tell of one scene, so single pictures are held out"
    return _layout(listing, "", kind, parts, alone, {})


def _scene(place, name):
    """What pictures are taken of, as far as a path tells.

    Pictures of one folder whose names differ in a number at the end are taken to be one video, as
    in `GOPR0372_07_00-000047.png`. Plain numbers tell nothing: each is a scene of its own.
    """
    stem = posixpath.splitext(name)[0]
    base = re.sub(r"[-_ ]*\d+$", "", posixpath.basename(stem))
    folder = posixpath.join(place, posixpath.dirname(name))
    return posixpath.join(folder, base or posixpath.basename(stem))


def _sides(listing, place, blurred, sharp, *, deep=False):
    return sources.match_pairs(
        listing.pictures(posixpath.join(place, blurred), deep=deep),
        listing.pictures(posixpath.join(place, sharp), deep=deep),
    )


def _pairs(folder, found, *, subset, scene):
    return [
        pairs.Pair(
            name=posixpath.join(folder, name),
            subset=subset,
            scene=scene,
            blurred=blurred,
            sharp=sharp,
        )
        for name, blurred, sharp in found
    ]


def _layout(listing, root, kind, parts, alone, published):
    return pairs.Layout(
        kind=kind,
        location=posixpath.join(listing.root, root).rstrip("/"),
        pairs=parts,
        alone=alone,
        published=published,
    )


# Pairs of each split, as the sets are published.
_GOPRO = {"train": 2103, "test": 1111}
_REDS = {"train": 24000, "validation": 3000}
_REALBLUR_COUNTS = {"train": 3758, "test": 980}
_DVD = {"train and test": 6708}

_FINDERS = {
    "gopro": _gopro("blur"),
    "gopro_gamma": _gopro("blur_gamma"),
    "reds": _reds,
    "reds_frames": _reds_frames,
    "folder_frames": _folder_frames,
    "realblur_j": _realblur("J"),
    "realblur_r": _realblur("R"),
    "dvd": _dvd,
    "folder": _folder,
}
