"""The gRPC engine against the local server, and against servers that misbehave."""

import os
import pickle
import socket
import threading
import time
from concurrent import futures

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from stand_in_models import export_colorizer, export_painter, export_restorer, export_sharpener
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_refocus.deployment import saved_model
from keras_refocus.engines import serving
from keras_refocus.engines.local import LocalEngine
from keras_refocus.engines.serving import ServingEngine, ServingError
from keras_refocus.local_server.configuration import BatchingParameters, model_config_for
from keras_refocus.local_server.services import LocalServer
from keras_refocus.pictures import color_bins
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    export_restorer(folder / "restorer" / "1", gain=0.5, work=2)
    export_colorizer(folder / "colorizer" / "1")
    return folder


@pytest.fixture(scope="module")
def painters(tmp_path_factory):
    """Stages whose results depend on places and colours."""
    folder = tmp_path_factory.mktemp("painters")
    export_sharpener(folder / "restorer" / "1")
    export_painter(folder / "colorizer" / "1")
    return folder


@pytest.fixture(scope="module")
def server(models):
    with LocalServer(model_config_for(models), port=0, poll_seconds=0) as running:
        yield running


def picture(images: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((images, height, width, 1), np.float32)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 17, 5), (20, 16, 16)])
def test_equals_the_local_engine(server, models, shape):
    luminance = picture(*shape)
    local = LocalEngine(models)
    with ServingEngine(f"grpc://127.0.0.1:{server.port}") as remote:
        assert np.abs(remote.restore(luminance) - local.restore(luminance)).max() < 1e-6
        assert np.abs(remote.colorize(luminance) - local.colorize(luminance)).max() < 1e-6
        assert remote.versions() == local.versions() == {"restorer": "1", "colorizer": "1"}
        assert remote.versions("colorizer") == local.versions("colorizer") == {"colorizer": "1"}


@pytest.mark.parametrize(("grey", "best"), [(False, False), (True, True)])
@pytest.mark.parametrize("batching", [None, BatchingParameters(max_batch_size=4)])
def test_pictures_equal_those_of_the_local_engine(painters, batching, grey, best):
    """Through the whole pipeline, both stages, on pictures of one tile and of many."""
    options = RestoreOptions(mode="restore+colorize", tile=64, overlap=16, best=best)
    with LocalServer(
        model_config_for(painters), port=0, poll_seconds=0, batching=batching
    ) as server:
        with (
            Restorer(f"grpc://127.0.0.1:{server.port}") as remote,
            # Two at once are of one size, as a server's are.
            Restorer(LocalEngine(painters, batch_size=2)) as local,
        ):
            for height, width in [(1, 1), (40, 60), (150, 210)]:
                rgb = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
                if grey:
                    rgb = np.repeat(rgb[..., :1], 3, axis=-1)
                there, here = remote.restore(rgb, options), local.restore(rgb, options)
                assert np.abs(there.image.astype(int) - here.image).max() <= 1
                assert there.stages == here.stages
                assert there.versions == here.versions
            assert there.stages == (("restore", "colorize") if grey else ("restore",))


@pytest.mark.parametrize("tiles_per_request", [1, 2, 3, 7, 8])
def test_the_order_of_tiles_is_kept(server, tiles_per_request):
    tiles = np.arange(7, dtype=np.float32).reshape(7, 1, 1, 1) * np.ones((7, 4, 4, 1), np.float32)
    with ServingEngine(
        f"127.0.0.1:{server.port}", tiles_per_request=tiles_per_request, in_flight=3
    ) as engine:
        assert engine.batch_size == 3 * tiles_per_request
        assert engine.restore(tiles)[:, 0, 0, 0].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def test_a_plane_larger_than_the_default_message_limit_passes(server):
    plane = picture(1, 1100, 1100)  # 4.8 MB; gRPC's default is 4 MiB each way
    with ServingEngine(f"127.0.0.1:{server.port}") as engine:
        assert np.abs(engine.restore(plane) - plane / 2).max() < 1e-6


