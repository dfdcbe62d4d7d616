"""Measure a restorer on pairs, or on photos blurred with a fixed seed.

A set of pictures is a folder and a list of names with SHA-256, so that a figure can be repeated
years later: the list, the seed and the settings of the blur go into a small manifest. Every number
is a pure function of the model, the pictures and the protocol.

What is compared: a user hands in a file and gets a picture back, so the blurred side is rounded to
8 bits as a file would be, and what comes out of the model is clipped to [0, 1] and not rounded.
"""

import csv
import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw

from keras_refocus.blur import exposure
from keras_refocus.data import sampling
from keras_refocus.engines import local as engines
from keras_refocus.metrics import alignment
from keras_refocus.metrics import fidelity as metrics
from keras_refocus.pictures import color
from keras_refocus.restoration import flips, tiling

AVERAGED, BEST = "averaged.keras", "best.keras"
SHARP = "none"  # The blur of a set that is handed in as it is.

_FORMAT = "keras_refocus evaluation set, version 1"
_SHEET_ROWS = 10
_SHEET_SIDE = 320  # Pixels of a picture's part on the sheet, shown at 100%.

# PSNR in dB on RGB of whole pictures, networks trained on GoPro, as their papers print it. The
# numbers of pictures are those of the full test sets.
PUBLISHED = {
    "gopro": (
        1111,
        {
            "DeblurGAN": 28.70,
            "DeblurGAN-v2 (MobileNet)": 28.17,
            "DeblurGAN-v2 (Inception)": 29.55,
            "SRN": 30.26,
            "DMPHN": 31.20,
            "MPRNet": 32.66,
            "NAFNet-w32": 32.87,
            "Restormer": 32.92,
            "NAFNet-w64": 33.71,
            "FFTformer": 34.21,
            "EVSSM": 34.51,
        },
    ),
    "hide": (
        2025,
        {
            "DeblurGAN": 24.51,
            "DeblurGAN-v2 (Inception)": 26.61,
            "SRN": 28.36,
            "DMPHN": 29.09,
            "MPRNet": 30.96,
            "Restormer": 31.22,
            "NAFNet-w64": 31.32,
            "FFTformer": 31.62,
            "EVSSM": 31.99,
        },
    ),
}


# Models


@dataclasses.dataclass(frozen=True)
class Network:
    """A loaded network: called with luminance, it gives what it makes of it.

    Attributes:
        run: Callable from luminance to the network's output, both numpy.
        parameters: Number of its parameters, trained and fixed.
    """

    run: Callable[[np.ndarray], np.ndarray]
    parameters: int

    def __call__(self, luminance):
        """Run the network."""
        return self.run(luminance)


def load_restorer(path=None, *, best=False):
    """Load a restorer from wherever one is kept.

    Args:
        path: Folder of a SavedModel (`saved_models/restorer`, or one version of it), folder of a
            training run, or `.keras` file; `None` takes the restorer that came with the
            installation.
        best: Whether a run's best epoch counts instead of its last.

    Returns:
        Tuple `(restore, name)`: a `Network` from luminance, float32 of shape
        `(1, height, width, 1)` in [0, 1], to the same, not clipped; and the path of what was
        loaded.

    Raises:
        FileNotFoundError: If there is no model.
        ValueError: If it is not a restorer.
    """
    return _load(path, engines.RESTORER, engines.RESTORED, channels=1, best=best)


def load_colorizer(path=None, *, best=False, temperature=None, gain=None, smoothing=None):
    """Load a colorizer; as `load_restorer`, but to chroma of shape `(1, height, width, 2)`.

    `temperature`, `gain` and `smoothing`, see `networks.tune_colors`, are chosen before a run is
    exported.
    """
    tuning = {"temperature": temperature, "gain": gain, "smoothing": smoothing}
    return _load(path, engines.COLORIZER, engines.CHROMA, channels=2, best=best, tuning=tuning)


