"""What happened during an exposure: sharp frames out of one blurred picture.

A classical estimate, and what a `motion` network sees of it. The restored picture is blurred along
many straight lines; where one of them gives the blurred picture back, that is how the scene moved
there. Blur alone does not tell which end of a line came first: over the whole picture the
directions are made to agree with each other, and which of the two that is remains a guess, unless
the picture was taken through a coded aperture (`blur.optics`) and a network reads the code.

All pictures here are luminance as float32 in [0, 1]. A trajectory is where a pixel is at time t of
the exposure, t in [-0.5, 0.5] from its first to its last moment, relative to its mean place, which
is where a restorer shows it: `first * t + second * (t^2 - 1/12)`, x before y, in pixels.

References:
    Jin, Meishvili and Favaro, "Learning to extract a video sequence from a single motion-blurred
        image", 2018 (the task, the ambiguity of direction).
"""

import dataclasses
import functools
import math

import cv2
import numpy as np

from keras_refocus.engines import contract
from keras_refocus.pictures import color
from keras_refocus.video import optical_flow

#: Frames that a network gives, from the first to the last moment of the exposure.
FRAMES = 7

#: Interpolation that networks are trained with, for `frames_along`.
LINEAR = cv2.INTER_LINEAR

#: Unit of lengths in what a network sees, in pixels.
SCALE = contract.MOTION_UNIT

#: Mean of t^2 over the exposure.
MEAN_SQUARE = 1.0 / 12.0

# Lines are looked for at half the size: fewer pixels, and half as many lengths.
_SHRINK = 2
_LENGTHS = np.linspace(1.5, 15.0, 10)  # of the shrunk picture
_ANGLES = 12
# Over how far lines are compared with the picture, and over how far the ways that were found are
# then evened out, in pixels of the full picture: what shakes is mostly the camera.
_NEIGHBOURHOOD = 16.0
_EVENNESS = 60.0
# The mean of lines that are nearly as good is shorter than they are.
_LENGTHENING = 1.07
# Errors are compared at a quarter of the shrunk size, where that neighbourhood is small.
_ERROR_SHRINK = 4
# Parts of the way by which colours are compared for the direction of a coded exposure.
_LEADS = (0.2, 0.4)
# Share by which a line must explain the picture better than no motion at all.
_LEAST_GAIN = 0.03


@dataclasses.dataclass(frozen=True)
class Lines:
    """Straight motion of each pixel.

    Attributes:
        field: float32 array (height, width, 2): way from the first moment to the last, x and y in
            pixels.
        fit: float32 array (height, width) in [0, 1]: share of the difference between the restored
            picture and the blurred one that this motion explains; 0 where nothing moved.
    """

    field: np.ndarray
    fit: np.ndarray


def moments(count: int) -> np.ndarray:
    """Times of frames, evenly spaced from the first to the last moment; the middle if it is one."""
    return np.linspace(-0.5, 0.5, count) if count > 1 else np.zeros(1)


