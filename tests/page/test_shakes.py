"""What the page says of heavy shake."""

import base64

import cv2
import numpy as np
import pytest

from keras_refocus.page import shakes
from keras_refocus.page.words import Words
from keras_refocus.restoration.deconvolution import kernels
from keras_refocus.restoration.deconvolution.finding import Finding, Reason, nothing

KERNEL = kernels.motion_kernel(15, 20)


def test_what_was_found_is_said_in_both_languages():
    found = Finding(KERNEL, 24.6, 179.8, 0.871, Reason.PARTLY)
    assert shakes.said(found, Words("en")) == (
        "25 pixels long, direction 0°; 87 % of the photo was changed. The rest is as the model "
        "restores it: there this does not explain the photo."
    )
    assert shakes.said(found, Words("de")).startswith(
        "25 Pixel lang, Richtung 0°; 87 % des Fotos wurden geändert."
    )
    assert shakes.said(Finding(KERNEL, 15.0, 20.0, 1.0), Words()) == (
        "15 pixels long, direction 20°; 100 % of the photo was changed."
    )


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("reason", [reason for reason in Reason if reason])
def test_every_reason_has_a_sentence(reason, language):
    said = shakes.said(nothing(reason), Words(language))
    assert said.endswith(".") and "{" not in said


def test_the_kernel_is_a_picture_of_its_own_pixels():
    head, _, content = shakes.address(Finding(KERNEL, 15.0, 20.0, 1.0)).partition(",")
    assert head == "data:image/png;base64"
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert drawn.shape == KERNEL.shape
    np.testing.assert_array_equal(drawn, kernels.picture(KERNEL)[..., 0])
    assert shakes.address(nothing(Reason.TOO_SMALL)) is None


def test_the_time_that_is_expected_is_that_of_the_photos_before():
    expected = shakes.Expected()
    assert "60 seconds" in shakes.expected_words(Words(), expected)
    expected.note(20)
    assert expected.seconds == 20
    expected.note(40)
    assert expected.seconds == 30
    assert "30 Sekunden" in shakes.expected_words(Words("de"), expected)


def test_the_search_ends_before_the_page_gives_the_photo_up():
    assert 0 < shakes.patience(600) < 600
    assert shakes.patience(None) is None
