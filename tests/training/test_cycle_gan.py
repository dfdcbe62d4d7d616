import keras
import numpy as np
import pytest
from keras import ops
from tiny_training import without_tracing

from keras_refocus.metrics import fidelity
from keras_refocus.pictures import color, color_bins
from keras_refocus.training import losses
from keras_refocus.training.cycle_gan import CycleGAN, HistoryPool


def value(tensor):
    return ops.convert_to_numpy(tensor)


def colorizer(chroma=(0.0, 0.0), *, gain=0.0):
    """Answers `chroma + gain * luminance` for every pixel."""
    luminance = keras.Input((None, None, 1), dtype="float32")
    layer = keras.layers.Conv2D(2, 1)
    network = keras.Model(luminance, layer(luminance), name="to_color")
    layer.set_weights([np.full((1, 1, 1, 2), gain, "float32"), np.array(chroma, "float32")])
    return network


def classifier():
    """A colorizer with a distribution over colours at half the size."""
    luminance = keras.Input((None, None, 1), dtype="float32")
    x = keras.layers.Conv2D(4, 2, strides=2, activation="relu")(luminance)
    x = keras.layers.Conv2D(color_bins.COUNT, 1, name="color_logits")(x)
    x = keras.layers.Softmax()(x)
    colors = keras.layers.Conv2D(2, 1, use_bias=False, trainable=False)
    x = keras.layers.UpSampling2D(2)(colors(x))
    colors.set_weights([color_bins.centers()[None, None]])
    return keras.Model(luminance, x, name="to_color")


def decolorizer(weights=(1.0, 0.0, 0.0), bias=0.0):
    """Answers a weighted sum of luminance and chroma."""
    picture = keras.Input((None, None, 3), dtype="float32")
    layer = keras.layers.Conv2D(1, 1)
    network = keras.Model(picture, layer(picture), name="to_gray")
    kernel = np.array(weights, "float32").reshape(1, 1, 3, 1)
    layer.set_weights([kernel, np.array([bias], "float32")])
    return network


def discriminator(channels):
    """Scores every pixel by the sum of its channels."""
    picture = keras.Input((None, None, channels), dtype="float32")
    layer = keras.layers.Conv2D(1, 1)
    network = keras.Model(picture, layer(picture), name=f"discriminator{channels}")
    layer.set_weights([np.ones((1, 1, channels, 1), "float32"), np.zeros(1, "float32")])
    return network


def make(to_color=None, *, adversarial=True, to_gray=None, optimizer=None, **options):
    options = {"color_losses": {"chroma_l1": 1.0}, "patch_size": 8, "pool_size": 4} | options
    opponents = ()
    if adversarial:
        opponents = (to_gray or decolorizer(), discriminator(3), discriminator(1))
    model = CycleGAN(to_color or colorizer(), *opponents, **options)
    optimizer = optimizer or keras.optimizers.SGD
    model.compile(
        generator_optimizer=optimizer(1e-2),
        discriminator_optimizer=optimizer(1e-2) if adversarial else None,
    )
    return model


def flat(luminance, chroma, count=2):
    """Pictures of one colour: `(luminance, chroma)`."""
    chroma = np.broadcast_to(np.array(chroma, "float32"), (count, 8, 8, 2))
    return np.full((count, 8, 8, 1), luminance, "float32"), chroma


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return color.rgb_to_lab(rng.random((4, 8, 8, 3), dtype="float32"))


def weights(network):
    return [array.copy() for array in network.get_weights()]


def changed(before, network):
    return any((a != b).any() for a, b in zip(before, network.get_weights(), strict=True))


# The losses, by hand.


def step(model, *data):
    values = model.update_networks(tuple(ops.convert_to_tensor(side) for side in data))
    return {name: float(value(number)) for name, number in values.items()}


def test_colour_phase_minimises_the_weighted_colour_losses():
    model = make(
        colorizer((0.1, 0.1)),
        adversarial=False,
        color_losses={"chroma_l1": 2.0, "color_aware": {"weight": 0.5, "strength": 4.0}},
    )
    values = step(model, *flat(0.5, (0.4, 0.3)))
    # The mean of 0.3 and 0.2; a colour of length 0.5 weighs 1 + 4 * 0.5.
    assert values["chroma_l1_loss"] == pytest.approx(0.25)
    assert values["color_aware_loss"] == pytest.approx(0.75)
    assert values["loss"] == pytest.approx(2.0 * 0.25 + 0.5 * 0.75)
    assert set(values) == {"loss", "chroma_l1_loss", "color_aware_loss"}


