"""Examples of exposures: a blurred picture and its seven sharp frames, out of photos and clips.

As in `sampling`: numpy only, and every batch a pure function of the seed and its number.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from keras_refocus.blur import exposure, optics
from keras_refocus.data import sampling
from keras_refocus.pictures import catalogue, color

#: Sharp frames of an exposure.
FRAMES = 7


@functools.cache
def sweep(parts: int) -> np.ndarray:
    """Point-spread functions of a coded exposure of so many parts."""
    return optics.psfs(optics.sweep(parts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExposedPhotos:
    """Sharp photos that are exposed while camera and objects move.

    Attributes:
        paths: Tuple of the paths of the photos.
        blur: `exposure.ExposureSettings`.
        coded_parts: Parts of a coded exposure; 0: a plain lens.
        max_pixels: Photos above this size are shrunk when read.
    """

    paths: tuple
    blur: exposure.ExposureSettings
    coded_parts: int = 0
    max_pixels: int = 2_000_000

    def __len__(self):
        return len(self.paths)

    def example(
        self, index: int, rng: np.random.Generator, size: int, crop: str, cache: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Blurred picture and frames, float32 RGB; see `sampling.PhotoSource`."""
        path = self.paths[index]
        rgb = cache.get(path, lambda: sampling.read_rgb(path, max_pixels=self.max_pixels))
        rgb = sampling.at_least(rgb, size)
        if crop != "random":
            rgb = sampling.window(rgb, *sampling.place(rgb.shape, size, crop), size)
        psfs = sweep(self.coded_parts) if self.coded_parts else None
        found = exposure.expose(rgb, self.blur, rng, size=(size, size), frames=FRAMES, psfs=psfs)
        return found.blurred, found.frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExposedClips:
    """Windows of high-speed clips, whose frames are averaged in linear light.

    Attributes:
        paths: Tuple of windows, each a tuple of the paths of its seven frames in order.
        coded_parts: Parts of a coded exposure; 0: a plain lens.
    """

    paths: tuple
    coded_parts: int = 0

    def __len__(self):
        return len(self.paths)

    def example(
        self, index: int, rng: np.random.Generator, size: int, crop: str, cache: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Blurred picture and frames, float32 RGB; see `sampling.PairSource`."""
        key = self.paths[index]
        frames = cache.get(key, lambda: np.stack([sampling.read_rgb(path) for path in key]))
        frames = np.stack([sampling.at_least(frame, size) for frame in frames])
        height, width = frames.shape[1:3]
        if crop == "random":
            top = int(rng.integers(height - size + 1))
            left = int(rng.integers(width - size + 1))
        else:
            top, left = sampling.place((height, width), size, crop)
        cut = frames[:, top : top + size, left : left + size]
        psfs = sweep(self.coded_parts) if self.coded_parts else None
        return exposure.average_frames(cut, psfs=psfs), color.to_float(cut)


def find_windows(
    folder: str | pathlib.Path,
) -> tuple[list[tuple[pathlib.Path, ...]], list[pathlib.Path]]:
    """Windows of seven consecutive frames of the clips below a folder.

    Every folder with pictures in it is a clip, its frames in the order of their numbers.

    Args:
        folder: Path.

    Returns:
        Tuple `(windows, clips)`: list of tuples of seven paths, and list of the clip of each.

    Raises:
        ValueError: If no folder has seven pictures.
    """
    folders = {}
    for path in catalogue.list_photos(folder):
        folders.setdefault(pathlib.Path(path).parent, []).append(pathlib.Path(path))
    windows, clips = [], []
    for clip, paths in sorted(folders.items()):
        paths.sort(key=_number)
        for start in range(0, len(paths) - FRAMES + 1, FRAMES):
            windows.append(tuple(paths[start : start + FRAMES]))
            clips.append(clip)
    if not windows:
        raise ValueError(
            f"A clip is a folder of at least {FRAMES} pictures in the order of their numbers. "
            f"Received: {folder}, where none is. Cut videos into frames: "
            "ffmpeg -i clip.mp4 clips/clip/%06d.png"
        )
    return windows, clips


def _number(path):
    digits = "".join(character for character in path.stem if character.isdigit())
    return (int(digits or 0), path.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExposureSampler(sampling.Sampler):
    """Batches of blurred pictures and their frames, out of exposed photos and clips.

    Attributes:
        picture: What is given of the blurred picture: "luminance" or "color".
    """

    picture: str = "luminance"

    def example(self, position: int, turn: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Make an example; see `sampling.Sampler.example`.

        Returns:
            Tuple `(picture, frames)` of float32 arrays: (size, size, 1) luminance, or (size, size,
            3) luminance and chroma; and (size, size, 7), luminance of the frames in order.
        """
        which, rng = self._draw(position, turn)
        source = self.sources[which]
        index = sampling.shuffled_index(position, len(source), self.seed + which)
        blurred, frames = source.example(index, rng, self.size, self.crop, self._cache)
        seen = as_picture(blurred, self.picture)
        frames = np.concatenate([color.rgb_to_luminance(frame) for frame in frames], axis=-1)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        if not self.flip:
            return seen, frames
        return sampling.orient(seen, turns, flip), sampling.orient(frames, turns, flip)


def as_picture(rgb: np.ndarray, kind: str) -> np.ndarray:
    """What a motion network sees of a picture: `"luminance"` or `"color"`, luminance and chroma."""
    if kind == "luminance":
        return color.rgb_to_luminance(rgb)
    return np.concatenate(color.rgb_to_lab(rgb), axis=-1)
