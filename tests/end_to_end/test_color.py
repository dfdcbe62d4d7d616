"""From a folder of colour photos to an old picture in colour, by the commands alone."""

import json

import keras
import numpy as np
import pytest
import stand_in_models
from PIL import Image
from tiny_training import defocus, save, texture, without_tracing

from keras_refocus import evaluate, export, networks, restore, train
from keras_refocus.deployment import saved_model
from keras_refocus.engines import contract
from keras_refocus.evaluation import models
from keras_refocus.networks import blocks, mobilenet_colorizer
from keras_refocus.pictures import color, color_bins
from keras_refocus.training import colorizer_job, run_folder

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModels are written by TensorFlow"
)

GENERATOR = {"weights": None, "alpha": 0.35, "widths": [4] * 5, "depths": [0] * 5}


SMALL = {"filters": 2, "residual_blocks": 1}
TUNING = "--temperature 0.2 --gain 0.9".split()


def bins_network(*, chroma_scale=4, temperature=0.5):
    """The head of `mobilenet_v2_colorizer` behind one convolution instead of a hundred."""
    picture = blocks.luminance_input()
    x, size = blocks.pad_to_multiple(picture, 32)
    # By this layer it is known at which part of the size chroma is predicted.
    finest = "lateral4" if chroma_scale == 2 else "lateral3"
    x = keras.layers.Conv2D(8, chroma_scale, chroma_scale, activation="relu", name=finest)(x)
    x = keras.layers.Conv2D(color_bins.COUNT, 1, name=color_bins.LOGITS)(x)
    x = mobilenet_colorizer._choose(x, temperature)
    for _ in range(chroma_scale // 2):
        x = blocks.enlarge_bilinear(x)
    return keras.Model(picture, blocks.crop_to_size(x, size), name="colorizer")


@pytest.fixture
def photos(tmp_path):
    for index in range(3):
        save(tmp_path / "photos" / f"{index}.png", texture(index, 40))
    return tmp_path / "photos"


def train_colorizer(run, photos, monkeypatch, *options):
    """`refocus train colorizer`: two steps."""
    monkeypatch.setattr(colorizer_job, "VALIDATION_SIZE", 32)
    monkeypatch.setattr(run_folder, "draw_curves", lambda path, rows: path.touch())
    # Two steps are done before TensorFlow would have traced one.
    with without_tracing():
        train.main(
            [
                *("colorizer", "--run", str(run), "--photos", str(photos), *options),
                *"--patch-size 32 --batch-size 2 --epochs 1 --steps-per-epoch 2".split(),
                *"--final-epochs 0 --adversarial-epochs 0 --warmup-steps 0 --workers 0".split(),
            ]
        )


def restore_old_picture(models, tmp_path):
    """Blurred and grey goes in; another luminance and colour come out."""
    stand_in_models.export_restorer(models / "restorer" / "1", gain=0.5)
    gray = np.repeat(defocus(texture(7, 72))[..., :1], 3, axis=-1)
    save(tmp_path / "old.png", gray)
    restore.main(
        [
            *(str(tmp_path / "old.png"), "--mode", "restore+colorize"),
            *("--models", str(models), "--out", str(tmp_path / "out")),
        ]
    )
    result = np.asarray(Image.open(tmp_path / "out" / "old.png"))
    luminance, expected = color.rgb_to_luminance(result), 0.5 * color.rgb_to_luminance(gray)
    # Where colour is out of reach, as near black, luminance gives way a little (`recompose`).
    np.testing.assert_allclose(luminance, expected, atol=0.03)
    return result


def export_tuned(run, photos, models, capsys):
    """`refocus export` at another temperature: its record, and that it scores as the run."""
    export.main([str(run), "--out", str(models), *TUNING])
    version = models / "colorizer" / "1"
    assert json.loads((version / contract.NETWORK_FILE).read_text()) == {
        "generator": "mobilenet_v2_colorizer",
        "generator_options": GENERATOR | {"temperature": 0.2},
    }

    # The run at that temperature and the SavedModel are one.
    capsys.readouterr()
    options = ["--photos", str(photos)]
    evaluate.main(["colorizer", str(run), *options, *TUNING])
    evaluate.main(["colorizer", str(models / "colorizer"), *options])
    first, second = (
        text[text.index("3 photos") :] for text in capsys.readouterr().out.split("model: ")[1:]
    )
    assert first == second
    with pytest.raises(SystemExit):
        evaluate.main(["colorizer", str(models / "colorizer"), *options, *TUNING])
    assert "as they were exported" in capsys.readouterr().err


def test_photos_to_an_old_picture_in_colour(photos, tmp_path, monkeypatch):
    train_colorizer(
        *(tmp_path / "run", photos, monkeypatch, "--generator", "resnet_colorizer"),
        *("--generator-options", json.dumps(SMALL), "--learning-rate", "0.2"),
        *("--color-losses", json.dumps({"color_aware": 1.0})),
    )
    export.main([str(tmp_path / "run"), "--out", str(tmp_path / "models")])
    result = restore_old_picture(tmp_path / "models", tmp_path)
    assert np.ptp(result.astype(int), axis=-1).mean() > 1.0


def test_a_run_with_another_temperature_and_its_export_are_one(photos, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    bins_network().save(run / run_folder.AVERAGED)
    config = {"generator": "mobilenet_v2_colorizer", "generator_options": GENERATOR}
    run_folder.write_json(run / run_folder.RECORD, {"config": config})
    export_tuned(run, photos, tmp_path / "models", capsys)


@pytest.mark.slow
def test_photos_to_an_old_picture_with_the_shipped_network(photos, tmp_path, monkeypatch, capsys):
    train_colorizer(
        *(tmp_path / "run", photos, monkeypatch, "--generator-options", json.dumps(GENERATOR)),
        *("--learning-rate", "1e-2"),
    )
    export_tuned(tmp_path / "run", photos, tmp_path / "models", capsys)
    result = restore_old_picture(tmp_path / "models", tmp_path)
    assert np.ptp(result.astype(int), axis=-1).mean() > 5.0


def test_colours_of_trained_networks_can_be_tuned():
    network = bins_network(temperature=0.5)
    luminance = np.random.default_rng(0).random((1, 32, 32, 1), "float32")
    other = bins_network(temperature=0.1)
    other.set_weights(network.get_weights())
    expected = np.asarray(other(luminance))
    assert not np.allclose(network(luminance), expected)
    networks.tune_colors(network, temperature=0.1)
    np.testing.assert_array_equal(network(luminance), expected)
    for _ in range(2):  # A gain replaces the one before.
        networks.tune_colors(network, gain=0.5)
        np.testing.assert_allclose(network(luminance), 0.5 * expected, atol=1e-6)
    for options in ({"temperature": 1.5}, {"gain": 0.0}, {"smoothing": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}="):
            networks.tune_colors(network, **options)
    plain = networks.build("resnet_colorizer", filters=2, residual_blocks=1)
    networks.tune_colors(plain)
    with pytest.raises(ValueError, match="head 'bins'.*resnet_colorizer"):
        networks.tune_colors(plain, gain=0.5)


@pytest.mark.parametrize("chroma_scale", [2, 4])
def test_evened_out_shares_keep_the_weights_and_the_tuning(chroma_scale, tmp_path):
    network = bins_network(chroma_scale=chroma_scale)
    luminance = np.random.default_rng(0).random((2, 37, 50, 1), "float32")
    plain = np.asarray(network(luminance))
    network.save(tmp_path / "network.keras")
    keras.backend.clear_session()  # as in another process
    network = keras.saving.load_model(tmp_path / "network.keras", compile=False)
    even = networks.tune_colors(network, gain=0.5, smoothing=3)
    assert even is not network
    assert np.asarray(even(luminance)).shape == plain.shape
    # The same weights in the same order, so that a training can begin with what was exported.
    again = bins_network(chroma_scale=chroma_scale)
    again.set_weights(even.get_weights())
    np.testing.assert_allclose(again(luminance), 0.5 * plain, atol=1e-6)
    assert networks.tune_colors(even, gain=1.0) is even


def test_several_views_are_the_mean_over_them(tmp_path):
    network = bins_network()
    luminance = np.random.default_rng(0).random((2, 128, 128, 1), "float32")
    logits = network.get_layer(color_bins.LOGITS).output
    shares = keras.Model(network.input, keras.ops.softmax(logits))
    small = np.asarray(keras.ops.image.resize(luminance, (96, 96)))
    views = [np.asarray(shares(luminance)), np.asarray(shares(luminance[:, :, ::-1]))[:, :, ::-1]]
    for view in (np.asarray(shares(small)), np.asarray(shares(small[:, :, ::-1]))[:, :, ::-1]):
        views.append(np.asarray(keras.ops.image.resize(view, (32, 32))))
    several = networks.tune_colors(network, several_views=True, temperature=1.0)
    mean = keras.Model(several.input, several.get_layer("views").output)(luminance)
    np.testing.assert_allclose(np.exp(mean), np.mean(views, axis=0), atol=1e-5)
    # At temperature 1 chroma is linear in the shares: at each fourth pixel's middle theirs.
    chroma = np.asarray(several(luminance))
    np.testing.assert_allclose(
        chroma.mean(axis=(1, 2)),
        (np.mean(views, axis=0) @ color_bins.centers()).mean(axis=(1, 2)),
        atol=2e-3,
    )
    np.testing.assert_allclose(
        np.asarray(several(luminance[:, :, ::-1]))[:, :, ::-1], chroma, atol=1e-4
    )


def test_several_views_of_any_size_keep_the_weights(tmp_path):
    network = bins_network()
    weights = network.get_weights()
    several = networks.tune_colors(network, several_views=True, smoothing=3)
    for found, weight in zip(several.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, weight)
    luminance = np.random.default_rng(0).random((1, 37, 150, 1), "float32")
    expected = np.asarray(several(luminance))
    assert expected.shape == (1, 37, 150, 2)
    version = saved_model.export_model(several, tmp_path / "colorizer")
    served, _ = models.load_colorizer(version)
    for asked in ({"smoothing": 0}, {"several_views": True}):
        with pytest.raises(ValueError, match="as they were exported.*" + next(iter(asked))):
            models.load_colorizer(version, **asked)
    np.testing.assert_allclose(served(luminance), expected.clip(-1, 1), atol=1e-5)
    several.save(tmp_path / "several.keras")
    keras.backend.clear_session()  # as in another process
    again = keras.saving.load_model(tmp_path / "several.keras", compile=False)
    np.testing.assert_allclose(again(luminance), expected, atol=1e-6)


def test_evened_out_shares_follow_the_edges_of_luminance():
    """Left and right have a luminance and a class of their own, and a spot of the other class."""
    guide = np.full((1, 24, 24, 1), 0.2, "float32")
    guide[:, :, 12:] = 0.8
    shares = np.zeros((1, 24, 24, 2), "float32")
    shares[:, :, :12, 0] = shares[:, :, 12:, 1] = 1.0
    shares[:, 10:12, 3:5] = (0.0, 1.0)
    shares[:, 10:12, 19:21] = (1.0, 0.0)
    even = np.asarray(mobilenet_colorizer._even_out(shares, guide, 3))
    np.testing.assert_allclose(even.sum(axis=-1), 1.0, atol=1e-4)
    assert (even[:, :, :12].argmax(axis=-1) == 0).all()
    assert (even[:, :, 12:].argmax(axis=-1) == 1).all()
    # Far from the spots: the edge is as steep as it was, up to the filter's epsilon
    # (variance 0.09 against 0.001).
    assert even[0, 20, 11, 0] > 0.95
    assert even[0, 20, 12, 1] > 0.95
