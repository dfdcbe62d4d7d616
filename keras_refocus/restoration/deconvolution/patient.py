"""Heavy shake: the kernel is looked for, inverted, and the restorer cleans up.

    photo ─ kernels of several searches ─ the best ─┬─ deconvolve ─ restorer ─┬─ deconvolve all
    plain result ─ edges ─ a kernel ────────────────┘    └── kernel anew ─────┘  of it, restorer
    taken where it explains the photo better than the plain result

The network is the prior: what it takes for sharp gives the edges to which the kernel is fitted
again and again, and what deconvolution leaves of noise and ringing it removes, as the proximal step
of plug and play (Zhang et al., "Plug-and-play image restoration with deep denoiser prior", 2021).
The kernel needs the part with most detail only; all of the picture is restored once.
"""

import math
import time
from collections.abc import Callable

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.restoration.deconvolution import acceptance, blind, kernels, known
from keras_refocus.restoration.deconvolution.finding import SMALLEST, Finding, Reason, nothing
from keras_refocus.restoration.tiling import Tiles

# Sides of the kernels that are looked for, in pixels, and the one to begin with.
_SIDES, _FIRST = (21, 31, 45, 61, 95), 61
# How much longer than a kernel the shorter side of a picture must be.
_ROOM = SMALLEST // _SIDES[0]
# Area of the part in which the kernel is looked for, in pixels.
_WINDOW_AREA = 320 * 480
# By how much the cost of a picture must fall for its kernel to be believed (`blind.Found.cost`).
_GAIN = 0.12
# So many starts must have been on the way to the kernel, or one like it so far must have come of
# another, for no search to be made with other room.
_VOTES, _AGREEMENT = 3, 0.7
# A search had room enough if the kernel covers no more of its side.
_COVERED = 0.6
# So many kernels are tried, each fitted to what the network makes of the picture of the one before,
# as long as the error grows by no more than this factor: it hardly tells good kernels apart.
_REFINED, _WORSE = 4, 1.25
# Of what the network makes of a deconvolved picture the kernel is fitted this much wider, and to
# edges this much stronger than those of which there are just enough: weak ones it makes up.
_WIDER, _STRONGER = 1.25, 2.0
# A kernel that, fitted again, shrinks below this share of its length is a dot, which explains any
# photo: the rest was not there.
_SHRUNK = 0.4
# With a kernel that was found the picture is the mean of two, one as smooth as with one that is
# known and one smoother: what the kernel's errors make of them differs, what is right does not.
_WEIGHTS = (known.WEIGHT, 3 * known.WEIGHT)

Sharpen = Callable[[np.ndarray], np.ndarray]


class OutOfTimeError(Exception):
    """Patience is at its end."""


class Patience:
    """Says when to stop: cancelled, or out of time.

    Args:
        seconds: That the work may take; `None`: as long as it takes.
        check: Raises if the work was cancelled.
    """

    def __init__(self, seconds: float | None, check: Callable[[], None]):
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self._check = check

    def __call__(self) -> None:
        self._check()
        if time.monotonic() > self._end:
            raise OutOfTimeError


def steps(size: tuple[int, int], given: np.ndarray | None) -> int:
    """Number of calls of `done` in `improve`, but for those that `sharpen` makes itself.

    Args:
        size: `(height, width)` of the picture.
        given: The kernel, if it is known.
    """
    return 2 if given is not None else len(sides(size)) + 3


def sides(size: tuple[int, int]) -> list[int]:
    """Sides of the kernels that are looked for in a picture: the first, and if need be another."""
    room = [side for side in _SIDES if side * _ROOM <= min(size)]
    first = [side for side in room if side <= _FIRST][-1:]
    larger = [side for side in room if side > _FIRST]
    return first + (larger or room[-2:-1])


