"""Examples of exposures that are made once and kept: what is seen of them is dear, steps are not.

A folder holds `000000.npz` and so on, each an exposure as a motion network sees it, with its
frames, and `about.json`, what they were made of. A training cuts windows out of them and turns
them, so that few exposures go a long way. As in `sampling`: numpy only, and every batch a pure
function of the seed and its number.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_refocus.data import sampling
from keras_refocus.system import files

_ABOUT = "about.json"


def keep(
    folder: str | pathlib.Path,
    count: int,
    make: Callable[[int], tuple[np.ndarray, np.ndarray]],
    facts: Mapping[str, Any],
    *,
    progress: Callable[[int], Any] | None = None,
) -> tuple[pathlib.Path, ...]:
    """Make those of the examples of a folder that are not there yet.

    Args:
        folder: Folder, which is made.
        count: How many there shall be; more may be there.
        make: Callable from a number to `(seen, frames)` in [-1, 1], as `video.from_blur.see` has
            the one, and luminance of the frames the other; kept as float16.
        facts: What decides the examples, as JSON.
        progress: Called with the number of each that is made.

    Returns:
        Paths of the first `count` of them.

    Raises:
        ValueError: If the folder holds examples that were made of something else.
    """
    folder = pathlib.Path(folder)
    _check_facts(folder, dict(facts))
    paths = tuple(folder / f"{number:06}.npz" for number in range(count))
    for number, path in enumerate(paths):
        if path.is_file():
            continue
        seen, frames = (side.astype(np.float16) for side in make(number))
        with files.replacing(path, overwrite=True, keep_suffix=True) as temporary:
            np.savez(temporary, seen=seen, frames=frames)
        if progress is not None:
            progress(number)
    return paths


def _check_facts(folder, facts):
    about = folder / _ABOUT
    if not about.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with files.replacing(about, overwrite=True) as temporary:
            pathlib.Path(temporary).write_text(json.dumps(facts, indent=2) + "\n")
        return
    there = json.loads(about.read_text())
    here = json.loads(json.dumps(facts))
    if there != here:
        names = sorted(
            name for name in there.keys() | here.keys() if there.get(name) != here.get(name)
        )
        raise ValueError(
            "Kept examples are used again where they would be made the same. Received: "
            f"{folder}, in which {', '.join(names)} differ: {[there.get(n) for n in names]} there, "
            f"{[here.get(n) for n in names]} here. Name another folder."
        )


def read(path: str | pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a kept example: float32 arrays `(seen, frames)`."""
    with np.load(path) as example:
        return example["seen"].astype(np.float32), example["frames"].astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptExposures:
    """Examples that `keep` made.

    Attributes:
        paths: Tuple of their paths.
    """

    paths: tuple

    def __len__(self):
        return len(self.paths)

    def example(
        self, index: int, rng: np.random.Generator, size: int, crop: str, cache: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """A window of an example; see `sampling.PairSource`."""
        seen, frames = cache.get(self.paths[index], lambda: _packed(self.paths[index])).parts()
        height, width = seen.shape[:2]
        if size > min(height, width):
            raise ValueError(
                "Patches are windows of the kept examples. Received: patches of "
                f"{size} pixels and examples of {width}x{height}. Choose a smaller --patch-size."
            )
        if crop == "random":
            top = int(rng.integers(height - size + 1))
            left = int(rng.integers(width - size + 1))
        else:
            top, left = sampling.place((height, width), size, crop)
        return tuple(
            sampling.window(side, top, left, size).astype(np.float32) for side in (seen, frames)
        )


class _Pair:
    """Two arrays that are kept in memory together."""

    def __init__(self, *arrays):
        self._arrays = arrays
        self.nbytes = sum(array.nbytes for array in arrays)

    def parts(self):
        return self._arrays


def _packed(path):
    with np.load(path) as example:
        return _Pair(example["seen"], example["frames"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptSampler(sampling.Sampler):
    """Batches of what a motion network sees and of frames, out of kept examples."""

    def example(self, position: int, turn: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Make an example; see `sampling.Sampler.example`.

        Returns:
            Tuple `(seen, frames)` of float32 arrays: (size, size, 5 or 7) and (size, size, 7).
        """
        which, rng = self._draw(position, turn)
        source = self.sources[which]
        index = sampling.shuffled_index(position, len(source), self.seed + which)
        seen, frames = source.example(index, rng, self.size, self.crop, self._cache)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        if not self.flip:
            return seen, frames
        return orient_seen(seen, turns, flip), sampling.orient(frames, turns, flip)


def orient_seen(seen: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Turn and mirror what a motion network sees, and with it the ways that are in it.

    Args:
        seen: Array (height, width, channels + 4), as `video.from_blur.see` makes it.
        turns: Quarter turns, against the clock.
        flip: Whether it is mirrored from left to right afterwards.
    """
    seen = np.array(sampling.orient(seen, turns, flip))
    right, down = np.array(seen[..., -3]), np.array(seen[..., -2])
    for _ in range(turns % 4):
        right, down = down, -right
    seen[..., -3] = -right if flip else right
    seen[..., -2] = down
    return seen
