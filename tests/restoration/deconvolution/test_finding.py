"""What is said of the blur of a picture."""

import numpy as np
import pytest

from keras_refocus.restoration.deconvolution import kernels
from keras_refocus.restoration.deconvolution.finding import Finding, Reason, nothing


def test_a_report_says_tenths_of_pixels_and_degrees_and_hundredths_of_a_per_cent():
    found = Finding(kernels.dot(), 12.3456, 33.3333, 0.123456, Reason.PARTLY, np.ones((2, 2)))
    assert found.record() == {
        "blur_length": 12.3,
        "blur_direction": 33.3,
        "changed": 0.1235,
        "reason": "Where it does not explain the photo the plain result is.",
    }


def test_what_is_left_as_it_is_has_the_extent_of_the_kernel_that_was_found():
    none = nothing(Reason.TOO_SMALL)
    assert (none.kernel, none.share) == (None, None)
    assert none.record() == {
        "blur_length": 0.0,
        "blur_direction": 0.0,
        "changed": 0.0,
        "reason": "The picture is too small: a shake is looked for from 84 pixels on.",
    }
    kernel = kernels.motion_kernel(9, 90)
    found = nothing(Reason.ROUGHER, kernel)
    assert found.kernel is kernel and found.share is None and found.changed == 0
    assert (found.length, found.direction) == pytest.approx((9, 90))
