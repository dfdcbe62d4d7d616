"""What the builders of blurred and sharp pairs share: features, checks, generation."""

import abc
import dataclasses

import cv2
import numpy as np
import tensorflow_datasets as tfds

from keras_refocus.data import integrity
from keras_refocus.pictures import color, images
from tfds_builders import exposures, reports, shuffling, sources, splits

# Published results depend on test sets, so nothing readable is taken out of them.
_GUARDED_FIRST = ("test", "validation", "train")

# Level 6 would save 3% of the bytes and take two to three times as long.
_PNG_LEVEL = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One pair of files, before anything is read.

    Attributes:
        name: What the example is called; unique in its split.
        subset: Part of the data set that it belongs to.
        scene: Video or place; pairs of one scene resemble each other by nature.
        blurred: The blurred file.
        sharp: The sharp file.
    """

    name: str
    subset: str
    scene: str
    blurred: sources.File
    sharp: sources.File


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set as it was found.

    Attributes:
        kind: Which of the known layouts it is, in words.
        location: Where it lies.
        pairs: `Pair`, or `exposures.Window`, of each split; "train" is still to be divided unless
            "validation" is there.
        alone: `(file, which side is missing)` of files without a partner.
        published: Number of pairs that the authors state for each split of theirs.
    """

    kind: str
    location: str
    pairs: dict[str, list[Pair]]
    alone: list[tuple[str, str]]
    published: dict[str, int]


@dataclasses.dataclass(eq=False, kw_only=True)
class PairsConfig(tfds.core.BuilderConfig):
    """A variant of a set of pairs.

    Attributes:
        bits: Bits of the stored luminance: 8 or 16.
        source: Which of several data sets; empty where there is one.
    """

    bits: int = 8
    source: str = ""


def bits_text(bits: int) -> str:
    """Describe how luminance is stored."""
    return f"Luminance as {bits}-bit PNG, {2**bits - 1} being L* = 100."


class PairsBuilder(reports.Watchful, skip_registration=True):
    """Builder of pairs of luminance images out of a manual folder.

    `find_layout` is all that a data set has to add. Without Beam options the examples are made by
    threads in this process, in flat memory; with them (`--beam_pipeline_options`), by Beam.
    """

    VALIDATION_SHARE = 0.1

    @abc.abstractmethod
    def find_layout(self, listing: sources.Listing) -> Layout:
        """Find the data set in a listing, or raise an error that says what is missing."""

    def _info(self):
        if isinstance(self.builder_config, exposures.ExposuresConfig):
            return exposures.info(self)
        dtype = np.uint16 if self.builder_config.bits == 16 else np.uint8
        luminance = {"shape": (None, None, 1), "dtype": dtype, "encoding_format": "png"}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "blurred": tfds.features.Image(**luminance, doc="Luminance, L* of CIELAB."),
                    "sharp": tfds.features.Image(**luminance, doc="Luminance, L* of CIELAB."),
                    "name": tfds.features.Text(doc="Path of the blurred picture."),
                    "subset": tfds.features.Text(doc="Part of the data set."),
                }
            ),
            supervised_keys=("blurred", "sharp"),
            homepage=self.homepage(),
        )

    @abc.abstractmethod
    def homepage(self) -> str:
        """Where the data set is described."""

    def _download_and_prepare(self, dl_manager, download_config):
        self._uses_beam = bool(download_config.beam_options or download_config.beam_runner)
        with shuffling.bounded():
            super()._download_and_prepare(dl_manager, download_config)

    def _split_generators(self, dl_manager):
        listing = sources.Listing(sources.manual_folder(dl_manager))
        layout = self.find_layout(listing)
        parts = self._divide(layout)
        left_out, kept = integrity.Findings(), integrity.Findings()
        for name, detail in layout.alone:
            left_out.add(integrity.MISSING_PARTNER, name, detail)
        if isinstance(self.builder_config, exposures.ExposuresConfig):
            parts = exposures.check(parts, left_out=left_out)
        else:
            parts = check(parts, left_out=left_out, kept=kept)
        reports.write(
            self.data_path,
            data_set=self.info.full_name,
            source={"layout": layout.kind, "location": layout.location},
            examples={split: len(pairs) for split, pairs in parts.items()},
            published=layout.published,
            left_out=left_out,
            kept=kept,
        )
        for split, pairs in parts.items():
            if not pairs:
                raise ValueError(
                    f"Every split must have a pair left after the checks. Received: none for "
                    f"{split!r} from {layout.location}.\n  " + "\n  ".join(left_out.lines())
                )
        return {split: self._generate_examples(pairs) for split, pairs in parts.items()}

    def _divide(self, layout):
        parts = dict(layout.pairs)
        if "validation" not in parts:
            held_out = splits.hold_out(
                (pair.scene for pair in parts["train"]),
                share=self.VALIDATION_SHARE,
                salt=self.name,
            )
            parts["validation"] = [pair for pair in parts["train"] if pair.scene in held_out]
            parts["train"] = [pair for pair in parts["train"] if pair.scene not in held_out]
        return {split: parts[split] for split in reversed(_GUARDED_FIRST) if split in parts}

    def _generate_examples(self, pairs):
        encode = self._encoder()
        if self._uses_beam:
            import apache_beam as beam

            return beam.Create(pairs) | beam.Reshuffle() | beam.Map(encode)
        return integrity.map_in_threads(encode, pairs)

    def _encoder(self):
        if isinstance(self.builder_config, exposures.ExposuresConfig):
            return exposures.Encode(coded=self.builder_config.coded)
        return Encode(self.builder_config.bits)