def _load(path, servable, output, *, channels, best, tuning=None):
    path = engines.find_models() / servable if path is None else pathlib.Path(path)
    version = path if (path / "saved_model.pb").is_file() else engines.newest_version(path)
    if version is not None:
        given = {name: value for name, value in (tuning or {}).items() if value is not None}
        if given:
            raise ValueError(
                f"The colours of a SavedModel are as they were exported. Received: {given} for "
                f"{version}. Name the run that it came from."
            )
        return _saved_model(version, servable, output), version
    file = path / (BEST if best else AVERAGED) if path.is_dir() else path
    if not file.is_file() or file.suffix != ".keras":
        raise FileNotFoundError(
            "A model must be a SavedModel folder, a run folder that has finished an epoch, or a "
            f".keras file. Received: {path}. Check the path."
        )
    return _keras_model(file, servable, channels, tuning or {}), file


def _saved_model(folder, servable, output):
    import tensorflow as tf

    # The object has to outlive its signature, which does not hold its variables.
    model = tf.saved_model.load(str(folder))
    signature = model.signatures.get(engines.DEFAULT_SIGNATURE)
    if signature is None or output not in signature.structured_outputs:
        raise ValueError(
            f"A {servable} must give '{output}' in its signature "
            f"'{engines.DEFAULT_SIGNATURE}'. Received: {folder}. Name a {servable}."
        )

    def run(luminance, _model=model):
        return signature(**{engines.LUMINANCE: tf.constant(luminance)})[output].numpy()

    return Network(run, sum(math.prod(variable.shape) for variable in signature.variables))


def _keras_model(file, servable, channels, tuning):
    import keras

    from keras_refocus import networks

    model = keras.saving.load_model(file, compile=False)
    if model.output_shape[-1] != channels:
        raise ValueError(
            f"A {servable} gives {'one channel' if channels == 1 else 'two channels'}. Received: "
            f"{file}, which gives {model.output_shape[-1]}. Name a {servable}."
        )

    model = networks.tune_colors(model, **tuning)

    def infer(tensor):
        return model(tensor, training=False)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One graph for every size, as in the SavedModel that the run may become.
        spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
        infer = tf.function(infer, input_signature=[spec])

    def run(luminance):
        tensor = keras.ops.convert_to_tensor(luminance)
        return keras.ops.convert_to_numpy(infer(tensor)).astype(np.float32)

    return Network(run, model.count_params())


# Sets of pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One picture of a set.

    Attributes:
        sharp: Its sharp side, a path relative to the folder with forward slashes.
        sharp_sha256: SHA-256 of that file.
        blurred: The blurred side of a pair, or `None` where blur is synthesised.
        blurred_sha256: SHA-256 of that file, or `None`.
    """

    sharp: str
    sharp_sha256: str
    blurred: str | None = None
    blurred_sha256: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blur:
    """Synthetic blur of a set of photos.

    Attributes:
        name: Name it goes by, usually an entry of `exposure.SETTINGS`; `"none"` leaves the photos
            as they are.
        settings: `exposure.ExposureSettings`, or `None` for `"none"`.
        seed: Seed; with a photo's SHA-256 it decides the photo's blur, whatever else is in the set.
        input_psnr: Mean PSNR on luminance of the blurred photos when the manifest was written, by
            which a changed synthesis shows; `None` if that is not known.
    """

    name: str
    settings: exposure.ExposureSettings | None
    seed: int = 0
    input_psnr: float | None = None


def blur(name, *, seed=0):
    """Make the blur of a name.

    Raises:
        ValueError: If it is neither an entry of `exposure.SETTINGS` nor `"none"`.
    """
    if name == SHARP:
        return Blur(name=name, settings=None, seed=seed)
    if name not in exposure.SETTINGS:
        raise ValueError(
            f"`blur` must be one of {', '.join([*exposure.SETTINGS, SHARP])}. "
            f"Received: blur={name!r}."
        )
    return Blur(name=name, settings=exposure.SETTINGS[name], seed=seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Pictures to measure on.

    Attributes:
        folder: Where they are.
        items: Tuple of `Item`.
        blur: `Blur` of photos; `None` for pairs.
    """

    folder: pathlib.Path
    items: tuple
    blur: Blur | None = None

    def __len__(self):
        return len(self.items)

    @property
    def label(self):
        """The set in words."""
        count = f"{len(self)} picture{'s' * (len(self) != 1)}"
        if self.blur is None:
            return f"pairs of '{self.folder.name}', {count}"
        kind = "sharp photos as they are"
        if self.blur.settings is not None:
            kind = f"blur '{self.blur.name}', seed {self.blur.seed}"
        return f"photos of '{self.folder.name}', {count}, {kind}"

    def pair(self, index):
        """Read or synthesise one pair.

        Returns:
            Tuple `(blurred, sharp)` of uint8 arrays of shape `(height, width, 3)`, sRGB.

        Raises:
            ValueError: If a file cannot be read, or the sides differ in size.
        """
        item = self.items[index]
        sharp = read_picture(self.folder / item.sharp)
        if self.blur is None:
            blurred = read_picture(self.folder / item.blurred)
            if blurred.shape != sharp.shape:
                raise ValueError(
                    "The two sides of a pair must have the same size. Received: "
                    f"{item.blurred} with {blurred.shape[:2]} and {item.sharp} with "
                    f"{sharp.shape[:2]} (height, width). Remove or repair the pair."
                )
            return blurred, sharp
        if self.blur.settings is None:
            return sharp, sharp
        rng = np.random.default_rng([self.blur.seed, int(item.sharp_sha256[:16], 16)])
        result = exposure.expose(sharp, self.blur.settings, rng)
        return color.from_float(result.blurred, "uint8"), color.from_float(result.sharp, "uint8")


