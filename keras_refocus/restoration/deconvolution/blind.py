"""The kernel of a shaken photo, found from the photo alone, from coarse to fine.

At each scale two steps alternate: a picture of the edges that the present kernel leaves, and the
kernel that takes these edges to those of the photo. Where that ends depends on how many edges it
begins with, so it begins in several ways, of which the best go on from half-way (`search`). Best is
which gives a picture of few edges for its contrast, as blur, ringing and noise all add to their
number, and with edges in every direction, as scenes have and shaken ones have not (`judged`). Of 21
photos shaken by 17 to 44 pixels the true kernel was as good by this measure as what had been found,
or better, but for four: what is missed is missed by the search.

References:
    Cho and Lee, "Fast motion deblurring", 2009 (alternation; edges chosen by direction).
    Xu and Jia, "Two-phase kernel estimation for robust motion deblurring", 2010 (kernel by least
    squares, made sparse).
    Xu, Zheng and Jia, "Unnatural L0 sparse representation for natural image deblurring", 2013, and
    Pan et al., "Deblurring text images via L0-regularized intensity and gradient prior", 2014 (the
    picture of edges).
    Krishnan, Tay and Fergus, "Blind deconvolution using a normalized sparsity measure", 2011, and
    Goldstein and Fattal, "Blur-kernel estimation from spectral irregularities", 2012 (the choice:
    edges are sparse, and their power is alike in all directions).
"""

import dataclasses
import math
import os
from collections.abc import Callable
from concurrent import futures

import cv2
import numpy as np

from keras_refocus.restoration.deconvolution import fourier, kernels, known

# Factor between scales, and side of the kernel at the coarsest.
_STEP = math.sqrt(0.5)
_COARSEST = 5
# The least weight of the count of gradients.
_LEAST_WEIGHT = 1e-4
# Standard deviation of the light to which these weights belong.
_CONTRAST = 0.3
# Growth of the penalty that ties gradients to their sparse copies, and its last value.
_GROWTH, _LAST = 2.0, 1e5
# Weight of the kernel's energy, of that of the edges.
_RIDGE = 2e-3
# Weight of differences between neighbours in a kernel that is fitted to what a network made, of the
# energy of the edges. Without it a path falls apart into dots, fit by fit, as every dot takes the
# light around it.
_SMOOTH = 0.1
# What the least size of an edge is divided by after each fit.
_DECAY = 1.1
# What of a found kernel is taken for noise, of its largest value.
_FAINT = 0.05
# Fits at each scale, and steps of conjugate gradients in a fit.
_FITS, _SOLVER_STEPS = 4, 25
# What evenness of directions counts beside sparsity, and from where on more of it is no better.
_EVENNESS, _EVEN_ENOUGH = 0.2, 0.6
# Of the starts that were half-way so many go on, and of those that are as like as `SAME` one. From
# a similarity of `_ALIKE` on one counts as a vote for the other.
_BEAM, SAME, _ALIKE = 4, 0.9, 0.7

Check = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Start:
    """How a search begins, and goes on.

    Attributes:
        weight: Of the count of gradients at the coarsest scale.
        decay: What it is divided by after each fit: few edges first, soon more of them, or fewer
            for longer.
        power: That light is raised to: below 1 edges in the dark count more.
    """

    weight: float
    decay: float
    power: float = 1.0


# What is best differs from photo to photo.
STARTS = (
    Start(1e-2, 1.05),
    Start(3e-2, 1.05),
    Start(3e-2, 1.1),
    Start(1e-1, 1.1),
    Start(3e-1, 1.15),
    Start(1.0, 1.2),
    Start(3e-2, 1.05, 0.7),
    Start(1e-1, 1.1, 0.7),
)
# The same for a search that begins at full size.
_FINE = Start(1e-3, 1.1)


@dataclasses.dataclass(frozen=True)
class Found:
    """A kernel that a search found.

    Attributes:
        kernel: Square, centred.
        sparsity: Of the picture that it gives, see `sparsity`; less is better.
        evenness: Of its directions, see `evenness`; more is better, up to what scenes have.
        votes: Starts of the search that led to one like it.
    """

    kernel: np.ndarray
    sparsity: float
    evenness: float
    votes: int = 0

    @property
    def cost(self) -> float:
        """What is least for the kernel to take."""
        return self.sparsity - _EVENNESS * min(self.evenness, _EVEN_ENOUGH)


