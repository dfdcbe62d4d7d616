import contextlib
import pathlib
import re

import keras
import numpy as np
import pytest
from keras import ops
from tiny_training import ON_TENSORFLOW, without_tracing, write_pairs

from keras_refocus import networks
from keras_refocus.networks import blocks
from keras_refocus.training.deblur_gan import DeblurGAN


def tiny_generator(seed=0):
    keras.utils.set_random_seed(seed)
    return networks.build("unet", widths=(8, 8), depths=(1, 1), decoder_depths=(1,))


def make(adversarial=None, **options):
    generator = tiny_generator()
    discriminator = networks.build("patchgan", filters=8, layers=2) if adversarial else None
    model = DeblurGAN(
        generator,
        discriminator,
        content={"charbonnier": 1.0, "frequency": 0.1},
        adversarial=adversarial or "ralsgan",
        **options,
    )
    model.compile(
        generator_optimizer=keras.optimizers.Adam(1e-3),
        discriminator_optimizer=keras.optimizers.Adam(1e-3) if adversarial else None,
    )
    return model


@pytest.fixture(autouse=True)
def _without_tracing(request):
    """Toy steps are done before TensorFlow has traced them; what learns does trace."""
    traced = "traced" in request.node.name
    with contextlib.nullcontext() if traced else without_tracing():
        yield


@pytest.fixture
def pairs():
    sharp = np.random.default_rng(0).random((4, 32, 32, 1)).astype("float32")
    blurred = (sharp + np.roll(sharp, 1, axis=2)) / 2
    return blurred, sharp


def weights(network):
    return [value.copy() for value in network.get_weights()]


def changed(before, network):
    return any((a != b).any() for a, b in zip(before, network.get_weights(), strict=True))


def test_content_training_lowers_the_loss_of_one_batch_traced(pairs):
    model = make()
    history = model.fit(*pairs, batch_size=4, epochs=30, verbose=0, shuffle=False).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert set(history) == {"loss", "charbonnier_loss", "frequency_loss"}


def test_total_is_the_weighted_sum_of_the_terms(pairs):
    history = make().fit(*pairs, batch_size=4, epochs=1, verbose=0).history
    expected = history["charbonnier_loss"][0] + 0.1 * history["frequency_loss"][0]
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["wgan_gp", "lsgan", "ragan", "ralsgan"])
def test_each_player_moves_only_in_its_own_turn(kind, pairs):
    model = make(kind)
    blurred, sharp = (ops.convert_to_tensor(side) for side in pairs)
    before = weights(model.generator)
    critic = weights(model.discriminator)
    model._update_discriminator(blurred, sharp)
    assert not changed(before, model.generator)
    assert changed(critic, model.discriminator)
    critic = weights(model.discriminator)
    model._update_generator(blurred, sharp)
    assert not changed(critic, model.discriminator)
    assert changed(before, model.generator)


@pytest.mark.parametrize("kind", ["wgan_gp", "ralsgan"])
def test_adversarial_logs_name_what_was_computed(kind, pairs):
    logs = make(kind, critic_steps=2).fit(*pairs, batch_size=4, verbose=0).history
    assert ("gradient_penalty" in logs) == (kind == "wgan_gp")
    assert {"adversarial_loss", "discriminator_loss"} <= set(logs)
    assert np.isfinite(list(logs.values())).all()


def test_content_phase_leaves_the_discriminator_alone(pairs):
    model = make("ralsgan")
    model.adversarial_phase = False
    before = weights(model.discriminator)
    logs = model.fit(*pairs, batch_size=4, verbose=0).history
    assert not changed(before, model.discriminator)
    assert "adversarial_loss" not in logs
    model.adversarial_phase = True
    model.fit(*pairs, batch_size=4, verbose=0)
    assert changed(before, model.discriminator)


