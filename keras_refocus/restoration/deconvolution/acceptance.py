"""Where the deconvolved picture is taken, and where the plain one stands.

A deconvolved picture that is right gives the photo again when it is blurred; and it shows nothing
where the photo shows nothing over a whole kernel: ripples that blur to nothing are the mark of a
wrong kernel. Both are asked of each neighbourhood; and the picture as a whole must have fewer edges
and more directions than the plain one, by the measure by which its kernel was chosen.

Before the restorer has seen it, what any kernel gave blurs to the photo. With a wrong one the
restorer does not know what it sees, and changes it so much that it does not any more. So with a
kernel that was found the error must be far below that of the plain result, not only below it (that
of the plain result is not small, since it is blurred by the kernel on top of what blur it has left)
and small beside what was changed. Noise is no error: it is smoothed away before errors are squared.

And what a right kernel leaves is noise, in which neighbours do not resemble each other; what a
wrong one leaves has the shapes of the picture. So the less sparser than the photo a kernel made the
picture, the more like noise the residual must be (`gain` less a part of their correlation is the
evidence). How much evidence is asked for depends on two things. A camera moves along one path: of
shaken photos, kernels that are right hang together, and most wrong ones, which took edges of the
scene for the shake, are in pieces. And what several ways of the search end at is hardly an
accident, even where the blur differs a little from place to place, so that something of the picture
is left over; what each has for itself mostly is one.

All of this tells a right kernel from a wrong one, but not whether it was needed. Blur of the kind
that the restorer has learned it takes away better than an inversion does, and the kernel is right
all the same. So the restorer is asked: the kernel that takes its plain result to the photo is what
it took away by itself. Where that is the one that was found, it has seen this blur (`seen`), and
its result stands, unless errors are small and the evidence is good: then the inversion is the
better one even so. Where it is plainly another, and the kernel one path that others agree with, the
errors may be larger.

Kernels fitted again to the halves of the picture were tried as evidence and are none: those of two
halves were 0.47 to 0.97 alike with twelve right kernels, and 0.82 to 0.88 with three wrong ones.

Where the error is small, but not very small, a part of the plain result stays: the kernel is then
slightly wrong there, and its blotches and ripples are weakened by as much. So it does everywhere
where there is little evidence.
"""

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.restoration.deconvolution import blind, fourier, kernels
from keras_refocus.restoration.deconvolution.finding import Finding, Reason, nothing
from keras_refocus.restoration.tiling import Tiles

# Tiles that are deconvolved, and judged, at once; and what they share.
TILE, OVERLAP = 1024, 256
# Shakes shorter than this, in pixels, are the restorer's own business.
SHORTEST = 6.0
# Side in pixels of the neighbourhoods that are judged.
_NEIGHBOURHOOD = 65
# Luminance: what is flat in the photo moves by less, and what may come of it.
_FLAT, _RIPPLE = 0.012, 2.5
# Share of the picture below which nothing is taken.
_LEAST = 0.05
# Sigma in pixels of the smoothing by which noise is left out of errors.
_SMOOTHING = 1.0
# With a kernel that was found: the squared error in a neighbourhood over that of the plain result;
# the same of all that is taken; that over the square of what was changed; and how far above the
# least error noise alone may be.
_FIT, _FIT_OF_ALL, _LEFT, _NOISE = 0.3, 0.3**2, 0.06**2, 1.5
# What each unit by which neighbours correlate in the residual takes of the evidence, which is how
# much sparser the picture is than the photo (`blind.Found.cost`).
_RESEMBLANCE = 0.35
# Share of the kernel that must hang together (`kernels.wholeness`): below the first it is no path,
# from the second on it is one.
_BROKEN, _ONE_PATH = 0.9, 0.96
# Least similarity of the kernel to another that was found, and the evidence it then takes, of one
# path and of others; and what it takes where none is as similar.
_EVIDENCE_PATH = ((0.75, -0.11), (0.55, -0.05))
_EVIDENCE = ((0.75, 0.06),)
_EVIDENCE_ALONE = 0.1
# Evidence below which the kernel is in doubt, and what of the deconvolved picture is left then.
_DOUBT, _DOUBTED = 0.06, 0.75
# Similarity (`seen`) from which on the kernel is that of what the restorer took away by itself, and
# the evidence that it takes then for the deconvolved picture to be the better one all the same.
REMOVED, _EVIDENCE_REMOVED = 0.85, 0.06
# Below which it surely is not; what then is asked of the errors of one path to which another that
# was found is similar, in the place of `_FIT_OF_ALL` and `_LEFT`, and how similar that must be.
_NOT_REMOVED, _FIT_AGREED, _LEFT_AGREED, _AGREED = 0.8, 0.45**2, 0.2**2, 0.65
# How much less sparse than the plain result a picture may be that is not rougher.
_ROUGHNESS = 0.05
# Root of the error over that of the plain result from which on some of the plain result stays; how
# much of it for each unit above; and what of the deconvolved picture is left at least.
_CLEAR, _FADE, _LEAST_LEFT = 0.1, 1.5, 0.6
# Share of a pixel from which on it is well inside what is taken, and of the picture that must be.
_SURE, _MOST = 0.9, 0.5


