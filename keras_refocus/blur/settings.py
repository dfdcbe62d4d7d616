"""What `exposure` draws from: distributions of blur, and those that have a name.

Everything random comes from the `numpy.random.Generator` that is passed in.
"""

import dataclasses
import math
from typing import Any


def _setting(default, help_text):
    return dataclasses.field(default=default, metadata={"help": help_text})


PATH_KINDS = ("walk", "linear", "curved", "shake")
ANCHORS = ("middle", "mean")


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


def settings(name: str, **changes: Any) -> ExposureSettings:
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


def log_uniform(rng: Any, bounds: tuple[float, float]) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))
