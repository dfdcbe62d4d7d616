"""What goes wrong in a deployment, on purpose: servers die, versions break, clients crowd."""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf
from PIL import Image
from server_process import ServerProcess
from stand_in_models import export_restorer
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_refocus.engines.serving import ServingEngine, ServingError
from keras_refocus.local_server.configuration import BatchingParameters, model_config_for
from keras_refocus.local_server.services import LocalServer
from keras_refocus.restoration import pipeline

UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def request(array, name="restorer"):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = name
    message.inputs["luminance"].CopyFrom(tf.make_tensor_proto(array))
    return message


def tiles(count, side, seed=0):
    return np.random.default_rng(seed).random((count, side, side, 1), np.float32)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be killed by signal there")
def test_a_folder_job_survives_a_server_that_is_killed_and_restarted(tmp_path):
    """The job finishes; every picture is there once, and none differs from a quiet run."""
    export_restorer(tmp_path / "models" / "restorer" / "1", gain=0.9, work=20)
    pictures, results = tmp_path / "pictures", tmp_path / "results"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        rgb = rng.integers(0, 256, (96, 128, 3), np.uint8)
        Image.fromarray(rgb).save(pictures / f"{index:02}.png")
    port = free_port()
    options = ["--tile", "48", "--overlap", "8"]
    with ServerProcess("--models", tmp_path / "models", port=port) as server:
        job = subprocess.Popen(
            [sys.executable, "-m", "keras_refocus", "restore", str(pictures), *options]
            + ["--out", str(results), "--server", f"127.0.0.1:{port}"],
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: len(list(results.glob("*.png"))) >= 2, 180)
        server.process.kill()
        server.process.wait()
        assert job.poll() is None, "the job was over before the server was killed"
    time.sleep(1)
    with ServerProcess("--models", tmp_path / "models", port=port):
        error = job.communicate(timeout=180)[1]
    assert job.returncode == 0, error
    assert sorted(path.name for path in results.iterdir()) == [f"{i:02}.png" for i in range(12)]
    quiet = pipeline.Restorer(tmp_path / "models")
    for path in sorted(results.iterdir()):
        expected = quiet.restore(
            pictures / path.name, pipeline.RestoreOptions(tile=48, overlap=8)
        ).image
        difference = np.abs(np.asarray(Image.open(path), np.int16) - expected)
        assert difference.max() <= 1


class Load:
    """Threads that ask a server without a pause; collects versions and errors of each."""

    def __init__(self, port, threads, array):
        self.versions = [[] for _ in range(threads)]
        self.errors = []
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self._work, args=(port, array, seen)) for seen in self.versions
        ]

    def _work(self, port, array, seen):
        with grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self.over.is_set() and len(seen) < 20_000:
                try:
                    response = stub.Predict(request(array), timeout=20)
                except grpc.RpcError as error:
                    self.errors.append(error)
                    continue
                version = response.model_spec.version.value
                restored = tf.make_ndarray(response.outputs["restored"])
                if not np.allclose(restored, array * version, atol=1e-6):
                    self.errors.append(f"version {version} answered with another's numbers")
                seen.append(version)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join(30)


@pytest.mark.parametrize("batching", [None, BatchingParameters(max_batch_size=4)])
def test_new_versions_appear_under_load_and_no_request_fails(tmp_path, batching):
    export_restorer(tmp_path / "restorer" / "1", gain=1.0)
    with LocalServer(
        model_config_for(tmp_path), port=0, poll_seconds=0.05, batching=batching
    ) as server:
        with Load(server.port, 6, tiles(1, 16)) as load:
            for version in (2, 3, 4):
                export_restorer(tmp_path / "restorer" / str(version), gain=float(version))
                wait_until(lambda v=version: all(s and s[-1] == v for s in load.versions), 20)
    assert load.errors == []
    for seen in load.versions:
        assert seen == sorted(seen)  # never back to an older version
        assert set(seen) == {1, 2, 3, 4}


def test_a_truncated_version_is_refused_under_load_and_the_old_one_goes_on(tmp_path):
    export_restorer(tmp_path / "restorer" / "1", gain=1.0)
    whole = export_restorer(tmp_path / "elsewhere" / "2", gain=2.0)
    with LocalServer(model_config_for(tmp_path), port=0, poll_seconds=0.05) as server:
        with Load(server.port, 4, tiles(1, 16)) as load:
            copy = shutil.copytree(whole, tmp_path / "half")
            data = copy / "variables" / "variables.data-00000-of-00001"
            data.write_bytes(data.read_bytes()[:-3])
            copy.rename(tmp_path / "restorer" / "2")
            time.sleep(0.5)
            answered = sum(len(seen) for seen in load.versions)
            wait_until(lambda: sum(len(seen) for seen in load.versions) > answered + 20, 20)
            assert {version for seen in load.versions for version in seen} == {1}
            # The copy is finished: now it is taken up.
            shutil.copy(whole / "variables" / data.name, tmp_path / "restorer" / "2" / "variables")
            wait_until(lambda: all(seen[-1] == 2 for seen in load.versions), 20)
    assert load.errors == []


