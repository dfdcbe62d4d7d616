"""Training examples out of folders: numpy only, one pure function of (seed, batch number).

Nothing here imports a backend, so worker processes start fast and stay small. A sampler keeps no
position: batch `k` is the same whoever asks for it and whatever was asked before, which is what
makes a resumed training equal to an uninterrupted one.
"""

import collections
import dataclasses
import logging
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from keras_refocus.blur import exposure
from keras_refocus.pictures import aging, color, images

_log = logging.getLogger(__name__)

# Memory for decoded pictures in each process.
CACHE_BYTES = 1_000_000_000
# Batches in a row out of the same pictures when these must be read anew each time.
_ECHO = 8

# Fixed windows of a picture: the share of the room above and to the left of each.
WINDOWS = {
    "center": (0.5, 0.5),
    "top left": (0.0, 0.0),
    "bottom right": (1.0, 1.0),
    "top right": (0.0, 1.0),
    "bottom left": (1.0, 0.0),
}

# Separate random streams out of one seed.
_ORDER_STREAM, _EXAMPLE_STREAM, _HOLD_OUT_STREAM, _AGING_STREAM = 0, 1, 2, 3


def read_rgb(path: str | os.PathLike, *, max_pixels: int | None = None) -> np.ndarray:
    """Read a picture as 8-bit RGB, shrunk to at most `max_pixels` by area averaging.

    Of a JPEG more than twice as high and wide as that, no more is decoded than half the height and
    width, or a quarter, which is quicker.

    Args:
        path: Path of a picture.
        max_pixels: Largest number of pixels kept; `None` keeps all.

    Returns:
        uint8 array of shape `(height, width, 3)`, sRGB.
    """
    return _read_smaller(path, lambda height, width: _at_most(height, width, max_pixels))


def _at_most(height, width, max_pixels):
    """Height and width, both shrunk alike until there are no more pixels than that."""
    factor = 1.0 if max_pixels is None else (max_pixels / (height * width)) ** 0.5
    if factor >= 1.0:
        return height, width
    return max(1, round(height * factor)), max(1, round(width * factor))


def _read_smaller(path, smaller):
    """Read a picture as 8-bit RGB of the height and width that a function of its own gives."""
    rgb = images.read(path, enough=smaller).rgb
    if rgb.dtype != np.uint8:
        rgb = color.from_float(color.to_float(rgb), np.uint8)
    height, width = smaller(*rgb.shape[:2])
    if (height, width) != rgb.shape[:2]:
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return rgb


class _Cache:
    """Decoded pictures, bounded in bytes: what came first stays, and the last two read.

    Every pass over the pictures is in another order, so whatever was used last is used again no
    sooner than the rest. Throwing nothing out then finds the largest share of the pictures. The
    last two are a pair, out of which the next example may be cut, too.
    """

    def __init__(self, max_bytes):
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept = {}
        self._last = collections.deque(maxlen=2)

    def get(self, key, load):
        if key in self._kept:
            return self._kept[key]
        for last_key, value in tuple(self._last):
            if last_key == key:
                return value
        value = load()
        if self._bytes + value.nbytes <= self._max_bytes:
            self._kept[key] = value
            self._bytes += value.nbytes
        else:
            self._last.append((key, value))
        return value


def shuffled_index(position: int, count: int, seed: int) -> int:
    """Index at a position of an endless sequence of shuffled passes over `count` items."""
    epoch, offset = divmod(position, count)
    order = np.random.default_rng([seed, _ORDER_STREAM, epoch]).permutation(count)
    return int(order[offset])


