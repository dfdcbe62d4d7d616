"""Measure a restorer: scores of restored pictures beside those of their blurred inputs.

Every number is a pure function of the model, the pictures (see `sets`) and the protocol.

What is compared: a user hands in a file and gets a picture back, so the blurred side is rounded to
8 bits as a file would be, and what comes out of the model is clipped to [0, 1] and not rounded.
"""

import csv
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from keras_refocus.evaluation import models, sets
from keras_refocus.metrics import alignment, fidelity
from keras_refocus.pictures import color
from keras_refocus.restoration import flips, means, tiling
from keras_refocus.system import files

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
    def label(self) -> str:
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

    def cut(self, rgb: np.ndarray, name: str) -> np.ndarray:
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

    def restore(self, model: models.Network, luminance: np.ndarray) -> np.ndarray:
        """Restore luminance of shape `(height, width, 1)` as `pipeline.Restorer` does."""

        def run(piece):
            pictures = piece[np.newaxis]
            return (flips.mean_over_flips(model, pictures) if self.flips else model(pictures))[0]

        if self.tile is None:
            restored = run(luminance)
        else:
            tiles = tiling.Tiles(*luminance.shape[:2], self.tile, self.overlap)
            outputs = (run(tiles.cut(luminance, window, fill=False)) for window in tiles)
            restored = np.concatenate([band for _, band in tiles.blend(outputs)])
        restored = np.clip(restored, 0.0, 1.0)
        means.keep(restored, luminance.__getitem__)
        return restored


METRICS = ("psnr_l", "ssim_l", "psnr_rgb", "ssim_rgb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Scores of one picture against its sharp side.

    Attributes:
        name: Its path relative to the folder of the set.
        height: Rows compared or not, pixels.
        width: Columns.
        before: Dict from a name of `METRICS` to the score of the blurred input.
        after: The same for the restored picture.
    """

    name: str
    height: int
    width: int
    before: dict
    after: dict

    def gain(self, metric: str = "psnr_l") -> float:
        """How much better the restored picture scores than its input."""
        return self.after[metric] - self.before[metric]


def compare(image_true: np.ndarray, image_test: np.ndarray, border: int = 0) -> tuple[float, float]:
    """PSNR in dB and SSIM of one picture, both float32 `(height, width, channels)` in [0, 1]."""
    pair = image_true[np.newaxis], image_test[np.newaxis]
    return (
        float(fidelity.psnr(*pair, border=border)[0]),
        float(fidelity.ssim(*pair, border=border)[0]),
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


def luminance_pair(
    picture_set: sets.PictureSet, index: int, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray]:
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


def score(
    picture_set: sets.PictureSet, model: models.Network, protocol: Protocol, index: int
) -> Score:
    """Restore one picture of a set and score it.

    Args:
        picture_set: `sets.PictureSet`.
        model: Callable of `models.load_restorer`.
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
            for value in compare(truth, picture, protocol.border)
        ]
        scores.append(dict(zip(METRICS, values, strict=True)))
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


def mean(scores: Sequence[Score], metric: str, *, after: bool = True) -> float:
    """Mean over pictures of a metric of the restored pictures, or of their inputs."""
    return float(np.mean([(item.after if after else item.before)[metric] for item in scores]))


def summary(picture_set: sets.PictureSet, scores: Sequence[Score]) -> dict[str, Any]:
    """Everything that is reported of a set, as a JSON-ready dict.

    Args:
        picture_set: `sets.PictureSet`.
        scores: List of its `Score`.

    Returns:
        Dict with the set in words, the means of each metric before and after, and the median, 5th
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
            metric: {
                "input": round(mean(scores, metric, after=False), 4),
                "restored": round(mean(scores, metric), 4),
            }
            for metric in METRICS
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


def as_text(picture_set: sets.PictureSet, scores: Sequence[Score]) -> str:
    """Write the scores of a set as text.

    Sharp photos that are handed in as they are have no input score: what counts there is how
    little they change.
    """
    values = summary(picture_set, scores)
    lines = [values["set"]]
    sharp = picture_set.blur is not None and picture_set.blur.settings is None
    if sharp:
        lines.append(f"  {'output against input':<20}{'mean':>9}{'median':>9}{'5th pct':>9}")
        for metric in METRICS:
            results = np.array([item.after[metric] for item in scores])
            low, middle = np.percentile(results, [5, 50])
            cells = (results.mean(), middle, low)
            digits = 2 if metric.startswith("psnr") else 4
            lines.append(
                f"  {_TITLES[metric]:<20}" + "".join(f"{cell:>9.{digits}f}" for cell in cells)
            )
        return "\n".join(lines)
    lines.append(f"  {'':<10}{'input':>9}{'restored':>10}{'gain':>9}")
    for metric in METRICS:
        before, after = (mean(scores, metric, after=side) for side in (False, True))
        digits = 2 if metric.startswith("psnr") else 4
        lines.append(
            f"  {_TITLES[metric]:<10}{before:>9.{digits}f}{after:>10.{digits}f}"
            f"{after - before:>+9.{digits}f}"
        )
    gains = values["gain_psnr_l"]
    lines.append(
        f"  gain of PSNR L: median {gains['median']:+.2f}, 5th percentile "
        f"{gains['5th percentile']:+.2f}, least {gains['least']:+.2f} dB; "
        f"{values['worse_than_input']} of {len(scores)} pictures came out worse"
    )
    return "\n".join(lines)


def published(name: str, count: int) -> str:
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


def write_csv(
    path: str | os.PathLike, results: Sequence[tuple[sets.PictureSet, Sequence[Score]]]
) -> None:
    """Write one row for each picture.

    Args:
        path: Path of the CSV file.
        results: List of `(PictureSet, list of Score)`.
    """
    with files.replacing(path) as target, target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        sides = [f"{side}_{metric}" for metric in METRICS for side in ("input", "restored")]
        writer.writerow(["set", "name", "height", "width", *sides])
        for picture_set, scores in results:
            for item in scores:
                values = [
                    f"{side[metric]:.4f}"
                    for metric in METRICS
                    for side in (item.before, item.after)
                ]
                writer.writerow([picture_set.label, item.name, item.height, item.width, *values])


# The sheet


def worst_sheet(
    picture_set: sets.PictureSet, scores: Sequence[Score], model: models.Network, protocol: Protocol
) -> Image.Image:
    """Draw the pictures with the least gain: input, restored and sharp, at 100%.

    The part shown of a large picture is where the restored one is furthest from the truth. Where
    pictures are aligned before they are compared, they are shown so.

    Args:
        picture_set: `sets.PictureSet`.
        scores: List of its `Score`, in its order.
        model: Callable of `models.load_restorer`.
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
