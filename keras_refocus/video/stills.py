"""Sharp frames of clips as photos, to train a restorer on the kind of video that it is to restore.

    paths = stills.extract([Path("my_clips")], Path("runs/mine/frames"))

Of each scene, and of each `EVERY` seconds of a long one, the sharpest frame is taken. The photos
are numbered by sharpness, the sharpest first, over all clips.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from keras_refocus.pictures import images
from keras_refocus.system import files
from keras_refocus.video import containers, cuts, frames

#: Seconds of a scene of which one frame is taken.
EVERY = 2.0

# Contrast (standard deviation of luma) below which a frame shows next to nothing.
_LOWEST_CONTRAST = 0.02


def sharpness(luma: np.ndarray) -> float:
    """Measure how sharp a frame is, whatever its contrast.

    Args:
        luma: Array of shape (height, width), float32 in [0, 1].

    Returns:
        Energy of the gradient over the variance; 0 for a frame without contrast.
    """
    variance = float(luma.var())
    if variance < _LOWEST_CONTRAST**2:
        return 0.0
    # A little smoothing first: noise is no sharpness.
    smooth = cv2.GaussianBlur(luma, (0, 0), 0.8)
    across, down = np.diff(smooth, axis=1), np.diff(smooth, axis=0)
    return float(np.square(across).mean() + np.square(down).mean()) / variance


def find(folder: Path) -> list[Path]:
    """List the clips of a folder and of the folders in it.

    Raises:
        FileNotFoundError: There is no such folder, or no video in it.
    """
    clips = [p for p in sorted(folder.rglob("*")) if containers.is_video(p) and p.is_file()]
    if not clips:
        raise FileNotFoundError(
            f"A folder of videos must hold some. Received: '{folder}'. Known are: "
            f"{', '.join(sorted(containers.SUFFIXES))}."
        )
    return clips


def extract(
    clips: Sequence[Path],
    folder: Path,
    *,
    every: float = EVERY,
    progress: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write the sharpest frames of clips as PNG.

    Args:
        clips: Files.
        folder: Where the photos go; it appears when all are written, and must not be there.
        every: Seconds of a scene of which one frame is taken.
        progress: Called with each clip before it is read.

    Returns:
        The photos, the sharpest first.

    Raises:
        FileExistsError: The folder is there already.
        ValueError: A file is no video, or no frame shows anything.
    """
    with files.new_folder(folder) as draft:
        found = []
        for clip in clips:
            if progress is not None:
                progress(clip)
            for index, score, rgb in _sharpest(clip, every):
                path = draft / f"{len(found)}.png"
                images.write(path, images.Photo(rgb=rgb))
                found.append((score, f"{clip.stem}_{index:06d}", path))
        if not found:
            raise ValueError(
                "Some frame of the clips must show something. Received: "
                f"{', '.join(map(str, clips))}, without one."
            )
        found.sort(key=lambda entry: -entry[0])
        names = []
        for place, (_, name, path) in enumerate(found):
            names.append(f"{place:05d}_{name}.png")
            path.rename(draft / names[-1])
    return [folder / name for name in names]


def _sharpest(clip: Path, every: float) -> Iterator[tuple[int, float, np.ndarray]]:
    """Index, sharpness and RGB of the sharpest frame of each part of a clip."""
    best: tuple[int, float, np.ndarray] | None = None
    previous = None
    begun = Fraction(0)
    for index, frame in containers.each_frame(clip):
        layout = frames.layout_of(frame)
        luma = frames.luma(frames.in_planes(frame, layout), layout)
        small = cuts.shrink(luma)
        moment = Fraction(index, 25) if frame.pts is None else frame.pts * frame.time_base
        is_new = previous is None or cuts.is_cut(previous, small) or moment - begun >= every
        if is_new:
            if best is not None:
                yield best
            best, begun = None, moment
        previous = small
        score = sharpness(luma)
        if score > 0 and (best is None or score > best[1]):
            rgb = frame.reformat(format="rgb48le" if layout.bits > 8 else "rgb24").to_ndarray()
            best = (index, score, rgb)
    if best is not None:
        yield best