def improve(
    luminance: np.ndarray,
    plain: np.ndarray,
    sharpen: Sharpen,
    *,
    look: Sharpen | None = None,
    given: np.ndarray | None = None,
    check: Callable[[], None] = lambda: None,
    done: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, Finding]:
    """Find the blur of a picture and take it away, where that is better than the plain result.

    Args:
        luminance: The picture, float32 (height, width, 1) in [0, 1].
        plain: What the restorer makes of it.
        sharpen: The restorer: a plane to a new one, of that shape and range.
        look: The restorer for a part, to choose among kernels; `None`: `sharpen`.
        given: The kernel, if it is known.
        check: Called often; what it raises ends the work, but `OutOfTimeError` with what was found.
        done: Called after each of `steps`.

    Returns:
        Tuple of the better plane, and what was found.
    """
    work = _Work(luminance, plain, sharpen, look or sharpen, check, done)
    try:
        return work.with_kernel(given) if given is not None else work.blind()
    except OutOfTimeError:
        return work.so_far()


class _Work:
    """The work on one picture, and how far it got."""

    def __init__(self, luminance, plain, sharpen, look, check, done):
        self.luminance, self.plain, self.sharpen, self.look = luminance, plain, sharpen, look
        self.check, self.done = check, done
        self.light = color.luminance_to_light(luminance[..., 0])
        self.best: tuple[np.ndarray, Finding] | None = None
        self.kernel: np.ndarray | None = None

    def so_far(self):
        if self.best is not None:
            return self.best
        return self.plain, nothing(Reason.NO_TIME, self.kernel)

    def with_kernel(self, kernel):
        self.kernel = kernel
        if 2 * max(kernel.shape) > min(self.light.shape):
            return self.plain, nothing(Reason.LARGE_KERNEL, kernel)
        sharp = self._sharp()
        self.done()
        self.best = acceptance.choose(self.light, sharp, self.plain, kernel, given=True)
        self.done()
        return self.best

    def blind(self):
        window = _informative(self.light)
        part = self.light[window]
        found = self._search(part, window)
        if isinstance(found, Reason):
            return self.plain, nothing(found, self.kernel)
        found, gain, agreement = found
        self.kernel = self._refined(part, found.kernel)
        self.done()
        shrunk = _SHRUNK * kernels.extent(found.kernel).length
        # Before all of the picture is inverted and restored for nothing.
        if kernels.extent(self.kernel).length < shrunk or not acceptance.is_path(self.kernel):
            return self.plain, nothing(Reason.NO_PATH, self.kernel)
        edges = color.luminance_to_light(self.plain[..., 0])[window]
        seen = acceptance.seen(part, edges, self.kernel, _room(self.kernel))
        sharp = self._sharp(_WEIGHTS)
        self.best = acceptance.choose(
            self.light,
            sharp,
            self.plain,
            self.kernel,
            gain=gain,
            agreement=agreement,
            already=seen,
        )
        self.done()
        return self.best

    def _search(self, part, window):
        """The best kernel, by how much sparser it makes the picture, and how alike others are.

        Or why there is none.
        """
        room = sides(self.light.shape)
        if not room:
            return Reason.TOO_SMALL
        found: list[blind.Found] = []
        for side in room:
            if found and _enough(found, room):
                self.done()
                continue
            found += blind.search(part, side, self.check)
            found.sort(key=lambda one: one.cost)
            self.kernel = found[0].kernel
            self.done()
        edges = color.luminance_to_light(self.plain[..., 0])[window]
        side = min(_room(self.kernel), max(room))
        start = blind.refine(part, edges, side, self.check)
        kernel = blind.estimate(part, side, start=start, check=self.check)
        found.append(blind.judged(part, kernel, self.check))
        found.sort(key=lambda one: one.cost)
        best = found[0]
        self.done()
        self.kernel = best.kernel
        if kernels.extent(best.kernel).length < acceptance.SHORTEST:
            return Reason.NO_SHAKE
        gain = blind.judged(part, kernels.dot(3), self.check).cost - best.cost
        return (best, gain, _agreement(found)) if gain >= _GAIN else Reason.NO_KERNEL

    def _refined(self, part, kernel):
        """The kernel, fitted to the edges of what the restorer makes of the picture it gives."""
        photo = color.light_to_luminance(part)
        least, best = math.inf, kernel
        for _ in range(_REFINED):
            sharp = deconvolve(part, kernel, self.check)
            made = self.look(color.light_to_luminance(sharp)[..., np.newaxis])[..., 0]
            error = acceptance.misfit(photo, made, kernel)
            if error > _WORSE * least:
                break
            least, best = min(error, least), kernel
            edges = color.luminance_to_light(made)
            kernel = blind.refine(part, edges, _room(kernel), self.check, strength=_STRONGER)
        return best

    def _sharp(self, weights=(known.WEIGHT,)):
        made = (deconvolve(self.light, self.kernel, self.check, weight=w) for w in weights)
        sharp = sum(made) / len(weights)
        return self.sharpen(color.light_to_luminance(sharp)[..., np.newaxis])