def read_picture(path):
    """Read a picture of a set as 8-bit RGB.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        return sampling.read_rgb(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Every picture of a set must be readable: a figure over fewer is another figure. "
            f"Received: {path}: {error} Repair or remove it."
        ) from error


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def photo_items(folder):
    """List the photos below a folder as items of a set; see `sampling.list_photos`."""
    folder = pathlib.Path(folder)
    return tuple(
        Item(sharp=path.relative_to(folder).as_posix(), sharp_sha256=_sha256(path))
        for path in sampling.list_photos(folder)
    )


def pair_items(folder):
    """List the pairs below a folder as items of a set; see `sampling.list_pairs`."""
    folder = pathlib.Path(folder)
    return tuple(
        Item(
            sharp=sharp.relative_to(folder).as_posix(),
            sharp_sha256=_sha256(sharp),
            blurred=blurred.relative_to(folder).as_posix(),
            blurred_sha256=_sha256(blurred),
        )
        for blurred, sharp in sampling.list_pairs(folder)
    )


def write_manifest(path, sets, *, input_psnrs):
    """Write what another machine needs to measure on the same pictures.

    Args:
        path: Path of the JSON file.
        sets: List of `PictureSet` over the same items.
        input_psnrs: Mean PSNR on luminance of the input of each set.
    """
    items = [
        {name: value for name, value in dataclasses.asdict(item).items() if value is not None}
        for item in sets[0].items
    ]
    blurs = []
    for picture_set, input_psnr in zip(sets, input_psnrs, strict=True):
        if picture_set.blur is not None:
            blurs.append(
                dataclasses.asdict(picture_set.blur) | {"input_psnr": round(float(input_psnr), 4)}
            )
    # One picture in a line keeps the file small and its differences readable.
    lists = [
        ",\n".join(f"  {json.dumps(entry)}" for entry in entries) for entries in (blurs, items)
    ]
    text = '{{\n "format": {},\n "blurs": [\n{}\n ],\n "items": [\n{}\n ]\n}}\n'.format(
        json.dumps(_FORMAT), *lists
    )
    pathlib.Path(path).write_text(text, encoding="utf-8")


def read_manifest(path, folder):
    """Read the sets of a manifest and check that the folder holds their very pictures.

    Args:
        path: Path of the JSON file.
        folder: Folder of the pictures. What the manifest does not name is left aside.

    Returns:
        List of `PictureSet`.

    Raises:
        FileNotFoundError: If the manifest or a picture is missing.
        ValueError: If it is no manifest, or a picture differs.
    """
    folder = pathlib.Path(folder)
    try:
        values = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise KeyError("format")
        items = tuple(Item(**item) for item in values["items"])
        blurs = []
        for entry in values["blurs"]:
            if entry["settings"] is not None:
                entry["settings"] = exposure.ExposureSettings(**entry["settings"])
            blurs.append(Blur(**entry))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"A manifest must be a file of --write-manifest, of this version. Received: {path} "
            f"({error}). Write it again."
        ) from error
    for item in items:
        sides = [(item.sharp, item.sharp_sha256), (item.blurred, item.blurred_sha256)]
        for name, digest in sides[: 1 if item.blurred is None else 2]:
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"The folder must hold every picture of the manifest. Received: {folder} "
                    f"without {name}. Point at the folder that the manifest was written for."
                )
            if _sha256(folder / name) != digest:
                raise ValueError(
                    "The pictures must be those of the manifest. Received: "
                    f"{folder / name}, whose SHA-256 differs. Restore the file."
                )
    if not blurs:
        return [PictureSet(folder=folder, items=items)]
    return [PictureSet(folder=folder, items=items, blur=entry) for entry in blurs]


# Scores


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """What of a picture is compared, and how the model sees it.

    Attributes:
        crop: Side of the central square that alone is restored and compared, in pixels; `None`
            takes the whole picture.
        border: Pixels left out of the comparison on each side.
        tile: Side of the tiles in which the model sees the picture; `None`: the whole at once.
        overlap: Pixels that neighbouring tiles share.
        flips: Whether the model's answers to the four flips are averaged, as `RestoreOptions.best`
            does.
        align: Whether the input and the restored picture are each brought into line with the sharp
            one before they are compared, see `alignment`; where a side then does not reach is left
            out.
    """

    crop: int | None = None
    border: int = 0
    tile: int | None = None
    overlap: int = tiling.OVERLAP
    flips: bool = False
    align: bool = False

    def __post_init__(self):
        if self.crop is not None and self.crop < 11 + 2 * self.border:
            raise ValueError(
                "`crop` must leave 11 pixels inside the border, the window of SSIM. "
                f"Received: crop={self.crop}, border={self.border}."
            )
        if self.border < 0:
            raise ValueError(f"`border` must not be negative. Received: border={self.border}.")
        if self.tile is not None:
            tiling.Tiles(1, 1, self.tile, self.overlap)  # Checks the two against each other.

    @property
    def label(self):
        """The protocol in words."""
        area = "whole pictures" if self.crop is None else f"the central {self.crop}x{self.crop}"
        seen = "at once"
        if self.tile is not None:
            seen = f"in tiles of {self.tile} that overlap by {self.overlap}"
        if self.flips:
            seen += ", the mean over four flips"
        border = f"{self.border} pixels of border left out" if self.border else "no border left out"
        aligned = ", aligned with the sharp side" if self.align else ""
        return f"{area}, restored {seen}, {border}{aligned}"

    def cut(self, rgb, name):
        """Cut out what is restored and compared."""
        if self.crop is None:
            return rgb
        height, width = rgb.shape[:2]
        if min(height, width) < self.crop:
            raise ValueError(
                f"Every picture must hold the crop. Received: crop={self.crop} and {name} with "
                f"{(height, width)} (height, width). Choose a smaller crop, or none."
            )
        top, left = (height - self.crop) // 2, (width - self.crop) // 2
        return rgb[top : top + self.crop, left : left + self.crop]

    def restore(self, model, luminance):
        """Restore luminance of shape `(height, width, 1)`; clipped to [0, 1]."""

        def run(piece):
            pictures = piece[np.newaxis]
            return (flips.mean_over_flips(model, pictures) if self.flips else model(pictures))[0]

        if self.tile is None:
            restored = run(luminance)
        else:
            tiles = tiling.Tiles(*luminance.shape[:2], self.tile, self.overlap)
            outputs = (run(tiles.cut(luminance, window, fill=False)) for window in tiles)
            restored = np.concatenate([band for _, band in tiles.blend(outputs)])
        return np.clip(restored, 0.0, 1.0)


MEASURES = ("psnr_l", "ssim_l", "psnr_rgb", "ssim_rgb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Scores of one picture against its sharp side.

    Attributes:
        name: Its path relative to the folder of the set.
        height: Rows compared or not, pixels.
        width: Columns.
        before: Dict from a name of `MEASURES` to the score of the blurred input.
        after: The same for the restored picture.
    """

    name: str
    height: int
    width: int
    before: dict
    after: dict

    def gain(self, measure="psnr_l"):
        """How much better the restored picture scores than its input."""
        return self.after[measure] - self.before[measure]