def test_validation_measures_the_averaged_generator(pairs):
    model = make()
    # An untrained generator is the identity, so the score is that of the blurred input.
    logs = model.evaluate(*pairs, verbose=0, return_dict=True)
    error = np.mean((pairs[0] - pairs[1]) ** 2, axis=(1, 2, 3))
    assert logs["psnr"] == pytest.approx(np.mean(-10 * np.log10(error)), abs=1e-3)
    assert set(logs) == {"loss", "psnr", "ssim"}
    charbonnier = np.sqrt((pairs[0] - pairs[1]) ** 2 + 1e-6).mean()
    assert logs["loss"] > charbonnier  # And the rest in the Fourier domain.


def test_shell_round_trip_goes_on_as_if_it_had_never_stopped(pairs, tmp_path):
    straight = make("wgan_gp")
    straight.fit(*pairs, batch_size=2, epochs=2, verbose=0, shuffle=False)

    first = make("wgan_gp")
    first.fit(*pairs, batch_size=2, epochs=1, verbose=0, shuffle=False)
    first.save(tmp_path / "shell.keras")
    resumed = keras.saving.load_model(tmp_path / "shell.keras")
    resumed.fit(*pairs, batch_size=2, epochs=1, verbose=0, shuffle=False)

    for network in ("generator", "averaged_generator", "discriminator"):
        for a, b in zip(
            getattr(straight, network).get_weights(),
            getattr(resumed, network).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def test_discriminator_and_its_optimizer_come_together():
    model = DeblurGAN(tiny_generator(), content={"l1": 1.0})
    with pytest.raises(ValueError, match="come together"):
        model.compile(
            generator_optimizer=keras.optimizers.Adam(),
            discriminator_optimizer=keras.optimizers.Adam(),
        )


def test_adversarial_phase_needs_a_discriminator():
    with pytest.raises(ValueError, match="needs a discriminator"):
        make().adversarial_phase = True


def test_unknown_losses_are_refused_at_construction():
    with pytest.raises(ValueError, match="charbonnier"):
        DeblurGAN(tiny_generator(), content={"charbonier": 1.0})
    with pytest.raises(ValueError, match="lsgan"):
        make("lsgann")


def multiscale_gan(**options):
    generator = networks.build("multiscale", width=4, residual_blocks=1, kernel_size=3, scales=3)
    model = DeblurGAN(generator, content={"l1": 2.0}, **options)
    model.compile(generator_optimizer=keras.optimizers.Adam(1e-3))
    return model


@pytest.mark.parametrize("name", ["multiscale", "scale_recurrent"])
def test_coarser_scales_of_an_untrained_generator_are_the_shrunk_picture(name, pairs):
    sizes = {"scale_recurrent": {"widths": (4, 4)}, "multiscale": {"width": 4}}[name]
    generator = networks.build(name, **sizes, kernel_size=3)
    scales = blocks.restore_at_scales(generator)(ops.convert_to_tensor(pairs[0][:, :30]))
    assert scales.keys() == {1, 2, 4}
    for factor, restored in scales.items():
        side = 32 // factor
        expected = pairs[0][:, :28].reshape(4, 28 // factor, factor, side, factor, 1).mean((2, 4))
        found = ops.convert_to_numpy(restored)
        assert found.shape == (4, -(-30 // factor) if factor == 1 else side, side, 1)
        np.testing.assert_allclose(found[:, : 28 // factor], expected, atol=1e-6)


def test_every_scale_is_compared_with_the_shrunk_sharp_picture(pairs):
    blurred, sharp = (side[:, :30] for side in pairs)
    logs = multiscale_gan(scale_weight=0.5).fit(blurred, sharp, batch_size=4, verbose=0).history
    fine = 2.0 * np.abs(blurred - sharp).mean()
    # Two rows do not fill a block of four, and are left out at a quarter of the size.
    means = [
        (blurred - sharp)[:, :rows].reshape(4, rows // n, n, 32 // n, n, 1).mean((2, 4))
        for n, rows in ((2, 30), (4, 28))
    ]
    coarse = 2.0 * sum(np.abs(mean).mean() for mean in means)
    assert logs["coarse_loss"][0] == pytest.approx(coarse, rel=1e-4)
    assert logs["loss"][0] == pytest.approx(fine + 0.5 * coarse, rel=1e-4)


def test_the_finest_scale_alone(pairs):
    logs = multiscale_gan(scale_weight=0.0).fit(*pairs, batch_size=4, verbose=0).history
    assert set(logs) == {"loss", "l1_loss"}


def test_a_teacher_has_its_share_of_the_loss_at_every_scale(pairs):
    blurred, sharp = pairs
    model = multiscale_gan(scale_weight=0.5, teacher=lambda x: 0.5 * x + 0.75, teacher_weight=0.25)
    logs = model.fit(*pairs, batch_size=4, verbose=0).history

    def loss(target):
        # The untrained generator returns its input, at every scale.
        means = [
            (blurred - target).reshape(4, 32 // n, n, 32 // n, n, 1).mean((2, 4)) for n in (1, 2, 4)
        ]
        fine, *coarse = (2.0 * np.abs(mean).mean() for mean in means)
        return fine + 0.5 * sum(coarse)

    # What a teacher says is clipped as a picture is.
    taught = loss(np.clip(0.5 * blurred + 0.75, 0.0, 1.0))
    assert logs["teacher_loss"][0] == pytest.approx(taught, rel=1e-4)
    expected = 0.75 * loss(sharp) + 0.25 * taught
    assert logs["loss"][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_teacher_alone_is_learned_from_and_stays_as_it_is_traced(pairs):
    teacher = tiny_generator(1)
    teacher.set_weights([value + 0.02 for value in teacher.get_weights()])
    before = weights(teacher)
    model = make(teacher=teacher, teacher_weight=1.0)
    history = model.fit(*pairs, batch_size=4, epochs=30, verbose=0, shuffle=False).history
    assert history["teacher_loss"][-1] < 0.9 * history["teacher_loss"][0]
    assert history["loss"] == history["teacher_loss"]
    assert not changed(before, teacher)
    # It is no part of the model: neither its weights nor its optimizer's are kept.
    assert len(model.weights) == len(make().weights)


# Parts of a batch, and parts of a network


@pytest.mark.parametrize("kind", [None, "lsgan"])
def test_a_batch_in_parts_is_the_step_of_the_whole(kind, pairs):
    batch = tuple(map(ops.convert_to_tensor, pairs))
    models = [make(kind, gradient_accumulation=parts) for parts in (1, 2)]
    models[1].set_weights(models[0].get_weights())
    logs = [model.train_step(batch) for model in models]
    for name in logs[0]:
        assert float(logs[0][name]) == pytest.approx(float(logs[1][name]), rel=1e-4)
    for network in ("generator", "discriminator")[: 2 if kind else 1]:
        whole, parts = (getattr(model, network).get_weights() for model in models)
        for a, b in zip(whole, parts, strict=True):
            # Adam's first step is the sign of the gradient: where that is nearly 0 it may differ.
            assert np.mean(np.abs(a - b) > 1e-5) < 0.02


def test_a_frozen_backbone_stays_as_it_is(pairs):
    keras.utils.set_random_seed(0)
    inner = keras.Input((None, None, 1))
    backbone = keras.Model(inner, keras.layers.Conv2D(2, 3, padding="same")(inner), name="trunk")
    picture = keras.Input((None, None, 1))
    head = keras.layers.Conv2D(1, 3, padding="same", name="head")
    model = DeblurGAN(keras.Model(picture, head(backbone(picture))), content={"l1": 1.0})
    model.compile("adam")
    batch = tuple(map(ops.convert_to_tensor, pairs))
    for frozen in (True, False):
        model.frozen = frozen
        trunk, rest = weights(model.generator.get_layer("trunk")), weights(head)
        model.train_step(batch)
        assert changed(trunk, model.generator.get_layer("trunk")) == (not frozen)
        assert changed(rest, model.generator.get_layer("head"))


# As users of Keras train: `compile`, `fit`, callbacks


def data_set(pairs):
    if not ON_TENSORFLOW:
        pytest.skip("tf.data is TensorFlow's")
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(pairs).batch(2, drop_remainder=True)


def uncompiled(adversarial=True):
    discriminator = networks.build("patchgan", filters=4, layers=1) if adversarial else None
    return DeblurGAN(tiny_generator(), discriminator, content={"l1": 1.0})


def test_callbacks_of_keras_change_rates_and_stop(pairs):
    data = data_set(pairs)
    model = uncompiled()
    model.compile(optimizer="adam", run_eagerly=True)
    stop = keras.callbacks.EarlyStopping(min_delta=100.0, patience=1)
    fall = keras.callbacks.ReduceLROnPlateau(factor=0.5, min_delta=100.0, patience=1)
    logs = model.fit(
        data,
        validation_data=data,
        epochs=5,
        verbose=0,
        callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: 4e-4), fall, stop],
    ).history
    assert len(logs["val_loss"]) == 2 == stop.stopped_epoch + 1
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert float(ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(2e-4)
        assert int(ops.convert_to_numpy(optimizer.iterations)) == 4


def test_single_batches_and_predictions(pairs):
    model = uncompiled()
    model.compile("adam")
    logs = model.train_on_batch(*pairs, return_dict=True)
    assert {"l1_loss", "adversarial_loss", "discriminator_loss"} <= set(logs)
    assert len(model.train_on_batch(*pairs)) == len(logs)
    assert set(model.test_on_batch(*pairs, return_dict=True)) == {"loss", "psnr", "ssim"}
    restored = model.predict(pairs[0], verbose=0)
    np.testing.assert_allclose(
        restored, ops.convert_to_numpy(model.averaged_generator(pairs[0])), atol=1e-6
    )


@pytest.mark.slow
def test_several_steps_in_one_execution_traced(pairs):
    model = uncompiled(adversarial=False)
    model.compile("adam", steps_per_execution=2)
    model.fit(data_set(pairs), epochs=2, verbose=0)
    assert int(ops.convert_to_numpy(model.steps)) == 4


@pytest.mark.skipif(not ON_TENSORFLOW, reason="a SavedModel is TensorFlow's")
def test_what_is_exported_is_the_averaged_generator(pairs, tmp_path):
    import tensorflow as tf

    model = uncompiled()
    model.compile("adam")
    model.train_on_batch(*pairs)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(pairs[0])
    expected = model.averaged_generator(pairs[0], training=False)
    np.testing.assert_allclose(served, ops.convert_to_numpy(expected), atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not ON_TENSORFLOW, reason="tf.data is TensorFlow's")
def test_the_documented_program_runs_traced(tmp_path, monkeypatch):
    write_pairs(tmp_path / "my_pairs", size=64)
    monkeypatch.chdir(tmp_path)
    document = pathlib.Path(__file__).parents[2] / "docs" / "keras.md"
    program = re.search(r"```python\n(.*?)```", document.read_text("utf-8"), re.DOTALL)[1]
    program = program.replace("steps_per_epoch=100", "steps_per_epoch=2")
    exec(program, {})
    model = keras.saving.load_model(tmp_path / "restorer.keras", compile=False)
    assert model(np.zeros((1, 20, 30, 1), "float32")).shape == (1, 20, 30, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one optimizer.*optimizer='adam'"),
        ({"optimizer": "adam", "generator_optimizer": "sgd"}, "one optimizer"),
        ({"optimizer": "adam", "loss": "mse"}, "Received: loss.*content="),
        ({"optimizer": "adam", "metrics": ["mae"]}, "Received: metrics"),
        ({"generator_optimizer": "adam"}, "come together"),
        ({"optimizer": keras.optimizers.Adam(use_ema=True)}, "average_decay"),
    ],
)
def test_what_compile_cannot_do_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        uncompiled().compile(**arguments)


def test_batches_of_another_kind_are_refused(pairs):
    model = make()
    blurred, sharp = (np.repeat(side, 3, axis=-1) for side in pairs)
    for batch, message in (
        ((blurred, sharp), "1 channel.*rgb_to_luminance"),
        (((255 * side).astype("uint8") for side in pairs), "float tensor.*uint8"),
        ((pairs[0], pairs[1], np.ones(4)), "without sample weights"),
        ((pairs[0],), "one side"),
    ):
        with pytest.raises(ValueError, match=message):
            model.train_step(tuple(map(ops.convert_to_tensor, batch)))
