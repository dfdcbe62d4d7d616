"""What was found out about the blur of a picture."""

import dataclasses
import enum

import numpy as np

from keras_refocus.restoration.deconvolution import kernels

# Side in pixels of the smallest picture in which a shake is looked for.
SMALLEST = 84


class Reason(enum.StrEnum):
    """Why a picture, or a part of it, is as the restorer has it."""

    NONE = ""
    TOO_SMALL = f"The picture is too small: a shake is looked for from {SMALLEST} pixels on."
    LARGE_KERNEL = "The picture is less than twice as large as the kernel."
    NO_TIME = "There was not enough time."
    NO_SHAKE = "There is no shake that the plain result leaves."
    NO_KERNEL = "No kernel was found with which the picture becomes plainly sharper."
    NO_PATH = "The kernel that was found is in pieces, not the path of a camera."
    DISAGREEMENT = "Two ways of looking for the kernel found different ones."
    ROUGHER = "The picture became rougher, or streaky, not sharper."
    NOT_THE_PHOTO = "Blurred again, the result is not the photo."
    PARTLY = "Where it does not explain the photo the plain result is."
    DOUBTFUL = "The kernel is not certain, so a part of the plain result stays everywhere."


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found out about the blur of a picture.

    Attributes:
        kernel: Of sum 1, float32 (rows, columns); `None` if none was found.
        length: Pixels that the shake covers; 0 if there is none.
        direction: Of its longest axis, degrees in [0, 180): 0 along rows, 90 along columns.
        changed: Share of the picture that was taken from it, 0 to 1.
        reason: Why the rest, or all, is the plain result; `Reason.NONE` if none of it is.
        share: How much of each pixel was taken from it, float32 (height, width) in [0, 1]; `None`
            if none.
    """

    kernel: np.ndarray | None
    length: float
    direction: float
    changed: float
    reason: Reason = Reason.NONE
    share: np.ndarray | None = None

    def record(self) -> dict[str, float | str]:
        """What a report says of it."""
        return {
            "blur_length": round(self.length, 1),
            "blur_direction": round(self.direction, 1),
            "changed": round(self.changed, 4),
            "reason": str(self.reason),
        }


def nothing(reason: Reason, kernel: np.ndarray | None = None) -> Finding:
    """The finding of a picture that is left as the restorer has it."""
    if kernel is None:
        return Finding(None, 0.0, 0.0, 0.0, reason)
    found = kernels.extent(kernel)
    return Finding(kernel, found.length, found.direction, 0.0, reason)
