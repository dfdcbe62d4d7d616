"""The table of networks: counting by hand, and the command."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_refocus.benchmarks import networks as benchmark_networks
from keras_refocus.networks import build
from keras_refocus.networks import costs as summary

L = keras.layers


def _count(layer, *, channels, height=8, width=6):
    picture = keras.Input((None, None, channels))
    return summary.count_macs(keras.Model(picture, layer(picture)), height, width)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        # 48 positions, 5 filters over 3x3x4 values.
        (L.Conv2D(5, 3, padding="same"), 48 * 5 * 36),
        # 6 x 4 positions without padding.
        (L.Conv2D(5, 3), 24 * 5 * 36),
        # 4 x 3 positions.
        (L.Conv2D(5, 2, strides=2, use_bias=False), 12 * 5 * 16),
        # Two groups: each filter sees half of the channels.
        (L.Conv2D(6, 3, groups=2, padding="same"), 48 * 6 * 18),
        (L.DepthwiseConv2D(3, padding="same"), 48 * 4 * 9),
        (L.SeparableConv2D(5, 3, padding="same"), 48 * 4 * 9 + 48 * 4 * 5),
        (L.Conv2DTranspose(5, 2, strides=2), 48 * 4 * 5 * 4),
        (L.SpectralNormalization(L.Conv2D(5, 3, padding="same")), 48 * 5 * 36),
        (L.Dense(5), 48 * 4 * 5),
        (L.LayerNormalization(), 0),
        (L.ReLU(), 0),
        # 3 x 2 positions; the kernel is no layer's.
        (lambda x: ops.conv(x, np.zeros((3, 3, 4, 5), "float32"), 2, "valid"), 6 * 5 * 36),
    ],
)
def test_operations_by_hand(layer, expected):
    assert _count(layer, channels=4) == expected


def test_operations_of_a_layer_called_twice_and_of_inner_models():
    inner_input = keras.Input((None, None, 2))
    inner = keras.Model(inner_input, L.Conv2D(2, 1)(inner_input))
    shared = L.Conv2D(2, 1)
    picture = keras.Input((None, None, 2))
    model = keras.Model(picture, inner(shared(shared(inner(picture)))))
    # Four times 20 positions, 2 filters over 2 values.
    assert summary.count_macs(model, 5, 4) == 4 * 20 * 4


def test_operations_of_a_layer_that_is_not_known():
    with pytest.raises(TypeError, match="Normalization"):
        _count(L.Normalization(), channels=4)


def test_operations_of_windows_in_a_row_and_of_each_frequency_its_own():
    picture = keras.Input((None, None, 1))
    # 12 windows of 2x2 pixels; 5 filters of 1x1, then 3 values of 5 at each place.
    windows = ops.reshape(picture, (-1, 2, 2, 1))
    x = L.Conv2D(5, 1)(windows)
    x = L.EinsumDense("mrcl,rclf->mrcf", output_shape=(2, 2, 3))(x)
    model = keras.Model(picture, x)
    assert summary.count_macs(model, 8, 6) == 12 * 4 * 5 + 12 * 4 * 5 * 3


def test_operations_of_the_unet_by_hand():
    network = build("unet", widths=(8, 12), depths=(1, 1), decoder_depths=(1,), stem_factor=2)
    # 16 x 12 pixels: 48 positions at half size, 12 at quarter size.
    stem, last = 48 * 9 * 4 * 8, 48 * 9 * 8 * 4
    fine = 2 * 2 * 48 * 9 * 8 * 8  # One block on either side, two convolutions each.
    coarse = 2 * 12 * 9 * 12 * 12
    down, up = 12 * 4 * 8 * 12, 12 * 12 * 32
    assert summary.count_macs(network, 16, 12) == stem + last + fine + coarse + down + up


def test_counting_leaves_the_network_as_it_was():
    network = build("multipatch", widths=(4, 6))
    before = network.to_json(), [np.array(value) for value in network.get_weights()]
    summary.count_macs(network, 16, 16)
    assert network.to_json() == before[0]
    for old, new in zip(before[1], network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_parameters_and_bytes():
    picture = keras.Input((None, None, 3))
    model = keras.Model(picture, L.Conv2D(64, 3)(picture))
    assert summary.count_parameters(model) == 64 * 27 + 64
    assert 4 * (64 * 27 + 64) < summary.bytes_on_disk(model) < 40_000


_TINY = json.dumps({"unet": {"widths": [4, 4], "depths": [1, 1], "decoder_depths": [1]}})


def test_command_prints_a_table(capsys):
    benchmark_networks.main(["unet", "--size", "32x24", "--runs", "1", "--options", _TINY])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    titles, numbers = rows[0], rows[2]
    assert numbers[0] == "unet" and titles[3] == "GMAC 32x24" and titles[5] == "seconds 32x24"
    assert titles[6] == "processor seconds 32x24"
    assert float(numbers[5]) >= 0.0 and float(numbers[6]) >= 0.0
    assert "TensorFlow" in lines[0]


def test_command_prints_json_without_timing(capsys):
    benchmark_networks.main(["unet", "--runs", "0", "--json", "--options", _TINY])
    (row,) = json.loads(capsys.readouterr().out)["networks"]
    network = build("unet", **json.loads(_TINY)["unet"])
    assert row["seconds"] is None and row["processor_seconds"] is None
    assert row["parameters"] == network.count_params()
    assert row["gmacs"] == pytest.approx(summary.count_macs(network, 720, 1280) / 1e9)


def test_precision_is_that_of_the_layers_and_of_them_alone(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        benchmark_networks.machine,
        "median_times",
        lambda run, runs: seen.append(run().dtype) or (1.0, 1.0),
    )
    built = []
    monkeypatch.setattr(
        "keras_refocus.networks.build",
        lambda *given, **options: built.append(build(*given, **options)) or built[-1],
    )
    arguments = [
        "unet",
        "--runs",
        "1",
        "--size",
        "32x32",
        "--precision",
        "mixed_bfloat16",
        "--options",
        _TINY,
    ]
    benchmark_networks.main(arguments)
    assert capsys.readouterr().out.splitlines()[0].endswith("; mixed_bfloat16")
    policies = {layer.compute_dtype for layer in built[0].layers if layer.weights}
    assert "bfloat16" in policies
    assert {variable.dtype for variable in built[0].trainable_variables} == {"float32"}
    assert seen == [np.float32]
    assert keras.config.dtype_policy().name == "float32"


def test_table_shows_what_the_papers_report():
    row = {
        "name": "nafnet", "parameters": 17_093_985, "gmacs_256": 16.0, "gmacs": 225.0,
        "megabytes": 68.9, "seconds": None, "processor_seconds": None,
        "published": benchmark_networks.PUBLISHED["nafnet"],
    }  # fmt: skip
    text = benchmark_networks.table([row], size=(1280, 720))
    assert "| 17.09 | 16.00 | 225.0 | 68.9 |  |  | 32.87 | 16 at 256x256 |" in text
    assert "Chen 2022" in text


@pytest.mark.parametrize(
    "arguments",
    [["unett"], ["--size", "big"], ["--options", "[]"], ["--options", '{"unett": {}}']],
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit):
        benchmark_networks.main(arguments)
    assert "refocus benchmark networks: error" in capsys.readouterr().err
