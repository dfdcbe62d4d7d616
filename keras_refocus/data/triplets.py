"""Examples of frames in between: what the two around show, and the frame itself.

As in `sampling`: numpy only, and every batch a pure function of the seed and its number.
"""

import dataclasses
from typing import Any

import numpy as np

from keras_refocus.data import sampling


@dataclasses.dataclass(frozen=True, kw_only=True)
class TripletPatches:
    """Patches of triplets, see `video.triplets`.

    Attributes:
        paths: Tuple of the paths of their files.
        backwards: Order in which the parts of a patch are those of the same frames in reverse.
    """

    paths: tuple
    backwards: tuple

    def __len__(self):
        return len(self.paths)

    def read(self, index: int, cache: Any) -> np.ndarray:
        """A patch, float16 (size, size, channels), the frame last."""
        path = self.paths[index]
        return cache.get(path, lambda: np.load(path))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TripletSampler(sampling.Sampler):
    """Batches of what a correction sees and of the frame that was left out.

    With `flip` patches are turned and mirrored, and time goes the other way, at random.
    """

    def example(self, position: int, turn: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Make an example; see `sampling.Sampler.example`.

        Returns:
            Tuple `(seen, frame)` of float32 arrays (size, size, 2 PARTS) and (size, size, 1).
        """
        which, rng = self._draw(position, turn)
        source = self.sources[which]
        index = sampling.shuffled_index(position, len(source), self.seed + which)
        patch = source.read(index, self._cache)
        room = [side - self.size for side in patch.shape[:2]]
        if self.crop == "random":
            top, left = (int(rng.integers(most + 1)) for most in room)
        else:
            top, left = (most // 2 for most in room)
        patch = sampling.window(patch, top, left, self.size)
        turns, mirrored, reversed_ = (int(rng.integers(most)) for most in (4, 2, 2))
        if self.flip:
            patch = sampling.orient(patch, turns, bool(mirrored))
            if reversed_:
                parts = len(source.backwards)
                order = [*source.backwards, *(parts + part for part in source.backwards), -1]
                patch = patch[..., order]
        patch = patch.astype(np.float32)
        return patch[..., :-1], patch[..., -1:]