@dataclasses.dataclass(frozen=True)
class Encode:
    """Makes the example of a pair; can be sent to another process."""

    bits: int

    def __call__(self, pair):
        return pair.name, {
            "blurred": self._luminance(pair.blurred),
            "sharp": self._luminance(pair.sharp),
            "name": pair.name,
            "subset": pair.subset,
        }

    def _luminance(self, file):
        luminance = color.rgb_to_luminance(images.read(file.read()).rgb)
        encoded = color.encode_luminance(luminance, self.bits)
        _, content = cv2.imencode(".png", encoded, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
        return content.tobytes()


def check(
    parts: dict[str, list[Pair]], *, left_out: integrity.Findings, kept: integrity.Findings
) -> dict[str, list[Pair]]:
    """Read every pair through and leave out what must not reach training.

    Args:
        parts: Pairs of each split.
        left_out: Takes what is left out.
        kept: Takes what is worth knowing about the rest.

    Returns:
        The pairs that stay, by split.
    """
    numbered = [(split, pair) for split, pairs in parts.items() for pair in pairs]
    subjects, usable = [], []
    inspections = integrity.map_in_threads(_inspect, (pair for _, pair in numbered))
    for (split, pair), (blurred, sharp, problem) in zip(numbered, inspections, strict=True):
        if problem is not None:
            left_out.add(problem, pair.name, _detail(blurred, sharp))
            continue
        usable.append((split, pair))
        subjects.append(
            integrity.Subject(
                name=pair.name,
                split=split,
                content=blurred.sha256 + sharp.sha256,
                inspection=sharp,
                scene=pair.scene,
            )
        )
    gone = integrity.find_copies(
        subjects,
        left_out=left_out,
        kept=kept,
        splits=tuple(split for split in _GUARDED_FIRST if split in parts),
        protected=("test",),
    )
    stay = {split: [] for split in parts}
    for index, (split, pair) in enumerate(usable):
        if index not in gone:
            stay[split].append(pair)
    return stay


def _inspect(pair):
    try:
        blurred, sharp = pair.blurred.read(), pair.sharp.read()
    except OSError as error:
        lost = integrity.Inspection(sha256="", bytes=0, problem=str(error))
        return lost, lost, integrity.UNREADABLE
    return integrity.inspect_pair(blurred, sharp)


def _detail(blurred, sharp):
    for side, inspection in (("blurred", blurred), ("sharp", sharp)):
        if inspection.problem is not None:
            return f"{side}: {inspection.problem}"
    return f"{blurred.width}x{blurred.height} and {sharp.width}x{sharp.height}"
