import keras
import numpy as np
import pytest
from keras import ops

from keras_refocus.training import gan, losses


def dense(value):
    """One weight, no bias: `weight * x`."""
    layer = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    layer.set_weights([np.array([[value]], "float32")])
    return layer


def test_minimize_takes_the_hand_computed_step_and_leaves_others_alone():
    moved, still = dense(3.0), dense(5.0)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(moved.trainable_variables)

    def loss():
        value = ops.sum(ops.square(moved(np.ones((1, 1), "float32")) * still.weights[0]))
        return value, {"value": value}

    (aux,) = gan.minimize(loss, optimizer, moved.trainable_variables)
    # d/dw (5w)^2 at w = 3 is 2 * 25 * 3 = 150.
    assert float(ops.convert_to_numpy(moved.weights[0])[0, 0]) == pytest.approx(3.0 - 0.1 * 150.0)
    assert float(ops.convert_to_numpy(still.weights[0])[0, 0]) == 5.0
    assert float(ops.convert_to_numpy(aux["value"])) == 225.0


@pytest.mark.parametrize(("clip_norm", "step"), [(None, 14.0), (7.0, 7.0)])
def test_a_batch_in_parts_takes_one_step_of_their_mean(clip_norm, step):
    network = dense(1.0)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(network.trainable_variables)

    def loss(factor):
        return factor * ops.sum(network(np.ones((1, 1), "float32"))), factor

    # Slopes of 4 and 24; clipped one by one their mean would be 5.5.
    found = gan.minimize(
        loss, optimizer, network.trainable_variables, clip_norm=clip_norm, parts=[(4.0,), (24.0,)]
    )
    assert float(ops.convert_to_numpy(network.weights[0])[0, 0]) == pytest.approx(1.0 - step)
    assert [float(ops.convert_to_numpy(aux)) for aux in found] == [4.0, 24.0]
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 1


def test_a_batch_that_does_not_split_is_refused():
    with pytest.raises(ValueError, match="batch of 3, gradient_accumulation=2.*drop_remainder"):
        gan.split_batch((np.zeros((3, 1)),), 2)


def test_gradient_penalty_of_a_linear_critic_is_known():
    # The score of a 4x4 picture is the sum of its pixels: the gradient is 1 in each of 16 pixels,
    # its norm 4, and the penalty (4 - 1)^2 = 9. Taken over the channel axis it would be 0.
    pictures = np.random.default_rng(0).random((2, 4, 4, 1)).astype("float32")
    gradient = gan.input_gradient(lambda x: ops.sum(x, axis=(1, 2, 3)), pictures)
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), np.ones((2, 4, 4, 1)))
    assert float(ops.convert_to_numpy(losses.gradient_penalty(gradient))) == pytest.approx(9.0)


def test_penalty_can_be_minimized():
    # The critic w * x on one pixel has gradient w; (w - 1)^2 at w = 3 has derivative 4.
    critic = dense(3.0)
    optimizer = keras.optimizers.SGD(0.25)
    optimizer.build(critic.trainable_variables)

    def loss():
        gradient = gan.input_gradient(critic, np.ones((1, 1), "float32"))
        return losses.gradient_penalty(ops.reshape(gradient, (1, 1, 1, 1))), {}

    gan.minimize(loss, optimizer, critic.trainable_variables)
    assert float(ops.convert_to_numpy(critic.weights[0])[0, 0]) == pytest.approx(2.0, abs=1e-5)


def test_average_moves_by_one_minus_decay():
    network, averaged = dense(2.0), dense(1.0)
    gan.update_average(averaged, network, 0.75)
    assert float(ops.convert_to_numpy(averaged.weights[0])[0, 0]) == pytest.approx(1.25)


def test_averaged_copy_is_separate_and_frozen():
    network = dense(2.0)
    copy = gan.averaged_copy(network)
    network.set_weights([np.array([[7.0]], "float32")])
    assert float(ops.convert_to_numpy(copy.weights[0])[0, 0]) == 2.0
    assert not copy.trainable_variables


def test_report_gives_means_of_what_was_updated_only():
    model = gan.GAN(metric_names=["loss", "psnr"], average_decay=0.9, seed=0)
    model.report({"loss": 1.0})
    logs = model.report({"loss": 3.0})
    assert set(logs) == {"loss"}
    assert float(ops.convert_to_numpy(logs["loss"])) == 2.0


def test_average_of_a_short_run_is_not_its_start():
    model = gan.GAN(metric_names=[], average_decay=0.999, seed=0)
    network, averaged = dense(1.0), dense(0.0)
    model.finish_step([(averaged, network)])
    # The first decay is (1 + 0) / (10 + 0) = 0.1, so 90% of the way at once.
    assert float(ops.convert_to_numpy(averaged.weights[0])[0, 0]) == pytest.approx(0.9)
    assert int(ops.convert_to_numpy(model.steps)) == 1


def test_random_state_survives_a_checkpoint(tmp_path):
    def draw(model):
        return ops.convert_to_numpy(keras.random.uniform((4,), seed=model.seed_generator))

    model = gan.GAN(metric_names=[], average_decay=0.9, seed=3)
    model.built = True
    draw(model)
    model.save_weights(tmp_path / "state.weights.h5")
    expected = draw(model)
    other = gan.GAN(metric_names=[], average_decay=0.9, seed=99)
    other.built = True
    other.load_weights(tmp_path / "state.weights.h5")
    np.testing.assert_array_equal(draw(other), expected)


def test_float16_networks_get_a_scaled_loss():
    inputs = keras.Input((1,))
    half = keras.Model(inputs, keras.layers.Dense(1, dtype="mixed_float16")(inputs))
    half.dtype_policy = keras.DTypePolicy("mixed_float16")
    wrapped = gan.prepare_optimizer(keras.optimizers.SGD(0.1), half)
    assert isinstance(wrapped, keras.optimizers.LossScaleOptimizer)
    plain = gan.prepare_optimizer(keras.optimizers.SGD(0.1), dense(1.0))
    assert not isinstance(plain, keras.optimizers.LossScaleOptimizer)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_average_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="average_decay"):
        gan.GAN(metric_names=[], average_decay=decay, seed=0)


def test_gradients_are_clipped_to_the_global_norm():
    tensor = ops.convert_to_tensor
    gradients = [tensor(np.float32([3.0, 0.0])), None, tensor(np.float32([[4.0]]))]
    clipped = gan._clip(gradients, 1.0, keras.optimizers.SGD())
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[0]), [0.6, 0.0], rtol=1e-6)
    assert clipped[1] is None
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[2]), [[0.8]], rtol=1e-6)
    for norm in (10.0, None):
        same = gan._clip(gradients, norm, keras.optimizers.SGD())
        np.testing.assert_array_equal(ops.convert_to_numpy(same[0]), [3.0, 0.0])


def test_scaled_gradients_are_clipped_by_their_true_norm():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=1024.0)
    optimizer.build([keras.Variable(np.zeros(2, "float32"))])
    scaled = [ops.convert_to_tensor(np.float32([3.0, 4.0]) * 1024.0)]
    (clipped,) = gan._clip(scaled, 1.0, optimizer)
    np.testing.assert_allclose(ops.convert_to_numpy(clipped) / 1024.0, [0.6, 0.8], rtol=1e-6)
    (same,) = gan._clip(scaled, 10.0, optimizer)
    np.testing.assert_array_equal(ops.convert_to_numpy(same), ops.convert_to_numpy(scaled[0]))
