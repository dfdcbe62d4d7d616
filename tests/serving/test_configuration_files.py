"""Every file in serving/ is read with the schema of the program that reads it."""

import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from stand_in_models import export_restorer
from tensorflow_serving.config import model_server_config_pb2

from keras_refocus.benchmarks import serving as benchmark_serving
from keras_refocus.engines import contract
from keras_refocus.local_server import configuration as serving_config
from keras_refocus.local_server.services import LocalServer

ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / "serving"
KUBERNETES = SERVING / "kubernetes"

# The options that tensorflow_model_server defines (tensorflow_serving/model_servers/main.cc).
MODEL_SERVER_FLAGS = set(
    """
    port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
    rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
    batching_parameters_file enable_per_model_batching_parameters model_config_file
    model_config_file_poll_wait_seconds model_name model_base_path num_load_threads
    num_unload_threads max_num_load_retries load_retry_interval_micros
    file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
    tensorflow_session_config_file tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism
    use_alts_credentials ssl_config_file platform_config_file per_process_gpu_memory_fraction
    saved_model_tags grpc_channel_arguments grpc_max_threads enable_model_warmup
    num_request_iterations_for_warmup version monitoring_config_file
    remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
    num_tflite_interpreters_per_pool enable_signature_method_name_check
    xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler
    thread_pool_factory_config_file mixed_precision skip_initialize_tpu
    enable_grpc_healthcheck_service enable_serialization_as_tensor_content
    """.split()
)


def read_model_config():
    return serving_config.read_model_config(SERVING / "models.config").model_config_list.config


def compose():
    return yaml.safe_load((SERVING / "docker-compose.yml").read_text())


