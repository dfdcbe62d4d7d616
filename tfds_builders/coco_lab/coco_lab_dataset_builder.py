"""COCO 2017 as luminance and chroma, for training colour."""

import dataclasses
import pathlib
import posixpath
from typing import Literal

import tensorflow_datasets as tfds

from keras_refocus.data import integrity
from tfds_builders import downloads, lab_feature, lab_squares, reports, shuffling, sources, splits

_HOMEPAGE = "https://cocodataset.org"

_ARCHIVES = {
    "train2017": "http://images.cocodataset.org/zips/train2017.zip",
    "val2017": "http://images.cocodataset.org/zips/val2017.zip",
}
_PUBLISHED = {"train2017": 118287, "val2017": 5000}

_VALIDATION_SHARE = 0.05


@dataclasses.dataclass(eq=False, kw_only=True)
class LabConfig(tfds.core.BuilderConfig):
    """How pictures are brought to one size.

    Attributes:
        size: Side of the examples in pixels, cut from the centre.
        small: What becomes of a picture whose short side is below `size`: left out, or enlarged.
        large: What becomes of one whose short side is above: shrunk until that is `size`, or cut at
            the size it has.
    """

    size: int = 256
    small: Literal["leave_out", "enlarge"] = "leave_out"
    large: Literal["shrink", "crop"] = "shrink"

    def __post_init__(self):
        small = "left out" if self.small == "leave_out" else "enlarged"
        large = "shrunk to it" if self.large == "shrink" else "cut without shrinking"
        self.description = (
            f"{self.size} x {self.size} from the centre; pictures with a smaller short side are "
            f"{small}, with a larger one {large}."
        )


