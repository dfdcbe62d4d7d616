"""Measure how often `grayscale.is_grayscale` is wrong, on photos and their grey versions.

    refocus evaluate grayscale PHOTOS --count 1000

Each photo is judged as it is, and once more in each of these versions, every one saved as JPEG of
a random quality from 60 to 95, with or without chroma subsampling:

* `color`: as it is;
* `object`: grey but for one coloured disc of 0.5% of the area;
* `grey`: its luma in three equal channels;
* `noise`: grey with independent noise in each channel, as a scan has it;
* `sepia`: grey through the usual sepia matrix;
* `tint`: grey from a dark tone to a light one, both of one random hue;
* `faded`: a faded colour print, a quarter to a half of the chroma left, under a cast;
* `tinted`: grey but for a few soft patches of colour, as prints were tinted by hand;
* `framed`: as it is, on white paper;
* `paper`: sepia on white paper;
* `stamp`: sepia with a small stamp of red, blue or violet ink;
* `scan`: tinted, yellowed unevenly, with the noise of a scan in each channel.

The photo itself, `color`, `object`, `faded`, `tinted` and `framed` must be judged coloured, the
others grey. Photos that are toned
prints themselves are counted as wrong where they are judged so: the names that are printed are for
looking at.

About 0.1 seconds a photo.
"""

import io
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from keras_refocus.pictures import catalogue, color, grayscale, images

COLORED = ("original", "color", "object", "faded", "tinted", "framed")
GRAY = ("grey", "noise", "sepia", "tint", "paper", "stamp", "scan")

_SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])