def choose(
    light: np.ndarray,
    sharp: np.ndarray,
    plain: np.ndarray,
    kernel: np.ndarray,
    *,
    given: bool = False,
    gain: float = np.inf,
    agreement: float = 1.0,
    already: float = _NOT_REMOVED,
) -> tuple[np.ndarray, Finding]:
    """Blend the deconvolved and the plain picture by which of them is better where.

    Args:
        light: The photo, float32 (height, width), linear light in [0, 1].
        sharp: Luminance of the deconvolved and restored picture, float32 (height, width, 1).
        plain: Luminance of the plain result.
        kernel: That of the blur.
        given: Whether somebody named the kernel. Then it is not doubted: it may be short, and to
            be better than the plain result is enough.
        gain: By how much the cost of the picture that the search saw is below that of the photo
            (`blind.Found.cost`).
        agreement: Greatest similarity of the kernel to one that was found in another way, 0 to 1:
            the less, the more is asked of it.
        already: `seen`; as long as it is not known, in between.

    Returns:
        Tuple of luminance, float32 (height, width, 1) in [0, 1], and what is to be said of it.
    """
    found = kernels.extent(kernel)
    if found.length < SHORTEST and not given:
        return plain, nothing(Reason.NO_SHAKE, kernel)
    if not given and not is_path(kernel):
        return plain, nothing(Reason.NO_PATH, kernel)
    cost, plain_cost = (
        blind.measured(color.luminance_to_light(side[..., 0]), kernel).cost
        for side in (sharp, plain)
    )
    if cost > plain_cost + _ROUGHNESS:
        return plain, nothing(Reason.ROUGHER, kernel)
    photo = color.light_to_luminance(light)
    share, error, plain_error, power, product = _judged(
        photo, sharp, plain, kernel, 1.0 if given else _FIT
    )
    changed = float(share.mean())
    # At the rim of what is taken the error of both is seen.
    sure = share > _SURE * _LEAST_LEFT
    left, moved = error[sure].sum(), (sharp - plain)[sure] ** 2
    nearer, least = left / max(plain_error[sure].sum(), 1e-12), left / max(moved.sum(), 1e-12)
    strictly = nearer < _FIT_OF_ALL and least < _LEFT
    one_path = kernels.wholeness(kernel) >= _ONE_PATH
    agreed = one_path and agreement >= _AGREED and already < _NOT_REMOVED
    fits = strictly or (agreed and nearer < _FIT_AGREED and least < _LEFT_AGREED)
    removed = already >= REMOVED and not given
    if changed < _LEAST or not (given or (fits and sure.mean() > _MOST)):
        return plain, nothing(Reason.NO_SHAKE if removed else Reason.NOT_THE_PHOTO, kernel)
    resemblance = product[sure].sum() / max(power[sure].sum(), 1e-12)
    evidence = np.inf if given else gain - _RESEMBLANCE * max(resemblance, 0)
    if removed and evidence < _EVIDENCE_REMOVED:
        return plain, nothing(Reason.NO_SHAKE, kernel)
    rules = _EVIDENCE_PATH if one_path else _EVIDENCE
    if evidence < _asked(agreement, rules):
        alone = agreement < rules[-1][0]
        return plain, nothing(Reason.DISAGREEMENT if alone else Reason.NOT_THE_PHOTO, kernel)
    reason = Reason.NONE if changed > 0.995 else Reason.PARTLY
    if not given and (evidence < _DOUBT or not strictly):
        share, reason = np.minimum(share, np.float32(_DOUBTED)), Reason.DOUBTFUL
    mixed = plain + share[..., np.newaxis] * (sharp - plain)
    changed = float(share.mean())
    return mixed, Finding(kernel, found.length, found.direction, changed, reason, share)


def is_path(kernel: np.ndarray) -> bool:
    """Whether a kernel that was found can be the path of a camera: it is not in pieces."""
    return kernels.wholeness(kernel) >= _BROKEN


def seen(light: np.ndarray, plain: np.ndarray, kernel: np.ndarray, side: int) -> float:
    """Say how like the kernel is to that of what the restorer took away by itself, 0 to 1.

    That is the kernel that takes its result to the photo. Of a heavy shake the restorer takes away
    a part, and what is left is another kernel: with most kernels that were found in shaken photos
    the similarity was below 0.83, with three 0.88 to 0.97. On crops of GoPro and REDS where a
    kernel was found it mostly was above 0.85.

    Args:
        light: The photo, float32 (height, width), linear light in [0, 1].
        plain: Light of the plain result, of that shape.
        kernel: What was found.
        side: Of the kernel that is fitted, odd.
    """
    return kernels.similarity(blind.refine(light, plain, side), kernel)


