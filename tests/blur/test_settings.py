"""What blur is drawn from: named distributions, and what is refused."""

import dataclasses

import pytest

from keras_refocus.blur.settings import SETTINGS, ExposureSettings, settings


def test_settings_of_a_name_can_be_changed():
    changed = settings("mixed", noise=0.0, blur_length=[2.0, 8.0])
    assert changed == dataclasses.replace(SETTINGS["mixed"], noise=0.0, blur_length=(2.0, 8.0))
    assert settings("mixed") == SETTINGS["mixed"]
    for changes in ({"noise": "much"}, {"blur_length": 3.0}, {"noise": -1}, {"sharpness": 2}):
        with pytest.raises(ValueError, match="Received: .*(noise|blur_length|sharpness)"):
            settings("mixed", **changes)


def test_anchor_must_be_known():
    with pytest.raises(ValueError, match="anchor='start'"):
        ExposureSettings(anchor="start")


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise": 1.5},
        {"jpeg": -0.1},
        {"blur_length": (10.0, 2.0)},
        {"shot_noise": (0.0, 1.0)},
        {"layers": ()},
        {"path_weights": (1.0, 1.0)},
        {"path_weights": (0.0, 0.0, 0.0, 0.0)},
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ExposureSettings(**wrong)


def test_settings_survive_json():
    gentle = SETTINGS["gentle"]
    as_json = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(gentle).items()
    }
    assert ExposureSettings(**as_json) == gentle