def deconvolve(
    light: np.ndarray,
    kernel: np.ndarray,
    check: Callable[[], None] = lambda: None,
    *,
    weight: float = known.WEIGHT,
    iterations: int = known.ITERATIONS,
) -> np.ndarray:
    """Deconvolve a plane of any size by one kernel, in tiles; see `known.deconvolve`."""
    tiles = Tiles(*light.shape, acceptance.TILE, acceptance.OVERLAP)
    plane = light[..., np.newaxis]
    cut = (tiles.cut(plane, window, fill=False)[..., 0] for window in tiles)
    made = (
        known.deconvolve(part, kernel, weight=weight, iterations=iterations, check=check)
        for part in cut
    )
    sharp = (part[..., np.newaxis] for part in made)
    return np.concatenate([band for _, band in tiles.blend(sharp)])[..., 0]


def _enough(found: list[blind.Found], room: list[int]) -> bool:
    """Whether the search with the first room is not to be made with the second."""
    first, second = room
    wide = second < first or kernels.extent(found[0].kernel).length <= _COVERED * first
    return wide and _supported(found)


def _supported(found: list[blind.Found]) -> bool:
    """Whether the first of what was found was found more than once."""
    best, *others = found
    alike = (kernels.similarity(best.kernel, other.kernel) >= _AGREEMENT for other in others)
    return best.votes >= _VOTES or any(alike)


def _agreement(found: list[blind.Found]) -> float:
    """Greatest similarity of the first of what was found to the others.

    Starts that were the same half-way went on as one (`blind.search`), so that what all of them led
    to has no other beside it but what the edges of the plain result led to.
    """
    best, *others = found
    alike = max(kernels.similarity(best.kernel, other.kernel) for other in others)
    merged = len(others) == 1 and best.votes == len(blind.STARTS)
    return max(alike, blind.SAME) if merged else alike


def _room(kernel: np.ndarray) -> int:
    """Side of the kernel that is fitted in the place of another."""
    side = max(round(max(kernel.shape) * _WIDER) // 2 * 2 + 1, _SIDES[0])
    return min(side, kernels.LARGEST)


def _informative(light: np.ndarray) -> tuple[slice, slice]:
    """The part of a picture with the most edges, of an area in which a kernel is soon found."""
    height, width = light.shape
    # As square as can be: a strip holds a long kernel badly.
    side = math.isqrt(_WINDOW_AREA)
    rows = min(height, max(side, _WINDOW_AREA // width))
    columns = min(width, _WINDOW_AREA // rows)
    size = cv2.magnitude(*np.gradient(light)).astype(np.float32)
    # Lamps have large gradients and tell little.
    size = np.minimum(size, 4 * size.mean())
    means = cv2.boxFilter(size, -1, (columns, rows), anchor=(0, 0), borderType=cv2.BORDER_ISOLATED)
    valid = means[: height - rows + 1, : width - columns + 1]
    top, left = np.unravel_index(int(valid.argmax()), valid.shape)
    return slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)
