"""The `refocus` graph gives what the pipeline gives, and runs where TensorFlow Serving runs."""

import io
import itertools
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from stand_in_models import export_colorizer, export_painter, export_restorer, export_sharpener
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_refocus.deployment import whole_pipeline as servable
from keras_refocus.local_server.configuration import model_config_for
from keras_refocus.local_server.services import LocalServer
from keras_refocus.pictures import color, grayscale
from keras_refocus.restoration import means
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer

TILE, OVERLAP = 64, 16


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with both stages and the servable made of them, with small tiles."""
    folder = tmp_path_factory.mktemp("models")
    restorer = export_sharpener(folder / "restorer" / "1")
    colorizer = export_painter(folder / "colorizer" / "1")
    servable.export_refocus(
        *(restorer, colorizer, folder / "refocus" / "1"),
        tile=TILE,
        overlap=OVERLAP,
        max_pixels=200_000,
    )
    return folder


@pytest.fixture(scope="module")
def signatures(models):
    return tf.saved_model.load(str(models / "refocus" / "1")).signatures


@pytest.fixture(scope="module")
def restorer(models):
    return Restorer(models)


def picture(height, width, *, grey=False, seed=0):
    """A seeded picture with smooth parts, edges and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 40
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-3, 3, (3, 3))]
    rgb = 0.5 + 0.3 * np.stack(waves, -1) + 0.2 * (np.stack([x > y] * 3, -1) - 0.5)
    rgb = np.clip(rgb + rng.normal(0, 0.02, rgb.shape), 0, 1)
    rgb = np.round(255 * rgb).astype(np.uint8)
    return np.repeat(rgb[..., :1], 3, axis=-1) if grey else rgb


def as_file(rgb, **options):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, **options)
    return file.getvalue()


def run_image(signatures, rgb, strength=1.0):
    outputs = signatures["image"](
        image=tf.constant(rgb[np.newaxis]), strength=tf.constant([strength])
    )
    return outputs["image"][0].numpy(), bool(outputs["is_grayscale"][0])


def run_file(signatures, *files):
    outputs = signatures["serving_default"](image_bytes=tf.constant(list(files), tf.string))
    pictures = [np.asarray(Image.open(io.BytesIO(data))) for data in outputs["image_bytes"].numpy()]
    return pictures, outputs["is_grayscale"].numpy().tolist()


def from_pipeline(restorer, rgb, strength=1.0):
    return restorer.restore(
        rgb,
        RestoreOptions(mode="restore+colorize", strength=strength, tile=TILE, overlap=OVERLAP),
    )


def difference(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype
    return np.abs(a.astype(int) - b).max()


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 70), (64, 64), (65, 64), (100, 30), (111, 203), (300, 256), (257, 400)],
    ids=str,
)
def test_equals_the_pipeline(signatures, restorer, size, grey):
    """One tile, several, the last reaching over the edge; smaller and larger than 256."""
    rgb = picture(*size, grey=grey)
    expected = from_pipeline(restorer, rgb)
    image, is_grayscale = run_image(signatures, rgb)
    assert is_grayscale == expected.is_grayscale
    assert difference(image, expected.image) <= 1
    if size != (1, 1):
        assert is_grayscale == grey
        assert difference(image, rgb) > 5  # something was done at all


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_strength(signatures, restorer, strength, grey):
    rgb = picture(90, 120, grey=grey)
    expected = from_pipeline(restorer, rgb, strength).image
    image, _ = run_image(signatures, rgb, strength)
    assert difference(image, expected) <= 1
    if strength == 0 and not grey:
        assert np.array_equal(image, rgb)


def test_a_picture_of_several_bands(models, signatures, restorer, monkeypatch):
    """Colours are computed a band of rows at a time; the bands join without a seam."""
    monkeypatch.setattr(servable, "_BAND", 1000)
    graph = servable.RefocusGraph(
        tf.saved_model.load(str(models / "restorer" / "1")),
        tf.saved_model.load(str(models / "colorizer" / "1")),
        tile=TILE,
        overlap=OVERLAP,
        max_pixels=10**6,
    )
    for grey in (False, True):
        rgb = picture(130, 90, grey=grey)
        images = graph.restore_images(tf.constant(rgb[np.newaxis]), tf.constant([1.0]))["image"]
        image, expected = images[0].numpy(), run_image(signatures, rgb)[0]
        # Sums in another order may round a pixel here and there to the next value.
        assert difference(image, expected) <= 1
        assert np.mean(image != expected) < 1e-3


