"""Synthesis of blurred photographs: what a sensor integrates while camera and objects move.

A blurred picture is `y = g(mean_t x_t)`: the sharp frames `x_t` seen during the exposure, averaged
in linear light, through the camera response `g`. From one sharp photo this module draws a camera
path, up to three object layers with paths of their own (`motion`, `scene`), integrates, and then
does to the result what cameras and files do (`sensor`): clipping, noise, response curve, JPEG,
vignetting, scratches. The middle of the exposure, or its mean position, is the photo itself, so
`(blurred, sharp)` is an aligned training pair. How much of all that happens is a matter of
`settings`, whose names are those of this module too.

Everything random comes from the `numpy.random.Generator` that is passed in: the same generator
state gives the same bytes. OpenCV does the warping with as many threads as `cv2.setNumThreads`
allows; worker processes should set that to 1 themselves, nothing is set here.

References:
    Nah et al., "Deep multi-scale CNN for dynamic scene deblurring", 2017 (averaging of frames).
"""

import dataclasses
import math

import cv2
import numpy as np

from keras_refocus.blur import motion, sensor
from keras_refocus.blur.scene import Scene, object_mask
from keras_refocus.blur.sensor import degrade
from keras_refocus.blur.settings import (
    ANCHORS,
    PATH_KINDS,
    SETTINGS,
    ExposureSettings,
    log_uniform,
    settings,
)
from keras_refocus.pictures import color

__all__ = [
    "ANCHORS",
    "PATH_KINDS",
    "SETTINGS",
    "Exposure",
    "ExposureSettings",
    "degrade",
    "expose",
    "settings",
]
_MAX_MARGIN = 128
_STILL = 1e-3  # pixels: less motion than this is none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exposure:
    """One synthetic exposure.

    Attributes:
        blurred: float32 array (height, width, 3) in [0, 1], sRGB-like encoding: what comes out.
        sharp: float32 array (height, width, 3) in [0, 1]: the scene at the anchor of the exposure,
            its middle moment or its mean position.
        frames: float32 array (count, height, width, 3) in [0, 1], evenly spaced over the exposure,
            or `None` when none were asked for.
        path: float32 array (points, 2), x and y of the camera path at the window's centre in
            pixels, evenly spaced in time; zero at the anchor. All zero without motion.
        kind: `"untouched"`, `"still"`, `"continuous"`, `"frames"` (averaged in linear light) or
            `"encoded frames"` (averaged after the response curve).
    """

    blurred: np.ndarray
    sharp: np.ndarray
    frames: np.ndarray | None
    path: np.ndarray
    kind: str


def _cut_window(rgb, size, margin, scale, rng):
    """Cut a random window with as much surrounding as there is, up to `margin`.

    Returns:
        The cut, and (rows, columns) of surrounding above and left of the window.
    """
    height, width = rgb.shape[:2]
    scale = max(scale, size[0] / height, size[1] / width)
    if scale < 1:
        source = (min(round(size[0] / scale), height), min(round(size[1] / scale), width))
    else:
        source = size
    top = int(rng.integers(0, height - source[0] + 1))
    left = int(rng.integers(0, width - source[1] + 1))
    reach = int(math.ceil(margin / scale))
    above, before = min(reach, top), min(reach, left)
    bottom = min(top + source[0] + reach, height)
    right = min(left + source[1] + reach, width)
    cut = rgb[top - above : bottom, left - before : right]
    if scale >= 1:
        return np.ascontiguousarray(cut), (above, before)
    # whole pixels of surrounding after shrinking: resize the surrounding with the window
    down = (size[0] / source[0], size[1] / source[1])
    shape = (round(cut.shape[0] * down[0]), round(cut.shape[1] * down[1]))
    offset = (round(above * down[0]), round(before * down[1]))
    shape = (max(shape[0], offset[0] + size[0]), max(shape[1], offset[1] + size[1]))
    shrunk = cv2.resize(cut, shape[::-1], interpolation=cv2.INTER_AREA)
    return shrunk, offset