@pytest.mark.parametrize(
    "address, targets, secure, settings",
    [
        ("localhost", ["localhost:8500"], False, {}),
        ("grpc://a:1,b,c:3", ["a:1", "b:8500", "c:3"], False, {}),
        ("grpcs://host.example/", ["host.example:8500"], True, {}),
        ("grpc://[::1]:9", ["[::1]:9"], False, {}),
        ("h?label=stable&timeout=2.5", ["h:8500"], False, {"label": "stable", "timeout": 2.5}),
        ("h:1?version=3", ["h:1"], False, {"version": 3}),
    ],
)
def test_addresses(address, targets, secure, settings):
    from keras_refocus.engines.serving import _parse_address

    assert _parse_address(address) == (targets, secure, settings)


@pytest.mark.parametrize(
    "address, settings, message",
    [
        ("http://localhost:8501", {}, "must look like grpc://host:8500"),
        ("grpc://", {}, "must look like grpc://host:8500"),
        ("grpc://host:port", {}, "must look like grpc://host:8500"),
        ("grpc://host/models", {}, "must look like grpc://host:8500"),
        ("grpc://host?colour=red", {}, "Received: colour=red"),
        ("grpc://host?version=two", {}, "Received: version=two"),
        ("host", {"timeout": 0}, "timeout=0"),
        ("host", {"in_flight": 0}, "in_flight=0"),
        ("host", {"root_certificates": "ca.pem"}, "grpcs://"),
        ("grpcs://host", {"client_key": "key.pem"}, "given together"),
    ],
)
def test_wrong_settings_are_refused(address, settings, message):
    with pytest.raises(ValueError, match="(?s)" + message.replace("?", r"\?")):
        ServingEngine(address, **settings)


def test_a_missing_certificate_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="ca.pem"):
        ServingEngine("grpcs://host", root_certificates=tmp_path / "ca.pem")


@pytest.mark.parametrize("shape", [(4, 4, 1), (1, 4, 4, 3), (0, 4, 4, 1), (1, 0, 4, 1)])
def test_wrong_shapes_are_refused_before_they_are_sent(server, shape):
    with (
        ServingEngine(f"127.0.0.1:{server.port}") as engine,
        pytest.raises(ValueError, match="Received: shape="),
    ):
        engine.restore(np.zeros(shape, np.float32))


def test_an_unreachable_server_is_reported_within_the_time_to_connect():
    port = free_port()
    start = time.monotonic()
    with (
        ServingEngine(f"127.0.0.1:{port}", connect_timeout=0.5) as engine,
        pytest.raises(ServingError, match="is it running") as caught,
    ):
        engine.restore(picture(1, 4, 4))
    assert time.monotonic() - start < 5
    assert caught.value.status == grpc.StatusCode.UNAVAILABLE
    assert caught.value.address == f"127.0.0.1:{port}"
    assert caught.value.model == "restorer"