def orient(array: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """Rotate by quarter turns and mirror: the eight symmetries of the square."""
    array = np.rot90(array, turns, axes=(0, 1))
    return array[:, ::-1] if flip else array


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoSource:
    """Sharp photos whose blur is synthesised on the fly.

    Attributes:
        paths: Paths of the photos.
        blur: Name of an entry of `exposure.SETTINGS`, or `exposure.ExposureSettings`.
        max_pixels: Photos above this size are shrunk when read: a training patch then covers more
            of the scene, and a sensor's own softness is averaged away.
    """

    paths: tuple
    blur: str | exposure.ExposureSettings = "mixed"
    max_pixels: int = 2_000_000

    def __len__(self):
        return len(self.paths)

    def example(
        self, index: int, rng: np.random.Generator, size: int, crop: str, cache: _Cache
    ) -> tuple[np.ndarray, np.ndarray]:
        path = self.paths[index]
        rgb = cache.get(path, lambda: read_rgb(path, max_pixels=self.max_pixels))
        rgb = at_least(rgb, size)
        if crop != "random":
            rgb = window(rgb, *place(rgb.shape, size, crop), size)
        blur = exposure.SETTINGS[self.blur] if isinstance(self.blur, str) else self.blur
        result = exposure.expose(rgb, blur, rng, size=(size, size))
        return result.blurred, result.sharp


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSource:
    """Pictures that exist both blurred and sharp.

    Attributes:
        paths: Tuple of `(blurred path, sharp path)`.
        degradations: Name of an entry of `exposure.SETTINGS` whose noise, JPEG, vignetting and
            scratches are added to the blurred side only; `None` adds nothing.
    """

    paths: tuple
    degradations: str | None = None

    def __len__(self):
        return len(self.paths)

    def example(
        self, index: int, rng: np.random.Generator, size: int, crop: str, cache: _Cache
    ) -> tuple[np.ndarray, np.ndarray]:
        pair = [cache.get(path, lambda path=path: read_rgb(path)) for path in self.paths[index]]
        blurred, sharp = (at_least(rgb, size) for rgb in pair)
        if blurred.shape != sharp.shape:
            raise ValueError(
                "The two sides of a pair must have the same size. Received: "
                f"{self.paths[index][0]} with {pair[0].shape[:2]} and {self.paths[index][1]} with "
                f"{pair[1].shape[:2]} (height, width). Remove or repair the pair."
            )
        if crop != "random":
            top, left = place(blurred.shape, size, crop)
        else:
            top = int(rng.integers(blurred.shape[0] - size + 1))
            left = int(rng.integers(blurred.shape[1] - size + 1))
        blurred = color.to_float(window(blurred, top, left, size))
        sharp = color.to_float(window(sharp, top, left, size))
        if self.degradations is not None:
            blurred = exposure.degrade(blurred, exposure.SETTINGS[self.degradations], rng)
        return blurred, sharp


def at_least(rgb: np.ndarray, size: int) -> np.ndarray:
    """Mirror-extend a picture whose side is below `size` pixels."""
    height, width = rgb.shape[:2]
    if height >= size and width >= size:
        return rgb
    pad = [(0, max(0, size - height)), (0, max(0, size - width)), (0, 0)]
    return np.pad(rgb, pad, mode="symmetric")


def place(shape: Sequence[int], size: int, crop: str) -> tuple[int, int]:
    """Top and left of the window that a crop names; see `Sampler`."""
    down, right = WINDOWS[crop]
    return int((shape[0] - size) * down), int((shape[1] - size) * right)


def window(rgb: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    """Cut a square of `size` pixels out of a picture `(height, width, channels)`."""
    return rgb[top : top + size, left : left + size]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler:
    """Batches of blurred and sharp luminance out of one or more sources.

    Attributes:
        sources: Tuple of `PhotoSource` and `PairSource`.
        shares: Tuple of the probability of each source; they sum to 1.
        size: Side of the square patches in pixels.
        batch_size: Number of patches in a batch.
        seed: Seed of everything random.
        crop: "random" sees every part of every picture in the course of training and is the
            default for it; "center" is the central square, as the evaluation protocols of some
            papers have it; its corners are "top left" and the like.
        flip: Whether patches are turned and mirrored at random.
        echo: Number of batches in a row that are cut out of the same pictures, which are then read
            once for all of them ("data echoing", Choi et al. 2019, before augmentation: crop, blur
            and turn differ).
        cache_bytes: Memory for decoded pictures in each process.
    """

    sources: tuple
    shares: tuple
    size: int
    batch_size: int
    seed: int
    crop: str = "random"
    flip: bool = True
    echo: int = 1
    cache_bytes: int = CACHE_BYTES

    def __post_init__(self):
        if len(self.sources) != len(self.shares) or not np.isclose(sum(self.shares), 1.0):
            raise ValueError(
                "Each source must have a share, and the shares must sum to 1. Received: "
                f"{len(self.sources)} sources, shares={self.shares}."
            )
        # Not a field: a cache is neither compared nor sent to worker processes.
        object.__setattr__(self, "_cache", _Cache(self.cache_bytes))

    def __reduce__(self):
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return _make_sampler, (type(self), values)

    def example(self, position: int, turn: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Make an example at a position of the endless shuffled sequence of pictures.

        Args:
            position: Position.
            turn: Which of the examples that are made of the picture there, below `echo`.

        Returns:
            Tuple `(blurred, sharp)` of float32 arrays of shape `(size, size, 1)`, luminance in
            [0, 1].
        """
        which, rng = self._draw(position, turn)
        source = self.sources[which]
        index = shuffled_index(position, len(source), self.seed + which)
        blurred, sharp = source.example(index, rng, self.size, self.crop, self._cache)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        pair = []
        for rgb in (blurred, sharp):
            luminance = color.rgb_to_luminance(rgb)
            pair.append(orient(luminance, turns, flip) if self.flip else luminance)
        return tuple(pair)

    def _draw(self, position, turn):
        """Number of the source at a position, and the random generator of an example of it."""
        rng = np.random.default_rng([self.seed, _EXAMPLE_STREAM, position])
        # Drawn per position, so each source advances at its share without a counter.
        which = int(rng.choice(len(self.sources), p=self.shares))
        if turn:
            rng = np.random.default_rng([self.seed, _EXAMPLE_STREAM, position, turn])
        return which, rng

    def batch(self, number: int, *, part: tuple[int, int] = (0, 1)) -> tuple[np.ndarray, ...]:
        """Make batch `number`.

        Args:
            number: Number of the batch.
            part: Tuple `(index, count)`: only part `index` of the batch in `count` equal ones.

        Returns:
            Tuple `(blurred, sharp)` of float32 arrays of shape `(batch_size, size, size, 1)`,
            luminance in [0, 1]; `batch_size / count` of them of a part.
        """
        return self.batches([number], part=part)[0]

    def batches(
        self, numbers: Sequence[int], *, part: tuple[int, int] = (0, 1)
    ) -> list[tuple[np.ndarray, ...]]:
        """Make batches that are cut out of the same pictures: each picture is read once.

        Args:
            numbers: List of numbers of batches that are equal when divided by `echo`.
            part: As in `batch`.

        Returns:
            List of batches.
        """
        index, count = part
        share = self.batch_size // count
        first = numbers[0] // self.echo * self.batch_size + index * share
        examples = [
            [self.example(first + offset, number % self.echo) for number in numbers]
            for offset in range(share)
        ]
        return [
            tuple(np.stack(side).astype(np.float32) for side in zip(*batch, strict=True))
            for batch in zip(*examples, strict=True)
        ]


def default_echo(decoded_bytes: int) -> int:
    """Number of batches in a row out of the same pictures, for what these take when decoded.

    One if at least four in five of them stay in memory: then little is read. Otherwise eight, with
    which even pairs of large PNG, whose reading takes forty times as long as all else that is done
    to them, come fast enough.
    """
    return 1 if decoded_bytes <= 1.25 * CACHE_BYTES else _ECHO


def _make_sampler(kind, values):
    return kind(**values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorSource:
    """Colour photos, seen as the colorizer sees them: whole scenes, squeezed into a square.

    Attributes:
        paths: Paths of the photos.
        max_pixels: Photos above this size are shrunk when read.
        smallest_part: Part of the height and of the width that a random crop has at least.
    """

    paths: tuple
    max_pixels: int = 512 * 512
    smallest_part: float = 0.6

    def __len__(self):
        return len(self.paths)

    def example(
        self, index: int, rng: np.random.Generator, size: int, crop: str, cache: _Cache
    ) -> np.ndarray:
        path = self.paths[index]
        largest = math.ceil(size / self.smallest_part) if crop == "random" else size
        rgb = cache.get(path, lambda: self._read(path, largest))
        if crop == "random":
            sides = np.array(rgb.shape[:2])
            sides = np.maximum(1, np.rint(sides * rng.uniform(self.smallest_part, 1.0, 2)))
            height, width = sides.astype(int)
            top = int(rng.integers(rgb.shape[0] - height + 1))
            left = int(rng.integers(rgb.shape[1] - width + 1))
            rgb = rgb[top : top + height, left : left + width]
        shrinks = size <= min(rgb.shape[:2])
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(rgb, (size, size), interpolation=method)

    def _read(self, path, largest):
        """Read a photo no larger than its smallest part is needed: thousands fit into memory."""

        def smaller(height, width):
            sides = _at_most(height, width, self.max_pixels)
            return tuple(min(side, largest) for side in sides)

        return _read_smaller(path, smaller)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorSampler(Sampler):
    """Batches of luminance and chroma, out of one or more `ColorSource`.

    Of a photo "random" shows a part and "center" the whole. Photos are mirrored, never turned: the
    sky is above.

    Attributes:
        tone: How much the tone curve of the luminance varies: it is raised to a power between
            `1 / (1 + tone)` and `1 + tone`, because film is not a sensor.
        old_prints: Share of the photos whose luminance is that of an old print made of them
            (`pictures.aging`), instead of bent by `tone`; their chroma stays that of the photo.
        gray: `ColorSource` of grey pictures, for unpaired training; their colours are not used.
            `None` gives pairs.
    """

    tone: float = 0.0
    old_prints: float = 0.0
    gray: ColorSource | None = None
    cache_bytes: int = 4_000_000_000

    def example(self, position: int, turn: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Make an example at a position of the endless shuffled sequence; see `Sampler.example`.

        Returns:
            Tuple `(luminance, chroma)` of one photo, float32 arrays of shapes `(size, size, 1)` in
            [0, 1] and `(size, size, 2)` in [-1, 1]. With `gray` a tuple of its luminance, and of
            the luminance and chroma of a photo in three channels.
        """
        which, rng = self._draw(position, turn)
        luminance, chroma = self._photo(self.sources[which], position, self.seed + which, rng, turn)
        if self.gray is None:
            return luminance, chroma
        picture = np.concatenate([luminance, chroma], axis=-1)
        return self._photo(self.gray, position, self.seed + len(self.sources), rng, turn)[
            0
        ], picture

    def _photo(self, source, position, seed, rng, turn):
        index = shuffled_index(position, len(source), seed)
        rgb = source.example(index, rng, self.size, self.crop, self._cache)
        luminance, chroma = color.rgb_to_lab(rgb)
        exponent = (1.0 + self.tone) ** rng.uniform(-1.0, 1.0)
        # A generator of its own: without old prints the examples are what they were.
        own = np.random.default_rng([seed, _AGING_STREAM, position, turn])
        if self.old_prints and own.random() < self.old_prints:
            luminance = aging.age(rgb, own)
        elif self.tone:
            luminance = np.clip(luminance, 0.0, 1.0) ** np.float32(exponent)
        if rng.integers(2) and self.flip:
            luminance, chroma = luminance[:, ::-1], chroma[:, ::-1]
        return luminance, chroma


def split_hold_out(
    paths: Sequence[Any],
    *,
    scenes: Sequence[Any] | None = None,
    share: float = 0.05,
    least: int = 4,
    most: int = 64,
    seed: int = 0,
) -> tuple[list[Any], list[Any]]:
    """Set some pictures aside for validation: of the small sets several, of the large ones a share.

    Args:
        paths: List of paths, or of pairs of paths.
        scenes: List of what each is of. Whole scenes are set aside where there are enough of them
            that at most a quarter of the pictures is lost to training; `None`: single pictures.
        share: Share of the pictures to set aside; at least one.
        least: Smallest number to set aside of at least five times as many.
        most: Largest number to set aside; of whole scenes it may be more.
        seed: Seed of the choice.

    Returns:
        Tuple `(training paths, validation paths)`.

    Raises:
        ValueError: If there are fewer than two pictures.
    """
    if len(paths) < 2:
        raise ValueError(
            "Training needs at least two pictures, one of them for validation. Received: "
            f"{len(paths)}. Add pictures or name a validation folder."
        )
    count = min(most, max(1, round(share * len(paths)), min(least, len(paths) // 5)))
    rng = np.random.default_rng([seed, _HOLD_OUT_STREAM])
    chosen = _whole_scenes(scenes, count, rng) if scenes else set()
    if not chosen:
        chosen = set(rng.permutation(len(paths))[:count].tolist())
    return (
        [path for index, path in enumerate(paths) if index not in chosen],
        [path for index, path in enumerate(paths) if index in chosen],
    )


def _whole_scenes(scenes, count, rng):
    """Indices of scenes of at least so many pictures, two scenes if possible; empty: too large."""
    members = {}
    for index, scene in enumerate(scenes):
        members.setdefault(scene, []).append(index)
    allowed = len(scenes) // 4
    chosen, taken = set(), 0
    for name in rng.permutation(sorted(members)):
        if len(chosen) >= count and taken >= 2:
            break
        if len(chosen) + len(members[name]) <= allowed:
            chosen.update(members[name])
            taken += 1
    return chosen


_worker_sampler = None  # The sampler of this worker process, set once when the process starts.


def start_worker(sampler: Any) -> None:
    """Prepare a worker process to make the batches of a sampler with `worker_batch`."""
    global _worker_sampler
    _worker_sampler = sampler
    # One core per worker; OpenCV's own threads would fight over them.
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole process group. The parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A worker blocks on a pipe that it also holds open, so it would outlive a killed parent.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def worker_batches(numbers: Sequence[int], part: tuple[int, int]) -> list[tuple[np.ndarray, ...]]:
    """Make a part of each of some batches inside a worker process; see `Sampler.batches`."""
    return _worker_sampler.batches(numbers, part=part)