class Builder(reports.Watchful):
    """DatasetBuilder for COCO 2017 in Lab.

    Without Beam options the examples are made by threads in this process, in flat memory; with them
    (`--beam_pipeline_options`), by Beam.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS = [
        LabConfig(name="256"),
        LabConfig(name="128", size=128),
        LabConfig(name="512", size=512),
        LabConfig(name="256_enlarge", small="enlarge"),
        LabConfig(name="256_crop", large="crop"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Without a manual folder the official archives are downloaded: {_ARCHIVES["train2017"]} (19.3 GB)
    and {_ARCHIVES["val2017"]} (0.8 GB). With one, it must hold both parts, each in one of these
    forms, possibly some folders deeper:

      train2017/*.jpg, val2017/*.jpg               the pictures
      train2017.zip, val2017.zip                   the archives as they are
      train2017_urls.txt, val2017_urls.txt         addresses, one a line, downloaded one by one
    """

    # How pictures of a list are asked for; a test has less patience.
    manners = downloads.Manners()

    def _info(self):
        return self.dataset_info_from_configs(
            features=lab_feature.LabExample(size=self.builder_config.size),
            supervised_keys=("luminance", "chroma"),
            homepage=_HOMEPAGE,
        )

    def _download_and_prepare(self, dl_manager, download_config):
        self._uses_beam = bool(download_config.beam_options or download_config.beam_runner)
        self._manual_is_named = download_config.manual_dir is not None
        with shuffling.bounded():
            super()._download_and_prepare(dl_manager, download_config)

    def _split_generators(self, dl_manager):
        left_out, kept = integrity.Findings(), integrity.Findings()
        pictures, source = self._find(dl_manager, left_out)
        usable = [
            (part, name, inspection)
            for part in _ARCHIVES
            for name, inspection in self._check(part, pictures[part], left_out)
        ]
        held_out = splits.hold_out(
            (name for part, name, _ in usable if part == "train2017"),
            share=_VALIDATION_SHARE,
            salt=self.name,
        )
        subjects = [
            integrity.Subject(
                name=f"{part}/{name}",
                split=_split_of(part, name, held_out),
                content=inspection.sha256,
                inspection=inspection,
            )
            for part, name, inspection in usable
        ]
        gone = integrity.find_copies(
            subjects,
            left_out=left_out,
            kept=kept,
            splits=("test", "validation", "train"),
            protected=("test",),
        )
        parts = {"train": [], "validation": [], "test": []}
        for index, (part, name, _) in enumerate(usable):
            if index not in gone:
                parts[subjects[index].split].append((name, pictures[part][name]))
        reports.write(
            self.data_path,
            data_set=self.info.full_name,
            source=source,
            examples={split: len(found) for split, found in parts.items()},
            published=_PUBLISHED,
            left_out=left_out,
            kept=kept,
        )
        for split, found in parts.items():
            if not found:
                raise ValueError(
                    f"Every split must have a picture left after the checks. Received: none for "
                    f"{split!r} from {source}.\n  " + "\n  ".join(left_out.lines())
                )
        return {split: self._generate_examples(found) for split, found in parts.items()}

    def _find(self, dl_manager, failures):
        """Pictures of both parts by file name, and where they come from."""
        listing = self._manual_listing(dl_manager)
        pictures, source = {}, {}
        for part in _ARCHIVES:
            folder = listing and listing.find_folder(part, title=f"COCO {part}")
            lists = [
                files[f"{part}_urls.txt"]
                for files in (listing.folders.values() if listing else ())
                if f"{part}_urls.txt" in files
            ]
            if folder:
                pictures[part] = listing.pictures(folder)
                source[part] = posixpath.join(listing.root, folder)
            elif lists:
                pictures[part] = downloads.fetch(
                    downloads.read_list(lists[0]),
                    pathlib.Path(dl_manager.download_dir) / self.name / part,
                    failures=failures,
                    manners=self.manners,
                )
                source[part] = lists[0].path
        if not pictures and not self._manual_is_named:
            # The default manual folder is shared by all data sets and need not hold this one.
            archives = dl_manager.download(_ARCHIVES)
            for part, path in archives.items():
                found = sources.archive_files(str(path))
                pictures[part] = {file.name: file for file in found.values()}
                source[part] = _ARCHIVES[part]
        elif len(pictures) < len(_ARCHIVES):
            raise sources.layout_error("COCO 2017", listing, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
        return pictures, source

    def _manual_listing(self, dl_manager):
        """What is in the manual folder; `None` if nobody named one and there is none."""
        try:
            return sources.Listing(sources.manual_folder(dl_manager))
        except FileNotFoundError:
            if self._manual_is_named:
                raise
            return None

    def _check(self, part, pictures, left_out):
        """Inspections of the pictures that can be used, in the order of their names."""
        names = sorted(pictures)
        inspections = integrity.map_in_threads(_inspect, (pictures[name] for name in names))
        bar = tfds.core.utils.tqdm(
            inspections, total=len(names), desc=f"Checking {part}", unit=" pictures"
        )
        for name, inspection in zip(names, bar, strict=True):
            short = min(inspection.height, inspection.width)
            if inspection.problem is not None:
                left_out.add(integrity.UNREADABLE, f"{part}/{name}", inspection.problem)
            elif short < self.builder_config.size and self.builder_config.small == "leave_out":
                size = f"{inspection.width}x{inspection.height}"
                left_out.add(integrity.SMALL, f"{part}/{name}", size)
            elif inspection.gray:
                left_out.add(integrity.GRAY, f"{part}/{name}")
            else:
                yield name, inspection

    def _generate_examples(self, pictures):
        encode = lab_squares.Encode(size=self.builder_config.size, large=self.builder_config.large)
        if self._uses_beam:
            import apache_beam as beam

            return beam.Create(pictures) | beam.Reshuffle() | beam.Map(encode)
        return integrity.map_in_threads(encode, pictures)


def _split_of(part, name, held_out):
    if part == "val2017":
        return "test"
    return "validation" if name in held_out else "train"


def _inspect(file):
    try:
        content = file.read()
    except OSError as error:
        return integrity.Inspection(sha256="", bytes=0, problem=str(error))
    return integrity.inspect(content, ask_gray=True)