def compare(picture, sharp, border=0):
    """PSNR in dB and SSIM of one picture, both float32 `(height, width, channels)` in [0, 1]."""
    pair = picture[np.newaxis], sharp[np.newaxis]
    return (
        float(metrics.psnr(*pair, border=border)[0]),
        float(metrics.ssim(*pair, border=border)[0]),
    )


def _cut_pair(picture_set, index, protocol):
    """What is compared of a picture, blurred and sharp, as 8-bit RGB."""
    name = picture_set.items[index].sharp
    blurred, sharp = (protocol.cut(rgb, name) for rgb in picture_set.pair(index))
    if min(sharp.shape[:2]) < 11 + 2 * protocol.border:
        raise ValueError(
            "Every picture must leave 11 pixels inside the border, the window of SSIM. Received: "
            f"{name} with {sharp.shape[:2]} (height, width), border={protocol.border}. Remove it."
        )
    return blurred, sharp


def luminance_pair(picture_set, index, protocol):
    """Read the luminance of what is compared of a picture, and nothing else.

    Returns:
        Tuple `(blurred, sharp)` of float32 arrays of shape `(height, width, 1)` in [0, 1].

    Raises:
        ValueError: If the picture cannot be read or is smaller than the protocol needs.
    """
    blurred, sharp = _cut_pair(picture_set, index, protocol)
    return color.rgb_to_luminance(blurred), color.rgb_to_luminance(sharp)


