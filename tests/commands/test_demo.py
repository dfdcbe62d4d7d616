"""The command `refocus demo`: who may use the page, and what its options mean."""

import atexit
import os
import signal
import socket
import tempfile
import threading
import types

import pytest

pytest.importorskip("gradio")

from keras_refocus import demo
from keras_refocus.page import layout
from keras_refocus.page import server as page_server
from keras_refocus.system import console


@pytest.fixture
def models(tmp_path):
    """A folder that looks like one of models: nothing is loaded here."""
    folder = tmp_path / "models" / "restorer" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    return tmp_path / "models"


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """What the command would have served, and how: it is stopped at once."""
    seen = {}

    class Page:
        share_url = "https://example.org"

        def close(self, verbose):
            seen["closed"] = True

    def build_app(restorer, sessions, settings):
        seen["settings"] = settings
        seen["environment"] = dict(os.environ)
        seen["sessions"] = sessions
        return Page(), "actions"

    def launch(page, actions, sessions, **options):
        assert actions == "actions"
        assert sessions.folder.is_dir()
        seen["options"] = options
        return "http://127.0.0.1:7860/"

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(console, "import_tensorflow", lambda: None)
    monkeypatch.setattr(layout, "build_app", build_app)
    monkeypatch.setattr(page_server, "launch", launch)
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: timeout is None)
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.org")
    return seen


def run(models, *arguments):
    """Run the command on a port that is free, whatever else runs on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert demo.main(["--models", str(models), "--port", str(port), *arguments]) == 0


def test_by_default_it_is_for_this_machine_alone(models, launched, capsys, monkeypatch):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    run(models)
    options, settings = launched["options"], launched["settings"]
    assert options["server_name"] == "127.0.0.1" and options["share"] is False
    assert options["auth"] is None and options["max_upload"] == 250_000_000
    assert not settings.blur_faces and settings.concurrency == 1 and settings.queue_size == 20
    assert launched["sessions"].keep_seconds == 600
    environment = launched["environment"]
    assert environment["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1" and environment["HF_HUB_OFFLINE"] == "1"
    assert environment["GRADIO_TEMP_DIR"] == str(launched["sessions"].uploads)
    assert environment["TMPDIR"] == str(launched["sessions"].folder)
    # Afterwards everything is as it was.
    assert launched["closed"] and not launched["sessions"].folder.exists()
    assert "GRADIO_TEMP_DIR" not in os.environ
    said = capsys.readouterr()
    assert "http://127.0.0.1:7860/" in said.out and "Stopping" in said.out and not said.err
    assert settings.max_seconds == 600


@pytest.mark.parametrize(
    "arguments, blurs",
    [
        (["--host", "0.0.0.0"], True),
        (["--host", "photos.example.org"], True),
        (["--host", "127.0.0.5"], False),
        (["--host", "localhost"], False),
        (["--host", "::1"], False),
        (["--share"], True),
        (["--host", "0.0.0.0", "--no-blur-faces"], False),
        (["--blur-faces"], True),
    ],
)
def test_faces_are_blurred_where_others_may_look(models, launched, arguments, blurs):
    run(models, *arguments)
    assert launched["settings"].blur_faces is blurs
    assert launched["settings"].relayed is ("--share" in arguments)


@pytest.fixture(autouse=True)
def any_host_is_this_machine(monkeypatch, request):
    """Hosts of the tests above are nobody's; what is refused is looked at below."""
    if "really" not in request.fixturenames:
        real = demo._why_not
        monkeypatch.setattr(demo, "_why_not", lambda host, port: real("127.0.0.1", port))


def test_whoever_stops_it_need_not_wait(monkeypatch):
    started, at_the_end = [], []
    monkeypatch.setattr(threading.Timer, "start", lambda timer: started.append(timer))
    monkeypatch.setattr(atexit, "register", at_the_end.append)
    with demo._stopped_by_signals(None) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)
    # Both together end the process once, whatever takes its time.
    (timer,) = started
    assert timer.interval <= 2 and timer.daemon
    # Nor is anything waited for that is torn down after that.
    (leave,) = at_the_end
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    leave()
    assert left == [0]


