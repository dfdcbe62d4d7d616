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
from collections.abc import Iterable, Sequence

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
    "Clip",
    "Exposure",
    "ExposureSettings",
    "average_frames",
    "clip",
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


def expose(
    rgb: np.ndarray,
    settings: ExposureSettings,
    rng: np.random.Generator,
    *,
    size: tuple[int, int] | None = None,
    frames: int = 0,
    psfs: Sequence[np.ndarray] | None = None,
    transforms: np.ndarray | None = None,
    objects: Sequence[np.ndarray] = (),
) -> Exposure:
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
            light (Elmalem 2020). Each part has its share of the light, so that a scene at rest is
            the scene through the mean of them. Light passes them whatever moves: no photo stays
            untouched then, and nothing is averaged after the response curve.
        transforms: optional array (points, 3, 3) instead of a drawn path: homographies, evenly
            spaced in time, from the scene to the sensor in pixels about the centre of the window.
            No photo stays untouched or still then, and objects are those of `objects`.
        objects: motions of objects in front of the scene beside given `transforms`, arrays as
            these; where the objects are and how they are outlined is drawn.

    Returns:
        An `Exposure`.

    Raises:
        ValueError: if the photo is smaller than `size`, or an array has the wrong shape.
        TypeError: if `rgb` is neither uint8 nor float32.
    """
    size, scale = _draw_window(rgb, settings, rng, size)
    psfs = None if psfs is None else [sensor.check_psf(psf) for psf in psfs]
    kind = _draw_exposure_kind(settings, rng, moving=transforms is not None)
    if psfs is not None:
        kind = _BEHIND_OPTICS.get(kind, kind)
    motions = _motions(kind, settings, rng, size, transforms, objects)
    reach = _reach(motions, size)
    if motions and reach < _STILL:
        kind, motions = "still", []
    cut, offset = _cut_window(rgb, size, _margin(reach), scale, rng)
    window = np.s_[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]]
    sharp = np.array(color.to_float(cut[window]))
    tracks = [motion.corner_tracks(transforms, size) for transforms in motions]
    path = tracks[0][:, 0] if tracks else np.zeros((motion.PATH_POINTS, 2))
    path = path.astype(np.float32)

    camera = _draw_camera(kind, settings, rng, moving=bool(motions))
    if kind == "untouched" or (not motions and not camera.radius and psfs is None):
        # nothing is integrated: the photo's own bytes, without a detour through light
        blurred = np.array(sharp)
        if kind != "untouched":
            blurred = degrade(blurred, settings, rng)
        kept = np.repeat(sharp[None], frames, axis=0) if frames else None
        return Exposure(blurred=blurred, sharp=sharp, frames=kept, path=path, kind=kind)

    picture, brighter = camera.light(cut)
    if brighter:
        sharp = camera.encode(picture[window][..., :3])
    masks = [object_mask(cut, rng) for _ in motions[1:]]
    times, weights, interpolation = motion.draw_schedule(kind, tracks, settings, rng)
    shares = weights[:, None]
    if psfs is not None:
        times, weights, shares = motion.split_into_parts(
            times, weights, len(psfs), continuous=kind == "continuous"
        )
    scene = Scene(picture, masks, motions or [motion.NO_MOTION], size, offset)
    light = sensor.integrate(scene.frames(times, weights, interpolation), shares, size, psfs)
    blurred = degrade(camera.encode(camera.defocus(light)), settings, rng)
    kept = None
    if frames:
        kept = _sharp_frames(scene, _evenly(frames), camera.encode)
    return Exposure(blurred=blurred, sharp=sharp, frames=kept, path=path, kind=kind)


def average_frames(
    frames: Iterable[np.ndarray],
    *,
    response: sensor.Response = sensor.REDS,
    psfs: np.ndarray | None = None,
) -> np.ndarray:
    """Blurred picture of consecutive frames of a high-speed clip: their mean in linear light.

    Args:
        frames: Frames as uint8, or float32 in [0, 1], arrays (height, width, 3) of one shape.
        response: `sensor.Response` between the frames' values and light.
        psfs: optional array (parts, k, k) or (parts, k, k, 3): point-spread functions of equal
            parts of the exposure; as of `expose`. A frame stands for its share of the exposure.

    Returns:
        float32 array (height, width, 3) in [0, 1], encoded as the frames are.

    Raises:
        ValueError: if there are no frames, their shapes differ, or an array has the wrong shape.
        TypeError: if a frame is neither uint8 nor float32.
    """
    frames = list(frames)
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) != 1:
        raise ValueError(
            "Frames that are averaged have one shape, and there is at least one. Received: "
            f"{len(frames)} frames of the shapes {sorted(shapes)}."
        )
    for frame in frames:
        sensor.check_rgb(frame)
    psfs = None if psfs is None else [sensor.check_psf(psf) for psf in psfs]
    count = len(frames)
    times = (np.arange(count) + 0.5) / count
    _, _, shares = motion.split_into_parts(
        times, np.full(count, 1 / count), len(psfs or [None]), continuous=False
    )
    light = (cv2.cvtColor(response.decode(frame), cv2.COLOR_RGB2RGBA) for frame in frames)
    return response.encode(sensor.integrate(light, shares, frames[0].shape[:2], psfs))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """Consecutive synthetic exposures of one continuous motion.

    Attributes:
        blurred: float32 array (exposures, height, width, 3) in [0, 1], sRGB-like encoding.
        sharp: The same of the scene in the middle of each exposure.
        frames: float32 array (exposures, kept, height, width, 3): sharp frames, evenly spaced from
            the first to the last moment of each exposure.
        path: float32 array (points, 2), x and y of the camera path at the window's centre in
            pixels, evenly spaced over the whole clip; zero in its middle.
        intervals: float64 array (exposures, 2): when each exposure begins and ends, as parts of
            the clip, which begins with the first and ends with the last of them.
    """

    blurred: np.ndarray
    sharp: np.ndarray
    frames: np.ndarray
    path: np.ndarray
    intervals: np.ndarray


def clip(
    rgb: np.ndarray,
    settings: ExposureSettings,
    rng: np.random.Generator,
    *,
    frames: int,
    share: float,
    size: tuple[int, int] | None = None,
    kept: int = 7,
    psfs: Sequence[np.ndarray] | None = None,
) -> Clip:
    """Film a photo: one continuous motion, cut into consecutive exposures with gaps.

    The camera and up to three objects in front of the photo move on through the gaps, during which
    the shutter is closed. Lengths of blur in `settings` are those of one exposure. Response curve,
    highlights, defocus and the strength of noise and compression are those of one camera: drawn
    once for the clip. Vignetting and scratches, which belong to single pictures, and pictures
    without motion are left out; so is the averaging of few frames.

    Args:
        rgb: uint8 array, or float32 in [0, 1], of shape (height, width, 3), sRGB: a sharp photo.
        settings: `ExposureSettings`.
        rng: `numpy.random.Generator`: the only source of randomness.
        frames: How many exposures.
        share: Part of the time from one exposure to the next during which the shutter is open, in
            (0, 1]; 1 leaves no gaps.
        size: (height, width) of a random window, or `None`; as of `expose`.
        kept: How many sharp frames of each exposure to return, at least 1.
        psfs: Point-spread functions of equal parts of each exposure, or `None`; as of `expose`.

    Returns:
        A `Clip`.

    Raises:
        ValueError: if a number is out of range, the photo is smaller than `size`, or an array has
            the wrong shape.
        TypeError: if `rgb` is neither uint8 nor float32.
    """
    if frames < 1 or kept < 1 or not 0 < share <= 1:
        raise ValueError(
            "A clip has at least one exposure, each with at least one sharp frame, and a share of "
            f"open shutter in (0, 1]. Received: frames={frames}, kept={kept}, share={share}."
        )
    size, scale = _draw_window(rgb, settings, rng, size)
    psfs = None if psfs is None else [sensor.check_psf(psf) for psf in psfs]
    settings = _one_camera(settings, rng)
    length = (frames - 1) / share + 1  # in exposures
    motions = motion.draw_motions(settings, rng, size, settings.blur_length, length)
    cut, offset = _cut_window(rgb, size, _margin(_reach(motions, size)), scale, rng)
    camera = _draw_camera("continuous", settings, rng, moving=True)
    picture, _ = camera.light(cut)
    masks = [object_mask(cut, rng) for _ in motions[1:]]
    scene = Scene(picture, masks, motions, size, offset)
    starts = np.arange(frames) / share / length
    intervals = np.stack([starts, starts + 1 / length], axis=1)
    sides = {"blurred": [], "sharp": [], "frames": []}
    for start, end in intervals:
        pieces = [
            motion.interpolate(transforms, np.linspace(start, end, motion.PATH_POINTS))
            for transforms in motions
        ]
        times, weights = motion.subframe_times(pieces, size)
        times, weights, shares = motion.split_into_parts(
            times, weights, len(psfs or [None]), continuous=True
        )
        interpolation = cv2.INTER_CUBIC if len(times) <= 4 else cv2.INTER_LINEAR
        seen = scene.frames(start + (end - start) * times, weights, interpolation)
        light = camera.defocus(sensor.integrate(seen, shares, size, psfs))
        sides["blurred"].append(degrade(camera.encode(light), settings, rng))
        for name, moments in (("sharp", _evenly(1)), ("frames", _evenly(kept))):
            moments = start + (end - start) * moments
            sides[name].append(_sharp_frames(scene, moments, camera.encode))
    path = motion.corner_tracks(motions[0], size)[:, 0].astype(np.float32)
    return Clip(
        blurred=np.stack(sides["blurred"]),
        sharp=np.concatenate(sides["sharp"]),
        frames=np.stack(sides["frames"]),
        path=path,
        intervals=intervals,
    )


# What light that has passed optics cannot be.
_BEHIND_OPTICS = {"untouched": "still", "encoded frames": "frames"}


def _one_camera(settings, rng):
    """Settings of which what differs from picture to picture is drawn, for all frames of a clip."""

    def once(probability):
        return float(rng.random() < probability)

    def fixed(bounds):
        value = log_uniform(rng, bounds)
        return (value, value)

    quality = int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1))
    return dataclasses.replace(
        settings,
        noise=once(settings.noise),
        shot_noise=fixed(settings.shot_noise),
        read_noise=fixed(settings.read_noise),
        noise_correlation=once(settings.noise_correlation),
        jpeg=once(settings.jpeg),
        jpeg_quality=(quality, quality),
        vignetting=0.0,
        scratches=0.0,
    )


@dataclasses.dataclass(frozen=True)
class _Camera:
    """What of a camera stays the same during an exposure."""

    response: sensor.Response
    encoded_average: bool  # what is averaged is encoded already
    gain: float
    radius: float

    def light(self, cut):
        """The picture that is averaged, float32 (height, width, 4), and whether it got brighter.

        The fourth channel, of ones, becomes the masks of the objects; four channels also warp
        faster than three.
        """
        picture = color.to_float(cut) if self.encoded_average else self.response.decode(cut)
        brighter = False
        if self.gain > 0:
            picture, brighter = sensor.brighten(picture, cut, self.gain)
        return cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), brighter

    def encode(self, light):
        return np.clip(light, 0, 1) if self.encoded_average else self.response.encode(light)

    def defocus(self, light):
        if not self.radius > 0:
            return light
        disk = sensor.disk(self.radius)
        return cv2.filter2D(light, -1, disk, borderType=cv2.BORDER_REFLECT_101)


def _draw_camera(kind, settings, rng, *, moving):
    response = sensor.Response.draw(rng) if rng.random() < settings.response else sensor.SRGB
    encoded_average = kind == "encoded frames"
    gain = radius = 0.0
    if rng.random() < settings.highlights and not encoded_average:
        gain = log_uniform(rng, settings.highlight_gain) - 1
    if rng.random() < (settings.defocus if moving else settings.still_defocus):
        radius = rng.uniform(*settings.defocus_radius)
    return _Camera(response, encoded_average, gain, radius)


def _draw_window(rgb, settings, rng, size):
    """Check a photo and the size of a window, and draw how much the photo is shrunk."""
    sensor.check_rgb(rgb)
    if size is None:
        return rgb.shape[:2], 1.0
    size, scale = _size_of_window(size, rgb), 1.0
    if rng.random() < settings.source_scale_probability:
        scale = rng.uniform(*settings.source_scale)
    return size, scale


def _motions(kind, settings, rng, size, transforms, objects):
    """Motions of the camera and of the objects, given or drawn."""
    if transforms is not None:
        return [motion.check_transforms(given) for given in (transforms, *objects)]
    if len(objects):
        raise ValueError(
            "Motions of objects stand beside those of the camera. Received: objects without "
            "transforms. Give both, or neither."
        )
    if kind in ("untouched", "still"):
        return []
    lengths = settings.blur_length if kind == "continuous" else settings.few_frame_length
    return motion.draw_motions(settings, rng, size, lengths)


def _reach(motions, size):
    """How far centre and corners of the window move from their places, in pixels."""
    corners = motion.window_corners(size)
    tracks = [motion.corner_tracks(transforms, size) for transforms in motions]
    return max([np.abs(track - corners).max() for track in tracks], default=0.0)


def _margin(reach):
    return 2 + int(min(math.ceil(reach), _MAX_MARGIN))


def _size_of_window(size, rgb):
    """A size as whole numbers, if a window of it lies inside the photo."""
    size = (int(size[0]), int(size[1]))
    if min(size) < 1 or size[0] > rgb.shape[0] or size[1] > rgb.shape[1]:
        raise ValueError(
            f"The window must lie inside the photo. Received: size={size}, photo of "
            f"{rgb.shape[:2]}. Enlarge the photo or ask for a smaller window."
        )
    return size


def _evenly(count):
    """Moments from the first to the last of an exposure; its middle if only one is asked for."""
    return np.linspace(0, 1, count) if count > 1 else np.array([0.5])


def _sharp_frames(scene, moments, encode):
    """What the sensor would see in some moments."""
    count = len(moments)
    frames = scene.frames(moments, np.full(count, 1 / count), cv2.INTER_CUBIC)
    return encode(np.stack([frame[..., :3] for frame in frames]))


def _draw_exposure_kind(settings, rng, *, moving):
    untouched, still, few, encoded = rng.random(4)
    if not moving and untouched < settings.untouched:
        return "untouched"
    if not moving and still < settings.still:
        return "still"
    if few < settings.few_frame:
        return "encoded frames" if encoded < settings.encoded_average else "frames"
    return "continuous"