class _Scale:
    """The photo at one scale, and what of it does not change from fit to fit."""

    def __init__(self, light: np.ndarray, side: int, limit: float = known.SATURATED):
        self.size = light.shape
        self.shape = fourier.fast_shape(light.shape, side)
        self.side = side
        self.wide = fourier.extend(light, self.shape)
        self.spectrum = fourier.forward(self.wide)
        self.rough = fourier.roughness(self.shape)
        # What lies beyond the border was made up, and saturated light is not what it says.
        self.inside = np.zeros(self.shape, bool)
        trusted = cv2.dilate((light >= limit).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
        self.inside[1 : light.shape[0] - 1, 1 : light.shape[1] - 1] = trusted[1:-1, 1:-1]
        self.seen = [
            fourier.forward(np.where(self.inside, difference(self.wide), 0))
            for difference in (fourier.across, fourier.down)
        ]
        # Edges in each of four directions that are used at least.
        self.least = int(math.sqrt(light.size) * side / 4)

    def edges(self, kernel: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of the picture of fewest edges that a kernel leaves."""
        factor = fourier.transfer(kernel, self.shape)
        fixed = self.spectrum * np.conj(factor)
        power = np.abs(factor) ** 2
        plane, beta = self.wide, 2 * weight
        while beta < _LAST:
            horizontal, vertical = fourier.across(plane), fourier.down(plane)
            large = horizontal * horizontal + vertical * vertical >= weight / beta
            field = fourier.forward(fourier.divergence(horizontal * large, vertical * large))
            plane = fourier.inverse(
                (fixed + beta * field) / (power + beta * self.rough), self.shape
            )
            beta *= _GROWTH
        return fourier.across(plane), fourier.down(plane)

    def threshold(self, horizontal: np.ndarray, vertical: np.ndarray) -> float:
        """Least size of gradients with which enough of them are left in every direction."""
        horizontal, vertical = horizontal[self.inside], vertical[self.inside]
        size = np.hypot(horizontal, vertical)
        sector = np.floor(np.mod(np.arctan2(vertical, horizontal), np.pi) / (np.pi / 4))
        values = [size[np.clip(sector, 0, 3) == number] for number in range(4)]
        if min(map(len, values)) <= self.least:
            return 0.0
        return min(float(np.partition(part, -self.least)[-self.least]) for part in values)

    def fit(
        self, horizontal: np.ndarray, vertical: np.ndarray, least: float, smooth: float = 0.0
    ) -> np.ndarray:
        """The kernel that takes drawn edges to those of the photo, by least squares.

        No value of it is negative: what comes out so is left out, and the rest fitted again.
        `smooth` is the weight of its own differences, of the energy of the edges.
        """
        keep = self.inside & (horizontal * horizontal + vertical * vertical >= least * least)
        drawn = [fourier.forward(part * keep) for part in (horizontal, vertical)]
        alike = fourier.inverse(sum(np.abs(part) ** 2 for part in drawn), self.shape)
        pairs = zip(self.seen, drawn, strict=True)
        crossed = fourier.inverse(sum(seen * np.conj(part) for seen, part in pairs), self.shape)
        side, reach = self.side, self.side // 2
        near, far = np.arange(-reach, reach + 1), np.arange(-2 * reach, 2 * reach + 1)
        target = crossed[np.ix_(near, near)].astype(np.float64)
        size = 2 * side
        table = np.zeros((size, size))
        table[np.ix_(far, far)] = alike[np.ix_(far, far)]
        penalty = _RIDGE + smooth * fourier.roughness((size, size))
        response = np.fft.rfft2(table) + penalty * table[0, 0]

        def apply(kernel):
            spectrum = np.fft.rfft2(kernel, (size, size))
            return np.fft.irfft2(spectrum * response, (size, size))[:side, :side]

        kernel, support = np.zeros_like(target), np.ones_like(target, bool)
        for _ in range(3):
            kernel = _solve(apply, target * support, kernel * support, support)
            support &= kernel > 0
        kernel = kernel * support
        return kernel.astype(np.float32) if kernel.sum() > 0 else kernels.dot(side)


def estimate(
    light: np.ndarray,
    side: int,
    *,
    start: np.ndarray | None = None,
    fits: int = _FITS,
    check: Check = lambda: None,
) -> np.ndarray:
    """Find the kernel of a photo, of one size of the search, from one start.

    Args:
        light: float32 (height, width), linear light in [0, 1].
        side: Of the kernel, odd.
        start: A kernel of that side to begin with at full size, instead of at the coarsest scale.
        fits: Fits at each scale.
        check: Called between fits; what it raises ends the search.

    Returns:
        Kernel (side, side), centred.
    """
    if start is None:
        climb = _Climb(light, side, STARTS[0], fits, check)
        climb.rise(_sides(side))
    else:
        climb = _Climb(light, side, _FINE, fits, check, start)
        climb.rise([side])
    return climb.result


class _Climb:
    """A search on its way from coarse to fine.

    Attributes:
        kernel: As it is at the present scale.
    """

    def __init__(
        self,
        light: np.ndarray,
        side: int,
        start: Start,
        fits: int,
        check: Check,
        kernel: np.ndarray | None = None,
    ):
        if start.power != 1:
            light = np.maximum(light, 0) ** np.float32(start.power)
        self._gain = np.float32(_CONTRAST / max(float(light.std()), 1e-3))
        self._light, self._side = light * self._gain, side
        self._weight, self._decay = start.weight, start.decay
        self._fits, self._check = fits, check
        self.kernel = kernel

    def rise(self, sides: list[int]) -> None:
        """Fit the kernel anew at the scale of each of these sides, in their order."""
        for size in sides:
            if self.kernel is None:
                # A path of two pixels: what blurs nothing would be left as it is.
                self.kernel = kernels.dot(size)
                self.kernel[size // 2, size // 2 + 1] = 1
            small = _shrunk(self._light, size, self._side)
            scale = _Scale(small, size, known.SATURATED * self._gain)
            kernel = kernels.resized(self.kernel, size)
            threshold = None
            for _ in range(self._fits):
                self._check()
                gradients = scale.edges(kernel, self._weight)
                if threshold is None:
                    threshold = scale.threshold(*gradients)
                kernel = kernels.pruned(scale.fit(*gradients, threshold))
                threshold /= _DECAY
                self._weight = max(self._weight / self._decay, _LEAST_WEIGHT)
            self.kernel = kernels.centred(kernel)

    @property
    def result(self) -> np.ndarray:
        """The kernel without what is taken for noise."""
        return kernels.centred(kernels.pruned(self.kernel, faint=_FAINT))


def _shrunk(light: np.ndarray, size: int, side: int) -> np.ndarray:
    """A plane at the scale at which a kernel of `side` has the side `size`."""
    if size == side:
        return light
    shape = [max(round(length * size / side), size) for length in light.shape]
    return cv2.resize(light, shape[::-1], interpolation=cv2.INTER_AREA)


def refine(
    light: np.ndarray,
    sharp: np.ndarray,
    side: int,
    check: Check = lambda: None,
    *,
    strength: float = 1.0,
) -> np.ndarray:
    """Fit the kernel that takes what a network takes for sharp to the photo.

    Args:
        light: The photo, float32 (height, width), linear light in [0, 1].
        sharp: Of the same shape.
        side: Of the kernel, odd.
        check: Called before the fit.
        strength: Factor on the size from which on edges count.
    """
    check()
    scale = _Scale(light, side)
    wide = fourier.extend(sharp, scale.shape)
    gradients = fourier.across(wide), fourier.down(wide)
    kernel = scale.fit(*gradients, strength * scale.threshold(*gradients), _SMOOTH)
    return kernels.centred(kernels.pruned(kernel, faint=_FAINT))


def search(light: np.ndarray, side: int, check: Check = lambda: None) -> list[Found]:
    """Find a kernel with room of one size, from several starts.

    All of `STARTS` climb to the scale at which the picture is half as large, which costs little;
    those of least cost there, as far as they differ, climb to the top (a beam search).

    Args:
        light: float32 (height, width), linear light in [0, 1].
        side: Of the kernel, odd.
        check: Called between fits.

    Returns:
        What reached the top, the one of least cost first. `votes` of each counts the starts whose
        kernel was like it half-way.
    """
    sides = _sides(side)
    halfway = next(number for number, size in enumerate(sides) if 2 * size >= side - 2) + 1
    half = sides[halfway - 1]
    small = _shrunk(light, half, side)

    def begin(start):
        climb = _Climb(light, side, start, _FITS, check)
        climb.rise(sides[:halfway])
        return judged(small, climb.result, check), climb

    def finish(climb):
        climb.rise(sides[halfway:])
        drawn = kernels.resized(climb.kernel, half)
        votes = sum(kernels.similarity(drawn, other.kernel) >= _ALIKE for other, _ in climbs)
        return dataclasses.replace(judged(light, climb.result, check), votes=votes)

    # They know nothing of each other, and transforms hold no lock: as many at once as there are
    # cores give the same.
    with futures.ThreadPoolExecutor(min(os.cpu_count() or 1, len(STARTS))) as pool:
        climbs = sorted(pool.map(begin, STARTS), key=lambda one: one[0].cost)
        chosen: list[tuple[Found, _Climb]] = []
        for one, climb in climbs:
            if all(kernels.similarity(one.kernel, other.kernel) < SAME for other, _ in chosen):
                chosen.append((one, climb))
        found = pool.map(finish, [climb for _, climb in chosen[:_BEAM]])
        return sorted(found, key=lambda one: one.cost)


def judged(light: np.ndarray, kernel: np.ndarray, check: Check = lambda: None) -> Found:
    """Say how good the picture is that a kernel gives."""
    check()
    kernel = kernels.trimmed(kernel)
    sharp = known.deconvolve(light, kernel, iterations=known.QUICK, check=check)
    reach = max(kernel.shape) // 2
    return measured(sharp[reach : -reach or None, reach : -reach or None], kernel)


def measured(light: np.ndarray, kernel: np.ndarray) -> Found:
    """Measure a picture, float32 (height, width) in linear light, that a kernel gave."""
    return Found(kernel, sparsity(light), evenness(light))


def sparsity(plane: np.ndarray) -> float:
    """Mean size of gradients over their root mean square: 1 for noise all over, 0 for one edge."""
    horizontal, vertical = np.diff(plane, axis=1)[:-1], np.diff(plane, axis=0)[:, :-1]
    size = np.hypot(horizontal, vertical).astype(np.float64)
    return float(size.mean() / max(math.sqrt(float((size**2).mean())), 1e-12))


def evenness(light: np.ndarray) -> float:
    """Least over greatest power of gradients among all directions, 0 to 1."""
    return _directions(light)[0]


def least_direction(light: np.ndarray) -> float:
    """Direction along which a plane has least detail: that of a straight motion.

    Returns:
        Degrees in [0, 180), 0 along rows, 90 along columns.
    """
    return _directions(light)[1]


def _directions(light: np.ndarray) -> tuple[float, float]:
    # The cube root, so that what is bright does not decide alone; smoothed, so that noise does not.
    plane = np.cbrt(np.maximum(cv2.GaussianBlur(light, (0, 0), 1.0), 0))
    down, right = np.gradient(plane)
    mixed = float((right * down).mean())
    tensor = [[float((right * right).mean()), mixed], [mixed, float((down * down).mean())]]
    (least, greatest), axes = np.linalg.eigh(np.array(tensor))
    direction = math.degrees(math.atan2(-axes[1, 0], axes[0, 0])) % 180
    return max(float(least), 0.0) / max(float(greatest), 1e-12), direction


def _sides(side: int) -> list[int]:
    """Sides of the kernel from the coarsest scale to the finest, odd."""
    sides = [side]
    while sides[-1] > _COARSEST:
        sides.append(min(round(sides[-1] * _STEP) // 2 * 2 + 1, sides[-1] - 2))
    return sides[::-1]


def _solve(
    apply: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    values: np.ndarray,
    support: np.ndarray,
) -> np.ndarray:
    """Solve `apply(values) = target` on a support by conjugate gradients."""
    residual = (target - apply(values)) * support
    direction = residual
    power = float((residual**2).sum())
    enough = 1e-10 * float((target**2).sum())
    for _ in range(_SOLVER_STEPS):
        if power <= enough:
            break
        moved = apply(direction) * support
        length = power / float((direction * moved).sum())
        values = values + length * direction
        residual = residual - length * moved
        before, power = power, float((residual**2).sum())
        direction = residual + power / before * direction
    return values
