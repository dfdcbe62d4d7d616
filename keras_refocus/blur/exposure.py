"""Synthesis of blurred photographs: what a sensor integrates while camera and objects move.

A blurred picture is `y = g(mean_t x_t)`: the sharp frames `x_t` seen during the exposure, averaged
in linear light, through the camera response `g`. From one sharp photo this module draws a camera
path, up to three object layers with paths of their own, integrates, and then does to the result
what cameras and files do: clipping, noise, response curve, JPEG, vignetting, scratches. The middle
of the exposure, or its mean position, is the photo itself, so `(blurred, sharp)` is an aligned
training pair.

Everything random comes from the `numpy.random.Generator` that is passed in: the same generator
state gives the same bytes. OpenCV does the warping with as many threads as `cv2.setNumThreads`
allows; worker processes should set that to 1 themselves, nothing is set here.

References:
    Boracchi and Foi, "Modeling the performance of image restoration from motion blur", 2012 (path).
    Kupyn et al., "DeblurGAN", 2018 (impulsive random walk).
    Nah et al., "Deep multi-scale CNN for dynamic scene deblurring", 2017 (averaging of frames).
    Rim et al., "Realistic blur synthesis for learning image deblurring", 2022 (saturation, noise).
    Elmalem et al., "Motion deblurring using spatiotemporal phase aperture coding", 2020 (PSFs).
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from keras_refocus.pictures import color

PATH_KINDS = ("walk", "linear", "curved", "shake")
ANCHORS = ("middle", "mean")

_PATH_POINTS = 65  # odd: the middle of the exposure is one of the points
_MAX_SUBFRAMES = 64
_LONG_STEP = 1.6  # pixels between two sub-frames of a long path
_MAX_MARGIN = 128
_STILL = 1e-3  # pixels: less motion than this is none
_LEVELS = 16384  # of the tables of response curves
_BYTES = color.to_float(np.arange(256, dtype=np.uint8))


def _setting(default, help_text):
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExposureSettings:
    """Distributions that `expose` draws from. Probabilities are in [0, 1], ranges are (low, high).

    Lengths are in pixels of the window that comes out, angles in degrees.
    """

    untouched: float = _setting(0.05, "probability that the blurred side is the sharp side")
    still: float = _setting(0.12, "probability of no motion (noise, defocus and JPEG remain)")
    source_scale: tuple[float, float] = _setting(
        (0.5, 1.0), "range of the factor by which the photo is shrunk first, for sharper targets"
    )
    source_scale_probability: float = _setting(0.5, "probability that the photo is shrunk first")
    blur_length: tuple[float, float] = _setting(
        (2.0, 48.0), "extent of the path of a continuous exposure; drawn log-uniformly"
    )
    few_frame_length: tuple[float, float] = _setting(
        (2.0, 30.0), "extent of the path when few frames are averaged; drawn log-uniformly"
    )
    path_weights: tuple[float, float, float, float] = _setting(
        (0.14, 0.5, 0.28, 0.08), f"relative frequency of the path kinds {PATH_KINDS}"
    )
    anchor: str = _setting(
        "middle",
        "where on the path the sharp photo lies: middle, the moment in the middle of the exposure, "
        "as in pairs made of video; mean, the mean position, which the blurred picture alone tells",
    )
    roll: float = _setting(0.5, "standard deviation of the camera roll during the exposure")
    zoom: float = _setting(0.01, "standard deviation of the relative zoom during the exposure")
    tilt: float = _setting(
        0.25, "standard deviation of the relative change of blur length from centre to edge"
    )
    layers: tuple[float, ...] = _setting(
        (0.55, 0.3, 0.1, 0.05), "relative frequency of 0, 1, 2, 3 moving objects"
    )
    few_frame: float = _setting(
        0.5, "probability of averaging a few discrete frames instead of a continuous exposure"
    )
    frame_count: tuple[int, int] = _setting((5, 13), "range of the number of discrete frames")
    encoded_average: float = _setting(
        0.6, "share of the discrete averages taken after the response curve"
    )
    frame_duty: float = _setting(
        0.6, "longest share of the time between discrete frames during which each one is exposed"
    )
    defocus: float = _setting(0.08, "probability of defocus beside motion")
    still_defocus: float = _setting(0.4, "probability of defocus without motion")
    defocus_radius: tuple[float, float] = _setting((0.5, 3.0), "range of the radius of defocus")
    highlights: float = _setting(0.25, "probability that saturated highlights are really brighter")
    highlight_gain: tuple[float, float] = _setting((1.5, 8.0), "range of the highlights' gain")
    response: float = _setting(0.5, "probability of a response curve other than sRGB")
    noise: float = _setting(0.7, "probability of sensor noise")
    shot_noise: tuple[float, float] = _setting(
        (1e-5, 1e-2), "range of noise variance per unit of linear light; drawn log-uniformly"
    )
    read_noise: tuple[float, float] = _setting(
        (2e-4, 5e-3), "range of the noise deviation in darkness, linear light; log-uniform"
    )
    noise_correlation: float = _setting(
        0.5, "probability that noise is smooth over neighbours, as after demosaicing or resampling"
    )
    jpeg: float = _setting(0.5, "probability of JPEG compression")
    jpeg_quality: tuple[int, int] = _setting((40, 98), "range of the JPEG quality")
    vignetting: float = _setting(0.05, "probability of vignetting, blurred side only")
    scratches: float = _setting(0.02, "probability of light scratches, blurred side only")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):  # as JSON gives them
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            if field.name in _PROBABILITIES and not 0 <= value <= 1:
                raise ValueError(
                    f"A probability must be between 0 and 1. Received: {field.name}={value!r}. "
                    f"Give the share of the samples, for example 0.5."
                )
            if field.name in _RANGES:
                if len(value) != 2 or not 0 < value[0] <= value[1]:
                    raise ValueError(
                        f"A range must be (low, high) with 0 < low <= high. "
                        f"Received: {field.name}={value!r}."
                    )
            if field.name in ("path_weights", "layers"):
                if not value or min(value) < 0 or sum(value) <= 0:
                    raise ValueError(
                        f"Weights must not be negative and not all be zero. "
                        f"Received: {field.name}={value!r}."
                    )
        if self.anchor not in ANCHORS:
            raise ValueError(
                f"`anchor` must be one of {ANCHORS}. Received: anchor={self.anchor!r}."
            )
        if len(self.path_weights) != len(PATH_KINDS):
            raise ValueError(
                f"There must be one weight for each of {PATH_KINDS}. "
                f"Received: path_weights={self.path_weights!r}."
            )


_PROBABILITIES = frozenset(
    "untouched still source_scale_probability few_frame encoded_average frame_duty defocus "
    "still_defocus highlights response noise noise_correlation jpeg vignetting scratches".split()
)
_RANGES = frozenset(
    "source_scale blur_length few_frame_length frame_count defocus_radius highlight_gain "
    "shot_noise read_noise jpeg_quality".split()
)

# Settings to train on have the photo at the mean position. The moment in the middle of a shaken
# exposure lies somewhere along its path: a network that has to hit it learns to leave it blurred.
SETTINGS = {
    # for photos and video of unknown origin: half continuous exposures, half few-frame averages;
    # less noise and shorter paths than the defaults
    "mixed": ExposureSettings(
        still=0.18,
        anchor="mean",
        blur_length=(1.0, 40.0),
        few_frame_length=(1.0, 26.0),
        noise=0.4,
        shot_noise=(1e-5, 4e-3),
    ),
    # real exposures, and video blur interpolated to many frames (REDS)
    "smooth": ExposureSettings(few_frame=0.0, anchor="mean"),
    # averages of high-speed video as in GoPro and HIDE, with their ghosts
    "few_frame": ExposureSettings(few_frame=1.0, anchor="mean"),
    # short paths in good light: photos that are slightly shaken
    "gentle": ExposureSettings(
        still=0.25,
        anchor="mean",
        blur_length=(0.7, 12.0),
        few_frame_length=(0.7, 10.0),
        layers=(0.7, 0.3),
        jpeg_quality=(70, 98),
    ),
    # motion and nothing else: for measuring and for looking at the motion
    "clean": ExposureSettings(
        untouched=0.0,
        still=0.0,
        source_scale_probability=0.0,
        defocus=0.0,
        still_defocus=0.0,
        highlights=0.0,
        response=0.0,
        noise=0.0,
        jpeg=0.0,
        vignetting=0.0,
        scratches=0.0,
    ),
}
# short paths, hardly any noise: what a network learns deblurring on before it learns the rest
SETTINGS["mild"] = dataclasses.replace(
    SETTINGS["clean"],
    untouched=0.03,
    still=0.05,
    anchor="mean",
    source_scale_probability=0.5,
    blur_length=(1.5, 16.0),
    few_frame_length=(1.5, 14.0),
    few_frame=0.4,
    defocus=0.05,
    still_defocus=0.7,
    response=0.5,
    noise=0.3,
    shot_noise=(1e-5, 1e-3),
    read_noise=(2e-4, 2e-3),
    jpeg=0.25,
    jpeg_quality=(80, 98),
)
# mixed blur of cleaner pictures: more that is sharp already, less smooth noise and coarse JPEG
SETTINGS["clean_mixed"] = dataclasses.replace(
    SETTINGS["mixed"],
    untouched=0.1,
    noise=0.3,
    noise_correlation=0.1,
    jpeg=0.35,
    jpeg_quality=(55, 98),
)
# the same in good light: hardly any noise, high quality
SETTINGS["good_light"] = dataclasses.replace(
    SETTINGS["clean_mixed"],
    shot_noise=(1e-5, 1e-3),
    read_noise=(2e-4, 2e-3),
    jpeg=0.25,
    jpeg_quality=(70, 98),
)
# what `evaluate` measures on; docs/evaluation holds the values with which its figures were made
SETTINGS |= {
    # paths of half a percent to five percent of the longer side of the photos it is used on
    "evaluation": dataclasses.replace(
        SETTINGS["mixed"],
        untouched=0.0,
        still=0.0,
        source_scale_probability=0.0,
        blur_length=(2.0, 24.0),
        few_frame_length=(2.0, 20.0),
    ),
    # up to a tenth, stronger noise, and the moment in the middle of the exposure as the truth
    "evaluation_wide": ExposureSettings(untouched=0.0, still=0.0, source_scale_probability=0.0),
    "noise": dataclasses.replace(
        SETTINGS["clean"],
        still=1.0,
        noise=1.0,
        shot_noise=(1e-3, 1e-2),
        read_noise=(1e-3, 5e-3),
    ),
    "defocus": dataclasses.replace(
        SETTINGS["clean"], still=1.0, still_defocus=1.0, defocus_radius=(0.7, 2.0)
    ),
    # a lens that was set to something else, as of portraits that came back as they were
    "defocus_wide": dataclasses.replace(
        SETTINGS["clean"], still=1.0, still_defocus=1.0, defocus_radius=(2.0, 6.0)
    ),
}


def settings(name, **changes):
    """Settings of a name, with some of them changed.

    Args:
        name: An entry of `SETTINGS`.
        **changes: Fields of `ExposureSettings`, such as `noise=0.0`; lists stand for tuples.

    Returns:
        `ExposureSettings`.

    Raises:
        ValueError: If the name or a field is unknown, or a value is not allowed.
    """
    if name not in SETTINGS:
        raise ValueError(f"`blur` must be one of {', '.join(SETTINGS)}. Received: blur={name!r}.")
    fields = [field.name for field in dataclasses.fields(ExposureSettings)]
    unknown = [change for change in changes if change not in fields]
    if unknown:
        raise ValueError(
            f"Blur has the settings {', '.join(fields)}. Received: {', '.join(unknown)}."
        )
    try:
        return dataclasses.replace(SETTINGS[name], **changes)
    except TypeError as error:  # a text where a number or a range belongs
        raise ValueError(
            f"Settings of blur must be of their defaults' kind. Received: {changes} ({error})."
        ) from error


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


# Camera response


def _srgb_decode(encoded):
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


class _Response:
    """A camera response curve as tables: encoded value <-> linear light, both in [0, 1].

    Curves steeper than any display's belong here: measured on pairs, REDS averages as if light
    were the 3.2nd power of the pixel value, GoPro's `blur` folder as if it were the first.
    """

    def __init__(self, *, gamma=None, contrast=0.0):  # None: the curve of sRGB
        grid = np.linspace(0.0, 1.0, 4096)
        # e + k sin(2 pi e) / (2 pi) rises as long as |k| < 1: the inverse of an S-shaped tone curve
        toned = grid + contrast * np.sin(2 * np.pi * grid) / (2 * np.pi)
        linear = _srgb_decode(toned) if gamma is None else toned**gamma
        self._grid, self._linear = grid, linear
        self._decode = None  # made when a float picture comes
        self._decode8 = np.interp(_BYTES, grid, linear).astype(np.float32).reshape(1, 256)
        # indexed by the square root of light, which spreads the steep start of the curve
        root = np.linspace(0.0, 1.0, _LEVELS)
        self._encode = np.interp(root * root, linear, grid).astype(np.float32)

    @classmethod
    def draw(cls, rng):
        gamma = None if rng.random() < 0.3 else rng.uniform(1.8, 3.6)
        return cls(gamma=gamma, contrast=rng.uniform(-0.4, 0.4))

    def decode(self, encoded):
        if encoded.dtype == np.uint8:
            return cv2.LUT(encoded, self._decode8)
        if self._decode is None:
            levels = np.linspace(0.0, 1.0, _LEVELS)
            self._decode = np.interp(levels, self._grid, self._linear).astype(np.float32)
        return self._decode[(np.clip(encoded, 0, 1) * (_LEVELS - 1) + 0.5).astype(np.uint16)]

    def encode(self, linear):
        root = np.sqrt(np.clip(linear, 0.0, 1.0))
        root *= _LEVELS - 1
        root += 0.5
        return self._encode[root.astype(np.uint16)]


_SRGB = _Response()


# Paths. Complex numbers are points of the image plane: x + iy.


def _unit_path(kind, rng):
    """Return a path of `_PATH_POINTS` complex points: zero in the middle, largest extent 1."""
    time = np.linspace(-0.5, 0.5, _PATH_POINTS)
    heading = np.exp(2j * np.pi * rng.random())
    if kind == "linear":
        # mostly constant speed, sometimes braking
        path = heading * (time + rng.uniform(-0.4, 0.4) * time**2)
    elif kind == "curved":
        turn = rng.uniform(0.1, 1.6) * rng.choice((-1, 1))
        path = heading * np.exp(1j * turn * time) / (1j * turn)
        path = path * (1 + rng.uniform(-0.5, 0.5) * time)
    elif kind == "shake":
        path = heading * rng.uniform(0.0, 1.0) * time
        for _ in range(3):
            cycles = rng.uniform(0.4, 2.0)
            phase = rng.uniform(0, 2 * np.pi, 2)
            swing = rng.normal(size=2) / (1 + cycles)
            path = path + swing[0] * np.sin(2 * np.pi * cycles * time + phase[0])
            path = path + 1j * swing[1] * np.sin(2 * np.pi * cycles * time + phase[1])
    else:
        path = _random_walk(rng)
    path = path - path[_PATH_POINTS // 2]
    sparse = path[::4]
    extent = np.abs(sparse[:, None] - sparse[None, :]).max()
    return path / max(extent, 1e-9)


def _random_walk(rng):
    """Return an impulsive random walk with inertia (Boracchi and Foi 2012)."""
    inertia = rng.uniform(0.6, 1.0)
    anxiety = rng.uniform(0.02, 0.25)
    impulse = rng.uniform(0.0, 0.04)
    pull = rng.uniform(0.0, 0.5) / _PATH_POINTS
    normals = rng.normal(size=(_PATH_POINTS, 2)).tolist()
    chances = rng.random(_PATH_POINTS).tolist()
    turns = np.exp(2j * np.pi * rng.random(_PATH_POINTS)).tolist()
    velocity, position = complex(turns[0]), 0j
    points = []
    for (a, b), chance, turn in zip(normals, chances, turns, strict=True):
        points.append(position)
        push = anxiety * complex(a, b) - pull * position
        if chance < impulse:
            push += 2 * abs(velocity) * turn
        velocity = inertia * velocity + (1 - inertia) * turn * 0.5 + push
        velocity /= max(abs(velocity), 1e-6)
        position += velocity
    return np.array(points)


def _draw_kind(settings, rng):
    weights = np.asarray(settings.path_weights, dtype=np.float64)
    return PATH_KINDS[rng.choice(len(PATH_KINDS), p=weights / weights.sum())]


def _draw_transforms(settings, rng, size, length):
    """Draw the homographies that carry the anchor of the exposure to each moment of it.

    Returns:
        Array (points, 3, 3) in coordinates whose origin is the centre of the window.
    """

    def path(kind):
        points = _unit_path(kind, rng)
        return points - points.mean() if settings.anchor == "mean" else points

    shift = length * path(_draw_kind(settings, rng))
    roll = np.deg2rad(rng.normal(0, settings.roll)) * path("shake").real
    scale = np.exp(rng.normal(0, settings.zoom) * path("linear").real)
    # A camera that moves along a slanted plane: translation grows linearly over the picture.
    tilt = rng.normal(0, settings.tilt, 2) / (0.5 * max(size))
    focal = rng.uniform(600.0, 2000.0)  # pixels; camera rotation gives slight keystone
    x, y = shift.real, shift.imag
    transforms = np.empty((_PATH_POINTS, 3, 3))
    transforms[:, 0, 0] = scale * np.cos(roll) + x * tilt[0]
    transforms[:, 0, 1] = -scale * np.sin(roll) + x * tilt[1]
    transforms[:, 0, 2] = x
    transforms[:, 1, 0] = scale * np.sin(roll) + y * tilt[0]
    transforms[:, 1, 1] = scale * np.cos(roll) + y * tilt[1]
    transforms[:, 1, 2] = y
    transforms[:, 2, 0] = -x / focal**2
    transforms[:, 2, 1] = -y / focal**2
    transforms[:, 2, 2] = 1
    return transforms


def _draw_object_motion(camera, settings, rng, size, lengths):
    """Draw the motion of an object on the sensor, given the camera's."""
    if rng.random() < 0.5:
        # at another distance: the same path, longer or shorter (-1: the camera follows the object)
        shift = camera[:, :2, 2] * rng.uniform(-1.2, 1.5)
        own = np.repeat(np.eye(3)[None], len(camera), axis=0)
        own[:, :2, 2] = shift
    else:
        own = _draw_transforms(settings, rng, size, _log_uniform(rng, lengths))
    return own @ camera


