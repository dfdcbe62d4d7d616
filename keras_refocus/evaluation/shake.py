"""Heavy shake: what the patient restoration gains over the plain one, and whether it does harm.

Three sets are made of sharp photos, each photo blurred in linear light, seeded by its content:

- `uniform`: one kernel for all of the picture, an impulsive walk of 15 to 45 pixels (the lengths of
  Levin et al. 2009 and twice as much);
- `paths`: one kernel, a swinging path as recorded from hands (Koehler et al. 2012);
- `uneven`: a camera that turns and rolls as well, so that the blur differs over the picture.

What comes into view from beyond the border is really there: pictures are cut after they were
blurred. Then noise, the response of sRGB, and JPEG. Other sets are those of `sets`: pairs, and
photos with the blur of `exposure`; there the patient result should be no worse than the plain one.

Every side is compared where it lies closest to the truth, by a shift (`alignment.shift`).

References:
    Levin et al., "Understanding and evaluating blind deconvolution algorithms", 2009 (error ratio).
    Koehler et al., "Recording and playback of camera shake", 2012.
    Hu and Yang, "Good regions to deblur", 2012 (similarity of kernels).
"""

import csv
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from keras_refocus.blur import exposure, motion, sensor
from keras_refocus.engines import contract
from keras_refocus.evaluation import classical
from keras_refocus.metrics import alignment, fidelity
from keras_refocus.pictures import color
from keras_refocus.restoration.deconvolution import kernels, patient
from keras_refocus.system import files

SHAKES = ("uniform", "paths", "uneven")

#: Path kinds of the shakes.
_KINDS = {"uniform": "walk", "paths": "shake", "uneven": "shake"}
_LENGTHS = (15.0, 45.0)
# Noise, sRGB and JPEG of a good camera in poor light.
_CAMERA = dataclasses.replace(
    exposure.SETTINGS["clean"],
    noise=1.0,
    noise_correlation=0.0,
    shot_noise=(1e-5, 1e-3),
    read_noise=(2e-4, 2e-3),
    jpeg=1.0,
    jpeg_quality=(80, 98),
)
# Of the uneven shake: standard deviation of the roll in degrees, and of the change of the length.
_ROLL, _TILT = 1.5, 0.4
# Pixels by which sides are shifted at most; twice as many are left out of the comparison.
_REACH = 4
# Bounds of what is asked for: of pictures, and of sets whose kernels are known: gain over the
# input in dB, similarity of kernels, and share of the pictures within the error ratio.
_ERROR_RATIO, _HARM = 2.0, 0.5
_GAIN, _SIMILARITY, _WITHIN = 5.0, 0.75, 0.8
_PEERS = ("wiener", "richardson_lucy")


@dataclasses.dataclass(frozen=True)
class Shaken:
    """A photo, shaken.

    Attributes:
        blurred: uint8 (height, width, 3), sRGB.
        sharp: The same, the truth.
        kernel: That of the middle of the picture; `None` if it is not known.
    """

    blurred: np.ndarray
    sharp: np.ndarray
    kernel: np.ndarray | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """What became of one picture; PSNR of luminance in dB.

    Attributes:
        name: Of its file.
        before: PSNR of the blurred picture.
        plain: Of the plain result.
        patient: Of the patient one.
        known: Of the one with the true kernel; `None` where there is none.
        peers: Of the classical methods with the true kernel, by name; empty where there is none.
        length: Of the true kernel, or 0.
        similarity: Of the found kernel to the true one; `None` where there is none.
        ratio: Squared error of the patient result over that with the true kernel; `None` likewise.
        changed: Share of the picture that was taken from the deconvolution.
        reason: Why not all of it was.
        seconds: That the patient restoration took.
    """

    name: str
    before: float
    plain: float
    patient: float
    known: float | None = None
    peers: dict[str, float] = dataclasses.field(default_factory=dict)
    length: float = 0.0
    similarity: float | None = None
    ratio: float | None = None
    changed: float = 0.0
    reason: str = ""
    seconds: float = 0.0