def test_rarity_reaches_the_losses_that_can_be_rebalanced():
    values = step(
        make(
            colorizer((0.1, 0.1)),
            adversarial=False,
            color_losses={"chroma_l1": 1.0, "color_aware": {"weight": 1.0, "strength": 0.0}},
            rarity=np.full(color_bins.COUNT, 3.0),
        ),
        *flat(0.5, (0.4, 0.3)),
    )
    assert values["color_aware_loss"] == pytest.approx(3.0 * values["chroma_l1_loss"])


def test_cycle_loss_goes_there_and_back_both_ways():
    model = make(colorizer((0.1, 0.2)), to_gray=decolorizer((1.0, 1.0, 0.0), bias=0.05))
    values = step(model, *flat(0.5, (0.3, 0.4)))
    # Grey 0.5 -> (0.5, 0.1, 0.2) -> 0.5 + 0.1 + 0.05: off by 0.15.
    # Colour (0.5, 0.3, 0.4) -> 0.85 -> (0.85, 0.1, 0.2): off by 0.35, 0.2, 0.2, the mean 0.25.
    assert values["cycle_loss"] == pytest.approx(0.15 + 0.25, rel=1e-5)


def test_identity_loss_leaves_alone_what_is_in_its_domain():
    model = make(colorizer((0.1, 0.2)), to_gray=decolorizer((1.0, 1.0, 0.0), bias=0.05))
    values = step(model, *flat(0.5, (0.3, 0.4)))
    # The photo gets the chroma (0.1, 0.2): off by 0, 0.2, 0.2. The grey picture gets 0.55.
    assert values["identity_loss"] == pytest.approx(0.4 / 3 + 0.05, rel=1e-5)


def test_total_of_the_adversarial_phase_is_the_weighted_sum():
    options = {"adversarial_weight": 0.3, "cycle_weight": 7.0, "identity_weight": 0.5}
    model = make(colorizer((0.1, 0.2)), color_losses={"chroma_l1": 2.0}, **options)
    values = step(model, *flat(0.5, (0.3, 0.4)))
    expected = 2.0 * values["chroma_l1_loss"] + 0.3 * values["adversarial_loss"]
    expected += 7.0 * values["cycle_loss"] + 7.0 * 0.5 * values["identity_loss"]
    assert values["loss"] == pytest.approx(expected, rel=1e-5)


def test_discriminators_see_srgb_and_luminance():
    gray, chroma = flat(0.5, (0.2, -0.1))
    model = make(colorizer((0.1, 0.2)), identity_weight=0.0)
    values = step(model, gray, chroma)
    # Scores are sums of channels. Least squares with its halves; the grey side is the identity.
    true, made = (
        color.lab_to_rgb(gray[:1, :1, :1], np.array(chroma, "float32").reshape(1, 1, 1, 2)).sum()
        for chroma in ((0.2, -0.1), (0.1, 0.2))
    )
    fooled = 0.5 * (made - 1.0) ** 2 + 0.5 * (0.5 - 1.0) ** 2
    told = 0.5 * (true - 1.0) ** 2 + 0.5 * made**2 + 0.5 * (0.5 - 1.0) ** 2 + 0.5 * 0.5**2
    assert values["adversarial_loss"] == pytest.approx(fooled, rel=1e-4)
    assert values["discriminator_loss"] == pytest.approx(told, rel=1e-4)
    assert "identity_loss" not in values


def test_unpaired_pictures_are_coloured_apart():
    # The grey picture is brighter than the photo, and chroma follows luminance.
    gray = np.full((2, 8, 8, 1), 0.8, "float32")
    picture = np.concatenate(flat(0.4, (0.3, 0.3)), axis=-1)
    model = make(colorizer(gain=0.5), paired=False, color_losses={})
    rgb = []
    model.color_pool.exchange = lambda pictures, seed: rgb.append(value(pictures)) or pictures
    values = step(model, gray, picture)
    chroma = np.full((2, 8, 8, 2), 0.4, "float32")
    np.testing.assert_allclose(rgb[0], color.lab_to_rgb(gray, chroma), atol=1e-5)
    # There and back: exact for the grey picture; the photo's chroma 0.3 is answered with 0.2.
    assert values["cycle_loss"] == pytest.approx(0.2 / 3, rel=1e-4)
    assert values["identity_loss"] == pytest.approx(0.2 / 3, rel=1e-4)


def test_cross_entropy_compares_at_the_size_of_the_logits(data):
    network = classifier()
    model = make(network, adversarial=False, color_losses={"cross_entropy": 1.0})
    logits = keras.Model(network.input, network.get_layer("color_logits").output)(data[0])
    small = data[1].reshape(4, 4, 2, 4, 2, 2).mean(axis=(2, 4))
    expected = float(value(losses.color_cross_entropy(small, logits)))
    assert step(model, *data)["cross_entropy_loss"] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="distribution over colours"):
        make(adversarial=False, color_losses={"cross_entropy": 1.0})


