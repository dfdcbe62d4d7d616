"""Blurred pictures out of high-speed clips, each with the sharp frames that it is the mean of."""

import collections
import dataclasses
import functools
import posixpath

import cv2
import numpy as np
import tensorflow_datasets as tfds

from keras_refocus.blur import exposure, optics
from keras_refocus.data import integrity
from keras_refocus.pictures import color, images
from tfds_builders import sources

#: Consecutive frames that one exposure sees.
FRAMES = 7

#: Equal parts of an exposure in which the aperture's focus stands still; a multiple of `FRAMES`.
PARTS = 21

_PNG_LEVEL = 4  # As in `pairs`.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Consecutive frames of a clip, before anything is read.

    Attributes:
        name: What the example is called: the path of the middle frame.
        subset: The clip.
        scene: The clip, too: its windows resemble each other by nature.
        frames: Files of the frames in order.
    """

    name: str
    subset: str
    scene: str
    frames: tuple[sources.File, ...]


@dataclasses.dataclass(eq=False, kw_only=True)
class ExposuresConfig(tfds.core.BuilderConfig):
    """A variant of a set of exposures.

    Attributes:
        source: Which of several data sets.
        coded: Whether light passes the phase-coded aperture.
        bits: Bits of the stored values.
    """

    source: str
    coded: bool = False
    bits: int = 8


def windows(clips: dict[str, dict[str, sources.File]]) -> tuple[list[Window], list]:
    """Cut clips into exposures of `FRAMES` frames each, one after the other.

    Frames are in the order of the numbers in their names. What is left at the end of a clip is no
    exposure; a clip with fewer frames than one is told of.

    Args:
        clips: Pictures of each clip: path of its folder to file name to file.

    Returns:
        Tuple `(windows, short)`: all windows, and `(clip, why)` of clips that give none.
    """
    found, short = [], []
    for clip, pictures in sorted(clips.items()):
        names = sorted(pictures, key=_number)
        count = len(names) // FRAMES
        if not count:
            short.append((clip, f"{len(names)} frames where {FRAMES} are one exposure"))
        for start in range(0, count * FRAMES, FRAMES):
            chosen = names[start : start + FRAMES]
            found.append(
                Window(
                    name=posixpath.join(clip, chosen[FRAMES // 2]),
                    subset=clip,
                    scene=clip,
                    frames=tuple(pictures[name] for name in chosen),
                )
            )
    return found, short


def _number(name):
    """Sorts frame 10 after frame 9, also where numbers are not filled up with zeros."""
    digits = "".join(character for character in name if character.isdigit())
    return (int(digits or 0), name)


def info(builder) -> tfds.core.DatasetInfo:
    """Features of exposures: RGB of the blurred picture and of the frames, in order."""
    picture = {"shape": (None, None, 3), "dtype": np.uint8, "encoding_format": "png"}
    return builder.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(
            {
                "blurred": tfds.features.Image(**picture, doc="What the exposure recorded, sRGB."),
                "frames": tfds.features.Sequence(
                    tfds.features.Image(**picture, doc="Sharp frames in order."), length=FRAMES
                ),
                "name": tfds.features.Text(doc="Path of the middle frame."),
                "subset": tfds.features.Text(doc="The clip."),
            }
        ),
        supervised_keys=("blurred", "frames"),
        homepage=builder.homepage(),
    )


@dataclasses.dataclass(frozen=True)
class Encode:
    """Makes the example of a window; can be sent to another process."""

    coded: bool

    def __call__(self, window):
        frames = [_read(file) for file in window.frames]
        psfs = _sweep() if self.coded else None
        blurred = exposure.average_frames(frames, psfs=psfs)
        return window.name, {
            "blurred": _png(color.from_float(blurred, np.uint8)),
            "frames": [_png(frame) for frame in frames],
            "name": window.name,
            "subset": window.subset,
        }


@functools.cache
def _sweep():
    return optics.psfs(optics.sweep(PARTS))


def _read(file):
    rgb = images.read(file.read()).rgb
    return rgb if rgb.dtype == np.uint8 else color.from_float(color.to_float(rgb), np.uint8)


def _png(rgb):
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])[1].tobytes()


def check(
    parts: dict[str, list[Window]], *, left_out: integrity.Findings
) -> dict[str, list[Window]]:
    """Read every frame through, and leave out windows that are damaged or change size.

    A window that is in two splits, frame for frame, stays in the guarded one alone: `test` before
    `validation` before `train`.

    Args:
        parts: Windows of each split.
        left_out: Takes what is left out.

    Returns:
        The windows that stay, by split.
    """
    stay = {split: [] for split in parts}
    seen = collections.defaultdict(set)
    guarded = sorted(parts, key=("test", "validation", "train").index)
    for split in guarded:
        for window, found in zip(
            parts[split], integrity.map_in_threads(_inspect, parts[split]), strict=True
        ):
            problem = next((one.problem for one in found if one.problem), None)
            content = tuple(one.sha256 for one in found)
            if problem is not None:
                left_out.add(integrity.UNREADABLE, window.name, problem)
            elif len({(one.height, one.width) for one in found}) > 1:
                left_out.add(integrity.SIZE_MISMATCH, window.name, "frames of several sizes")
            elif any(content in seen[other] for other in guarded):
                left_out.add(integrity.DUPLICATE, window.name, "the same frames")
            else:
                seen[split].add(content)
                stay[split].append(window)
    return stay


def _inspect(window):
    return [_inspect_file(file) for file in window.frames]


def _inspect_file(file):
    try:
        return integrity.inspect(file.read())
    except OSError as error:
        return integrity.Inspection(sha256="", bytes=0, problem=str(error))