class NetworkEngine:
    """A loaded network in the place of an engine: every name of a restorer is that network."""

    batch_size = 1

    def __init__(self, network: Callable[[np.ndarray], np.ndarray]):
        self._network = network

    def restore(self, tiles: np.ndarray, *, model: str = contract.RESTORER) -> np.ndarray:
        """See `contract.Engine.restore`."""
        return self._network(tiles)

    def colorize(self, luminance: np.ndarray, *, model: str = contract.COLORIZER) -> np.ndarray:
        """There is no colorizer."""
        raise ValueError(
            "Heavy shake is measured on lightness alone, without a colorizer. "
            f"Received: model={model!r}. Take mode='restore'."
        )

    def versions(self, *models: str) -> dict[str, str]:
        """See `contract.Engine.versions`."""
        return dict.fromkeys(models, "0")

    def close(self) -> None:
        """Nothing is held."""


def shaken(
    photo: np.ndarray, kind: str, rng: np.random.Generator, size: int | None = None
) -> Shaken:
    """Shake a photo.

    Args:
        photo: uint8 (height, width, 3), sRGB.
        kind: One of `SHAKES`.
        rng: `numpy.random.Generator`.
        size: Side of the square around the middle that is kept, at most; `None`: all of it.

    Returns:
        `Shaken`; a margin as wide as the blur is cut off.

    Raises:
        ValueError: The photo is smaller than its blur needs.
    """
    path = motion.unit_path(_KINDS[kind], rng) * rng.uniform(*_LENGTHS)
    path = path - path.mean()
    kernel = motion.path_kernel(path)
    light = sensor.SRGB.decode(photo)
    if kind == "uneven":
        blurred, reach = _uneven(photo, path, rng)
    else:
        reach = len(kernel) // 2
        planes = [
            cv2.filter2D(np.ascontiguousarray(light[..., c]), -1, kernel[::-1, ::-1].copy())
            for c in range(3)
        ]
        blurred = sensor.SRGB.encode(np.stack(planes, axis=-1))
    height, width = (side - 2 * reach for side in photo.shape[:2])
    if min(height, width) < 4 * _REACH + 32:
        raise ValueError(
            "A photo must be larger than the shake. Received: "
            f"{photo.shape[:2]} (height, width) and a shake of {2 * reach} pixels. Leave it out."
        )
    rows, columns = (min(side, size or side) for side in (height, width))
    top, left = (photo.shape[0] - rows) // 2, (photo.shape[1] - columns) // 2
    window = np.s_[top : top + rows, left : left + columns]
    seen = exposure.degrade(np.ascontiguousarray(blurred[window], np.float32), _CAMERA, rng)
    return Shaken(color.from_float(seen, np.uint8), photo[window], kernel)


def _uneven(photo, path, rng):
    """Blur by a camera that moves along a path, turns and rolls; and how far that reaches."""
    size = photo.shape[:2]
    turn = np.deg2rad(rng.normal(0, _ROLL)) * motion.unit_path("shake", rng).real
    turn = turn - turn.mean()
    tilt = rng.normal(0, _TILT, 2) / (0.5 * max(size))
    transforms = np.repeat(np.eye(3)[None], len(path), axis=0)
    transforms[:, 0, 0] = np.cos(turn) + path.real * tilt[0]
    transforms[:, 0, 1] = -np.sin(turn) + path.real * tilt[1]
    transforms[:, 1, 0] = np.sin(turn) + path.imag * tilt[0]
    transforms[:, 1, 1] = np.cos(turn) + path.imag * tilt[1]
    transforms[:, 0, 2], transforms[:, 1, 2] = path.real, path.imag
    tracks = motion.corner_tracks(transforms, size) - motion.window_corners(size)
    result = exposure.expose(photo, exposure.SETTINGS["clean"], rng, transforms=transforms)
    return result.blurred, math.ceil(np.abs(tracks).max()) + 1