def _asked(agreement: float, rules: tuple[tuple[float, float], ...]) -> float:
    """Evidence that a kernel takes to be believed."""
    enough = (evidence for least, evidence in rules if agreement >= least)
    return next(enough, _EVIDENCE_ALONE)


def misfit(photo: np.ndarray, restored: np.ndarray, kernel: np.ndarray) -> float:
    """Root mean square error of a restored picture, blurred again, to the photo.

    Args:
        photo: Luminance, float32 (height, width).
        restored: What the restorer makes of the deconvolved picture, of that shape.
        kernel: That of the blur.
    """
    residual, reach = _residual(restored, photo, kernel)
    return float(np.sqrt(_local(residual**2, reach).mean()))


def _judged(
    photo: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray, fit: float
) -> np.ndarray:
    """As `_better`, in tiles, so that large pictures take no more memory."""
    tiles = Tiles(*photo.shape, TILE, OVERLAP)
    planes = photo[..., np.newaxis], sharp, plain
    cut = ([tiles.cut(plane, window, fill=False)[..., 0] for plane in planes] for window in tiles)
    made = (np.moveaxis(_better(*parts, kernel, fit), 0, -1) for parts in cut)
    return np.moveaxis(np.concatenate([band for _, band in tiles.blend(made)]), -1, 0)


def _better(
    photo: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray, fit: float
) -> np.ndarray:
    """Judge each pixel by its neighbourhood.

    Returns:
        float32 (5, height, width): share of the deconvolved picture, in [0, 1]; mean squared error
        of it and of the plain one, blurred again, without noise; mean square of what it differs
        from the photo, with noise, and mean product of that with what it is a pixel further.
    """
    residual, reach = _residual(sharp, photo, kernel)
    error = _local(_smooth(residual) ** 2, reach)
    plain_error = _local(_smooth(_residual(plain, photo, kernel)[0]) ** 2, reach)
    beside, below = (np.roll(residual, -1, axis) * residual for axis in (1, 0))
    near = _NEIGHBOURHOOD // 4
    # An edge as far as the kernel reaches is in the blurred neighbourhood, too.
    flat = _deviation(photo, near + max(kernel.shape)) < _FLAT
    ripples = _deviation(sharp, near)
    rings = _mean((flat & (ripples > _RIPPLE * _FLAT)).astype(np.float32))
    # Where there is only noise both are as good.
    noise = _NOISE * np.percentile(error, 10)
    good = (error < fit * plain_error + (1 - fit) * noise) & (rings < 0.3)
    share = _mean(good.astype(np.float32))
    if fit < 1:
        # Running means of squares may be below zero by rounding.
        part = np.sqrt(np.maximum(error, 0) / np.maximum(plain_error, 1e-12))
        share *= np.clip(1 - _FADE * (part - _CLEAR), _LEAST_LEFT, 1)
    products = _local((beside + below) / 2, reach)
    return np.stack([_mean(share), error, plain_error, _local(residual**2, reach), products])


def _residual(side: np.ndarray, photo: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, int]:
    """What a picture, blurred again, differs from the photo, and how near the border nobody knows.

    What was blurred into the picture from beyond its border is unknown.
    """
    reach = min(max(kernel.shape) // 2, (min(photo.shape) - 1) // 4)
    return again(side, kernel) - photo, reach


def _smooth(plane: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(plane, (0, 0), _SMOOTHING, borderType=cv2.BORDER_REFLECT)


def _local(plane: np.ndarray, reach: int) -> np.ndarray:
    """Mean about each pixel of a plane whose border is left out."""
    inner = plane[reach : len(plane) - reach, reach : plane.shape[1] - reach]
    return cv2.copyMakeBorder(_mean(inner), *[reach] * 4, cv2.BORDER_REPLICATE)


def again(sharp: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Blur luminance (height, width) in [0, 1], in light, as the photo was."""
    light = color.luminance_to_light(sharp)
    shape = fourier.fast_shape(light.shape, min(*light.shape, max(kernel.shape)))
    factor = fourier.transfer(kernel, shape)
    blurred = fourier.blur(fourier.extend(light, shape), factor)
    return color.light_to_luminance(blurred[: light.shape[0], : light.shape[1]])


def _mean(plane: np.ndarray, side: int = _NEIGHBOURHOOD) -> np.ndarray:
    return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)


def _deviation(plane: np.ndarray, side: int) -> np.ndarray:
    mean = _mean(plane, side)
    return np.sqrt(np.maximum(_mean(plane * plane, side) - mean * mean, 0))