# Who moves when.


@pytest.mark.parametrize("kind", ["lsgan", "ragan", "ralsgan"])
def test_each_player_moves_only_in_its_own_turn(kind, data):
    model = _game(kind)
    gray, picture = data[0], np.concatenate(data, axis=-1)
    gray, picture = (ops.convert_to_tensor(side) for side in (gray, picture))
    generators = (model.to_color, model.to_gray)
    discriminators = (model.color_discriminator, model.gray_discriminator)
    before = [weights(network) for network in (*generators, *discriminators)]
    _, made = model._update_generators(gray, picture)
    moved = [changed(old, network) for old, network in
             zip(before, (*generators, *discriminators), strict=True)]  # fmt: skip
    assert moved == [True, True, False, False]
    before = [weights(network) for network in (*generators, *discriminators)]
    model._update_discriminators(made[0], made[1], gray, made[2])
    moved = [changed(old, network) for old, network in
             zip(before, (*generators, *discriminators), strict=True)]  # fmt: skip
    assert moved == [False, False, True, True]


def _game(kind):
    model = CycleGAN(
        colorizer((0.1, 0.2)), decolorizer(bias=0.1), discriminator(3), discriminator(1),
        color_losses={"chroma_l1": 1.0}, adversarial=kind, patch_size=8, pool_size=4,
    )  # fmt: skip
    model.compile(
        generator_optimizer=keras.optimizers.SGD(1e-2),
        discriminator_optimizer=keras.optimizers.SGD(1e-2),
    )
    return model


def test_colour_phase_leaves_the_opponents_alone(data):
    model = make()
    model.adversarial_phase = False
    opponents = (model.to_gray, model.color_discriminator, model.gray_discriminator)
    before = [weights(network) for network in opponents]
    logs = model.fit(*data, batch_size=4, verbose=0).history
    assert not any(changed(*pair) for pair in zip(before, opponents, strict=True))
    assert set(logs) == {"loss", "chroma_l1_loss"}
    model.adversarial_phase = True
    logs = model.fit(*data, batch_size=4, verbose=0).history
    assert all(changed(*pair) for pair in zip(before, opponents, strict=True))
    assert {"adversarial_loss", "cycle_loss", "identity_loss", "discriminator_loss"} < set(logs)


def test_training_lowers_the_loss_of_one_batch(data):
    keras.utils.set_random_seed(0)
    model = make(classifier(), adversarial=False, optimizer=keras.optimizers.Adam,
                 color_losses={"cross_entropy": 1.0, "color_aware": 1.0})  # fmt: skip
    logs = model.fit(*data, batch_size=4, epochs=60, verbose=0, shuffle=False).history
    assert logs["loss"][-1] < 0.9 * logs["loss"][0]


# The pool.


def pool_of(size=3):
    return HistoryPool(size, (1, 1, 1)), keras.random.SeedGenerator(0)


def pictures(*numbers):
    return np.array(numbers, "float32").reshape(-1, 1, 1, 1)


def shown(pool, seed, *numbers):
    return value(pool.exchange(ops.convert_to_tensor(pictures(*numbers)), seed)).ravel().tolist()


def kept(pool):
    return value(pool.pictures.value).ravel().tolist()


def test_a_pool_that_fills_shows_what_is_new():
    pool, seed = pool_of(3)
    assert shown(pool, seed, 1, 2) == [1, 2]
    # The third place is filled; nothing is exchanged yet, and the second of these is not kept.
    assert shown(pool, seed, 3, 4) == [3, 4]
    assert kept(pool) == [1, 2, 3]
    assert int(value(pool.filled.value)) == 3


def test_a_full_pool_loses_nothing_and_exchanges_half():
    pool, seed = pool_of(4)
    shown(pool, seed, 0, 1, 2, 3)
    exchanged, number = 0, 4
    for _ in range(60):
        before, new = kept(pool), [number, number + 1, number + 2]
        seen = shown(pool, seed, *new)
        number += 3
        # What is shown and what is kept are together what there was and what came.
        assert sorted(seen + kept(pool)) == sorted(before + new)
        for old, now in zip(seen, new, strict=True):
            if old != now:
                assert old in before and now in kept(pool)
                exchanged += 1
    # 180 coins: six standard deviations are 40.
    assert 50 < exchanged < 130


