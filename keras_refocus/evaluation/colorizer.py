"""Measure a colorizer: colour photos are made grey, coloured, and compared with what they were.

A user hands in a file and gets one back, so the grey side is a picture of 8 bits, the colours take
the way of `pipeline` (working size, guided enlargement, reduction to the gamut), and the result is
rounded to 8 bits. Every number is a pure function of the model, the photos and the protocol.

No metric knows what is believable: the best possible guess of a red car that was blue scores below
a grey one. Read the figures together, and look at the sheet.
"""

import csv
import dataclasses
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from keras_refocus.evaluation import models, sets
from keras_refocus.metrics import fidelity, perceptual
from keras_refocus.pictures import aging, color
from keras_refocus.restoration import chroma, hints
from keras_refocus.restoration.chroma import WORKING_SIZE
from keras_refocus.system import files

_WORST = 10
_SHEET_SIDE = 224  # Pixels of the longer side of a picture on the sheet.
_SHEET_COLUMNS = 2
# A surface is plain where chroma deviates by less, in CIELAB units, over windows whose side is this
# part of the picture's shorter one.
_PLAIN = 3.0
_WINDOW_PART = 8

DEFINITIONS = (
    "Photos are made grey (CIELAB L alone, 8 bits), coloured, and compared in 8 bits with what "
    "they were. Colourfulness: Hasler and Suesstrunk 2003, RGB in 0..255. Chroma error: mean "
    "Euclidean distance in the a*b* plane, CIELAB units. PSNR in dB over R, G and B, SSIM their "
    "mean (Gaussian window 11x11, sigma 1.5). Unevenness, of blobs: standard deviation of the "
    "chroma in windows of an eighth of the shorter side, CIELAB units, where the photo's own is "
    "under 3. Means over pictures."
)
HINT_DEFINITION = (
    "Simulated user (Zhang et al. 2017): points drawn evenly over the picture, at each a colour, "
    "the mean of the photo's own chroma over 7x7 of the 256x256 that the model sees."
)
# Numbers of hints of the curve, as far as asked for.
_HINT_COUNTS = (1, 5, 20, 100)
_PATCH = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the model sees a picture, and what becomes of its colours.

    Attributes:
        size: Side in pixels of the square that the model sees.
        saturation: Factor on the chroma.
        mirror: Whether the chroma is the mean over the picture and its mirror image.
        frame: Width of the white frame that the grey picture is put into, as a part of its sides.
            What lies in it is compared.
        old_prints: Seed of old prints (`pictures.aging`, but for their borders) that are coloured
            instead of the grey pictures; their chroma is put on the photo's own luminance. `None`:
            grey pictures.
        hints: Largest number of hints of the simulated user; 0: none.
    """

    size: int = WORKING_SIZE
    saturation: float = 1.0
    mirror: bool = False
    frame: float = 0.0
    old_prints: int | None = None
    hints: int = 0

    def __post_init__(self):
        if self.size < 1 or self.saturation < 0:
            raise ValueError(
                "`size` must be at least 1 and `saturation` at least 0. "
                f"Received: size={self.size}, saturation={self.saturation}."
            )
        if not 0 <= self.frame <= 1 or self.hints < 0:
            raise ValueError(
                "`frame` must be in [0, 1] and `hints` at least 0. "
                f"Received: frame={self.frame}, hints={self.hints}."
            )
        if self.hints and self.frame:
            raise ValueError(
                "Hints are given to the picture without a frame. "
                f"Received: frame={self.frame}, hints={self.hints}. Leave one out."
            )

    @property
    def hint_counts(self) -> list[int]:
        """Numbers of hints that are measured, ascending."""
        return sorted({count for count in _HINT_COUNTS if count <= self.hints} | {self.hints} - {0})

    @property
    def label(self) -> str:
        """The protocol in words."""
        parts = [f"seen at {self.size}x{self.size}, saturation {self.saturation:g}"]
        if self.mirror:
            parts.append("mean over the mirror image")
        if self.frame:
            parts.append(f"in a white frame of {100 * self.frame:g}%")
        if self.old_prints is not None:
            parts.append(
                f"made to look old (seed {self.old_prints}), chroma put on the photo's luminance"
            )
        if self.hints:
            parts.append(f"up to {self.hints} hints")
        return ", ".join(parts)


def make_gray(rgb: np.ndarray) -> np.ndarray:
    """Take the colours out of a picture, keeping its lightness.

    Args:
        rgb: uint8 array of shape `(height, width, 3)`.

    Returns:
        uint8 array of the same shape.
    """
    luminance = color.rgb_to_luminance(rgb)
    nothing = np.zeros((*luminance.shape[:2], 2), "float32")
    gray = color.from_float(color.lab_to_rgb(luminance, nothing), "uint8")
    # Of a colour without chroma one channel may round up where another rounds down.
    return np.repeat(gray[..., 1:2], 3, axis=-1)


def make_old(rgb: np.ndarray, protocol: Protocol, name: str) -> np.ndarray:
    """Make the old print of a photo, without a border, as a grey picture.

    Args:
        rgb: uint8 array of shape `(height, width, 3)`.
        protocol: `Protocol`, whose seed counts.
        name: Name of the photo: each has a print of its own.

    Returns:
        uint8 array of the same shape.
    """
    rng = np.random.default_rng([protocol.old_prints, *name.encode()])
    luminance = aging.age(rgb, rng, aging.Aging(border=0.0))
    gray = color.from_float(color.luminance_to_gray(luminance), "uint8")
    return np.repeat(gray, 3, axis=-1)


def guided(model: models.Network, gray: np.ndarray, protocol: Protocol) -> chroma.GuidedChroma:
    """Guess the chroma of a grey picture as the pipeline does.

    Args:
        model: Callable of `models.load_colorizer`.
        gray: uint8 array of shape `(height, width, 3)`.
        protocol: `Protocol`.

    Returns:
        `GuidedChroma` of the picture, or of the part of the framed one that it is.
    """
    height, width = gray.shape[:2]
    top, left = (round(protocol.frame * side) for side in (height, width))
    framed = np.pad(gray, ((top, top), (left, left), (0, 0)), constant_values=255)
    luminance = color.rgb_to_luminance(framed)

    def see(small):
        found = model(small[np.newaxis])[0]
        if protocol.mirror:
            found = 0.5 * (found + model(small[np.newaxis, :, ::-1])[0][:, ::-1])
        return found

    whole = chroma.guess(luminance, see, size=protocol.size)
    return whole.part(slice(top, top + height), slice(left, left + width))


def put_on(
    guess: chroma.GuidedChroma,
    gray: np.ndarray,
    protocol: Protocol,
    *,
    onto: np.ndarray | None = None,
) -> np.ndarray:
    """Colour a grey picture with chroma that was guessed for it.

    Args:
        guess: `GuidedChroma` of it.
        gray: uint8 array of shape `(height, width, 3)`.
        protocol: `Protocol`.
        onto: Grey picture whose luminance the result has; `None`: `gray`.

    Returns:
        uint8 array of the same shape.
    """
    luminance = color.rgb_to_luminance(gray)
    found = guess.rows(0, luminance) * np.float32(protocol.saturation)
    if onto is not None:
        luminance = color.rgb_to_luminance(onto)
    return color.from_float(color.recompose(luminance, found), "uint8")


def colorize(model: models.Network, gray: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Colour a grey picture as the pipeline does.

    Args:
        model: Callable of `models.load_colorizer`.
        gray: uint8 array of shape `(height, width, 3)`.
        protocol: `Protocol`.

    Returns:
        uint8 array of the same shape.
    """
    return put_on(guided(model, gray, protocol), gray, protocol)