def load(picture_set: Any, index: int, kind: str | None = None, size: int | None = None) -> Shaken:
    """Read a picture of a set, and shake it if asked to.

    Args:
        picture_set: `sets.PictureSet`: photos as they are if `kind` is given.
        index: Number of the picture.
        kind: One of `SHAKES`, or `None` for what the set itself gives.
        size: As for `shaken`.
    """
    blurred, sharp = picture_set.pair(index)
    if kind is None:
        rows, columns = (min(side, size or side) for side in sharp.shape[:2])
        window = np.s_[:rows, :columns]
        return Shaken(blurred[window], sharp[window], None)
    item = picture_set.items[index]
    seed = [picture_set.blur.seed, SHAKES.index(kind), int(item.sharp_sha256[:16], 16)]
    return shaken(sharp, kind, np.random.default_rng(seed), size)


def score(name: str, picture: Shaken, restorer: Any, options: Any, *, peers: bool = True) -> Score:
    """Restore a shaken picture in every way, and score the results.

    Args:
        name: Of the picture.
        picture: `Shaken`.
        restorer: `pipeline.Restorer`.
        options: `pipeline.RestoreOptions` with `patient`.
        peers: Whether the classical methods are measured too, where the kernel is known.
    """
    truth = color.rgb_to_luminance(picture.sharp)
    start = color.rgb_to_luminance(picture.blurred)
    plain = restorer.restore(
        picture.blurred, dataclasses.replace(options, patient=False, patience=None)
    )
    result = restorer.restore(picture.blurred, options)
    found = result.shake
    values = {
        "before": _aligned_psnr(start, truth),
        "plain": _aligned_psnr(color.rgb_to_luminance(plain.image), truth),
        "patient": _aligned_psnr(color.rgb_to_luminance(result.image), truth),
        "changed": found.changed,
        "reason": found.reason,
        "seconds": result.seconds,
    }
    if picture.kernel is not None:
        similarity = 0.0
        if found.kernel is not None:
            similarity = kernels.similarity(found.kernel, picture.kernel)
        known = _with_kernel(start, picture.kernel, restorer, options)
        values |= {
            "known": _aligned_psnr(known, truth),
            "length": kernels.extent(picture.kernel).length,
            "similarity": similarity,
            "peers": _peers(start, truth, picture.kernel) if peers else {},
        }
        values["ratio"] = 10 ** ((values["known"] - values["patient"]) / 10)
    return Score(name=name, **values)


def _with_kernel(start, kernel, restorer, options):
    """Luminance of a picture whose kernel is known: the same steps, and nothing that doubts it."""
    light = patient.deconvolve(color.luminance_to_light(start[..., 0]), kernel)
    planes = color.light_to_luminance(light)[np.newaxis, ..., np.newaxis]
    return restorer.restore_luminance(planes, options)[0]


def _aligned_psnr(picture, truth):
    matrix = alignment.shift(picture, truth, _REACH)
    moved = np.clip(alignment.warp(picture, matrix), 0.0, 1.0)
    return float(fidelity.psnr(truth[np.newaxis], moved[np.newaxis], border=2 * _REACH)[0])


def _peers(start, truth, kernel):
    """What scikit-image makes of it with the true kernel, in light."""
    light = color.luminance_to_light(start)
    return {
        name: _aligned_psnr(color.light_to_luminance(method(light)), truth)
        for name, method in (
            ("wiener", lambda plane: classical.unsupervised_wiener(plane, kernel)),
            (
                "richardson_lucy",
                lambda plane: classical.richardson_lucy(plane, kernel, iterations=20),
            ),
        )
    }


def line(item: Score) -> str:
    """One picture in a line, as it is measured: a set takes long."""
    parts = [f"{item.name}: {item.before:.2f}", f"plain {item.plain - item.before:+.2f}"]
    parts.append(f"patient {item.patient - item.before:+.2f}")
    if item.known is not None:
        parts.append(f"true kernel {item.known - item.before:+.2f} dB")
        parts.append(f"similarity {item.similarity:.2f}, ratio {item.ratio:.2f}")
    return ", ".join([*parts, f"{item.changed:.0%} changed", item.reason]).removesuffix(", ")


