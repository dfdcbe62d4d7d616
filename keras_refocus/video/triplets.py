"""What a correction of frames in between is trained on: triplets of frames, the middle one known.

    paths = triplets.extract([Path("my_clip.mp4")], Path("runs/mine/triplets"))

Of three consecutive frames of a scene the outer two are what a clip of half the rate would have,
and the middle one is what they have to give. Flow, the parts that the middle frame can be mixed of,
and their weights are computed once and kept as patches, so that a step of a training is cheap.
Patches are taken where things move.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from keras_refocus.system import files
from keras_refocus.video import containers, cuts, frames, interpolation, optical_flow, stills

#: Side of the patches in pixels.
SIZE = 128

#: Triplets are this many frames apart.
EVERY = 5

#: Patches of a triplet.
PATCHES = 4

# Largest part of a frame that is looked at, height and width.
_LARGEST = (480, 640)

# Mean difference of the middle frame and a blend of its neighbours below which nothing moves.
_MOVES = 0.004


def find(place: Path) -> list[Path]:
    """List the clips of a folder and of the folders in it, or one clip.

    Raises:
        FileNotFoundError: There is nothing of the name, or no video in it.
    """
    return [place] if place.is_file() else stills.find(place)


def extract(
    clips: Sequence[Path],
    folder: Path,
    *,
    every: int = EVERY,
    size: int = SIZE,
    seed: int = 0,
    progress: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write patches of triplets.

    Args:
        clips: Files.
        folder: Where the patches go; it appears when all are written, and must not be there.
        every: Frames between the first frames of two triplets.
        size: Side of the patches in pixels.
        seed: Of the choice of places.
        progress: Called with each clip before it is read.

    Returns:
        Files of float16 arrays (size, size, 2 PARTS + 1): parts, weights, and luma of the middle
        frame. Names begin with the number of the clip and of the scene, before the second `_`.

    Raises:
        FileExistsError: The folder is there already.
        ValueError: A file is no video, or nothing moves in any.
    """
    optical_flow.single_thread()
    rng = np.random.default_rng(seed)
    names = []
    with files.new_folder(folder) as draft:
        for number, clip in enumerate(clips):
            if progress is not None:
                progress(clip)
            for scene, index, lumas in _triplets(clip, every):
                seen = _look(lumas, rng)
                for place, patch in enumerate(_patches(seen, size, rng)):
                    names.append(f"{number:04d}_{scene:04d}_{index:06d}_{place}.npy")
                    np.save(draft / names[-1], patch)
        if not names:
            raise ValueError(
                f"Something must move in the clips, in frames of at least {size} pixels a side. "
                f"Received: {', '.join(map(str, clips))}, where nothing does. Name others."
            )
    return [folder / name for name in names]


def _triplets(clip: Path, every: int) -> Iterator[tuple[int, int, list[np.ndarray]]]:
    """Number of the scene, index of the first frame, and luma of three consecutive frames."""
    held: deque[np.ndarray] = deque(maxlen=3)
    small, scene = None, 0
    for index, frame in containers.each_frame(clip):
        layout = frames.layout_of(frame)
        luma = frames.luma(frames.in_planes(frame, layout), layout)
        shrunk = cuts.shrink(luma)
        if small is not None and (held[-1].shape != luma.shape or cuts.is_cut(small, shrunk)):
            held.clear()
            scene += 1
        held.append(luma)
        small = shrunk
        if len(held) == 3 and index % every == 2 % every:
            yield scene, index - 2, list(held)


def _look(lumas: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Parts, weights and truth of a triplet, (height, width, 2 PARTS + 1)."""
    height, width = (min(*pair) for pair in zip(lumas[0].shape, _LARGEST, strict=True))
    top = int(rng.integers(lumas[0].shape[0] - height + 1))
    left = int(rng.integers(lumas[0].shape[1] - width + 1))
    first, truth, second = (
        np.ascontiguousarray(luma[top : top + height, left : left + width]) for luma in lumas
    )
    flows = (
        optical_flow.estimate(*pair, interpolation.FLOW)
        for pair in ((first, second), (second, first))
    )
    ways = interpolation.find_ways(first, second, *flows, 0.5)
    parts = interpolation.parts_of(first, second, ways)
    weights = interpolation.weigh(parts, ways)
    return np.concatenate([parts, weights, truth[..., np.newaxis]], axis=-1)


def _patches(seen: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Patches of a triplet, likelier where more moves."""
    if min(seen.shape[:2]) < size:
        return
    moves = np.abs(seen[..., -1] - (seen[..., 0] + seen[..., 1]) / 2)
    # Mean over each window, by its first pixel.
    means = cv2.blur(moves, (size, size), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    means = means[: seen.shape[0] - size + 1, : seen.shape[1] - size + 1].ravel()
    likely = np.where(means >= _MOVES, means, 0).astype(np.float64)
    if not likely.any():
        return
    for place in rng.choice(len(likely), PATCHES, p=likely / likely.sum()):
        top, left = divmod(int(place), seen.shape[1] - size + 1)
        yield seen[top : top + size, left : left + size].astype(np.float16)
