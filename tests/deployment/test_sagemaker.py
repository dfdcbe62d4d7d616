"""The archive for SageMaker: what is in it, and its code in front of a real SavedModel."""

import base64
import http.server
import importlib.util
import io
import json
import sys
import tarfile
import threading
import types

import numpy as np
import pytest
from PIL import Image
from tiny_models import write_models
from tiny_pictures import encoded, scene

from keras_refocus.deployment import sagemaker, whole_pipeline


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sagemaker")
    models = write_models(folder / "models")
    version = whole_pipeline.export_refocus(
        models / "restorer" / "1", models / "colorizer" / "2", folder / "refocus" / "1", tile=64
    )
    return sagemaker.write_archive(version, folder / "model.tar.gz")


def test_the_archive_holds_what_the_container_looks_for(archive, tmp_path):
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    assert {"refocus/1/saved_model.pb", "code/inference.py", "code/requirements.txt"} <= set(names)
    assert any(name.startswith("refocus/1/variables/") for name in names)
    assert not any(name.startswith(("/", "..")) for name in names)
    with pytest.raises(FileExistsError, match="replaced unasked"):
        sagemaker.write_archive(archive.parent / "refocus" / "1", archive)
    again = sagemaker.write_archive(archive.parent / "refocus" / "1", tmp_path / "again.tar.gz")
    assert again.read_bytes() == archive.read_bytes()
    with pytest.raises(FileNotFoundError, match="needs a SavedModel"):
        sagemaker.write_archive(tmp_path, tmp_path / "none.tar.gz")


@pytest.fixture(scope="module")
def endpoint(archive, tmp_path_factory):
    """The code of the archive, and TensorFlow Serving's REST API over the model in it."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("opened")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    model = tf.saved_model.load(str(folder / "refocus" / "1"))

    class Rest(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            (instance,) = body["instances"]
            content = base64.b64decode(instance["image_bytes"]["b64"])
            try:
                found = model.signatures["serving_default"](image_bytes=tf.constant([content]))
            except tf.errors.OpError as error:
                self.answer(400, {"error": error.message})
                return
            picture = base64.b64encode(found["image_bytes"].numpy()[0]).decode()
            gray = bool(found["is_grayscale"].numpy()[0])
            self.answer(
                200, {"predictions": [{"image_bytes": {"b64": picture}, "is_grayscale": gray}]}
            )

        def answer(self, status, told):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        spec = importlib.util.spec_from_file_location("inference", folder / "code/inference.py")
        code = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(code)
        assert "keras_refocus" not in spec.loader.get_source("inference").split('"""', 2)[2]

        def ask(content, content_type, accept=None):
            context = types.SimpleNamespace(
                request_content_type=content_type,
                accept_header=accept,
                rest_uri=f"http://127.0.0.1:{server.server_port}/v1/models/refocus:predict",
            )
            return code.handler(io.BytesIO(content), context)

        yield ask
        server.shutdown()
    sys.modules.pop("inference", None)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.slow
def test_jpeg_png_and_npy_in_a_picture_out(endpoint):
    picture = scene(1, height=24, width=20)
    from_png, kind = endpoint(encoded(picture), "image/png", "image/*")
    assert kind == "image/png"
    from_npy, kind = endpoint(npy(picture), "application/x-npy", "application/x-npy")
    assert kind == "application/x-npy"
    restored = np.load(io.BytesIO(from_npy))
    np.testing.assert_array_equal(restored, np.asarray(Image.open(io.BytesIO(from_png))))
    assert restored.mean() < picture.mean(), "the restorer halves the luminance"
    from_jpeg, kind = endpoint(encoded(picture, "JPEG"), "image/jpeg")
    assert Image.open(io.BytesIO(from_jpeg)).size == (20, 24)


@pytest.mark.slow
def test_json_also_says_whether_it_was_grey(endpoint):
    told, kind = endpoint(
        npy(np.full((16, 16), 99, np.uint8)), "application/x-npy", "application/json"
    )
    assert kind == "application/json" and json.loads(told)["is_grayscale"] is True


@pytest.mark.slow
def test_bad_requests_are_named(endpoint):
    with pytest.raises(ValueError, match="Content-Type must be"):
        endpoint(b"x", "text/html")
    with pytest.raises(ValueError, match="Accept must be"):
        endpoint(b"x", "image/png", "text/html")
    with pytest.raises(ValueError, match="must be uint8"):
        endpoint(npy(np.zeros((4, 4, 4), np.uint8)), "application/x-npy")
    with pytest.raises(ValueError, match="refused the picture"):
        endpoint(b"<html>", "image/png")
