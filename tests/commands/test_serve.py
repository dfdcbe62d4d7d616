"""`refocus serve` as a person starts it: a process of its own, stopped by a signal."""

import datetime
import signal
import sys

import numpy as np
import pytest
from server_process import ServerProcess
from stand_in_models import export_colorizer, export_restorer

from keras_refocus import serve
from keras_refocus.engines.serving import ServingEngine, ServingError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    export_restorer(folder / "restorer" / "1", gain=0.5)
    export_colorizer(folder / "colorizer" / "1")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not delivered to a process there")
def test_serves_a_folder_until_it_is_interrupted(models):
    with ServerProcess("--models", models, "--op-threads", 3) as server:
        with ServingEngine(f"localhost:{server.port}") as engine:
            assert engine.restore(np.ones((1, 4, 4, 1))).max() == 0.5
        assert server.stop(signal.SIGINT) == 0
    log = "".join(server.log)
    assert "Successfully loaded servable version {name: restorer version: 1}" in log
    assert "3 thread(s) for one operation" in log
    assert "Stopping" in log
    assert "Traceback" not in log


def certificates(folder):
    """Writes a certificate authority, and keys and certificates of a server and a client."""
    x509 = pytest.importorskip(
        "cryptography.x509", reason="making certificates needs the cryptography package"
    )
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)
    keys, made = {}, {}
    for name in ("ca", "server", "client"):
        keys[name] = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(made["ca"].subject if made else subject)
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .sign(keys["ca"], hashes.SHA256())
        )
        made[name] = certificate
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            keys[name].private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def quoted(path):
    return '"' + path.read_text().replace("\n", "\\n") + '"'


def test_serves_the_files_of_a_deployment_over_tls(models, tmp_path):
    """`models.config` with container paths, `batching.config` and a mutual `ssl.config`."""
    certificates(tmp_path)
    (tmp_path / "models.config").write_text(
        "model_config_list {\n"
        '  config { name: "restorer" base_path: "/models/restorer" model_platform: "tensorflow"\n'
        '    version_labels { key: "stable" value: 1 } }\n'
        '  config { name: "colorizer" base_path: "/models/colorizer"\n'
        '    model_platform: "tensorflow" }\n'
        "}\n"
    )
    (tmp_path / "batching.config").write_text("max_batch_size { value: 4 }\n")
    (tmp_path / "ssl.config").write_text(
        f"server_key: {quoted(tmp_path / 'server.key')}\n"
        f"server_cert: {quoted(tmp_path / 'server.pem')}\n"
        f"custom_ca: {quoted(tmp_path / 'ca.pem')}\nclient_verify: true\n"
    )
    tls = {"root_certificates": tmp_path / "ca.pem", "connect_timeout": 3}
    client = {
        "client_certificate": tmp_path / "client.pem",
        "client_key": tmp_path / "client.key",
    }
    with ServerProcess(
        *("--config", tmp_path / "models.config", "--models-root", models),
        *("--batching", tmp_path / "batching.config", "--ssl-config", tmp_path / "ssl.config"),
    ) as server:
        address = f"grpcs://localhost:{server.port}?label=stable"
        with ServingEngine(address, **tls, **client) as engine:
            assert engine.restore(np.ones((3, 4, 4, 1))).max() == 0.5
        # Neither a client without a certificate nor one without TLS is let in.
        for stranger, settings in [
            (address, tls),
            (f"grpc://localhost:{server.port}", {"connect_timeout": 3}),
        ]:
            with (
                ServingEngine(stranger, **settings) as engine,
                pytest.raises(ServingError, match="both sides use TLS"),
            ):
                engine.restore(np.ones((1, 4, 4, 1)))
        assert server.stop(signal.SIGTERM) == (0 if sys.platform != "win32" else 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--models", "nowhere"], "must exist"),
        (["--config", "nowhere.config"], "The configuration file must exist"),
        (["--models", "a", "--config", "b"], "not allowed with"),
        (["--models-root", "a"], "--models-root goes with --config"),
        (["--port", "http"], "invalid int value"),
        (["--op-threads", "0"], "--op-threads must be at least 1"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        serve.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_misspelled_field_is_named(models, tmp_path, capsys):
    (tmp_path / "batching.config").write_text("max_batch_siz { value: 4 }\n")
    with pytest.raises(SystemExit):
        serve.main(["--models", str(models), "--batching", str(tmp_path / "batching.config")])
    error = capsys.readouterr().err
    assert "batching.config must hold a BatchingParameters message" in error
    assert "max_batch_siz" in error