def simulated_hints(
    true_chroma: np.ndarray, count: int, rng: np.random.Generator
) -> hints.ColorHints:
    """Let a user who knows the photo give hints, as Zhang et al. 2017 do.

    Args:
        true_chroma: Chroma of the photo, float32 of shape `(height, width, 2)`.
        count: How many.
        rng: NumPy random generator.

    Returns:
        `ColorHints` in pixels of the photo. Of a colour the chroma counts, so each has the
        lightness at which sRGB holds it best, one half.
    """
    height, width = true_chroma.shape[:2]
    small = cv2.resize(true_chroma, (WORKING_SIZE, WORKING_SIZE), interpolation=cv2.INTER_AREA)
    small = cv2.blur(small, (_PATCH, _PATCH))
    places = rng.integers(0, WORKING_SIZE, (count, 2))
    luminance = np.full((count, 1), 0.5, "float32")
    colors = color.recompose(luminance, small[places[:, 1], places[:, 0]])
    scale = np.array([width, height]) / WORKING_SIZE
    return hints.ColorHints(
        tuple(
            hints.Hint(tuple(int(part) for part in rgb), (tuple((place + 0.5) * scale),))
            for rgb, place in zip(color.from_float(colors, "uint8"), places, strict=True)
        )
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Scores of one photo.

    Attributes:
        name: Its path relative to the folder of the set.
        values: Dict from metric to score: `colorfulness` and `true_colorfulness`; `unevenness` and
            `true_unevenness`, NaN where a photo has no plain surface; `chroma_error`,
            `psnr`, `ssim`, and each with `gray_` before it for the grey picture; `lpips` and
            `gray_lpips` if its weights are there; `hints_20_chroma_error` and `hints_20_psnr` with
            20 hints, and so for each number of them.
        features: Dict of features for FID: `"result"`, `"true"` and `"gray"`; empty without it.
    """

    name: str
    values: dict
    features: dict


def unevenness(chroma: np.ndarray, true_chroma: np.ndarray) -> tuple[float, float]:
    """How much chroma varies over surfaces that are plain in truth: what blobs are made of.

    Args:
        chroma: float array of shape `(height, width, 2)`, a* / 110 and b* / 110.
        true_chroma: The same of the photo.

    Returns:
        Standard deviation of the chroma in square windows, in CIELAB units, mean over the places
        where the photo's own is under 3; and the mean of the photo's own there. NaN, NaN if there
        is no such place.
    """
    given, true = (_local_deviation(plane) for plane in (chroma, true_chroma))
    plain = true < _PLAIN
    if not plain.any():
        return math.nan, math.nan
    return float(given[plain].mean()), float(true[plain].mean())


def _local_deviation(chroma):
    chroma = np.asarray(chroma, "float64") * color.LAB_PER_CHROMA
    side = max(min(chroma.shape[:2]) // _WINDOW_PART, 1)
    mean = cv2.blur(chroma, (side, side))
    variance = cv2.blur(chroma * chroma, (side, side)) - mean * mean
    return np.sqrt(np.maximum(variance.sum(axis=-1), 0.0))


def score(
    path: str | os.PathLike,
    name: str,
    model: models.Network,
    protocol: Protocol,
    *,
    lpips: Any = None,
    inception: Any = None,
) -> Score:
    """Colour one photo and score it.

    Args:
        path: Path of the photo.
        name: What to call it.
        model: Callable of `models.load_colorizer`.
        protocol: `Protocol`.
        lpips: `perceptual.LPIPS`, or `None`.
        inception: `perceptual.InceptionFeatures`, or `None`.

    Returns:
        `Score`.

    Raises:
        ValueError: If the photo cannot be read or has a side of under 11 pixels.
    """
    true = sets.read_picture(path)
    if min(true.shape[:2]) < 11:
        raise ValueError(
            "Every photo must have sides of 11 pixels or more, the window of SSIM. Received: "
            f"{name} with {true.shape[:2]} (height, width). Remove it."
        )
    gray = seen = make_gray(true)
    if protocol.old_prints is not None:
        seen = make_old(true, protocol, name)
    guess = guided(model, seen, protocol)
    result = put_on(guess, seen, protocol, onto=gray)
    values = {
        name: float(fidelity.colorfulness(color.to_float(picture)[np.newaxis])[0])
        for name, picture in (("colorfulness", result), ("true_colorfulness", true))
    }
    _, true_chroma = color.rgb_to_lab(true)
    for prefix, picture in (("", result), ("gray_", gray)):
        found = color.rgb_to_lab(picture)[1]
        pair = color.to_float(true)[np.newaxis], color.to_float(picture)[np.newaxis]
        if not prefix:
            uneven = unevenness(found, true_chroma)
            values |= dict(zip(("unevenness", "true_unevenness"), uneven, strict=True))
        values |= {
            f"{prefix}chroma_error": float(
                fidelity.chroma_error(true_chroma[None], found[None])[0]
            ),
            f"{prefix}psnr": float(fidelity.psnr(*pair)[0]),
            f"{prefix}ssim": float(fidelity.ssim(*pair)[0]),
        }
        if lpips is not None:
            values[f"{prefix}lpips"] = lpips(picture, true)
    for count in protocol.hint_counts:
        rng = np.random.default_rng([count, *name.encode()])
        corrected = guess.hinted(simulated_hints(true_chroma, count, rng))
        picture = put_on(corrected, seen, protocol, onto=gray)
        found = color.rgb_to_lab(picture)[1]
        pair = color.to_float(true)[np.newaxis], color.to_float(picture)[np.newaxis]
        values[f"hints_{count}_chroma_error"] = float(
            fidelity.chroma_error(true_chroma[None], found[None])[0]
        )
        values[f"hints_{count}_psnr"] = float(fidelity.psnr(*pair)[0])
    features = {}
    if inception is not None:
        pictures = {"result": result, "true": true, "gray": gray}
        features = {side: inception(picture) for side, picture in pictures.items()}
    return Score(name=name, values=values, features=features)


def mean(scores: Sequence[Score], metric: str) -> float:
    """Mean of a metric over the pictures that have it; NaN if none has."""
    values = [item.values[metric] for item in scores]
    values = [value for value in values if not math.isnan(value)]
    return float(np.mean(values)) if values else math.nan


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    """Everything that is reported of a set, as a JSON-ready dict.

    Args:
        scores: List of `Score`.

    Returns:
        Dict with the means of all measures; the mean colourfulness as a share of the photos' and
        their difference; the mean chroma error as a share of the grey pictures'; on how many photos
        the colours are further from the truth than grey; and FID if there are features.
    """
    means = {metric: round(mean(scores, metric), 4) for metric in scores[0].values}
    # JSON has no NaN.
    means = {metric: None if math.isnan(value) else value for metric, value in means.items()}
    worse = [item.values["chroma_error"] > item.values["gray_chroma_error"] for item in scores]
    true = means["true_colorfulness"]
    report = {
        "pictures": len(scores),
        "means": means,
        "colorfulness_share": round(means["colorfulness"] / true, 4) if true else None,
        "colorfulness_difference": round(means["colorfulness"] - true, 4),
        # Table 1 of DDColor (Kang et al. 2023): delta colourfulness.
        "delta_colorfulness": round(abs(means["colorfulness"] - true), 4),
        "chroma_error_share": round(means["chroma_error"] / means["gray_chroma_error"], 4)
        if means["gray_chroma_error"]
        else None,
        "further_than_grey": int(sum(worse)),
    }
    if scores[0].features and len(scores) > 1:
        sides = {
            side: np.stack([item.features[side] for item in scores]) for side in scores[0].features
        }
        for side, name in (("result", "fid"), ("gray", "gray_fid")):
            distance = perceptual.frechet_distance(sides[side], sides["true"])
            report[name] = round(distance, 4)
    return report


def as_text(scores: Sequence[Score]) -> str:
    """Write the scores of a set as text."""
    values = summary(scores)
    means = values["means"]

    def row(title, metric, digits, *, true=""):
        cells = [means[metric], means[f"gray_{metric}"]]
        return f"  {title:<24}" + "".join(f"{cell:>9.{digits}f}" for cell in cells) + true

    share, error = values["colorfulness_share"], values["chroma_error_share"]
    lines = [
        f"{values['pictures']} photos",
        f"  {'':<24}{'coloured':>9}{'grey':>9}{'photo':>9}",
        f"  {'colourfulness':<24}{means['colorfulness']:>9.2f}{0:>9.2f}"
        f"{means['true_colorfulness']:>9.2f}",
        row("chroma error", "chroma_error", 2),
        row("PSNR RGB", "psnr", 2),
        row("SSIM RGB", "ssim", 4),
    ]
    if means["unevenness"] is not None:
        lines.append(
            f"  {'unevenness, plain places':<24}{means['unevenness']:>9.2f}{0:>9.2f}"
            f"{means['true_unevenness']:>9.2f}"
        )
    if "lpips" in means:
        lines.append(row("LPIPS", "lpips", 4))
    if "fid" in values:
        lines.append(f"  {'FID':<24}{values['fid']:>9.2f}{values['gray_fid']:>9.2f}")
    if share is not None and error is not None:
        lines += [
            f"  colourfulness {100 * share:.1f}% of the photos', difference "
            f"{values['colorfulness_difference']:+.2f} (delta of DDColor "
            f"{values['delta_colorfulness']:.2f})",
            f"  chroma error {100 * error:.1f}% of the all-grey answer's; further from the truth "
            f"than grey on {values['further_than_grey']} of {len(scores)}",
        ]
    for name in means:
        if name.startswith("hints_") and name.endswith("_psnr"):
            count = int(name.split("_")[1])
            error = means[f"hints_{count}_chroma_error"]
            less = 1.0 - error / means["chroma_error"] if means["chroma_error"] else 0.0
            lines.append(
                f"  {count:>4} hint{'s' if count > 1 else ' '}: chroma error {error:.2f}, "
                f"{100 * less:.1f}% less than without; PSNR RGB {means[name]:.2f}"
            )
    return "\n".join(lines)


def write_csv(path: str | os.PathLike, scores: Sequence[Score]) -> None:
    """Write one row for each picture."""
    with files.replacing(path) as target, target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *scores[0].values])
        for item in scores:
            writer.writerow([item.name, *(f"{value:.4f}" for value in item.values.values())])


def chosen_for_sheet(scores: Sequence[Score], count: int) -> tuple[list[int], list[int]]:
    """Numbers of the pictures for the sheet: the worst ten, then others evenly over the list.

    Worst are those whose colours are furthest from the truth, compared with grey.
    """

    def harm(index):
        values = scores[index].values
        return values["gray_chroma_error"] - values["chroma_error"], index

    worst = sorted(range(len(scores)), key=harm)[: min(_WORST, count)]
    others = [index for index in range(len(scores)) if index not in worst]
    wanted = min(count - len(worst), len(others))
    places = np.linspace(0, len(others) - 1, wanted).round().astype(int)
    return worst, [others[place] for place in places]


def sheet(
    folder: pathlib.Path,
    scores: Sequence[Score],
    model: models.Network,
    protocol: Protocol,
    *,
    count: int = 30,
) -> Image.Image:
    """Draw grey, coloured and true pictures: the worst ten, then others.

    Args:
        folder: Folder of the set.
        scores: List of `Score`, in the order of the set.
        model: Callable of `models.load_colorizer`.
        protocol: `Protocol`.
        count: Number of pictures.

    Returns:
        `PIL.Image.Image`.
    """
    worst, others = chosen_for_sheet(scores, count)
    rows = []
    for index in (*worst, *others):
        item = scores[index]
        true = sets.read_picture(pathlib.Path(folder) / item.name)
        gray = make_gray(true)
        if protocol.old_prints is not None:
            gray = make_old(true, protocol, item.name)
        parts = [_thumbnail(part) for part in (gray, colorize(model, gray, protocol), true)]
        values = item.values
        caption = (
            f"{'WORST ' if index in worst else ''}{item.name}   chroma error "
            f"{values['chroma_error']:.1f} (grey {values['gray_chroma_error']:.1f}), colourfulness "
            f"{values['colorfulness']:.0f} of {values['true_colorfulness']:.0f}"
        )
        rows.append((caption, parts))
    height = 22 + _SHEET_SIDE + 8
    width = 3 * (_SHEET_SIDE + 4) + 16
    lines = -(-len(rows) // _SHEET_COLUMNS)
    page = Image.new("RGB", (_SHEET_COLUMNS * width, lines * height), "white")
    draw = ImageDraw.Draw(page)
    for number, (caption, parts) in enumerate(rows):
        left, top = (number % _SHEET_COLUMNS) * width, (number // _SHEET_COLUMNS) * height
        draw.text((left + 4, top + 6), caption[:110], fill="black")
        for column, part in enumerate(parts):
            corner = (left + 4 + column * (_SHEET_SIDE + 4), top + 22)
            page.paste(Image.fromarray(part), corner)
    return page


def _thumbnail(rgb):
    height, width = rgb.shape[:2]
    factor = min(1.0, _SHEET_SIDE / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