def find_lines(blurred: np.ndarray, restored: np.ndarray) -> Lines:
    """Look for the straight motion that makes the blurred picture of the restored one.

    Args:
        blurred: float32 array (height, width), luminance in [0, 1].
        restored: What a restorer made of it, of the same shape.

    Returns:
        `Lines`.

    Raises:
        ValueError: If the two are not planes of one shape.
    """
    blurred, restored = (np.asarray(plane, np.float32) for plane in (blurred, restored))
    if blurred.ndim != 2 or blurred.shape != restored.shape or not blurred.size:
        raise ValueError(
            "Blurred and restored luminance are planes (height, width) of one shape. Received: "
            f"shapes {blurred.shape} and {restored.shape}."
        )
    shape = blurred.shape
    small = (max(1, shape[1] // _SHRINK), max(1, shape[0] // _SHRINK))
    blurred, restored = (
        cv2.resize(plane, small, interpolation=cv2.INTER_AREA) for plane in (blurred, restored)
    )
    errors, ways = _errors(blurred, restored)
    field, fit = _best(errors, ways)
    field = cv2.resize(field, shape[::-1], interpolation=cv2.INTER_LINEAR) * _SHRINK
    fit = cv2.resize(fit, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return Lines(np.ascontiguousarray(field, np.float32), np.clip(fit, 0, 1).astype(np.float32))


@functools.cache
def _kernels() -> tuple[tuple[tuple[float, float], np.ndarray], ...]:
    """Every line: its way (x, y) in pixels of the shrunk picture, and its kernel of sum 1."""
    found = []
    for length in _LENGTHS:
        for angle in np.arange(_ANGLES) * math.pi / _ANGLES:
            way = (length * math.cos(angle), length * math.sin(angle))
            found.append((way, _line(way)))
    return tuple(found)


def _line(way):
    """Kernel of a straight motion, its light spread over the pixels that it crosses."""
    reach = int(math.ceil(max(map(abs, way)) / 2)) + 1
    kernel = np.zeros((2 * reach + 1,) * 2, np.float32)
    for part in np.linspace(-0.5, 0.5, 8 * reach + 1):
        x, y = reach + way[0] * part, reach + way[1] * part
        left, top = int(x), int(y)
        across, down = x - left, y - top
        kernel[top, left] += (1 - across) * (1 - down)
        kernel[top, left + 1] += across * (1 - down)
        kernel[top + 1, left] += (1 - across) * down
        kernel[top + 1, left + 1] += across * down
    return kernel / kernel.sum()


def _errors(blurred, restored):
    """Local mean squared difference of the picture and the restored one blurred along each line.

    Returns:
        Tuple `(errors, ways)`: arrays (1 + lines, height, width), of which the first is without
        motion, and (1 + lines, 2).
    """
    planes = [(np.zeros(2), restored)]
    planes += [
        (np.array(way), cv2.filter2D(restored, -1, kernel, borderType=cv2.BORDER_REPLICATE))
        for way, kernel in _kernels()
    ]
    # At borders light comes from outside, of which the picture knows nothing.
    size = tuple(max(1, side // _ERROR_SHRINK) for side in blurred.shape[::-1])
    sigma = _NEIGHBOURHOOD / _SHRINK / _ERROR_SHRINK
    errors = []
    for _, plane in planes:
        difference = cv2.resize((plane - blurred) ** 2, size, interpolation=cv2.INTER_AREA)
        errors.append(cv2.GaussianBlur(difference, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    return np.stack(errors), np.stack([way for way, _ in planes])


def _best(errors, ways):
    """Way and fit of each place: the best lines, their ends in order, and smooth.

    Returns:
        Tuple `(field, fit)` at the size of the errors.
    """
    # Which end of a line is first: as of the line that explains most of the picture.
    gains = errors[0].mean() - errors.mean((1, 2))
    axis = ways[np.argmax(gains)]
    signs = np.where(ways @ axis < 0, -1.0, 1.0)
    ways = ways * signs[:, None]
    least = errors.min(0)
    # The mean of the lines that are nearly as good, so that ways are not those of the grid alone.
    closeness = np.exp(-(errors - least) / (0.04 * least + 1e-8))
    field = np.tensordot(closeness, ways, ([0], [0])) / closeness.sum(0)[..., None]
    fit = 1 - least / np.maximum(errors[0], 1e-12)
    fit = np.where(errors[0] > 1e-7, fit, 0.0)
    fit = np.where(fit > _LEAST_GAIN, fit, 0.0).astype(np.float32)
    # Places that tell little take over what their neighbours tell.
    weight = (errors[0] - least) * (fit > 0) + 1e-9

    def smooth(plane, pixels):
        sigma = pixels / _SHRINK / _ERROR_SHRINK
        return cv2.GaussianBlur(
            plane.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE
        )

    total = np.maximum(smooth(weight, _EVENNESS), 1e-12)[..., None]
    field = smooth(field * weight[..., None], _EVENNESS) / total * _LENGTHENING
    # Where nothing moves, nothing does, whatever moves beside it.
    moves = np.minimum(1, smooth(fit, _NEIGHBOURHOOD) / (2 * _LEAST_GAIN))
    return field * moves[..., None], fit


@dataclasses.dataclass(frozen=True)
class Motion:
    """What a `motion` network gives of a picture.

    Attributes:
        trajectories: float32 array (height, width, 4): `first` and `second`, in pixels.
        correction: float32 array (height, width): what is added to the restored luminance before
            it moves.
        residuals: float32 array (height, width, 7): what is added to the luminance of each frame.
    """

    trajectories: np.ndarray
    correction: np.ndarray
    residuals: np.ndarray


def read_motion(given: np.ndarray) -> Motion:
    """Take apart what a `motion` network gives: float32 array (height, width, 12)."""
    return Motion(given[..., :4], given[..., 4], given[..., 5:])


def along_lines(lines: Lines) -> Motion:
    """The motion of straight lines alone, with nothing added: what an untrained network gives."""
    shape = lines.fit.shape
    return Motion(
        np.concatenate([lines.field, np.zeros_like(lines.field)], axis=-1),
        np.zeros(shape, np.float32),
        np.zeros((*shape, FRAMES), np.float32),
    )


def frames_along(
    planes: np.ndarray,
    trajectories: np.ndarray,
    times: np.ndarray,
    *,
    interpolation: int = cv2.INTER_CUBIC,
) -> list[np.ndarray]:
    """Move the planes of a sharp picture along trajectories.

    Args:
        planes: float32 array (height, width) or (height, width, channels): the scene at its mean
            place.
        trajectories: float32 array (height, width, 4): `first` and `second`, see above; or
            (height, width, 2) of `first` alone.
        times: Moments in [-0.5, 0.5].
        interpolation: Of OpenCV; `LINEAR` is what networks are trained with.

    Returns:
        An array of the shape of `planes` for each moment.
    """
    height, width = planes.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    frames = []
    for time in times:
        shift = trajectories[..., :2] * np.float32(time)
        if trajectories.shape[-1] == 4:
            shift = shift + trajectories[..., 2:] * np.float32(time * time - MEAN_SQUARE)
        frames.append(
            cv2.remap(
                planes,
                x - shift[..., 0],
                y - shift[..., 1],
                interpolation,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
    return frames


def true_trajectories(frames: np.ndarray) -> np.ndarray:
    """How things moved between the true frames: optical flow from the outer ones to the middle one.

    Args:
        frames: float32 array (batch, height, width, 7), luminance.

    Returns:
        float32 array (batch, height, width, 4): `first` and `second`.
    """
    found = []
    for one in frames:
        first, middle, last = (np.ascontiguousarray(one[..., index]) for index in (0, 3, 6))
        # A pixel of a frame comes from where the flow leads in the middle one.
        start, end = (-optical_flow.estimate(outer, middle) for outer in (first, last))
        found.append(np.concatenate([end - start, 2 * (start + end)], axis=-1))
    return np.stack(found).astype(np.float32)


def lead_of_blue(rgb: np.ndarray, lines: Lines) -> float:
    """How much blue edges lie ahead of red ones on the lines: which end of them came first.

    Through the phase-coded aperture of `blur.optics` blue is sharp when the exposure begins and red
    when it ends. What is sharp of red is then found where what is sharp of blue comes to when it
    goes on along the way. How the colours of the scene differ does not matter, nor how strong the
    code is: both ways are compared with each other.

    Args:
        rgb: float32 array (height, width, 3) in [0, 1], sRGB: a picture through the aperture.
        lines: Its motion.

    Returns:
        Correlation of red with blue moved on along the way, less that with blue moved back, in
        [-1, 1]; negative where the lines point the wrong way.
    """
    light = color.srgb_to_linear(rgb).astype(np.float32)
    edges = [_edges(light[..., channel]) for channel in (0, 2)]
    # Where nothing moves there is nothing to tell.
    weight = lines.fit
    lead = 0.0
    for part in _LEADS:
        shifts = lines.field * part
        ahead, back = (
            _correlation(edges[0], frames_along(edges[1], way, np.array([1.0]))[0], weight)
            for way in (shifts, -shifts)
        )
        lead += (ahead - back) / len(_LEADS)
    return float(lead)


def _edges(plane):
    wide = cv2.GaussianBlur(plane, (0, 0), 6.0, borderType=cv2.BORDER_REPLICATE)
    return cv2.GaussianBlur(plane, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE) - wide


def _correlation(one, other, weight):
    power = np.sqrt((weight * one**2).sum() * (weight * other**2).sum())
    return float((weight * one * other).sum() / max(float(power), 1e-12))


def read_direction(picture: np.ndarray, lines: Lines) -> Lines:
    """Turn lines round that point against the code of a picture; see `lead_of_blue`.

    Args:
        picture: float32 array (height, width, 3): luminance and chroma.
        lines: Its motion.
    """
    rgb = color.recompose(picture[..., :1], np.ascontiguousarray(picture[..., 1:]))
    if lead_of_blue(np.clip(rgb, 0, 1), lines) >= 0:
        return lines
    return dataclasses.replace(lines, field=-lines.field)


def see(picture: np.ndarray, restored: np.ndarray, lines: Lines) -> np.ndarray:
    """What a `motion` network sees.

    Args:
        picture: float32 array (height, width, 1), luminance, or (height, width, 3), luminance and
            chroma, of which a coded aperture needs the second.
        restored: float32 array (height, width): luminance that the restorer gave.
        lines: `find_lines` of the two.

    Returns:
        float32 array (height, width, channels): the picture's channels, restored luminance, `field`
        over `SCALE`, x and y, and `fit`.
    """
    parts = [picture, restored[..., None], lines.field / SCALE, lines.fit[..., None]]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def look(
    pictures: np.ndarray, engine: contract.Engine, restorer: str, *, coded: bool = False
) -> np.ndarray:
    """What a `motion` network sees of pictures of one size, whose restorer is asked.

    Args:
        pictures: float32 array (batch, height, width, 1 or 3): luminance, perhaps with chroma.
        engine: Runs the restorer.
        restorer: Its name.
        coded: Whether the pictures were taken through the coded aperture, whose colours tell in
            which direction time goes on the lines.

    Returns:
        float32 array (batch, height, width, 5 or 7); see `see`.
    """
    restored = np.clip(engine.restore(pictures[..., :1], model=restorer), 0, 1)[..., 0]
    found = []
    for picture, sharp in zip(pictures, restored, strict=True):
        lines = find_lines(picture[..., 0], sharp)
        lines = read_direction(picture, lines) if coded else lines
        found.append(see(picture, sharp, lines))
    return np.stack(found)