@pytest.mark.slow
def test_200_clients_at_once(tmp_path):
    """Bounded memory and no deadlock: each request is answered, or refused as UNAVAILABLE."""
    export_restorer(tmp_path / "models" / "restorer" / "1", gain=0.5, work=2)
    (tmp_path / "batching.config").write_text(
        "max_batch_size { value: 4 } max_enqueued_batches { value: 4 }"
    )
    array = tiles(1, 256)
    with ServerProcess(
        *("--models", tmp_path / "models", "--batching", tmp_path / "batching.config"),
        *("--threads", "64"),
    ) as server:
        process = psutil.Process(server.process.pid)
        with ServingEngine(f"127.0.0.1:{server.port}") as engine:
            engine.restore(np.repeat(array, 8, axis=0))
        before = process.memory_info().rss
        codes, peak, over = [], [before], threading.Event()

        def watch():
            while not over.wait(0.05):
                peak[0] = max(peak[0], process.memory_info().rss)

        def work(index):
            with grpc.insecure_channel(
                f"127.0.0.1:{server.port}",
                (*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)),
            ) as channel:
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                for _ in range(3):
                    try:
                        stub.Predict(request(array), timeout=100)
                        codes.append(grpc.StatusCode.OK)
                    except grpc.RpcError as error:
                        codes.append(error.code())

        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=work, args=(index,)) for index in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        over.set()
        watcher.join()
        assert len(codes) == 600
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert codes.count(grpc.StatusCode.OK) > 0
        assert peak[0] - before < 600 * 2**20
        # Our own client waits its turn instead, and loses nothing.
        with ServingEngine(f"127.0.0.1:{server.port}", in_flight=64) as engine:
            many = np.repeat(array, 100, axis=0)
            assert np.abs(engine.restore(many) - many / 2).max() < 1e-5


@pytest.mark.slow
def test_a_plane_of_64_megapixels(tmp_path):
    """256 MiB there and 256 MiB back, within 3 GiB of the server's memory."""
    export_restorer(tmp_path / "restorer" / "1", gain=0.5)
    plane = np.linspace(0, 1, 8192 * 8192, dtype=np.float32).reshape(1, 8192, 8192, 1)
    with ServerProcess("--models", tmp_path) as server:
        process = psutil.Process(server.process.pid)
        with ServingEngine(f"127.0.0.1:{server.port}") as engine:
            restored = engine.restore(plane)
        assert np.array_equal(restored, plane / 2)
        assert process.memory_info().rss < 3 * 2**30


@pytest.mark.parametrize("shape", [(0, 4, 4, 1), (1, 0, 4, 1), (1, 4, 0, 1)])
@pytest.mark.parametrize("batching", [None, BatchingParameters(max_batch_size=4)])
def test_planes_without_pixels(tmp_path, shape, batching):
    """Whatever the model makes of nothing, the server goes on."""
    export_restorer(tmp_path / "restorer" / "1", gain=0.5, work=1)
    with LocalServer(model_config_for(tmp_path), port=0, poll_seconds=0, batching=batching) as s:
        with grpc.insecure_channel(f"127.0.0.1:{s.port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                response = stub.Predict(request(np.zeros(shape, np.float32)), timeout=20)
                assert tf.make_ndarray(response.outputs["restored"]).shape == shape
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            response = stub.Predict(request(np.ones((1, 4, 4, 1), np.float32)), timeout=20)
            assert np.allclose(tf.make_ndarray(response.outputs["restored"]), 0.5)


def test_connections_that_say_nothing_hold_nobody_up(tmp_path):
    """Sockets that open and stop: before, in the middle of, and after the first HTTP/2 frames."""
    export_restorer(tmp_path / "restorer" / "1", gain=0.5)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    headers_cut_short = b"\x00\x00\x40\x01\x04\x00\x00\x00\x01\x83"
    beginnings = (b"", preface[:10], preface + settings, preface + settings + headers_cut_short)
    with LocalServer(model_config_for(tmp_path), port=0, poll_seconds=0, threads=2) as server:
        idle = []
        try:
            for beginning in beginnings * 10:
                idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
                idle[-1].sendall(beginning)
            with ServingEngine(f"127.0.0.1:{server.port}") as engine:
                for _ in range(5):
                    assert np.allclose(engine.restore(np.ones((1, 4, 4, 1))), 0.5)
        finally:
            for connection in idle:
                connection.close()


class Proxy:
    """Passes TCP connections on to a server, until it is told to swallow everything."""

    def __init__(self, port):
        self.target = port
        self.swallow = threading.Event()
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source, sink):
        try:
            while data := source.recv(65536):
                if not self.swallow.is_set():
                    sink.sendall(data)
        except OSError:
            pass

    def cut(self):
        """Ends all connections."""
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.sockets.clear()

    def close(self):
        self.listener.close()
        self.cut()


def test_a_connection_that_died_silently_meets_the_deadline_and_is_replaced(tmp_path):
    export_restorer(tmp_path / "restorer" / "1", gain=0.5)
    ones = np.ones((3, 4, 4, 1), np.float32)
    with LocalServer(model_config_for(tmp_path), port=0, poll_seconds=0) as server:
        proxy = Proxy(server.port)
        try:
            with ServingEngine(f"127.0.0.1:{proxy.port}", timeout=0.5) as engine:
                assert np.allclose(engine.restore(ones), 0.5)
                proxy.swallow.set()
                began = time.monotonic()
                with pytest.raises(ServingError, match="did not answer within 0.5 s"):
                    engine.restore(ones)
                assert time.monotonic() - began < 5
                proxy.swallow.clear()
                proxy.cut()
                assert np.allclose(engine.restore(ones), 0.5)
        finally:
            proxy.close()