@pytest.mark.parametrize("version", [7, "stable", {"restorer": 7}])
def test_an_unknown_version_is_reported_and_not_repeated(server, version):
    start = time.monotonic()
    with (
        ServingEngine(f"127.0.0.1:{server.port}", version=version) as engine,
        pytest.raises(ServingError, match="(?s)version.*It said: ") as caught,
    ):
        engine.restore(picture(1, 4, 4))
    assert caught.value.status in (
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert time.monotonic() - start < 5


def test_versions_and_labels_are_chosen(tmp_path):
    export_restorer(tmp_path / "restorer" / "1", gain=1.0)
    export_restorer(tmp_path / "restorer" / "2", gain=2.0)
    config = model_config_for(tmp_path)
    model = config.model_config_list.config[0]
    model.model_version_policy.all.SetInParent()
    model.version_labels["stable"] = 1
    with LocalServer(config, port=0, poll_seconds=0) as server:
        address = f"127.0.0.1:{server.port}"
        for settings, version in [
            ({}, 2),
            ({"version": 1}, 1),
            ({"version": "stable"}, 1),
            ({"version": {"restorer": 1}}, 1),
            ({"version": {"colorizer": 1}}, 2),
        ]:
            with ServingEngine(address, **settings) as engine:
                assert engine.restore(np.ones((1, 2, 2, 1))).max() == version
                assert engine.versions() == {"restorer": str(version)}
                assert engine.versions("restorer", "x") == {"restorer": str(version)}
        with ServingEngine(address + "?label=stable") as engine:
            assert engine.restore(np.ones((1, 2, 2, 1))).max() == 1


class ScriptedService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with a list of statuses, then doubles the input; counts what it was asked."""

    def __init__(self, statuses=(), *, encode=None):
        self.statuses = list(statuses)
        self.requests = []
        self.lock = threading.Lock()
        self.encode = encode or (lambda array: tf.make_tensor_proto(array))
        self.release = threading.Event()
        self.release.set()

    def Predict(self, request, context):
        with self.lock:
            self.requests.append(request)
            status = self.statuses.pop(0) if self.statuses else None
        if status is not None:
            context.abort(status, "scripted")
        self.release.wait(10)
        response = predict_pb2.PredictResponse()
        array = tf.make_ndarray(request.inputs["luminance"])
        response.outputs["restored"].CopyFrom(self.encode(array * 2))
        return response


@pytest.fixture
def scripted():
    servers = []

    def start(service, port=0, **options):
        server = grpc.server(
            futures.ThreadPoolExecutor(16),
            options=[(f"grpc.{name}", value) for name, value in options.items()],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop(0).wait()


def test_unavailable_is_repeated_until_it_works(scripted):
    service = ScriptedService([grpc.StatusCode.UNAVAILABLE] * 3)
    with ServingEngine(f"127.0.0.1:{scripted(service)}") as engine:
        assert (
            engine.restore(np.ones((1, 2, 2, 1))).tolist() == (2 * np.ones((1, 2, 2, 1))).tolist()
        )
    assert len(service.requests) == 4


@pytest.mark.parametrize(
    "status",
    [s for s in grpc.StatusCode if s not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)],
    ids=lambda status: status.name,
)
def test_no_other_status_is_repeated(scripted, status):
    service = ScriptedService([status] * 2)
    with (
        ServingEngine(f"127.0.0.1:{scripted(service)}") as engine,
        pytest.raises(ServingError, match=f"{status.name}: scripted") as caught,
    ):
        engine.restore(np.ones((1, 2, 2, 1)))
    assert caught.value.status == status
    assert len(service.requests) == 1


def test_a_server_that_stays_unavailable_is_given_up(scripted):
    service = ScriptedService()
    with ServingEngine(f"127.0.0.1:{scripted(service)}", retry_seconds=0.4) as engine:
        engine.restore(np.ones((1, 2, 2, 1)))
        service.statuses = [grpc.StatusCode.UNAVAILABLE] * 1000
        start = time.monotonic()
        with pytest.raises(ServingError, match="stayed unavailable for 0.4 s"):
            engine.restore(np.ones((4, 2, 2, 1)))
        assert time.monotonic() - start < 5


def test_a_server_that_does_not_answer_meets_the_deadline(scripted):
    service = ScriptedService()
    service.release.clear()
    with ServingEngine(f"127.0.0.1:{scripted(service)}", timeout=0.3) as engine:
        start = time.monotonic()
        with pytest.raises(ServingError, match="did not answer within 0.3 s"):
            engine.restore(np.ones((4, 2, 2, 1)))
        assert time.monotonic() - start < 5
    service.release.set()


def test_requests_are_pipelined_up_to_the_limit(scripted):
    service = ScriptedService()
    service.release.clear()
    with ServingEngine(f"127.0.0.1:{scripted(service)}", in_flight=5) as engine:
        result = []
        worker = threading.Thread(target=lambda: result.append(engine.restore(picture(12, 2, 2))))
        worker.start()
        deadline = time.monotonic() + 5
        while len(service.requests) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(service.requests) == 5
        service.release.set()
        worker.join(10)
    assert np.array_equal(result[0], picture(12, 2, 2) * 2)
    assert len(service.requests) == 12


def test_closing_ends_requests_under_way(scripted):
    service = ScriptedService()
    service.release.clear()
    engine = ServingEngine(f"127.0.0.1:{scripted(service)}")
    errors = []

    def work():
        try:
            engine.restore(picture(3, 2, 2))
        except ValueError as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    deadline = time.monotonic() + 5
    while not service.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    engine.close()
    worker.join(5)
    service.release.set()
    assert not worker.is_alive()
    assert "closed" in str(errors[0])
    with pytest.raises(ValueError, match="closed"):
        engine.restore(picture(1, 2, 2))


def test_several_addresses_share_the_work_and_stand_in_for_each_other(scripted):
    first, second = ScriptedService(), ScriptedService()
    dead = free_port()
    address = f"127.0.0.1:{scripted(first)},127.0.0.1:{dead},127.0.0.1:{scripted(second)}"
    with ServingEngine(address, in_flight=4) as engine:
        assert np.array_equal(engine.restore(picture(30, 2, 2)), picture(30, 2, 2) * 2)
    assert len(first.requests) + len(second.requests) == 30
    assert min(len(first.requests), len(second.requests)) >= 8


def test_connections_that_the_server_renews_lose_nothing(scripted):
    """A server that closes old connections makes clients look for new pods of a service."""
    service = ScriptedService()
    port = scripted(service, max_connection_age_ms=50)
    with ServingEngine(f"127.0.0.1:{port}") as engine:
        for _ in range(30):
            assert np.array_equal(engine.restore(picture(3, 2, 2)), picture(3, 2, 2) * 2)
            time.sleep(0.02)
    assert len(service.requests) == 90


def test_floats_sent_one_by_one_are_read(scripted):
    """TensorFlow Serving answers in `float_val` unless it is told otherwise."""

    def as_floats(array):
        tensor = tf.make_tensor_proto(array)
        tensor.float_val.extend(array.ravel().tolist())
        tensor.ClearField("tensor_content")
        return tensor

    with ServingEngine(f"127.0.0.1:{scripted(ScriptedService(encode=as_floats))}") as engine:
        assert np.array_equal(engine.restore(picture(2, 5, 3)), picture(2, 5, 3) * 2)


def test_an_answer_of_another_shape_is_refused(scripted):
    service = ScriptedService(encode=lambda array: tf.make_tensor_proto(array[:, :-1]))
    with (
        ServingEngine(f"127.0.0.1:{scripted(service)}") as engine,
        pytest.raises(ServingError, match=r"shape \(1, 4, 4, 1\). Received: shape=\(1, 3, 4, 1\)"),
    ):
        engine.restore(picture(1, 4, 4))


def test_a_full_queue_is_waited_for(models):
    batching = BatchingParameters(
        max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1, batch_timeout_micros=0
    )
    with LocalServer(model_config_for(models), port=0, threads=16, batching=batching) as server:
        tiles = picture(24, 64, 64)
        with ServingEngine(f"127.0.0.1:{server.port}", in_flight=12) as engine:
            assert np.abs(engine.restore(tiles) - tiles / 2).max() < 1e-6


def test_loopback_does_not_go_through_a_proxy(server, monkeypatch):
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    nobody = f"http://127.0.0.1:{free_port()}"
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, nobody)
    with ServingEngine(f"localhost:{server.port}", connect_timeout=5) as engine:
        assert engine.versions("restorer") == {"restorer": "1"}


def test_another_machine_is_reached_through_the_proxy_that_grpc_proxy_names(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with ServingEngine("models.example:8500", connect_timeout=0.5) as engine:
            thread = threading.Thread(target=lambda: pytest.raises(ServingError, engine.versions))
            thread.start()
            proxy.settimeout(20)
            connection, _ = proxy.accept()
            with connection:
                assert connection.recv(100).startswith(b"CONNECT models.example:8500")
            thread.join()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:8500", True),
        ("127.8.0.1:1", True),
        ("[::1]:8500", True),
        ("LOCALHOST.:8500", True),
        ("localhost.example:8500", False),
        ("10.0.0.1:8500", False),
    ],
)
def test_loopback_is_known_by_its_names(target, expected):
    assert serving._is_loopback(target) is expected


def test_an_engine_can_be_pickled():
    with ServingEngine("grpc://one:1,two:2?label=stable", timeout=3.0, in_flight=2) as engine:
        with pickle.loads(pickle.dumps(engine)) as copy:
            assert (copy.address, copy.batch_size) == ("one:1,two:2", 2)
            assert (copy._version, copy._timeout) == ("stable", 3.0)


def test_a_forked_process_is_told_what_to_do(monkeypatch):
    with ServingEngine("localhost:1") as engine:
        monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked process
        with pytest.raises(RuntimeError, match="spawn"):
            engine.versions()
        monkeypatch.undo()


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory):
    """A colorizer that predicts a distribution, and one of weights stored as float16."""
    folder = tmp_path_factory.mktemp("doubtful")
    luminance = keras.Input((None, None, 1))
    logits = keras.layers.Conv2D(color_bins.COUNT, 3, padding="same", name=color_bins.LOGITS)(
        luminance
    )
    chroma = keras.layers.Conv2D(2, 1, activation="tanh")(keras.layers.Softmax()(logits))
    network = keras.Model(luminance, chroma)
    saved_model.export_colorizer(network, folder / "colorizer")
    saved_model.export_colorizer(network, folder / "colorizer_half", half=True)
    return folder, network


def test_a_distribution_is_the_networks_here_and_over_a_server(doubtful):
    folder, network = doubtful
    luminance = picture(1, 12, 9)
    logits = keras.Model(network.input, network.get_layer(color_bins.LOGITS).output)
    expected = np.asarray(keras.ops.softmax(logits(luminance), axis=-1))
    here = LocalEngine(folder)
    for name, tolerance in (("colorizer", 1e-6), ("colorizer_half", 1e-4)):
        shares = here.color_shares(luminance, model=name)
        assert shares.shape == (1, 12, 9, color_bins.COUNT)
        np.testing.assert_allclose(shares, expected, atol=tolerance)
        chroma = np.asarray(network(luminance))
        np.testing.assert_allclose(
            here.colorize(luminance, model=name), chroma, atol=10 * tolerance
        )
    with (
        LocalServer(model_config_for(folder), port=0) as there,
        ServingEngine(f"localhost:{there.port}") as engine,
    ):
        np.testing.assert_allclose(
            engine.color_shares(luminance), here.color_shares(luminance), atol=1e-6
        )


def test_a_colorizer_without_a_distribution_is_said(models, server):
    luminance = picture(1, 16, 16)
    for engine in (LocalEngine(models), ServingEngine(f"localhost:{server.port}")):
        with pytest.raises(ValueError, match="distribution"):
            engine.color_shares(luminance)


def test_hints_give_the_same_over_a_server(models, server):
    gray = np.random.default_rng(0).integers(90, 110, (40, 50), np.uint8)
    hints = {"hints": [{"color": "#b01e1e", "points": [[10, 12]]}]}
    options = RestoreOptions(mode="colorize", strength=0, hints=hints)
    with (
        Restorer(LocalEngine(models)) as here,
        Restorer(f"grpc://localhost:{server.port}") as there,
    ):
        np.testing.assert_array_equal(
            here.restore(gray, options).image, there.restore(gray, options).image
        )