def _restored_pair(picture_set, index, model, protocol):
    """Sides of a picture as `(luminance, rgb)` pairs: blurred, restored, sharp."""
    blurred, sharp = _cut_pair(picture_set, index, protocol)
    luminance, chroma = color.rgb_to_lab(blurred)
    restored = protocol.restore(model, luminance)
    return (
        (luminance, color.to_float(blurred)),
        (restored, color.recompose(restored, chroma)),
        (color.rgb_to_luminance(sharp), color.to_float(sharp)),
    )


def score(picture_set, model, protocol, index):
    """Restore one picture of a set and score it.

    Args:
        picture_set: `PictureSet`.
        model: Callable of `load_restorer`.
        protocol: `Protocol`.
        index: Number of the picture in the set.

    Returns:
        `Score`.

    Raises:
        ValueError: If the picture cannot be read or is smaller than the protocol needs.
    """
    blurred, restored, sharp = _restored_pair(picture_set, index, model, protocol)
    scores = []
    for side in (blurred, restored):
        truths = sharp
        if protocol.align:
            side, truths = _aligned(side, sharp, picture_set.items[index].sharp, protocol)
        values = [
            value
            for picture, truth in zip(side, truths, strict=True)
            for value in compare(picture, truth, protocol.border)
        ]
        scores.append(dict(zip(MEASURES, values, strict=True)))
    height, width = sharp[0].shape[:2]
    return Score(
        name=picture_set.items[index].sharp,
        height=height,
        width=width,
        before=scores[0],
        after=scores[1],
    )


def _aligned(side, sharp, name, protocol):
    """Luminance and RGB of a side, aligned by luminance, and what they cover of the sharp side."""
    matrix = alignment.homography(side[0], sharp[0])
    window = alignment.covered(sharp[0].shape[:2], matrix)
    truths = tuple(truth[window] for truth in sharp)
    if min(truths[0].shape[:2]) < 11 + 2 * protocol.border:
        raise ValueError(
            "An aligned picture must leave 11 pixels inside the border, the window of SSIM. "
            f"Received: {name}, of which {truths[0].shape[:2]} (height, width) remain, "
            f"border={protocol.border}. Measure it without alignment."
        )
    return tuple(np.clip(alignment.warp(part, matrix), 0.0, 1.0)[window] for part in side), truths