def manifests():
    return [
        document
        for path in sorted(KUBERNETES.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def manifest(kind, name="refocus-serving"):
    (found,) = [d for d in manifests() if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found


def pod():
    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    return container


# The configuration of the model server.


def test_models_are_the_servables_of_the_contract():
    models = read_model_config()
    names = [contract.RESTORER, "restorer_gan", contract.COLORIZER]
    assert [model.name for model in models] == names
    for model in models:
        assert model.base_path == f"/models/{model.name}"
        assert model.model_version_policy.latest.num_versions == 2
        assert list(model.version_labels) == ["stable"]


def test_the_refocus_servable_only_needs_its_comment_signs_taken_away():
    text = (SERVING / "models.config").read_text()
    head, _, block = text.partition("  # config {")
    whole = head + re.sub(r"(?m)^  # ", "  ", "  # config {" + block)
    config = text_format.Parse(whole, model_server_config_pb2.ModelServerConfig())
    serving_config.check_model_config(config)
    assert [model.name for model in config.model_config_list.config][-1] == contract.REFOCUS


def test_stable_labels_name_versions_that_ship():
    for model in read_model_config():
        shipped = serving_config.version_folders(ROOT / "saved_models" / model.name)
        if shipped:
            assert model.version_labels["stable"] in shipped


def test_models_root_replaces_the_common_parent(tmp_path):
    config = serving_config.read_model_config(SERVING / "models.config", models_root=tmp_path)
    assert [Path(model.base_path) for model in config.model_config_list.config] == [
        tmp_path.resolve() / "restorer",
        tmp_path.resolve() / "restorer_gan",
        tmp_path.resolve() / "colorizer",
    ]


def test_models_root_keeps_what_lies_below_the_common_parent(tmp_path):
    (tmp_path / "models.config").write_text(
        'model_config_list { config { name: "a" base_path: "/m/x/a" model_platform: "tensorflow" }'
        ' config { name: "b" base_path: "/m/b" model_platform: "tensorflow" } }'
    )
    config = serving_config.read_model_config(
        tmp_path / "models.config", models_root=tmp_path / "root"
    )
    assert [Path(model.base_path) for model in config.model_config_list.config] == [
        tmp_path.resolve() / "root" / "x" / "a",
        tmp_path.resolve() / "root" / "b",
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ('config { name: "a" base_path: "m/a" model_platform: "tensorflow" }', "absolute path"),
        ('config { name: "a" base_path: "/a" }', "unsupported platform"),
        ('config { base_path: "/a" model_platform: "tensorflow" }', "must have a name"),
        ('config { name: "a" bas_path: "/a" }', "bas_path"),
        (
            'config { name: "a" base_path: "/a" model_platform: "tensorflow" } '
            'config { name: "a" base_path: "/b" model_platform: "tensorflow" }',
            "Illegal to list model a multiple times",
        ),
    ],
)
def test_wrong_model_configs_are_refused(tmp_path, text, message):
    (tmp_path / "models.config").write_text(f"model_config_list {{ {text} }}")
    with pytest.raises(ValueError, match=message):
        serving_config.read_model_config(tmp_path / "models.config")


def test_a_folder_of_models_becomes_a_configuration(tmp_path):
    for version in ("restorer/1", "restorer/drafts", "notes/old"):
        (tmp_path / version).mkdir(parents=True)
    (config,) = serving_config.model_config_for(tmp_path).model_config_list.config
    assert (config.name, Path(config.base_path)) == ("restorer", tmp_path.resolve() / "restorer")
    for empty in (tmp_path / "notes", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="must hold <model>/<version>"):
            serving_config.model_config_for(empty)


def test_batching_parameters():
    parameters = serving_config.read_batching_parameters(SERVING / "batching.config")
    assert parameters == serving_config.BatchingParameters(
        max_batch_size=64,
        batch_timeout_micros=0,
        max_enqueued_batches=64,
        enable_large_batch_splitting=True,
        max_execution_batch_size=4,
    )


def test_all_batching_fields_are_read(tmp_path):
    (tmp_path / "batching.config").write_text(
        "max_batch_size { value: 16 } batch_timeout_micros { value: 5 } "
        "max_enqueued_batches { value: 6 } num_batch_threads { value: 7 } "
        'thread_pool_name { value: "pool" } allowed_batch_sizes: 4 allowed_batch_sizes: 8 '
        "pad_variable_length_inputs: true enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 8 }"
    )
    assert serving_config.read_batching_parameters(
        tmp_path / "batching.config"
    ) == serving_config.BatchingParameters(
        max_batch_size=16,
        batch_timeout_micros=5,
        max_enqueued_batches=6,
        num_batch_threads=7,
        allowed_batch_sizes=(4, 8),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=8,
    )
    (tmp_path / "batching.config").write_text("max_batch_size { value: 0 }")
    with pytest.raises(ValueError, match="batching.config: max_batch_size must be at least 1"):
        serving_config.read_batching_parameters(tmp_path / "batching.config")


def test_monitoring():
    message = serving_config.read_text_message(SERVING / "monitoring.config", "MonitoringConfig")
    assert message.prometheus_config.enable
    path = message.prometheus_config.path
    annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == path
    assert annotations["prometheus.io/port"] == "8501"


def test_ssl_example():
    message = serving_config.read_text_message(SERVING / "ssl.config", "SSLConfig")
    assert message.server_key.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert message.server_cert.startswith("-----BEGIN CERTIFICATE-----\n")
    assert message.client_verify is False


@pytest.mark.skipif(not shutil.which("awk"), reason="the command in ssl.config needs awk")
@pytest.mark.skipif(not shutil.which("bash"), reason="the command in ssl.config needs a shell")
def test_the_command_in_the_ssl_example_writes_such_a_file(tmp_path):
    text = (SERVING / "ssl.config").read_text()
    command = "\n".join(re.findall(r"(?m)^#   (.*)$", text))
    pem = "-----BEGIN {}-----\nAbC+/=\n-----END {}-----\n"
    (tmp_path / "server.key").write_text(pem.format("PRIVATE KEY", "PRIVATE KEY"))
    (tmp_path / "server.pem").write_text(pem.format("CERTIFICATE", "CERTIFICATE"))
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=20)
    message = serving_config.read_text_message(tmp_path / "ssl.config", "SSLConfig")
    assert message.server_key == (tmp_path / "server.key").read_text()
    assert message.server_cert == (tmp_path / "server.pem").read_text()


@pytest.mark.parametrize(
    "text, message",
    [
        ('server_key: "k"', "must set server_key and server_cert"),
        ('server_key: "k" server_cert: "c" client_verify: true', "must set custom_ca"),
        ('servr_key: "k"', "servr_key"),
    ],
)
def test_wrong_ssl_configs_are_refused(tmp_path, text, message):
    (tmp_path / "ssl.config").write_text(text)
    with pytest.raises(ValueError, match=message):
        serving_config.read_ssl_config(tmp_path / "ssl.config")


# Containers.


def flags(arguments):
    parsed = {}
    for argument in arguments:
        match = re.fullmatch(r"--(\w+)=(\S+)", argument)
        assert match, argument
        parsed[match[1]] = match[2]
    return parsed


def kserve_model(name):
    return manifest("InferenceService", name)["spec"]["predictor"]["model"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(compose()["services"]["serving"]["command"], id="compose"),
        pytest.param(pod()["args"], id="deployment"),
        pytest.param(kserve_model("restorer")["args"], id="kserve-restorer"),
        pytest.param(kserve_model("colorizer")["args"], id="kserve-colorizer"),
    ],
)
def test_every_flag_is_one_that_the_model_server_has(arguments):
    given = flags(arguments)
    assert given.keys() <= MODEL_SERVER_FLAGS
    assert given["enable_grpc_healthcheck_service"] == "true"
    assert given["enable_serialization_as_tensor_content"] == "true"


