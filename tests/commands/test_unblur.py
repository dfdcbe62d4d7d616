"""The unblur command: from a photo to a clip, here and over gRPC."""

import numpy as np
import pytest
import tiny_pictures as tiny
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus import unblur
from keras_refocus.restoration.pipeline import Restorer
from keras_refocus.video import unblur as clips


@pytest.fixture
def photo(tmp_path):
    return str(tiny.save(tmp_path / "photo.png", tiny.blurred(tiny.scene(3))))


@pytest.fixture
def engine(monkeypatch):
    engine = ArithmeticEngine()
    monkeypatch.setattr(unblur, "_restorer", lambda arguments: Restorer(engine))
    return engine


def test_a_clip_of_a_photo(photo, engine, tmp_path, capsys):
    out = tmp_path / "clip.gif"
    assert unblur.main([photo, "--out", str(out), "--frames", "5", "--reverse"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(out)]
    assert "5 frames of 80x60" in said.err and "direction guessed, reversed" in said.err
    with Image.open(out) as picture:
        assert picture.n_frames <= 5 and picture.size == (80, 60)


def test_nothing_is_replaced_unasked(photo, engine, tmp_path, capsys):
    out = tmp_path / "clip.webp"
    out.write_bytes(b"mine")
    with pytest.raises(SystemExit):
        unblur.main([photo, "--out", str(out)])
    assert "--overwrite" in capsys.readouterr().err and out.read_bytes() == b"mine"
    assert unblur.main([photo, "--out", str(out), "--overwrite"]) == 0
    assert out.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "1000"], "2 to 120"),
        (["--fps", "0"], "above 0"),
        (["--strength", "2"], "strength must be 0 to 1"),
        (["--motion", "other"], "model='other'"),
    ],
)
def test_mistakes_are_sentences(photo, engine, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as status:
        unblur.main([photo, "--out", str(tmp_path / "clip.gif"), *arguments])
    assert status.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "clip.gif").exists()


def test_a_photo_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        unblur.main(["nothing.jpg", "--out", str(tmp_path / "clip.gif")])
    assert "nothing.jpg" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_from_a_server(tmp_path):
    """A network exported, and asked in this process and over gRPC."""
    pytest.importorskip("tensorflow_serving")
    import keras
    from tiny_networks import TINY

    from keras_refocus import LocalEngine, ServingEngine, networks
    from keras_refocus.deployment import saved_model
    from keras_refocus.local_server.configuration import model_config_for
    from keras_refocus.local_server.services import LocalServer

    keras.utils.set_random_seed(0)
    network = networks.build("motion_unet", **TINY["motion_unet"])
    for weight in network.trainable_variables:
        weight.assign(weight + 0.01)
    models = tmp_path / "models"
    saved_model.export_model(network, models / "motion")
    restorer = networks.build("unet", widths=(8, 8), depths=(1, 1), decoder_depths=(1,))
    saved_model.export_model(restorer, models / "restorer")
    photo = tiny.blurred(tiny.scene(3))
    with Restorer(LocalEngine(models)) as here:
        ours = clips.unblur(photo, here)
    assert ours.method == "motion 1"
    with LocalServer(model_config_for(models), port=0, poll_seconds=0) as server:
        with Restorer(ServingEngine(f"grpc://127.0.0.1:{server.port}")) as there:
            theirs = clips.unblur(photo, there)
    assert theirs.method == "motion 1"
    np.testing.assert_allclose(ours.frames.astype(int), theirs.frames, atol=1)
    card = (models / "motion" / "README.md").read_text()
    assert "`seen` | float32 [N,H,W,5]" in card
