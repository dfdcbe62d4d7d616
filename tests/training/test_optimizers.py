import keras
import pytest
from keras import ops

from keras_refocus.training import optimizers


def rate(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


def test_learning_rate_rises_and_falls_as_worked_out_by_hand():
    schedule = optimizers.LearningRate(
        1.0, 0.1, warmup_steps=10, steps=110, second_peak=0.5, second_end=0.1, second_steps=40
    )
    for step, expected in (
        (0, 0.1),
        (9, 1.0),
        (10, 1.0),
        (60, 0.55),  # Half of the cosine: halfway between 1 and 0.1.
        (110, 0.5),
        (130, 0.3),
        (150, 0.1),
        (1000, 0.1),
    ):
        assert rate(schedule, step) == pytest.approx(expected, abs=1e-6)


def test_linear_rate_is_constant_for_half_of_the_time():
    schedule = optimizers.LearningRate(1.0, 0.0, warmup_steps=0, steps=100, kind="linear")
    for step, expected in ((0, 1.0), (50, 1.0), (75, 0.5), (90, 0.2), (100, 0.0)):
        assert rate(schedule, step) == pytest.approx(expected, abs=1e-6)


def test_constant_rate_does_not_fall():
    schedule = optimizers.LearningRate(1.0, 0.0, warmup_steps=4, steps=100, kind="constant")
    assert [rate(schedule, step) for step in (1, 4, 99)] == pytest.approx([0.5, 1.0, 1.0])


def test_learning_rate_round_trip():
    schedule = optimizers.LearningRate(
        1.0, 0.1, warmup_steps=3, steps=9, second_peak=0.5, second_steps=4, kind="linear"
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [rate(copy, step) for step in range(13)] == [rate(schedule, step) for step in range(13)]
