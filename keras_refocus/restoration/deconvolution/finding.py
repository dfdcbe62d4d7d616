"""What was found out about the blur of a picture."""

import dataclasses

import numpy as np

from keras_refocus.restoration.deconvolution import kernels


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found out about the blur of a picture.

    Attributes:
        kernel: Of sum 1, float32 (rows, columns); `None` if none was found.
        length: Pixels that the shake covers; 0 if there is none.
        direction: Of its longest axis, degrees in [0, 180): 0 along rows, 90 along columns.
        changed: Share of the picture that was taken from it, 0 to 1.
        reason: Why the rest, or all, is the plain result, in a sentence; empty if none of it is.
        share: How much of each pixel was taken from it, float32 (height, width) in [0, 1]; `None`
            if none.
    """

    kernel: np.ndarray | None
    length: float
    direction: float
    changed: float
    reason: str = ""
    share: np.ndarray | None = None

    def record(self) -> dict[str, float | str]:
        """What a report says of it."""
        return {
            "blur_length": round(self.length, 1),
            "blur_direction": round(self.direction, 1),
            "changed": round(self.changed, 4),
            "reason": self.reason,
        }


def nothing(reason: str, kernel: np.ndarray | None = None) -> Finding:
    """The finding of a picture that is left as the restorer has it."""
    if kernel is None:
        return Finding(None, 0.0, 0.0, 0.0, reason)
    found = kernels.extent(kernel)
    return Finding(kernel, found.length, found.direction, 0.0, reason)