def mean(scores, measure, *, after=True):
    """Mean over pictures of a measure of the restored pictures, or of their inputs."""
    return float(np.mean([(item.after if after else item.before)[measure] for item in scores]))


def summary(picture_set, scores):
    """Everything that is reported of a set, as a JSON-ready dict.

    Args:
        picture_set: `PictureSet`.
        scores: List of its `Score`.

    Returns:
        Dict with the set in words, the means of each measure before and after, and the median, 5th
        percentile and least of the PSNR on luminance and of its gain.
    """
    after = np.array([item.after["psnr_l"] for item in scores])
    gains = np.array([item.gain() for item in scores])

    def spread(values):
        low, middle = np.percentile(values, [5, 50])
        return {
            "median": round(float(middle), 4),
            "5th percentile": round(float(low), 4),
            "least": round(float(values.min()), 4),
        }

    return {
        "set": picture_set.label,
        "pictures": len(scores),
        "means": {
            measure: {
                "input": round(mean(scores, measure, after=False), 4),
                "restored": round(mean(scores, measure), 4),
            }
            for measure in MEASURES
        },
        "restored_psnr_l": spread(after),
        "gain_psnr_l": spread(gains),
        "worse_than_input": int((gains < 0).sum()),
    }


_TITLES = {
    "psnr_l": "PSNR L",
    "ssim_l": "SSIM L",
    "psnr_rgb": "PSNR RGB",
    "ssim_rgb": "SSIM RGB",
}

DEFINITIONS = (
    "PSNR in dB and SSIM of each picture, then the mean over pictures. L is CIELAB L*/100, RGB is "
    "sRGB, both in [0, 1]. SSIM: Gaussian window 11x11, sigma 1.5, K1 0.01, K2 0.03, windows "
    "inside the picture. Inputs are 8-bit; outputs are clipped to [0, 1], not rounded. RGB results "
    "are restored L with the input's own a* and b*, chroma reduced where it leaves sRGB."
)


def table(picture_set, scores):
    """Write the scores of a set as text.

    Sharp photos that are handed in as they are have no input score: what counts there is how
    little they change.
    """
    values = summary(picture_set, scores)
    lines = [values["set"]]
    sharp = picture_set.blur is not None and picture_set.blur.settings is None
    if sharp:
        lines.append(f"  {'output against input':<20}{'mean':>9}{'median':>9}{'5th pct':>9}")
        for measure in MEASURES:
            results = np.array([item.after[measure] for item in scores])
            low, middle = np.percentile(results, [5, 50])
            cells = (results.mean(), middle, low)
            digits = 2 if measure.startswith("psnr") else 4
            lines.append(
                f"  {_TITLES[measure]:<20}" + "".join(f"{cell:>9.{digits}f}" for cell in cells)
            )
        return "\n".join(lines)
    lines.append(f"  {'':<10}{'input':>9}{'restored':>10}{'gain':>9}")
    for measure in MEASURES:
        before, after = (mean(scores, measure, after=side) for side in (False, True))
        digits = 2 if measure.startswith("psnr") else 4
        lines.append(
            f"  {_TITLES[measure]:<10}{before:>9.{digits}f}{after:>10.{digits}f}"
            f"{after - before:>+9.{digits}f}"
        )
    gains = values["gain_psnr_l"]
    lines.append(
        f"  gain of PSNR L: median {gains['median']:+.2f}, 5th percentile "
        f"{gains['5th percentile']:+.2f}, least {gains['least']:+.2f} dB; "
        f"{values['worse_than_input']} of {len(scores)} pictures came out worse"
    )
    return "\n".join(lines)


def published(name, count):
    """Write the papers' figures for a named set as text.

    Args:
        name: Key of `PUBLISHED`.
        count: Number of pictures that were measured here.
    """
    total, figures = PUBLISHED[name]
    lines = [f"papers, {name} test set, {total} whole pictures, trained on GoPro: PSNR RGB"]
    lines += [f"  {network:<26}{value:>6.2f}" for network, value in figures.items()]
    if count != total:
        lines.append(
            f"  not comparable: {count} pictures were measured here, the test set has {total}"
        )
    return "\n".join(lines)