@pytest.fixture
def really():
    """Take hosts as they are."""


def test_this_machine_is_reached_past_any_proxy(models, launched):
    run(models)
    for name in ("NO_PROXY", "no_proxy"):
        listed = launched["environment"][name].split(",")
        assert listed == ["example.org", "127.0.0.1", "localhost", "::1"]


def test_whoever_opens_it_to_the_network_is_told_where_it_is_and_warned(models, launched, capsys):
    run(models, "--host", "0.0.0.0")
    said = capsys.readouterr()
    assert "http://127.0.0.1:" in said.out and "for others, at" in said.out
    assert "there is no password" in said.err and "--auth" in said.err
    run(models, "--host", "0.0.0.0", "--auth", "me:secret")
    assert "password" not in capsys.readouterr().err
    run(models, "--share")
    assert "Anybody with the link" in capsys.readouterr().err


def test_addresses_of_this_machine_are_those_of_its_networks(monkeypatch):
    import psutil

    entry = types.SimpleNamespace
    found = {
        "lo": [entry(family=socket.AF_INET, address="127.0.0.1")],
        "eth0": [
            entry(family=socket.AF_INET, address="192.168.1.5"),
            entry(family=socket.AF_INET6, address="fe80::1%eth0"),
            entry(family=socket.AF_INET6, address="2001:db8::5"),
            entry(family=-1, address="00:11:22:33:44:55"),
        ],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    assert demo._addresses("0.0.0.0") == ["192.168.1.5"]
    assert demo._addresses("::") == ["192.168.1.5", "[2001:db8::5]"]
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    assert demo._addresses("0.0.0.0") == [socket.gethostname()]


def test_a_path_behind_a_proxy(models, launched, capsys):
    run(models, "--root-path", "/photos/")
    assert launched["options"]["root_path"] == "/photos"
    with pytest.raises(SystemExit):
        run(models, "--root-path", "photos")
    assert "begin with a slash" in capsys.readouterr().err


def test_a_time_limit_is_passed_on(models, launched):
    run(models, "--max-minutes", "0.5", "--max-upload-mb", "3")
    assert launched["settings"].max_seconds == 30
    assert launched["settings"].max_upload == launched["options"]["max_upload"] == 3_000_000


def test_users_come_from_the_line_or_from_a_file(models, launched, tmp_path):
    run(models, "--auth", "me:a:b")
    assert launched["options"]["auth"] == [("me", "a:b")]
    file = tmp_path / "users.txt"
    file.write_text("me:one\n\nyou:two\n")
    run(models, "--auth", str(file))
    assert launched["options"]["auth"] == [("me", "one"), ("you", "two")]


@pytest.mark.parametrize("auth", ["secret", ":secret", "me:", ""])
def test_a_wrong_password_line_is_refused_and_not_repeated(models, launched, auth, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(models, "--auth", auth)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "user:password" in said and "secret" not in said.split("error:")[1]


def test_a_folder_without_models_is_refused(launched, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SystemExit):
        demo.main(["--models", str(tmp_path / "none"), "--port", str(port)])
    assert "must exist" in capsys.readouterr().err


def test_a_taken_port_names_the_option(models, really, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert demo.main(["--models", str(models), "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert f"port {port} is taken" in said and f"--port {port + 1}" in said


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--port", "0"], "1 to 65535"),
        (["--port", "70000"], "1 to 65535"),
        (["--host", "no.such.host.invalid"], "an address of this machine"),
        (["--host", "192.0.2.1"], "an address of this machine"),
    ],
)
def test_places_where_nothing_can_listen_are_refused(models, really, capsys, arguments, said):
    assert demo.main(["--models", str(models), *arguments]) == 1
    assert said in capsys.readouterr().err


def test_whatever_else_the_server_cannot_do_is_a_sentence(models, launched, monkeypatch, capsys):
    def launch(*_, **__):
        raise OSError("Cannot find empty port in range: 7860-7860.")

    monkeypatch.setattr(page_server, "launch", launch)
    with pytest.raises(AssertionError):
        run(models)
    assert "Cannot find empty port" in capsys.readouterr().err
    assert not launched["sessions"].folder.exists()