def _corners(size):
    h, w = size[0] / 2, size[1] / 2
    return np.array([[0.0, 0.0], [-w, -h], [w, -h], [-w, h], [w, h]])


def _corner_tracks(transforms, size):
    """Return where centre and corners of the window go: array (points, 5, 2), pixels."""
    corners = _corners(size)
    moved = transforms @ np.concatenate([corners, np.ones((5, 1))], axis=1).T
    return np.moveaxis(moved[:, :2] / moved[:, 2:], 2, 1)


def _interpolate(transforms, times):
    """Interpolate homographies at `times` in [0, 1] of the exposure."""
    place = np.clip(np.asarray(times, dtype=np.float64), 0, 1) * (len(transforms) - 1)
    low = np.minimum(place.astype(int), len(transforms) - 2)
    part = (place - low)[:, None, None]
    return transforms[low] * (1 - part) + transforms[low + 1] * part


def _subframe_times(tracks):
    """Choose moments at equal steps of the longest track, weighted by the time spent around them.

    Returns:
        times in [0, 1] and weights that sum to 1.
    """
    steps = np.sqrt((np.diff(tracks, axis=0) ** 2).sum(-1)).max(1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    length = travelled[-1]
    # A comb of impulses d pixels apart repeats its spectrum at 1/d: below two pixels nothing that
    # repeats falls into the picture's own band, so long paths may take longer steps.
    count = length if length < 8 else 8 + (length - 8) / _LONG_STEP
    count = int(min(max(math.ceil(count), 2), _MAX_SUBFRAMES))
    time = np.linspace(0, 1, len(travelled))
    # a rest does not travel: a small ramp keeps the function invertible
    travelled = travelled + 1e-6 * max(length, 1e-3) * time
    edges = np.interp(np.linspace(0, travelled[-1], count + 1), travelled, time)
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


# Scene: a background and the objects in front of it


def _object_mask(cut, rng):
    """Draw the soft mask of an object: an ellipse with a rough outline that prefers the edges.

    Half of the masks follow the picture: they keep to pixels that look like their middle, and a
    guided filter (He et al. 2013, computed at a quarter of the size) snaps them to its edges.

    Returns:
        float32 array (height, width), exactly 0 outside and exactly 1 inside.
    """
    height, width = cut.shape[:2]
    small = cv2.resize(cut, (max(width // 4, 2), max(height // 4, 2)), interpolation=cv2.INTER_AREA)
    small = color.to_float(small)
    rows, columns = small.shape[:2]
    grid = rng.normal(size=(6, 6)).astype(np.float32)
    rough = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
    place = rng.uniform(0.15, 0.85, 2)
    radius = rng.uniform(0.12, 0.38, 2) * min(rows, columns)
    x = (np.arange(columns, dtype=np.float32) - np.float32(place[0] * columns)) / radius[0]
    y = (np.arange(rows, dtype=np.float32) - np.float32(place[1] * rows)) / radius[1]
    field = 1 - (x[None] ** 2 + y[:, None] ** 2) + 0.35 * rough
    follow = rng.random() < 0.5
    tolerance = rng.uniform(0.1, 0.25)
    edge = rng.uniform(1.0, 3.0)  # width of the soft border, pixels
    if not follow:
        field = cv2.resize(field.astype(np.float32), (width, height))
        slope = 2.0 * float(radius.mean()) / edge
        return np.clip(field * slope + 0.5, 0, 1)
    seed = small[int(place[1] * rows), int(place[0] * columns)]
    unlike = np.sqrt(((small - seed) ** 2).sum(2)) / tolerance
    likely = np.clip(1.5 * (field + 0.6 - np.minimum(unlike, 3)) + 0.5, 0, 1).astype(np.float32)
    guide = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    box = (9, 9)
    mean = cv2.blur(guide, box)
    variance = cv2.blur(guide * guide, box) - mean * mean
    level = cv2.blur(likely, box)
    gain = (cv2.blur(guide * likely, box) - mean * level) / (variance + 2e-3)
    shift = cv2.blur(level - gain * mean, box)
    gain = cv2.blur(gain, box)
    full = color.to_float(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY))
    mask = cv2.resize(gain, (width, height)) * full + cv2.resize(shift, (width, height))
    return np.clip((mask - 0.5) * (6.0 / edge) + 0.5, 0, 1)


def _fill_behind(scene, mask):
    """Continue the scene smoothly behind the mask (where it is exactly 1)."""
    known = (mask < 1).astype(np.float32)
    levels = [(scene * known[..., None], known)]
    while min(levels[-1][1].shape) > 4:
        levels.append(tuple(cv2.pyrDown(part) for part in levels[-1]))
    colour, weight = levels.pop()
    fill = colour / np.maximum(weight, 1e-6)[..., None]
    for colour, weight in reversed(levels):
        up = cv2.resize(fill, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        fill = colour + (1 - weight)[..., None] * up
    return fill


def _sampling_loss(matrices, weights, size):
    """Return how much bilinear sampling softens along x and y: 0 not at all, 1 as offsets vary.

    A sample that falls between two pixels, at the fractions u and 1 - u, loses in proportion to
    u (1 - u), on average 1/6. Along the motion the loss is welcome: there the sub-frames must run
    into each other.
    """
    centre = matrices @ np.array([size[1] // 2, size[0] // 2, 1.0])  # a pixel, not between pixels
    place = centre[:, :2] / centre[:, 2:]
    part = place - np.floor(place)
    loss = np.minimum(6 * weights @ (part * (1 - part)), 1.0)
    spread = weights @ (place - weights @ place) ** 2
    along = spread / max(spread.sum(), 1e-12)
    return loss * (1 - along**4)


def _compensation(loss):
    """Return seven symmetric taps, of sum 1, that undo the average loss of bilinear sampling.

    Averaged over all offsets, bilinear sampling multiplies the spectrum by sinc(f)**2, f in cycles
    per pixel: -4.8 dB at 0.4. Real exposures know no such loss, and a network would learn to
    undo it by sharpening too much.
    """
    left = 1 - loss * (1 - np.sinc(_BAND) ** 2)
    # least squares of the relative error
    outer = np.linalg.lstsq(_BAND_COSINES * left[:, None], 1 - left, rcond=None)[0]
    return np.concatenate([outer[::-1], [1 - 2 * outer.sum()], outer])


_BAND = np.linspace(0.0, 0.45, 46)
_BAND_COSINES = np.stack([2 * np.cos(2 * np.pi * k * _BAND) - 2 for k in (1, 2, 3)], axis=1)


def _sharpen_for(scene, loss):
    if max(loss) < 0.02:
        return scene
    across, down = _compensation(loss[0]), _compensation(loss[1])
    return cv2.sepFilter2D(scene, -1, across, down, borderType=cv2.BORDER_REFLECT_101)


def _warp(picture, matrix, size, interpolation, border=cv2.BORDER_REFLECT_101):
    return cv2.warpPerspective(
        picture,
        matrix,
        (size[1], size[0]),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )


def _source_matrices(transforms, size, offset):
    """From scene-to-sensor transforms about the centre to sensor-to-source pixel matrices."""
    centre = _shift_matrix((size[0] - 1) / 2, (size[1] - 1) / 2)
    return _shift_matrix(*offset) @ centre @ np.linalg.inv(transforms) @ np.linalg.inv(centre)


def _shift_matrix(rows, columns):
    return np.array([[1, 0, columns], [0, 1, rows], [0, 0, 1]], dtype=np.float64)


def _boxes_on_sensor(corner, shape, matrices, size):
    """Return where a layer lands in each frame: int array (frames, 4): top, bottom, left, right."""
    top, left = corner
    height, width = shape[:2]
    corners = np.array(
        [[left, top, 1], [left + width, top, 1], [left, top + height, 1]]
        + [[left + width, top + height, 1]],
        dtype=np.float64,
    )
    landed = np.linalg.inv(matrices) @ corners.T
    landed = landed[:, :2] / landed[:, 2:]
    low = np.clip(np.floor(landed.min(2)) - 1, 0, (size[1], size[0]))
    high = np.clip(np.ceil(landed.max(2)) + 2, 0, (size[1], size[0]))
    return np.stack([low[:, 1], high[:, 1], low[:, 0], high[:, 0]], 1).astype(int)


class _Scene:
    """A picture with objects in front of it, each with a motion of its own.

    Args:
        picture: float32 array (height, width, 4): window and surroundings, fourth channel 1.
        masks: soft masks of the objects, float32 arrays (height, width).
        motions: scene-to-sensor homographies, arrays (points, 3, 3): the camera's, then one for
            each object.
        size: (height, width) of the window.
        offset: (row, column) of the window in the picture.
    """

    def __init__(self, picture, masks, motions, size, offset):
        self._picture = picture
        self._size = size
        self._offset = offset
        self._camera = motions[0]
        self._objects = [
            (mask, motion) for mask, motion in zip(masks, motions[1:], strict=True) if mask.any()
        ]

    def frames(self, times, weights, interpolation):
        """Yield what the sensor sees at `times`: float32 arrays (height, width, 4).

        With bilinear interpolation the loss of sharpness is made good in the mean of the frames,
        weighted by `weights`.
        """
        matrices = _source_matrices(_interpolate(self._camera, times), self._size, self._offset)
        loss = self._loss(matrices, weights, interpolation)
        background, layers = self._picture, []
        if self._objects:
            background = background.copy()
        for mask, motion in self._objects:
            layers.append(self._lift(background, mask, motion, times, weights, interpolation))
        background = _sharpen_for(background, loss)
        for index in range(len(times)):
            frame = _warp(background, matrices[index], self._size, interpolation)
            for colour, to_layer, boxes in layers:
                _put_in_front(frame, colour, to_layer[index], boxes[index])
            yield frame

    def _loss(self, matrices, weights, interpolation):
        if interpolation != cv2.INTER_LINEAR:
            return (0.0, 0.0)
        return _sampling_loss(matrices, weights, self._size)

    def _lift(self, background, mask, motion, times, weights, interpolation):
        """Cut out an object, filling the hole in `background` in place.

        Returns:
            The object's colours premultiplied by its mask (which is the fourth channel), the
            matrices from the sensor to these, and its boxes on the sensor.
        """
        matrices = _source_matrices(_interpolate(motion, times), self._size, self._offset)
        loss = self._loss(matrices, weights, interpolation)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        pad = 8  # known pixels round the hole, and zeros round the object
        top, left = max(rows[0] - pad, 0), max(columns[0] - pad, 0)
        box = np.s_[top : rows[-1] + 1 + pad, left : columns[-1] + 1 + pad]
        colour = _sharpen_for(self._picture[box], loss) * mask[box][..., None]
        background[box] = _fill_behind(background[box], mask[box])
        boxes = _boxes_on_sensor((top, left), colour.shape, matrices, self._size)
        return colour, _shift_matrix(-top, -left) @ matrices, boxes


def _put_in_front(frame, colour, matrix, box):
    """Draw a premultiplied layer over `frame`, in place, inside `box`."""
    top, bottom, left, right = box
    if bottom <= top or right <= left:
        return
    matrix = matrix @ _shift_matrix(top, left)
    size = (bottom - top, right - left)
    colour = _warp(colour, matrix, size, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    part = frame[top:bottom, left:right]
    part -= part * cv2.merge([cv2.extractChannel(colour, 3)] * 4)
    part += colour


# Degradations


def _disk(radius):
    """Return the point-spread function of defocus: an antialiased disk that sums to 1."""
    reach = int(math.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return disk / disk.sum()


def _log_uniform(rng, bounds):
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _add_noise(linear, settings, rng):
    """Add Poisson-Gaussian noise: variance `shot * light + read**2`, drawn as a normal."""
    shot = _log_uniform(rng, settings.shot_noise)
    read = _log_uniform(rng, settings.read_noise)
    noise = rng.standard_normal(linear.shape, dtype=np.float32)
    if rng.random() < settings.noise_correlation:
        sigma = rng.uniform(0.35, 0.8)
        taps = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2)
        taps /= np.sqrt((taps**2).sum())  # keeps the variance of each pixel
        taps = taps.astype(np.float32)
        noise = cv2.sepFilter2D(noise, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101)
    return linear + noise * np.sqrt(shot * np.maximum(linear, 0) + read * read)


def _vignette(shape, rng):
    """Draw the fall-off of light towards the corners: float32 (height, width, 1), at most 1."""
    height, width = shape[:2]
    centre = rng.uniform(-0.3, 1.3, 2)
    x = np.linspace(0, 1, width, dtype=np.float32) - np.float32(centre[0])
    y = np.linspace(0, 1, height, dtype=np.float32) - np.float32(centre[1])
    radius = x[None] ** 2 + y[:, None] ** 2
    return (1 / (1 + np.float32(rng.uniform(0.1, 0.6)) * radius) ** 2)[..., None]


def _scratch(encoded, rng):
    """Draw light scratches and dust, as on a print or film."""
    height, width = encoded.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 5)):
        start = rng.uniform(0, 1, 2) * (width, height)
        step = np.exp(1j * rng.normal(np.pi / 2, 0.5)) * rng.uniform(4, 20)
        bends = np.cumsum(rng.normal(0, 0.08, 24))
        points = np.cumsum(np.concatenate([[complex(*start)], step * np.exp(1j * bends)]))
        line = np.stack([points.real, points.imag], 1)
        fixed = np.round(line * 16).astype(np.int32).reshape(-1, 1, 2)
        strength = int(rng.integers(40, 200))
        cv2.polylines(mask, [fixed], False, strength, 1, lineType=cv2.LINE_AA, shift=4)
    for _ in range(rng.integers(0, 8)):
        place = tuple(int(v) for v in rng.uniform(0, 1, 2) * (width, height))
        cv2.circle(
            mask, place, int(rng.integers(1, 3)), int(rng.integers(40, 200)), -1, cv2.LINE_AA
        )
    share = color.to_float(mask)[..., None]
    return encoded + share * (1 - encoded)


def _jpeg(encoded, quality):
    """Compress and decompress: float32 in [0, 1] -> the same."""
    bgr = cv2.cvtColor(color.from_float(encoded, "uint8"), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG. Its build has no JPEG support.")
    return color.to_float(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def degrade(rgb, settings, rng):
    """Do to a picture what cameras and files do, without blur.

    Vignetting and Poisson-Gaussian noise act in linear light (sRGB response), then light scratches
    and JPEG, each with its probability in `settings`.

    Args:
        rgb: uint8 array, or float32 in [0, 1], of shape (height, width, 3), sRGB.
        settings: `ExposureSettings`.
        rng: `numpy.random.Generator`.

    Returns:
        float32 array (height, width, 3) in [0, 1], sRGB.
    """
    _check_rgb(rgb)
    vignetting = rng.random() < settings.vignetting
    noise = rng.random() < settings.noise
    encoded = color.to_float(rgb)
    if vignetting or noise:
        linear = np.clip(_SRGB.decode(rgb), 0, 1)
        if vignetting:
            linear *= _vignette(linear.shape, rng)
        if noise:
            linear = _add_noise(linear, settings, rng)
        encoded = _SRGB.encode(linear)
    if rng.random() < settings.scratches:
        encoded = _scratch(encoded, rng)
    if rng.random() < settings.jpeg:
        low, high = settings.jpeg_quality
        encoded = _jpeg(encoded, rng.integers(low, high + 1))
    return np.clip(encoded, 0, 1)


# The exposure


def _check_rgb(rgb):
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3:
        shape = getattr(rgb, "shape", type(rgb).__name__)
        raise ValueError(
            f"`rgb` must be an array of shape (height, width, 3). Received: shape={shape}. "
            f"Stack a grey picture three times."
        )
    if rgb.dtype not in (np.uint8, np.float32):
        raise TypeError(
            f"`rgb` must be uint8, or float32 in [0, 1]. Received: dtype={rgb.dtype}. Convert it."
        )


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
    _check_rgb(rgb)
    scale = 1.0
    if size is None:
        size = rgb.shape[:2]
    else:
        size = (int(size[0]), int(size[1]))
        if min(size) < 1 or size[0] > rgb.shape[0] or size[1] > rgb.shape[1]:
            raise ValueError(
                f"The window must lie inside the photo. Received: size={size}, photo of "
                f"{rgb.shape[:2]}. Enlarge the photo or ask for a smaller window."
            )
        if rng.random() < settings.source_scale_probability:
            scale = rng.uniform(*settings.source_scale)
    psfs = None if psfs is None else [_check_psf(psf) for psf in psfs]

    kind = _draw_exposure_kind(settings, rng, moving=transforms is not None)
    motions = []
    if transforms is not None:
        motions = [_check_transforms(transforms)]
    elif kind not in ("untouched", "still"):
        lengths = settings.blur_length if kind == "continuous" else settings.few_frame_length
        motions = _draw_motions(settings, rng, size, lengths)
    tracks = [_corner_tracks(motion, size) for motion in motions]
    reach = max([np.abs(track - _corners(size)).max() for track in tracks], default=0.0)
    if motions and reach < _STILL:
        kind, motions, tracks = "still", [], []
    margin = 2 + int(min(math.ceil(reach), _MAX_MARGIN))
    cut, offset = _cut_window(rgb, size, margin, scale, rng)
    window = np.s_[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]]
    sharp = np.array(color.to_float(cut[window]))
    path = tracks[0][:, 0].astype(np.float32) if tracks else np.zeros((_PATH_POINTS, 2), np.float32)

    response = _Response.draw(rng) if rng.random() < settings.response else _SRGB
    encoded_average = kind == "encoded frames"
    gain = radius = 0.0
    if rng.random() < settings.highlights and not encoded_average:
        gain = _log_uniform(rng, settings.highlight_gain) - 1
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
        # The photo has lost how bright its white is: only what is nearly white gets brighter.
        white = cv2.LUT(cut, _WHITENESS) if cut.dtype == np.uint8 else _whiteness(cut)
        white = np.minimum(np.minimum(white[..., 0], white[..., 1]), white[..., 2])
        if white.any():
            picture = picture * cv2.cvtColor(1 + np.float32(gain) * white, cv2.COLOR_GRAY2RGB)
            sharp = response.encode(picture[window])
    # a channel of ones becomes the masks of the objects; four channels also warp faster than three
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA)
    masks = [_object_mask(cut, rng) for _ in motions[1:]]
    times, weights, interpolation = _draw_schedule(kind, tracks, settings, rng)
    scene = _Scene(picture, masks, motions or [_NO_MOTION], size, offset)
    light = _integrate(scene.frames(times, weights, interpolation), times, weights, size, psfs)
    if radius > 0:
        light = cv2.filter2D(light, -1, _disk(radius), borderType=cv2.BORDER_REFLECT_101)
    np.clip(light, 0, 1, out=light)

    blurred = degrade(light if encoded_average else response.encode(light), settings, rng)
    kept = None
    if frames:
        moments = np.linspace(0, 1, frames) if frames > 1 else np.array([0.5])
        moments = scene.frames(moments, np.full(frames, 1 / frames), cv2.INTER_CUBIC)
        kept = np.stack([frame[..., :3] for frame in moments])
        kept = np.clip(kept, 0, 1) if encoded_average else response.encode(kept)
    return Exposure(blurred=blurred, sharp=sharp, frames=kept, path=path, kind=kind)


def _draw_exposure_kind(settings, rng, *, moving):
    untouched, still, few, encoded = rng.random(4)
    if not moving and untouched < settings.untouched:
        return "untouched"
    if not moving and still < settings.still:
        return "still"
    if few < settings.few_frame:
        return "encoded frames" if encoded < settings.encoded_average else "frames"
    return "continuous"


def _draw_motions(settings, rng, size, lengths):
    """Draw the camera's motion and those of the objects."""
    motions = [_draw_transforms(settings, rng, size, _log_uniform(rng, lengths))]
    weights = np.asarray(settings.layers, dtype=np.float64)
    for _ in range(rng.choice(len(weights), p=weights / weights.sum())):
        motions.append(_draw_object_motion(motions[0], settings, rng, size, lengths))
    return motions


def _draw_schedule(kind, tracks, settings, rng):
    """Return when the scene is sampled, with what weights, and the interpolation that takes.

    Bilinear sampling costs a seventh of cubic; it takes enough samples that its loss can be made
    good in the mean.
    """
    if kind == "still":
        return np.array([0.5]), np.array([1.0]), cv2.INTER_LINEAR
    tracks = np.concatenate(tracks, axis=1)
    if kind == "continuous":
        times, weights = _subframe_times(tracks)
        few = len(times) <= 4
    else:
        count = int(rng.integers(settings.frame_count[0], settings.frame_count[1] + 1))
        duty = rng.uniform(0, settings.frame_duty)
        times, weights = _frame_times(tracks, count, duty)
        few = len(times) == count
    return times, weights, cv2.INTER_CUBIC if few else cv2.INTER_LINEAR


def _frame_times(tracks, count, duty):
    """Moments of `count` frames at equal distances, each exposed for the share `duty` of its slot.

    Frames that move more than a pixel while they are exposed are split into up to four moments.
    """
    steps = np.sqrt((np.diff(tracks, axis=0) ** 2).sum(-1)).sum(0).max()
    split = int(min(max(math.ceil(duty * steps / count), 1), 4))
    within = (np.arange(split) + 0.5) / split - 0.5
    slots = (np.arange(count) + 0.5) / count
    times = (slots[:, None] + within * duty / count).ravel()
    return times, np.full(times.size, 1 / times.size)


def _integrate(frames, times, weights, size, psfs):
    """Sum up weighted frames, each part of the exposure through its own point-spread function."""
    parts = 1 if psfs is None else len(psfs)
    sums = [np.zeros((*size, 4), np.float32) for _ in range(parts)]
    for time, weight, frame in zip(times, weights, frames, strict=True):
        part = min(int(time * parts), parts - 1)
        cv2.scaleAdd(frame, float(weight), sums[part], sums[part])
    if psfs is None:
        return cv2.cvtColor(sums[0], cv2.COLOR_RGBA2RGB)
    return np.sum([_apply_psf(part, psf) for part, psf in zip(sums, psfs, strict=True)], axis=0)


def _apply_psf(light, psf):
    planes = [
        # filter2D correlates; a point-spread function convolves
        cv2.filter2D(
            np.ascontiguousarray(light[..., channel]),
            -1,
            np.ascontiguousarray(psf[::-1, ::-1, channel]),
            borderType=cv2.BORDER_REFLECT_101,
        )
        for channel in range(3)
    ]
    return np.stack(planes, axis=-1)


def _check_transforms(transforms):
    transforms = np.asarray(transforms, dtype=np.float64)
    if transforms.ndim != 3 or transforms.shape[1:] != (3, 3) or len(transforms) < 2:
        raise ValueError(
            f"`transforms` must have the shape (points, 3, 3) with at least two points. "
            f"Received: shape={transforms.shape}."
        )
    return transforms


def _check_psf(psf):
    psf = np.asarray(psf, dtype=np.float32)
    if psf.ndim == 2:
        psf = np.repeat(psf[..., None], 3, axis=2)
    if psf.ndim != 3 or psf.shape[2] != 3 or psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ValueError(
            f"Each of `psfs` must have the shape (k, k) or (k, k, 3) with odd k. "
            f"Received: shape={psf.shape}."
        )
    return psf


def _whiteness(encoded):
    """Return 0 below nearly white, 1 at white, for encoded values in [0, 1]."""
    return np.clip((encoded - 0.94) / 0.06, 0, 1).astype(np.float32) ** 2


_WHITENESS = _whiteness(_BYTES).reshape(1, 256)
_NO_MOTION = np.repeat(np.eye(3)[None], 2, axis=0)