@pytest.fixture(scope="module")
def keep_means():
    """One graph for every size, of bands as low as they can be."""
    plane = tf.TensorSpec((None, None, 1), tf.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(servable, "_BAND", 1)
        function = tf.function(servable._keep_means, input_signature=[plane, plane])
        return function.get_concrete_function()


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 70), (12, 90), (90, 120), (700, 40), (150, 190)], ids=str
)
def test_patterns_keep_their_means_as_in_the_pipeline(keep_means, size):
    rng = np.random.default_rng(0)
    plane = (np.indices(size).sum(0) % 2).astype(np.float32)
    plane[: size[0] // 2] = 0.3 + 0.1 * rng.random(size[1])
    plane[:, size[1] // 2 :] = 0.5 + 0.05 * rng.standard_normal((size[0], size[1] - size[1] // 2))
    restored = np.clip(0.6 * plane + 0.1 * rng.random(size, np.float32), 0, 1)[..., np.newaxis]
    expected = restored.copy()
    means.keep(expected, plane[..., np.newaxis].__getitem__)
    got = keep_means(tf.constant(restored), tf.constant(plane[..., np.newaxis]))
    np.testing.assert_allclose(got, expected, atol=2e-5)
    if min(size) > 1:
        assert np.abs(expected - restored).max() > 0.1  # something was done at all


@pytest.fixture(scope="module")
def gate():
    return tf.function(
        servable._is_grayscale,
        input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
        autograph=False,
    )


def toned(rgb, factors):
    return np.clip(rgb.mean(-1, keepdims=True) * factors, 0, 255).astype(np.uint8)


def spotted(rgb, side):
    rgb = np.repeat(rgb[..., :1], 3, axis=-1)
    rgb[10 : 10 + side, 20 : 20 + side] = (200, 30, 30)
    return rgb


def stamped(rgb):
    rgb = np.repeat(rgb[..., :1], 3, axis=-1)
    rgb[-rgb.shape[0] // 20 :, ::9][:, -4:] = (255, 140, 30)
    return rgb


def inked(rgb):
    rgb = rgb.copy()
    rgb[2 : 2 + len(rgb) // 20, 2 : 2 + rgb.shape[1] // 20] = (60, 70, 170)
    return rgb


def stained(rgb):
    share = np.linspace(0.6, 1.0, rgb.shape[1])
    return np.dstack([rgb[..., 0], rgb[..., 0], rgb[..., 0] * share]).astype(np.uint8)


CHANGES = [
    lambda rgb: rgb,
    lambda rgb: np.repeat(rgb[..., :1], 3, axis=-1),
    lambda rgb: toned(rgb, (1.1, 0.95, 0.75)),
    lambda rgb: toned(rgb, (1.3, 0.8, 0.2)),
    lambda rgb: toned(rgb, (0.7, 0.9, 1.2)),
    lambda rgb: spotted(rgb, 30),
    lambda rgb: spotted(rgb, 5),
    lambda rgb: stamped(rgb),
    lambda rgb: stained(rgb),
    lambda rgb: inked(toned(rgb, (1.0, 0.86, 0.66))),
    lambda rgb: inked(rgb),
    lambda rgb: np.asarray(
        Image.open(io.BytesIO(as_file(spotted(rgb, 0), format="JPEG", quality=60)))
    ),
    lambda rgb: np.zeros_like(rgb),
    lambda rgb: (rgb // 16).astype(np.uint8),
]
# Of large pictures, which take their time, a few.
GATED = [
    *itertools.product(CHANGES, [(48, 64), (200, 300), (37, 500)]),
    *((change, (1300, 1100)) for change in CHANGES[::3]),
]


@pytest.mark.parametrize(
    ("change", "size"), GATED, ids=lambda given: str(given) if isinstance(given, tuple) else None
)
def test_the_gate_is_that_of_grayscale(gate, change, size):
    """On grey, toned, spotted, compressed and dark pictures, with cells of several sizes."""
    rgb = change(picture(*size))
    assert bool(gate(tf.constant(rgb))) == grayscale.is_grayscale(rgb)


def test_the_gate_measures_what_grayscale_measures():
    """Not only the verdict: the cells and the unexplained chroma are the same numbers."""
    for size in [(40, 60), (333, 500)]:
        rgb = picture(*size, seed=3)
        luma, chroma, shares = grayscale.cells(rgb)
        graph = servable._gray_cells(tf.constant(rgb))
        for expected, actual in zip((luma, chroma, shares), graph, strict=True):
            assert np.abs(actual - expected).max() < 1e-2
        expected = grayscale.tint_residual(chroma, shares)
        assert np.abs(servable._tint_residual(*graph[1:]) - expected).max() < 1e-2


def test_saturated_colours_are_those_of_recompose():
    """The whole cube, its luminance moved a little, in the graph's own way through the gamut."""
    values = np.linspace(0.0, 1.0, 12, dtype="float32")
    cube = np.stack(np.meshgrid(values, values, values), -1).reshape(48, 36, 3)
    luminance, chroma = color.rgb_to_lab(cube)
    plane = tf.TensorSpec((None, None, 1), tf.float32), tf.TensorSpec((None, None, 2), tf.float32)
    inside_gamut = tf.function(servable._inside_gamut, input_signature=plane, autograph=False)
    for shift in (-0.05, -0.01, 0.001, 0.01, 0.05):
        moved = np.clip(luminance + np.float32(shift), 0.0, 1.0)
        actual = np.clip(inside_gamut(moved, chroma), 0.0, 1.0)
        assert np.abs(actual - color.recompose(moved, chroma)).max() < 2e-4


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_files(signatures, restorer, format, grey):
    rgb = picture(80, 110, grey=grey)
    data = as_file(rgb, format=format, **({"quality": 95} if format == "JPEG" else {}))
    (image,), (is_grayscale,) = run_file(signatures, data)
    expected = from_pipeline(restorer, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert is_grayscale == expected.is_grayscale == grey
    assert difference(image, expected.image) <= 1


def test_several_files_of_different_sizes(signatures):
    first, second = picture(30, 40), picture(50, 20, grey=True)
    images, is_grayscale = run_file(
        signatures, as_file(first, format="PNG"), as_file(second, format="PNG")
    )
    assert [image.shape for image in images] == [first.shape, second.shape]
    assert is_grayscale == [False, True]
    assert run_file(signatures)[1] == []


def test_files_of_other_kinds_of_pixels(signatures):
    """One channel, palette, alpha and 16 bits are read as 8-bit RGB."""
    rgb = picture(40, 40)
    grey = rgb[..., 0]
    expected, _ = run_file(
        signatures, as_file(np.repeat(grey[..., np.newaxis], 3, -1), format="PNG")
    )
    deep = (grey.astype(np.uint16) << 8) + 128
    opaque = np.dstack([np.repeat(grey[..., np.newaxis], 3, -1), np.full_like(grey, 255)])
    for pixels in (grey, deep, opaque):
        (image,), (is_grayscale,) = run_file(signatures, as_file(pixels, format="PNG"))
        assert is_grayscale
        assert difference(image, expected[0]) <= 1


def test_several_images_and_none(signatures):
    pair = np.stack([picture(30, 40), picture(30, 40, grey=True)])
    outputs = signatures["image"](image=tf.constant(pair), strength=tf.constant([1.0, 0.0]))
    assert outputs["is_grayscale"].numpy().tolist() == [False, True]
    for index, strength in enumerate((1.0, 0.0)):
        assert np.array_equal(
            outputs["image"][index], run_image(signatures, pair[index], strength)[0]
        )
    outputs = signatures["image"](image=tf.constant(pair[:0]), strength=tf.zeros((0,)))
    assert outputs["image"].shape == (0, 30, 40, 3)


PNG = as_file(picture(40, 40), format="PNG")
JPEG = as_file(picture(40, 40), format="JPEG")


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"GIF89a" + bytes(20), PNG[:8], PNG[:30], PNG[:500], JPEG[:2], JPEG[:100]],
    ids=lambda data: f"{len(data)} bytes",
)
def test_what_is_no_picture_is_refused(signatures, data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["serving_default"](image_bytes=tf.constant([data]))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_large_picture_is_refused_before_it_is_decoded(signatures, format):
    """200,000 pixels is the limit of this export; a file of few bytes may ask for many."""
    data = as_file(np.zeros((500, 401, 3), np.uint8), format=format)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 200000 pixels"):
        signatures["serving_default"](image_bytes=tf.constant([data]))


@pytest.mark.parametrize(
    "image, strength",
    [
        (np.zeros((2, 4, 4, 3), np.uint8), [1.0]),
        (np.zeros((1, 4, 4, 3), np.uint8), [1.5]),
        (np.zeros((1, 4, 4, 3), np.uint8), [-0.5]),
        (np.zeros((1, 4, 4, 3), np.uint8), [np.nan]),
        (np.zeros((1, 0, 4, 3), np.uint8), [1.0]),
    ],
)
def test_wrong_requests_are_refused(signatures, image, strength):
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["image"](image=tf.constant(image), strength=tf.constant(strength, tf.float32))


def test_the_contract(models):
    saved_model = saved_model_pb2.SavedModel.FromString(
        (models / "refocus" / "1" / "saved_model.pb").read_bytes()
    )
    definitions = saved_model.meta_graphs[0].signature_def

    def describe(tensors):
        return {
            name: (
                tf.dtypes.as_dtype(info.dtype).name,
                [dimension.size for dimension in info.tensor_shape.dim],
            )
            for name, info in tensors.items()
        }

    assert describe(definitions["serving_default"].inputs) == {"image_bytes": ("string", [-1])}
    assert describe(definitions["serving_default"].outputs) == {
        "image_bytes": ("string", [-1]),
        "is_grayscale": ("bool", [-1]),
    }
    assert describe(definitions["image"].inputs) == {
        "image": ("uint8", [-1, -1, -1, 3]),
        "strength": ("float32", [-1]),
    }
    assert describe(definitions["image"].outputs) == {
        "image": ("uint8", [-1, -1, -1, 3]),
        "is_grayscale": ("bool", [-1]),
    }


def test_the_server_warms_up_and_serves_both_signatures(models, signatures):
    rgb = picture(40, 50, grey=True)
    with LocalServer(model_config_for(models), port=0, poll_seconds=0) as server:
        assert server.manager.ready  # the warm-up requests of both signatures ran
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "refocus"
            data = as_file(rgb, format="PNG")
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([data]))
            outputs = stub.Predict(request, timeout=60).outputs
            (answer,) = tf.make_ndarray(outputs["image_bytes"])
            assert tf.make_ndarray(outputs["is_grayscale"]).tolist() == [True]
            expected = run_image(signatures, rgb)[0]
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer))), expected)

            request.model_spec.signature_name = "image"
            request.inputs.clear()
            request.inputs["image"].CopyFrom(tf.make_tensor_proto(rgb[np.newaxis]))
            request.inputs["strength"].CopyFrom(tf.make_tensor_proto([1.0], tf.float32))
            outputs = stub.Predict(request, timeout=60).outputs
            assert np.array_equal(tf.make_ndarray(outputs["image"])[0], expected)

            request.inputs["strength"].CopyFrom(tf.make_tensor_proto([2.0], tf.float32))
            with pytest.raises(grpc.RpcError, match="strength is 0 to 1") as caught:
                stub.Predict(request, timeout=60)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.slow