@pytest.mark.parametrize(
    "arguments, config",
    [
        pytest.param(compose()["services"]["serving"]["command"], SERVING, id="compose"),
        pytest.param(pod()["args"], None, id="deployment"),
    ],
)
def test_the_files_that_flags_name_are_mounted(arguments, config):
    given = flags(arguments)
    # Labels in models.config are refused at the start without this flag.
    assert given["allow_version_labels_for_unavailable_models"] == "true"
    for name, reader in [
        ("model_config_file", lambda path: serving_config.read_model_config(path)),
        ("batching_parameters_file", serving_config.read_batching_parameters),
        (
            "monitoring_config_file",
            lambda path: serving_config.read_text_message(path, "MonitoringConfig"),
        ),
    ]:
        folder, file = given[name].rsplit("/", 1)
        assert folder == "/config"
        if config:
            reader(config / file)
        else:
            assert file in manifest("ConfigMap")["data"]


def test_the_config_map_holds_the_same_files():
    data = manifest("ConfigMap")["data"]
    assert sorted(data) == ["batching.config", "models.config", "monitoring.config"]
    for name, text in data.items():
        assert text == (SERVING / name).read_text()


def test_compose_services():
    services = compose()["services"]
    serving, demo = services["serving"], services["demo"]
    assert re.fullmatch(r"tensorflow/serving:2\.(19|[2-9]\d)\.\d+", serving["image"])
    mounts = dict(volume.split(":", 1) for volume in serving["volumes"])
    assert mounts == {"../saved_models": "/models:ro", ".": "/config:ro"}
    assert [port.split(":") for port in serving["ports"]] == [
        ["127.0.0.1", "8500", "8500"],
        ["127.0.0.1", "8501", "8501"],
    ]
    assert demo["depends_on"] == {"serving": {"condition": "service_healthy"}}
    assert demo["build"] == {"context": "..", "dockerfile": "serving/Dockerfile"}
    assert (SERVING / demo["build"]["context"] / demo["build"]["dockerfile"]).is_file()
    assert demo["command"][:2] == ["refocus", "demo"]
    assert demo["command"][demo["command"].index("--server") + 1] == "serving:8500"
    for service in (serving, demo):
        limits = service["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) > 0 and limits["memory"].endswith("G")


def test_dockerfile():
    lines = (SERVING / "Dockerfile").read_text().splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if re.match(r"[A-Z]+ ", line)]
    names = [name for name, _ in instructions]
    assert set(names) <= {"FROM", "RUN", "USER", "ENV", "WORKDIR", "COPY", "EXPOSE", "CMD"}
    assert names[0] == "FROM" and names[-1] == "CMD"
    for name, rest in instructions:
        if name == "COPY":
            *sources, _ = [word for word in rest.split() if not word.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists() or source == "README.md"
    assert ["EXPOSE", "7860"] in instructions
    assert instructions[-1][1].startswith('["refocus", "demo", "--host", "0.0.0.0"')


class ModelStatus(http.server.BaseHTTPRequestHandler):
    """The REST answer of TensorFlow Serving to GET /v1/models/restorer."""

    state = "AVAILABLE"

    def do_GET(self):
        body = (
            '{\n "model_version_status": [\n  {\n   "version": "1",\n'
            f'   "state": "{self.state}",\n'
            '   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
        ).encode()
        self.send_response(200 if self.path == "/v1/models/restorer" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/v1/models/restorer":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.mark.skipif(not shutil.which("bash"), reason="the check is a bash command")
def test_the_health_check_looks_for_an_available_version(monkeypatch):
    check = compose()["services"]["serving"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "bash", "-c"]
    assert pod()["readinessProbe"]["exec"]["command"] == check[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ModelStatus)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def is_healthy(port):
        command = check[3].replace("8501", str(port))
        return (
            subprocess.run(
                ["bash", "-c", command], timeout=20, capture_output=True, check=False
            ).returncode
            == 0
        )

    try:
        assert is_healthy(server.server_port)
        monkeypatch.setattr(ModelStatus, "state", "LOADING")
        assert not is_healthy(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
    assert not is_healthy(server.server_port)


# Kubernetes.


@pytest.mark.parametrize(
    "document",
    [d for d in manifests() if d["kind"] != "InferenceService"],
    ids=lambda document: f"{document['kind']}-{document['metadata']['name']}",
)
def test_manifests_follow_the_schemas_of_kubernetes(document):
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="install the extra 'test' to check Kubernetes manifests"
    )
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_parts_of_the_deployment_fit_together():
    deployment = manifest("Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"]: port["containerPort"] for port in pod()["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for name in ("refocus-serving", "refocus-serving-rest"):
        service = manifest("Service", name)["spec"]
        assert service["selector"].items() <= labels.items()
        for port in service["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    volumes = {volume["name"]: volume for volume in deployment["template"]["spec"]["volumes"]}
    mounts = {mount["name"]: mount for mount in pod()["volumeMounts"]}
    assert {name: mount["mountPath"] for name, mount in mounts.items()} == {
        "models": "/models",
        "config": "/config",
    }
    assert all(mount["readOnly"] for mount in mounts.values())
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert manifest("PersistentVolumeClaim", claim)
    assert manifest("ConfigMap", volumes["config"]["configMap"]["name"])
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert manifest(target["kind"], target["name"])
    # Shares of the processor can only be measured where a request is stated.
    assert pod()["resources"]["requests"]["cpu"]


def test_connections_are_spread_over_pods():
    """A headless service names every pod; connections are renewed to find new ones."""
    assert manifest("Service")["spec"]["clusterIP"] == "None"
    arguments = flags(pod()["args"])["grpc_channel_arguments"]
    assert re.fullmatch(r"grpc\.max_connection_age_ms=\d+", arguments)


def test_both_deployments_run_the_same_server():
    image = compose()["services"]["serving"]["image"]
    assert pod()["image"] == image
    ours, theirs = flags(pod()["args"]), flags(compose()["services"]["serving"]["command"])
    assert {k: v for k, v in ours.items() if k in theirs} == {
        k: v for k, v in theirs.items() if k in ours
    }


# Fields of KServe's v1beta1 InferenceService that are used here.
KSERVE = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str},
    "spec": {
        "predictor": {
            "minReplicas": int,
            "maxReplicas": int,
            "model": {
                "modelFormat": {"name": str},
                "storageUri": str,
                "args": list,
                "ports": list,
                "resources": dict,
            },
        }
    },
}


def check_fields(value, schema):
    if isinstance(schema, dict):
        assert isinstance(value, dict) and value.keys() <= schema.keys()
        for key in value:
            check_fields(value[key], schema[key])
    else:
        assert isinstance(value, schema)


@pytest.mark.parametrize("name", [contract.RESTORER, contract.COLORIZER])
def test_kserve(name):
    check_fields(manifest("InferenceService", name), KSERVE)
    model = kserve_model(name)
    assert model["modelFormat"]["name"] == "tensorflow"
    claim, folder = model["storageUri"].removeprefix("pvc://").split("/")
    assert manifest("PersistentVolumeClaim", claim)
    assert folder == name
    # The port name h2c tells the gateway to speak gRPC; KServe's runtime listens on 9000.
    assert model["ports"] == [{"name": "h2c", "containerPort": 9000, "protocol": "TCP"}]


def test_the_benchmark_batches_as_the_deployment_does(tmp_path):
    """An installed package has no serving folder, so the benchmark brings its own copy."""
    (tmp_path / "batching.config").write_text(benchmark_serving.BATCHING)
    assert serving_config.read_batching_parameters(
        tmp_path / "batching.config"
    ) == serving_config.read_batching_parameters(SERVING / "batching.config")


def test_the_client_in_the_readme_works(tmp_path, capsys):
    text = (SERVING / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in program.splitlines() if line]) <= 15
    export_restorer(tmp_path / "restorer" / "1")
    with LocalServer(serving_config.model_config_for(tmp_path), port=0, poll_seconds=0) as server:
        exec(program.replace("localhost:8500", f"127.0.0.1:{server.port}"), {})
    assert capsys.readouterr().out == "(1, 64, 64, 1)\n"


def test_the_readme_names_every_file():
    text = (SERVING / "README.md").read_text()
    for path in SERVING.iterdir():
        assert path.name == "README.md" or f"`{path.name}" in text