def expose(rgb, settings, rng, *, size=None, frames=0, psfs=None, transforms=None):
    """Expose a moving camera to a photo and return the blurred picture beside the sharp one.

    Args:
        rgb: uint8 array, or float32 in [0, 1], of shape (height, width, 3), sRGB: a sharp photo.
        settings: `ExposureSettings`, for example `SETTINGS["mixed"]`.
        rng: `numpy.random.Generator`: the only source of randomness.
        size: (height, width) of a random window; the photo around it moves into view. `None` takes
            the whole photo (never shrunk), mirrored at its border.
        frames: how many sharp frames of the exposure to return as well, evenly spaced.
        psfs: optional float array (count, k, k) or (count, k, k, 3) with odd k: point-spread
            functions of `count` equal parts of the exposure, for each colour, applied in linear
            light (Elmalem 2020).
        transforms: optional array (points, 3, 3) instead of a drawn path: homographies, evenly
            spaced in time, from the scene to the sensor in pixels about the centre of the window.
            No objects move on their own then, and no photo stays untouched or still.

    Returns:
        An `Exposure`.

    Raises:
        ValueError: if the photo is smaller than `size`, or an array has the wrong shape.
        TypeError: if `rgb` is neither uint8 nor float32.
    """
    sensor.check_rgb(rgb)
    scale = 1.0
    if size is None:
        size = rgb.shape[:2]
    else:
        size = _size_of_window(size, rgb)
        if rng.random() < settings.source_scale_probability:
            scale = rng.uniform(*settings.source_scale)
    psfs = None if psfs is None else [sensor.check_psf(psf) for psf in psfs]

    kind = _draw_exposure_kind(settings, rng, moving=transforms is not None)
    motions = []
    if transforms is not None:
        motions = [motion.check_transforms(transforms)]
    elif kind not in ("untouched", "still"):
        lengths = settings.blur_length if kind == "continuous" else settings.few_frame_length
        motions = motion.draw_motions(settings, rng, size, lengths)
    tracks = [motion.corner_tracks(transforms, size) for transforms in motions]
    reach = max(
        [np.abs(track - motion.window_corners(size)).max() for track in tracks], default=0.0
    )
    if motions and reach < _STILL:
        kind, motions, tracks = "still", [], []
    margin = 2 + int(min(math.ceil(reach), _MAX_MARGIN))
    cut, offset = _cut_window(rgb, size, margin, scale, rng)
    window = np.s_[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]]
    sharp = np.array(color.to_float(cut[window]))
    path = tracks[0][:, 0] if tracks else np.zeros((motion.PATH_POINTS, 2))
    path = path.astype(np.float32)

    response = sensor.Response.draw(rng) if rng.random() < settings.response else sensor.SRGB
    encoded_average = kind == "encoded frames"
    gain = radius = 0.0
    if rng.random() < settings.highlights and not encoded_average:
        gain = log_uniform(rng, settings.highlight_gain) - 1
    if rng.random() < (settings.defocus if motions else settings.still_defocus):
        radius = rng.uniform(*settings.defocus_radius)
    if kind == "untouched" or (not motions and not radius and psfs is None):
        # nothing is integrated: the photo's own bytes, without a detour through light
        blurred = np.array(sharp)
        if kind != "untouched":
            blurred = degrade(blurred, settings, rng)
        kept = np.repeat(sharp[None], frames, axis=0) if frames else None
        return Exposure(blurred=blurred, sharp=sharp, frames=kept, path=path, kind=kind)

    picture = color.to_float(cut) if encoded_average else response.decode(cut)
    if gain > 0:
        picture, brighter = sensor.brighten(picture, cut, gain)
        if brighter:
            sharp = response.encode(picture[window])
    # a channel of ones becomes the masks of the objects; four channels also warp faster than three
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA)
    masks = [object_mask(cut, rng) for _ in motions[1:]]
    times, weights, interpolation = motion.draw_schedule(kind, tracks, settings, rng)
    scene = Scene(picture, masks, motions or [motion.NO_MOTION], size, offset)
    light = sensor.integrate(
        scene.frames(times, weights, interpolation), times, weights, size, psfs
    )
    if radius > 0:
        light = cv2.filter2D(light, -1, sensor.disk(radius), borderType=cv2.BORDER_REFLECT_101)

    # What was averaged after the response curve is encoded already.
    encode = _clip if encoded_average else response.encode
    blurred = degrade(encode(light), settings, rng)
    kept = _sharp_frames(scene, frames, encode) if frames else None
    return Exposure(blurred=blurred, sharp=sharp, frames=kept, path=path, kind=kind)


def _size_of_window(size, rgb):
    """A size as whole numbers, if a window of it lies inside the photo."""
    size = (int(size[0]), int(size[1]))
    if min(size) < 1 or size[0] > rgb.shape[0] or size[1] > rgb.shape[1]:
        raise ValueError(
            f"The window must lie inside the photo. Received: size={size}, photo of "
            f"{rgb.shape[:2]}. Enlarge the photo or ask for a smaller window."
        )
    return size


def _sharp_frames(scene, count, encode):
    """What the sensor would see in `count` moments, evenly spaced over the exposure."""
    moments = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    frames = scene.frames(moments, np.full(count, 1 / count), cv2.INTER_CUBIC)
    return encode(np.stack([frame[..., :3] for frame in frames]))


def _clip(values):
    return np.clip(values, 0, 1)


def _draw_exposure_kind(settings, rng, *, moving):
    untouched, still, few, encoded = rng.random(4)
    if not moving and untouched < settings.untouched:
        return "untouched"
    if not moving and still < settings.still:
        return "still"
    if few < settings.few_frame:
        return "encoded frames" if encoded < settings.encoded_average else "frames"
    return "continuous"