def test_a_pool_without_places_shows_what_is_new():
    pool, seed = pool_of(0)
    assert shown(pool, seed, 5, 6) == [5, 6]


def test_discriminators_see_old_pictures(data):
    # Photos alternate between two colours; a discriminator that remembers sees both.
    model = make(colorizer(gain=1.0), pool_size=2, identity_weight=0.0)
    for luminance in (0.2, 0.8, 0.5, 0.5, 0.5):
        step(model, *flat(luminance, (0.1, 0.1), count=1))
    assert int(value(model.gray_pool.filled.value)) == 2
    remembered = value(model.gray_pool.pictures.value).reshape(2, -1)[:, 0]
    assert remembered.std() > 0


# Resuming, saving, measuring.


def test_a_saved_shell_goes_on_as_if_it_had_never_stopped(data, tmp_path):
    def begin():
        return make(
            classifier_with_seed(), optimizer=keras.optimizers.Adam, to_gray=decolorizer(bias=0.1),
            color_losses={"cross_entropy": 1.0}, rarity=np.linspace(0.5, 2.0, 313), pool_size=3,
        )  # fmt: skip

    def classifier_with_seed():
        keras.utils.set_random_seed(0)
        return classifier()

    with without_tracing():
        straight = begin()
        straight.fit(*data, batch_size=2, epochs=4, verbose=0, shuffle=False)
        first = begin()
        first.fit(*data, batch_size=2, epochs=2, verbose=0, shuffle=False)
        first.save(tmp_path / "shell.keras")
        first.save_weights(tmp_path / "state.weights.h5")
        loaded = keras.saving.load_model(tmp_path / "shell.keras")
        restored = begin()
        restored.load_weights(tmp_path / "state.weights.h5")
        for resumed in (loaded, restored):
            resumed.fit(*data, batch_size=2, epochs=2, verbose=0, shuffle=False)
            for name in (
                "to_color", "averaged_generator", "to_gray", "color_discriminator",
                "gray_discriminator", "color_pool", "gray_pool",
            ):  # fmt: skip
                for a, b in zip(
                    getattr(straight, name).get_weights(),
                    getattr(resumed, name).get_weights(),
                    strict=True,
                ):
                    np.testing.assert_array_equal(a, b, err_msg=name)


def test_the_average_is_what_is_measured():
    gray, chroma = flat(0.5, (0.4, 0.3))
    logs = make(colorizer((0.1, -0.1)), adversarial=False).evaluate(
        gray, chroma, verbose=0, return_dict=True
    )
    assert set(logs) == {"loss", "psnr", "chroma_error", "colorfulness"}
    # Differences of 0.3 and 0.4: their mean.
    assert logs["loss"] == pytest.approx(0.35, rel=1e-4)
    # The distance of (0.4, 0.3) and (0.1, -0.1) is 0.5, and chroma is a*, b* over 110.
    assert logs["chroma_error"] == pytest.approx(55.0, rel=1e-4)
    rgb, true = (
        color.lab_to_rgb(gray, np.broadcast_to(np.array(side, "float32"), (2, 8, 8, 2))).clip(0, 1)
        for side in ((0.1, -0.1), (0.4, 0.3))
    )
    assert logs["psnr"] == pytest.approx(-10 * np.log10(np.mean((rgb - true) ** 2)), abs=1e-2)
    assert logs["colorfulness"] == pytest.approx(fidelity.colorfulness(rgb)[0], abs=0.05)


# What is refused.


def test_opponents_come_together():
    with pytest.raises(ValueError, match="both discriminators"):
        CycleGAN(colorizer(), decolorizer(), color_losses={"chroma_l1": 1.0})
    with pytest.raises(ValueError, match="both discriminators"):
        make(adversarial=False).adversarial_phase = True
    model = CycleGAN(colorizer(), color_losses={"chroma_l1": 1.0})
    with pytest.raises(ValueError, match="come together"):
        model.compile(
            generator_optimizer=keras.optimizers.SGD(),
            discriminator_optimizer=keras.optimizers.SGD(),
        )


def test_there_is_something_to_minimise():
    with pytest.raises(ValueError, match="something to minimise"):
        make(adversarial=False, color_losses={})
    with pytest.raises(ValueError, match="only the adversarial phase"):
        make(color_losses={}).adversarial_phase = False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_losses": {"color_award": 1.0}}, "color_aware"),
        ({"color_losses": {"color_aware": {"strength": 2.0}}}, "must have a weight"),
        ({"pool_size": -1}, "size=-1"),
    ],
)
def test_options_without_meaning(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_games_with_a_penalty_are_refused():
    with pytest.raises(ValueError, match="without gradient penalty"):
        _game("wgan_gp")