def write_csv(path, results):
    """Write one row for each picture.

    Args:
        path: Path of the CSV file.
        results: List of `(PictureSet, list of Score)`.
    """
    with pathlib.Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        sides = [f"{side}_{measure}" for measure in MEASURES for side in ("input", "restored")]
        writer.writerow(["set", "name", "height", "width", *sides])
        for picture_set, scores in results:
            for item in scores:
                values = [
                    f"{side[measure]:.4f}"
                    for measure in MEASURES
                    for side in (item.before, item.after)
                ]
                writer.writerow([picture_set.label, item.name, item.height, item.width, *values])


# The sheet


def worst_sheet(picture_set, scores, model, protocol):
    """Draw the pictures with the least gain: input, restored and sharp, at 100%.

    The part shown of a large picture is where the restored one is furthest from the truth. Where
    pictures are aligned before they are compared, they are shown so.

    Args:
        picture_set: `PictureSet`.
        scores: List of its `Score`, in its order.
        model: Callable of `load_restorer`.
        protocol: `Protocol`.

    Returns:
        `PIL.Image.Image`.
    """
    order = sorted(range(len(scores)), key=lambda index: (scores[index].gain(), index))
    rows = []
    for index in order[:_SHEET_ROWS]:
        sides = _restored_pair(picture_set, index, model, protocol)
        sides = _in_line(sides) if protocol.align else [rgb for _, rgb in sides]
        window = _worst_window(np.square(sides[1] - sides[2]).mean(axis=2))
        item = scores[index]
        caption = (
            f"{item.name}   {item.before['psnr_l']:.2f} -> {item.after['psnr_l']:.2f} dB, SSIM "
            f"{item.before['ssim_l']:.3f} -> {item.after['ssim_l']:.3f} (input, restored, sharp)"
        )
        rows.append((caption, [color.from_float(side[window], "uint8") for side in sides]))
    height = sum(24 + parts[0].shape[0] for _, parts in rows)
    sheet = Image.new("RGB", (3 * _SHEET_SIDE + 16, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for caption, parts in rows:
        draw.text((4, top + 6), caption, fill="black")
        for column, part in enumerate(parts):
            sheet.paste(Image.fromarray(part), (column * (_SHEET_SIDE + 8), top + 24))
        top += 24 + parts[0].shape[0]
    return sheet


def _in_line(sides):
    """RGB of blurred, restored and sharp side, aligned with the last, where all of them reach."""
    *others, (truth, sharp) = sides
    shape = truth.shape[:2]
    matrices = [alignment.homography(luminance, truth) for luminance, _ in others]
    reached = [alignment.covered(shape, matrix) for matrix in matrices]
    window = []
    for axis, length in enumerate(shape):
        starts, stops, _ = zip(*(part[axis].indices(length) for part in reached), strict=True)
        window.append(slice(max(starts), min(stops)))
    pictures = [
        np.clip(alignment.warp(rgb, matrix), 0.0, 1.0)
        for (_, rgb), matrix in zip(others, matrices, strict=True)
    ]
    return [rgb[tuple(window)] for rgb in (*pictures, sharp)]


def _worst_window(errors):
    """Slices of the square with the largest mean error."""
    height, width = (min(_SHEET_SIDE, side) for side in errors.shape)
    means = cv2.boxFilter(errors, -1, (width, height), anchor=(0, 0))
    valid = means[: errors.shape[0] - height + 1, : errors.shape[1] - width + 1]
    top, left = np.unravel_index(int(valid.argmax()), valid.shape)
    return np.s_[top : top + height, left : left + width]


def relative(path):
    """A path as it may be printed and kept: relative to the working folder where it can be."""
    path = pathlib.Path(path)
    try:
        return path.resolve().relative_to(pathlib.Path.cwd()).as_posix()
    except ValueError:
        return os.fspath(path)
