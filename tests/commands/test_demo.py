"""The command `refocus demo`: who may use the page, and what its options mean."""

import os
import tempfile
import threading

import pytest

pytest.importorskip("gradio")

from keras_refocus import demo
from keras_refocus.page import layout as app
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
        return Page()

    def launch(page, sessions, **options):
        assert sessions.folder.is_dir()
        seen["options"] = options
        return "http://127.0.0.1:7860/"

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(console, "import_tensorflow", lambda: None)
    monkeypatch.setattr(app, "build_app", build_app)
    monkeypatch.setattr(page_server, "launch", launch)
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: timeout is None)
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")
    return seen


def run(models, *arguments):
    assert demo.main(["--models", str(models), *arguments]) == 0


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
    assert "http://127.0.0.1:7860/" in capsys.readouterr().out


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
    with pytest.raises(SystemExit):
        demo.main(["--models", str(tmp_path / "none")])
    assert "must exist" in capsys.readouterr().err


def test_a_taken_port_is_a_sentence(models, launched, monkeypatch, capsys):
    def launch(*_, **__):
        raise OSError("Cannot find empty port in range: 7860-7860.")

    monkeypatch.setattr(page_server, "launch", launch)
    assert demo.main(["--models", str(models)]) == 1
    assert "Cannot find empty port" in capsys.readouterr().err
    assert not launched["sessions"].folder.exists()