def summary(label: str, scores: Sequence[Score]) -> dict[str, Any]:
    """Everything that is reported of a set, as a JSON-ready dict."""
    known = [item for item in scores if item.known is not None]
    gains = {
        "plain": [item.plain - item.before for item in scores],
        "patient": [item.patient - item.before for item in scores],
    }
    if known:
        gains["true kernel"] = [item.known - item.before for item in known]
    for name in _PEERS:
        if known and all(name in item.peers for item in known):
            gains[name] = [item.peers[name] - item.before for item in known]
    beyond = [item.patient - item.plain for item in scores]
    values = {
        "set": label,
        "pictures": len(scores),
        "input_psnr_l": round(float(np.mean([item.before for item in scores])), 3),
        "gain_psnr_l": {name: round(float(np.mean(part)), 3) for name, part in gains.items()},
        "least_beyond_plain": round(min(beyond), 3),
        "worse_than_plain": sum(value < -_HARM for value in beyond),
        "changed": round(float(np.mean([item.changed for item in scores])), 4),
        "left_alone": sum(item.changed == 0 for item in scores),
        "seconds": round(float(np.mean([item.seconds for item in scores])), 1),
    }
    if known:
        values |= {
            "similarity": round(float(np.mean([item.similarity for item in known])), 4),
            "ratio_at_most_2": round(float(np.mean([i.ratio <= _ERROR_RATIO for i in known])), 4),
        }
    return values


def bars(values: dict[str, Any]) -> list[tuple[str, bool]]:
    """Say what is asked for of a set, and whether it is met.

    Args:
        values: Of `summary`.

    Returns:
        List of `(sentence, is it so)`.
    """
    met = [(f"none worse than plain by more than {_HARM} dB", values["worse_than_plain"] == 0)]
    if "similarity" in values:
        within = f"error ratio at most {_ERROR_RATIO:g} in {_WITHIN:.0%}"
        met += [
            (f"gain at least {_GAIN:g} dB", values["gain_psnr_l"]["patient"] >= _GAIN),
            (f"similarity at least {_SIMILARITY}", values["similarity"] >= _SIMILARITY),
            (within, values["ratio_at_most_2"] >= _WITHIN),
        ]
    return met


def as_text(label: str, scores: Sequence[Score]) -> str:
    """Write the scores of a set as text."""
    values = summary(label, scores)
    lines = [label, f"  input {values['input_psnr_l']:.2f} dB; gain of PSNR L in dB:"]
    lines += [f"    {name:<18}{gain:>+7.2f}" for name, gain in values["gain_psnr_l"].items()]
    lines.append(
        f"  patient beyond plain: least {values['least_beyond_plain']:+.2f} dB, "
        f"{values['worse_than_plain']} of {len(scores)} worse by more than {_HARM} dB; "
        f"{values['left_alone']} left as the plain result, {values['changed']:.0%} of the area "
        f"changed; {values['seconds']:.0f} s a picture"
    )
    if "similarity" in values:
        lines.append(
            f"  kernel: similarity {values['similarity']:.2f}; error ratio at most "
            f"{_ERROR_RATIO:g} in {values['ratio_at_most_2']:.0%}"
        )
    said = (f"{sentence}: {'yes' if met else 'no'}" for sentence, met in bars(values))
    lines.append(f"  asked for: {'; '.join(said)}")
    return "\n".join(lines)


DEFINITIONS = (
    "PSNR in dB of CIELAB L*/100, mean over pictures, each side at the shift of least error (up to "
    "4 pixels), a border of 8 pixels left out. Kernel similarity: maximum of the normalised "
    "cross-correlation. Error ratio: squared error over that with the true kernel, all other steps "
    "the same. wiener, richardson_lucy: scikit-image's unsupervised Wiener filter and 20 "
    "iterations of Richardson-Lucy with the true kernel, in linear light."
)


def write_csv(path: str | os.PathLike, results: Any) -> None:
    """Write one row for each picture.

    Args:
        path: Path of the CSV file.
        results: List of `(label, list of Score)`.
    """
    names = [field.name for field in dataclasses.fields(Score) if field.name != "peers"]
    with files.replacing(path) as target, target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["set", *names, *_PEERS])
        for label, scores in results:
            for item in scores:
                row = [_cell(getattr(item, name)) for name in names]
                row += [_cell(item.peers.get(name)) for name in _PEERS]
                writer.writerow([label, *row])


def _cell(value):
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else value
