"""What the page says of heavy shake: how long looking for it takes, and what was found."""

import base64
import threading

import cv2

from keras_refocus.page.words import Words
from keras_refocus.restoration.deconvolution import kernels
from keras_refocus.restoration.deconvolution.finding import Finding

# Seconds of a photo until one has been measured here, and what the latest one counts in the mean.
_AT_FIRST, _LATEST = 60.0, 0.5
# A visitor gets an answer before the page gives a photo up: the share of its time for the search.
_SHARE = 0.75


class Expected:
    """How long a photo takes on this computer: a mean over those that took it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds that the next photo is expected to take."""
        return _AT_FIRST if self._seconds is None else self._seconds

    def note(self, seconds: float) -> None:
        """Count a photo that was looked at from the beginning to the end."""
        with self._lock:
            before = seconds if self._seconds is None else self._seconds
            self._seconds = before + _LATEST * (seconds - before)


def expected_words(words: Words, expected: Expected | None = None) -> str:
    """Say for what photos the search is, and how long it takes."""
    time = words.duration((expected or Expected()).seconds)
    return words.say("patient_info", time=time)


def patience(max_seconds: float | None) -> float | None:
    """Seconds that the search may take where a photo may be worked on so long."""
    return None if max_seconds is None else _SHARE * max_seconds


def said(finding: Finding, words: Words) -> str:
    """Say what was found: length and direction, share of the photo, and why not all of it."""
    parts = []
    if finding.length > 0:
        parts.append(
            words.say(
                "shake_found",
                length=round(finding.length),
                direction=round(finding.direction) % 180,
                share=round(100 * finding.changed),
            )
        )
    if finding.reason:
        parts.append(words.say(f"shake_{finding.reason.name.lower()}"))
    return " ".join(parts)


def address(finding: Finding) -> str | None:
    """Give the kernel as an address of data: a PNG, white where the light fell; `None` without."""
    if finding.kernel is None:
        return None
    _, encoded = cv2.imencode(".png", kernels.picture(finding.kernel))
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
