"""What crosses the border to a model: names on the wire, names of files, and what an engine does.

Servables, signatures and tensors have their names here and nowhere else. `export` writes them into
SavedModels; the engines, the graph of the whole pipeline and the local server read them.
"""

from pathlib import Path
from typing import Protocol

import numpy as np

# Servables: folders of a model collection, and model names on TensorFlow Serving.
RESTORER = "restorer"
COLORIZER = "colorizer"
REFOCUS = "refocus"
MOTION = "motion"
INTERPOLATOR = "interpolator"

# Signatures.
DEFAULT_SIGNATURE = "serving_default"
IMAGE_SIGNATURE = "image"
# Of colorizers that predict a distribution over colours.
DISTRIBUTION_SIGNATURE = "distribution"

# Tensors.
LUMINANCE = "luminance"
RESTORED = "restored"
CHROMA = "chroma"
SHARES = "shares"
SEEN = "seen"
TRAJECTORIES_AND_RESIDUALS = "trajectories_and_residuals"
CORRECTIONS = "corrections"
IMAGE = "image"
IMAGE_BYTES = "image_bytes"
IS_GRAYSCALE = "is_grayscale"
STRENGTH = "strength"

# Channels of what a motion network sees, of a picture in luminance or in luminance and chroma, and
# of what it gives; their order is that of `video.from_blur`.
SEEN_CHANNELS = (5, 7)
MOTION_CHANNELS = 12
# Pixels that 1 stands for in the way that a motion network sees.
MOTION_UNIT = 16.0

# Channels of what a correction of frames in between sees, and of what it gives; their order is that
# of `video.interpolation`.
PARTS_CHANNELS = 16
CORRECTION_CHANNELS = 9

# Files in the folder of a version.
SAVED_MODEL_FILE = "saved_model.pb"
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
NETWORK_FILE = Path("assets.extra", "network.json")


class Engine(Protocol):
    """Runs the networks for the pipeline, which cannot tell one engine from another.

    Attributes:
        batch_size: How many tiles the pipeline should hand over at once. Several are of one size:
            what reaches beyond the picture is filled with its mirror image, which the network
            cannot tell from the picture, so that near such a border its result is slightly
            another. With 1, each tile ends where the picture does.
    """

    batch_size: int

    def restore(self, tiles: np.ndarray, *, model: str = RESTORER) -> np.ndarray:
        """Run a restorer: luminance float32 [N,H,W,1] in [0,1] to the same."""

    def colorize(self, luminance: np.ndarray, *, model: str = COLORIZER) -> np.ndarray:
        """Run a colorizer: luminance float32 [N,H,W,1] in [0,1] to chroma [N,H,W,2] in [-1,1]."""

    def color_shares(self, luminance: np.ndarray, *, model: str = COLORIZER) -> np.ndarray:
        """Ask a colorizer how likely which colours are.

        Luminance float32 [N,H,W,1] in [0,1] to the shares [N,h,w,313] of the classes of
        `pictures.color_bins`, which sum to 1, over a part of the size.

        Raises:
            ValueError: This colorizer predicts no distribution.
        """

    def estimate_motion(self, seen: np.ndarray, *, model: str = MOTION) -> np.ndarray:
        """Run a motion network: what it sees, float32 [N,H,W,5 or 7], to float32 [N,H,W,12]."""

    def correct(self, seen: np.ndarray, *, model: str = INTERPOLATOR) -> np.ndarray:
        """Correct frames in between: parts and weights, float32 [N,H,W,16], to [N,H,W,9]."""

    def versions(self, *models: str) -> dict[str, str]:
        """Tell which version of each of these models would answer, leaving out absent ones.

        Without names: of all models the engine knows of.
        """

    def close(self) -> None:
        """Let go of models and connections; the engine cannot be used afterwards."""


def no_distribution(model: str) -> str:
    """Word the error for a colorizer that gives a colour and no more."""
    return (
        "Colours can be suggested by a colorizer that predicts a distribution over them, exported "
        f"with `refocus export` of this version or later. Received: model='{model}', which gives "
        "one colour for each pixel. Choose another, or export it again."
    )


def as_luminance(values: np.ndarray) -> np.ndarray:
    """Check what a model is about to get.

    Args:
        values: Luminance of shape `(images, height, width, 1)`, any real dtype.

    Returns:
        The same as float32, not copied where it is that already.

    Raises:
        ValueError: It has another shape, or holds nothing.
    """
    values = np.asarray(values, np.float32)
    if values.ndim != 4 or values.shape[-1] != 1 or 0 in values.shape:
        raise ValueError(
            "A model takes luminance of shape (images, height, width, 1), none of them zero. "
            f"Received: shape={values.shape}."
        )
    return values


def as_seen(values: np.ndarray) -> np.ndarray:
    """Check what a motion network is about to get; see `as_luminance`.

    Raises:
        ValueError: It has another shape, or holds nothing.
    """
    values = np.asarray(values, np.float32)
    if values.ndim != 4 or values.shape[-1] not in SEEN_CHANNELS or 0 in values.shape:
        raise ValueError(
            "A motion network sees arrays of shape (images, height, width, 5 or 7), none of them "
            f"zero. Received: shape={values.shape}."
        )
    return values


def as_parts(values: np.ndarray) -> np.ndarray:
    """Check what a correction of frames in between is about to get; see `as_luminance`.

    Raises:
        ValueError: It has another shape, or holds nothing.
    """
    values = np.asarray(values, np.float32)
    if values.ndim != 4 or values.shape[-1] != PARTS_CHANNELS or 0 in values.shape:
        raise ValueError(
            f"A correction sees arrays of shape (frames, height, width, {PARTS_CHANNELS}), none of "
            f"them zero. Received: shape={values.shape}."
        )
    return values
