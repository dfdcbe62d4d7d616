import numpy as np
import pytest
from PIL import Image

from keras_refocus import evaluate
from keras_refocus.evaluation import grayscale
from keras_refocus.metrics import fidelity
from keras_refocus.pictures import color


@pytest.fixture
def photos(tmp_path):
    """A folder of two coloured photos, one grey one among them, and a file that is none."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    coarse = rng.integers(0, 256, (3, 6, 8, 3)).astype("uint8")
    coarse[2] = coarse[2, ..., :1]
    for index, name in enumerate(["a.png", "deeper/b.png", "toned.png"]):
        Image.fromarray(coarse[index]).resize((128, 96)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_rates_and_names_are_printed(photos, capsys):
    evaluate.main(["grayscale", str(photos), "--seed", "3"])
    printed = capsys.readouterr().out
    assert printed.startswith("3 photos, seed 3")
    # One grey picture of three counts as a coloured photo that was judged grey.
    assert "original  coloured    1 of 3: 33.33%" in printed
    assert "all grey: 0 of 21: 0.00%" in printed
    assert f"wrong as original: {photos / 'toned.png'}" in printed
    assert "a.png" not in printed and "b.png" not in printed


def test_the_seed_decides(photos, capsys):
    for _ in range(2):
        evaluate.main(["grayscale", str(photos), "--count", "2"])
    first, second = np.array_split(capsys.readouterr().out.splitlines(), 2)
    assert first.tolist() == second.tolist()


def test_versions_are_what_they_say():
    rgb = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype("uint8")
    versions = grayscale.versions(rgb, np.random.default_rng(2))
    assert {"original", *versions} == {*grayscale.COLORED, *grayscale.GRAY}
    for name, version in versions.items():
        on_paper = name in ("framed", "paper")
        assert version.dtype == np.uint8
        assert (version.shape == rgb.shape) != on_paper
    gray = versions["grey"]
    assert (gray == gray[..., :1]).all()
    # Every pixel of the sepia version lies on one curve: equal grey gives equal colour.
    level = gray[..., 0] == gray[0, 0, 0]
    assert (versions["sepia"][level] == versions["sepia"][0, 0]).all()
    share = (versions["object"] != gray).any(axis=-1).mean()
    assert 0.003 < share < 0.007
    assert fidelity.colorfulness(color.to_float(versions["tint"])[np.newaxis]) > 1.0


def test_bad_requests(tmp_path, capsys):
    for arguments, message in (
        ([str(tmp_path / "missing")], "must exist"),
        ([str(tmp_path)], "at least one picture"),
        ([str(tmp_path), "--count", "0"], "at least 1"),
    ):
        with pytest.raises(SystemExit):
            evaluate.main(["grayscale", *arguments])
        assert message in capsys.readouterr().err