def test_saved_model_cli_runs_it(models, signatures, tmp_path):
    rgb = picture(40, 50)
    np.save(tmp_path / "image.npy", rgb[np.newaxis])
    np.save(tmp_path / "strength.npy", np.float32([1.0]))
    tool = Path(sys.executable).with_name("saved_model_cli")
    subprocess.run(
        [str(tool), "run", "--dir", str(models / "refocus" / "1"), "--tag_set", "serve"]
        + ["--signature_def", "image", "--outdir", str(tmp_path / "out")]
        + ["--inputs", f"image={tmp_path}/image.npy;strength={tmp_path}/strength.npy"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    image = np.load(tmp_path / "out" / "image.npy")[0]
    assert np.array_equal(image, run_image(signatures, rgb)[0])


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path):
    """A picture of 24 megapixels takes under 1.5 GiB, TensorFlow itself included."""
    export_sharpener(tmp_path / "restorer" / "1")
    export_painter(tmp_path / "colorizer" / "1")
    out = servable.export_refocus(
        tmp_path / "restorer" / "1", tmp_path / "colorizer" / "1", tmp_path / "refocus" / "1"
    )
    program = (
        "import sys, threading, psutil, numpy as np, tensorflow as tf\n"
        "process, peak = psutil.Process(), [0]\n"
        "def watch():\n"
        "    while not over.wait(0.02): peak[0] = max(peak[0], process.memory_info().rss)\n"
        "over = threading.Event()\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
        "y, x = np.mgrid[:4000, :6000]\n"
        "grey = ((x // 8 + y // 8) % 256).astype(np.uint8)\n"
        "image = tf.constant(np.repeat(grey[None, ..., None], 3, axis=-1))\n"
        "del x, y, grey\n"
        "run = tf.saved_model.load(sys.argv[1]).signatures['image']\n"
        "peak[0] = 0\n"
        "outputs = run(image=image, strength=tf.constant([1.0]))\n"
        "over.set()\n"
        "print(peak[0], bool(outputs['is_grayscale'][0]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(out)],
        check=True,
        capture_output=True,
        text=True,
        timeout=170,
    )
    peak, is_grayscale = result.stdout.split()
    assert is_grayscale == "True"
    assert int(peak) < 1.5 * 2**30


def test_versions_are_never_replaced_and_nothing_is_left_behind(models):
    stages = (models / "restorer" / "1", models / "colorizer" / "1")
    with pytest.raises(FileExistsError, match="never replaced"):
        servable.export_refocus(*stages, models / "refocus" / "1")
    assert [path.name for path in (models / "refocus").iterdir()] == ["1"]


def test_wrong_stages_are_refused(models, tmp_path):
    stages = (models / "restorer" / "1", models / "colorizer" / "1")
    with pytest.raises(FileNotFoundError, match="no saved_model.pb"):
        servable.export_refocus(models / "restorer", stages[1], tmp_path / "1")
    with pytest.raises(ValueError, match="must take 'luminance' and give 'restored'"):
        servable.export_refocus(stages[1], stages[0], tmp_path / "1")
    with pytest.raises(ValueError, match="smaller than the tile"):
        servable.export_refocus(*stages, tmp_path / "1", tile=64, overlap=64)
    assert not list(tmp_path.iterdir())


# What runs on TensorFlow Serving 2.19.


def saved(folder, function):
    module = tf.Module()
    tf.saved_model.save(
        module,
        str(folder),
        signatures=tf.function(
            function, input_signature=[tf.TensorSpec((None,), tf.float32, name="x")]
        ),
    )
    return folder


@pytest.mark.parametrize("export", [export_restorer, export_colorizer])
def test_plain_models_are_portable(tmp_path, export):
    servable.check_portable(export(tmp_path / "1"))


def test_python_in_the_graph_is_refused(tmp_path):
    folder = saved(
        tmp_path / "1",
        lambda x: {"y": tf.numpy_function(lambda value: value, [x], tf.float32)},
    )
    with pytest.raises(ValueError, match="call Python. Received: PyFunc"):
        servable.check_portable(folder)


def test_newer_operations_are_refused(tmp_path):
    def function(x):
        contents = tf.io.serialize_tensor(x)
        return {"y": tf.raw_ops.DecodeWebP(contents=contents, channels=3)}

    with pytest.raises(ValueError, match="TensorFlow 2.19 does not have. Received: DecodeWebP"):
        servable.check_portable(saved(tmp_path / "1", function))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda graph: graph.node.add(name="custom", op="RefocusOwnOperation"),
            "custom operations. Received: RefocusOwnOperation",
        ),
        (
            lambda graph: setattr(graph.versions, "min_consumer", 9999),
            "Received: min_consumer=9999",
        ),
    ],
)
def test_graphs_for_other_consumers_are_refused(tmp_path, change, message):
    file = saved(tmp_path / "1", lambda x: {"y": x + 1}) / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(saved_model.meta_graphs[0].graph_def)
    file.write_bytes(saved_model.SerializeToString())
    with pytest.raises(ValueError, match=message):
        servable.check_portable(tmp_path / "1")