def versions(rgb: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Make the versions of a photo, before compression.

    Args:
        rgb: Array of shape `(height, width, 3)`, uint8 sRGB.
        rng: NumPy random generator.

    Returns:
        Dict from the names of `COLORED` and `GRAY`, but `"original"`, to arrays like `rgb`.
    """
    luma = np.asarray(Image.fromarray(rgb).convert("L"))
    gray = np.repeat(luma[..., np.newaxis], 3, axis=-1)
    noise = rng.normal(0.0, rng.uniform(1.0, 6.0), gray.shape)
    return {
        "color": rgb,
        "object": _with_object(gray, rng),
        "grey": gray,
        "noise": _to_uint8(gray + noise),
        "sepia": _to_uint8(gray @ _SEPIA.T),
        "tint": _tinted(gray, rng),
    } | _old_versions(rgb, gray, rng.spawn(1)[0])


def _old_versions(rgb, gray, rng):
    sepia = _to_uint8(gray @ _SEPIA.T)
    return {
        "faded": _faded(rgb, rng),
        "tinted": _tinted_by_hand(gray, rng),
        "framed": _on_paper(rgb, rng),
        "paper": _on_paper(sepia, rng),
        "stamp": _stamped(sepia, rng),
        "scan": _scanned(gray, rng),
    }


def _faded(rgb, rng):
    """Dyes fade unevenly: little chroma is left, blacks are lifted, and there is a cast."""
    luminance, chroma = color.rgb_to_lab(rgb)
    luminance = rng.uniform(0.1, 0.35) + rng.uniform(0.5, 0.65) * luminance
    cast = rng.uniform(0.03, 0.12) * np.array([rng.uniform(-0.2, 1.0), 1.0], "float32")
    chroma = rng.uniform(0.25, 0.5) * chroma + cast.astype("float32")
    return color.from_float(color.recompose(luminance, chroma), "uint8")


def _tinted_by_hand(gray, rng):
    """Cheeks, lips, a dress: soft patches of one colour each."""
    luminance = color.rgb_to_luminance(gray)
    height, width = gray.shape[:2]
    chroma = np.zeros((height, width, 2), "float32")
    rows, columns = np.ogrid[:height, :width]
    for _ in range(int(rng.integers(2, 5))):
        row, column = rng.uniform(0.15, 0.85, 2) * (height, width)
        radius = rng.uniform(0.06, 0.15) * min(height, width)
        distance = np.hypot(rows - row, columns - column) / radius
        share = np.clip(2.0 * (1.0 - distance), 0.0, 1.0)[..., np.newaxis]
        paint = rng.uniform(0.15, 0.35) * _direction(rng)
        chroma += share.astype("float32") * (paint - chroma)
    return color.from_float(color.recompose(luminance, chroma), "uint8")


def _on_paper(rgb, rng):
    paper = int(rng.integers(235, 256))
    margins = [int(rng.uniform(0.04, 0.17) * side) for side in rgb.shape[:2]]
    widths = [(margin, margin) for margin in margins]
    return np.pad(rgb, [*widths, (0, 0)], constant_values=paper)


def _stamped(rgb, rng):
    """A ring of ink, of a twelfth to an eighth of the height, somewhere near a corner."""
    height, width = rgb.shape[:2]
    radius = rng.uniform(1 / 24, 1 / 16) * min(height, width)
    corner = rng.integers(0, 2, 2)
    row, column = (
        radius + 4 if at == 0 else side - radius - 5
        for at, side in zip(corner, (height, width), strict=True)
    )
    rows, columns = np.ogrid[:height, :width]
    ring = np.abs(np.hypot(rows - row, columns - column) - 0.8 * radius) < 0.2 * radius
    ink = np.array([(0.75, 0.16, 0.2), (0.2, 0.24, 0.63), (0.43, 0.2, 0.55)])[rng.integers(3)]
    # Ink takes light away from what is there.
    stamped = rgb.astype("float64")
    stamped[ring] *= 0.3 + 0.7 * ink
    return _to_uint8(stamped)


def _scanned(gray, rng):
    tinted = _tinted(gray, rng).astype("float64")
    height, width = gray.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope = rng.normal(0, 1, 2)
    yellowing = (slope[0] * x + slope[1] * y + 2.0)[..., None] * np.array([0.2, 0.0, -1.0])
    noise = rng.normal(0.0, rng.uniform(1.0, 4.0), gray.shape)
    return _to_uint8(tinted + rng.uniform(1.0, 4.0) * yellowing + noise)


def _to_uint8(values):
    return color.from_float(values / np.float32(color.EIGHT_BIT), "uint8")


def _with_object(gray, rng):
    height, width = gray.shape[:2]
    radius = np.sqrt(0.005 * height * width / np.pi)
    row = rng.uniform(radius, max(height - radius, radius))
    column = rng.uniform(radius, max(width - radius, radius))
    rows, columns = np.ogrid[:height, :width]
    disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    # Middle luminance, and a* and b* of length 55: a ball, a flower, a traffic light.
    luminance = 0.2 + 0.6 * color.rgb_to_luminance(gray[disc])
    chroma = np.broadcast_to(0.5 * _direction(rng), (len(luminance), 2))
    result = gray.copy()
    result[disc] = color.from_float(color.recompose(luminance, chroma), "uint8")
    return result


def _tinted(gray, rng):
    luminance = color.rgb_to_luminance(gray)
    # Where prints are toned: in the middle tones, the lights, the darks, or all over.
    profile = (4.0 * luminance * (1.0 - luminance), luminance, 1.0 - luminance, 1.0 + 0 * luminance)
    chroma = rng.uniform(0.04, 0.25) * profile[rng.integers(4)] * _direction(rng)
    return color.from_float(color.recompose(luminance, chroma), "uint8")


def _direction(rng):
    hue = rng.uniform(0.0, 2.0 * np.pi)
    return np.array([np.cos(hue), np.sin(hue)], "float32")


def _compressed(rgb, rng):
    buffer = io.BytesIO()
    subsampling = str(rng.choice(["4:4:4", "4:2:0"]))
    quality = int(rng.integers(60, 96))
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return images.read(buffer.getvalue()).rgb


def evaluate(paths: Sequence[pathlib.Path], seed: int) -> tuple[dict[str, list[pathlib.Path]], int]:
    """Judge photos and their versions.

    Args:
        paths: Files of colour photos; those that cannot be read are skipped with a warning.
        seed: Seed of everything random.

    Returns:
        `(wrong, count)`: a dict from the name of a version to the paths that were judged wrongly,
        and the number of photos.
    """
    wrong = {name: [] for name in COLORED + GRAY}
    count = 0
    for index, path in enumerate(tqdm(paths, unit="photo", disable=None)):
        try:
            rgb = images.read(path).rgb
        except (OSError, ValueError) as error:
            logging.warning("Skipped: %s", error)
            continue
        if rgb.dtype != np.uint8:
            rgb = color.from_float(color.to_float(rgb), "uint8")
        count += 1
        rng = np.random.default_rng([seed, index])
        judged = {"original": rgb}
        for name, version in versions(rgb, rng).items():
            judged[name] = _compressed(version, rng)
        for name, version in judged.items():
            if grayscale.is_grayscale(version) != (name in GRAY):
                wrong[name].append(path)
    return wrong, count


def choose(folder: pathlib.Path, count: int, seed: int) -> list[pathlib.Path]:
    """Choose photos of a folder at random.

    Raises:
        FileNotFoundError: If it is no folder or holds no pictures.
    """
    paths = catalogue.list_photos(folder)
    order = np.random.default_rng(seed).permutation(len(paths))
    return [paths[index] for index in order[:count]]


def report(wrong: Mapping[str, Sequence[pathlib.Path]], count: int) -> Iterator[str]:
    """Lines about error rates and the photos that were judged wrongly.

    Args:
        wrong: Dict from the name of a version to paths; see `evaluate`.
        count: Number of photos.
    """
    yield "version   is       judged wrongly"
    for name in COLORED + GRAY:
        kind = "coloured" if name in COLORED else "grey"
        share = len(wrong[name]) / count
        yield f"{name:9} {kind:8} {len(wrong[name]):4d} of {count}: {share:.2%}"
    for kind, names in (("coloured", COLORED), ("grey", GRAY)):
        total = sum(len(wrong[name]) for name in names)
        share = total / (count * len(names))
        yield f"all {kind}: {total} of {count * len(names)}: {share:.2%}"
    for name in COLORED + GRAY:
        for path in wrong[name]:
            yield f"wrong as {name}: {path}"
