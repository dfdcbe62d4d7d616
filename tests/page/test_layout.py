"""The web page without a browser: its actions, its routes and headers, its interface for programs.

Arithmetic stands in for the networks; `test_app_browser` looks at the page as a person does.
"""

import contextlib
import errno
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import types
import zlib

import gradio as gr
import gradio_client
import httpx
import numpy as np
import origins
import pytest
from PIL import Image

from keras_refocus.page import layout as app
from keras_refocus.page import server as page_server
from keras_refocus.page import sessions
from keras_refocus.page.actions import AppSettings, PageActions
from keras_refocus.pictures import faces, images
from keras_refocus.restoration import pipeline


class HalvingEngine:
    """Halves luminance; knows no colorizer unless told to."""

    batch_size = 1

    def __init__(self, *names):
        self.names = names or ("restorer",)
        self.error = None
        self.hold = None

    def restore(self, tiles, *, model="restorer"):
        if self.error:
            raise self.error
        if self.hold:
            self.hold()
        return tiles * np.float32(0.5)

    def colorize(self, luminance, *, model="colorizer"):
        return np.full((*luminance.shape[:3], 2), 0.05, np.float32)

    def versions(self, *models):
        if self.error:
            raise self.error
        return {name: "1" for name in self.names if not models or name in models}

    def close(self):
        pass


@pytest.fixture
def engine():
    return HalvingEngine()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with sessions.Sessions() as kept:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(kept.uploads))
        yield kept


@pytest.fixture
def actions(engine, kept):
    settings = AppSettings(max_pixels=1_000_000, max_files=3)
    return PageActions(pipeline.Restorer(engine), kept, settings, app.EXAMPLES)


def request(visitor="a"):
    return types.SimpleNamespace(session_hash=visitor)


def event(**data):
    return gr.EventData(None, data)


def png(shape=(30, 40, 3), seed=0):
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    pixels = (60 + 80 * rng.random(shape)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def uploaded(kept, content=None, name="photo.png"):
    return str(kept.import_file(png() if content is None else content, name))


def is_empty(kept):
    """Whether no file is left, once what is deleted after an answer is deleted."""
    deadline = time.monotonic() + 10
    while any(files for _, _, files in os.walk(kept.folder)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# The page's controls: mode, auto-detect, model, strength, saturation, faces, metadata, mark.
CONTROLS = ("Restore only", True, "restorer", 1.0, 1.0, False, True, False)


def restore(actions, visitor="a", controls=CONTROLS):
    """All that the page is given while a restoration runs, the end last."""
    return list(actions.restore(request(visitor), *controls))


# What is on offer.


def test_without_a_colorizer_only_restoring_is_offered_and_it_is_said(actions):
    mode, auto_detect, model, mark, state = actions.offer()
    assert mode["choices"] == ["Restore only"] and mode["value"] == "Restore only"
    assert "none is installed" in mode["info"]
    assert not auto_detect["visible"] and not mark["visible"] and not model["visible"]
    assert state == gr.skip()


def test_with_more_models_there_is_more_to_choose(kept):
    engine = HalvingEngine("colorizer", "mine", "refocus", "restorer", "restorer_gan")
    actions = PageActions(pipeline.Restorer(engine), kept, AppSettings(), app.EXAMPLES)
    mode, auto_detect, model, mark, _ = actions.offer()
    assert mode["choices"] == ["Restore only", "Restore + Colorize", "Always colorize"]
    assert mode["value"] == "Restore only"
    assert auto_detect["visible"] and mark["visible"] and model["visible"]
    assert [name for _, name in model["choices"]] == ["mine", "restorer", "restorer_gan"]
    assert model["value"] == "restorer"
    assert all(label.startswith(f"{name}: ") for label, name in model["choices"])


def test_published_weights_are_offered_with_their_licence(kept, tmp_path):
    origins.write_origin(tmp_path / "mine" / "1")
    (tmp_path / "mine" / "1" / "saved_model.pb").touch()
    engine = HalvingEngine("mine", "restorer")
    engine.models_dir = tmp_path
    actions = PageActions(pipeline.Restorer(engine), kept, AppSettings(), app.EXAMPLES)
    labels = [label for label, _ in actions.offer()[2]["choices"]]
    assert labels == [
        "mine: DMPHN, for strong motion blur (licence unstated: none stated)",
        "restorer: closest to the truth",
    ]


def test_a_server_that_is_gone_is_a_message(actions, engine):
    engine.error = ConnectionError("The server at gpu:8500 does not answer.")
    assert "gpu:8500 does not answer" in actions.offer()[-1]


# From an upload to a download.


def test_a_photo_goes_all_the_way(actions, kept):
    state, picker, viewer, downloads, details = actions.accept([uploaded(kept)], request())
    assert "1 photo is ready" in state and viewer == {} and downloads == {}
    assert not picker["visible"] and not details["visible"]
    updates = restore(actions)
    assert any("steps" in state and "<progress" in state for state, *_ in updates)
    state, _, viewer, downloads, details = updates[-1]
    assert "Detected: a colour photo" in state
    (link,) = downloads["links"]
    assert link["name"] == "photo_restored.png"
    _, shared = kept.find(link["href"].removeprefix("pictures/"))
    assert images.read(shared.path).rgb.shape == (30, 40, 3)
    for side in ("before", "after"):
        assert kept.find(viewer[side].removeprefix("pictures/"))
    assert "30 pixels" in details["value"]


def test_several_photos_can_be_looked_through_and_fetched_at_once(actions, kept):
    paths = [uploaded(kept, png(seed=seed), f"{seed}.png") for seed in range(2)]
    paths.append(uploaded(kept, b"no picture", "broken.jpg"))
    actions.accept(paths, request())
    state, picker, viewer, downloads, _ = restore(actions)[-1]
    # The bad one is named, the others are done.
    assert "broken.jpg" in state and 'role="alert"' in state
    assert [label for label, _ in picker["choices"]] == ["1. 0.png", "2. 1.png", "3. broken.jpg"]
    assert [link["label"] for link in downloads["links"]] == ["Download", "Download all"]
    other = actions.show(1, request())
    assert other[2]["name"] == "1.png" and other[2]["after"] != viewer["after"]
    assert actions.show(2, request())[2] == {}


def test_only_so_many_photos_are_taken(actions, kept):
    paths = [uploaded(kept, png(seed=seed)) for seed in range(5)]
    state, *_ = actions.accept(paths, request())
    assert "3 photos are ready" in state and "More than 3" in state
    assert len(kept.of("a").pictures) == 3


def test_settings_that_need_no_network_do_not_run_it(actions, kept, engine):
    actions.accept([uploaded(kept)], request())
    first = restore(actions)[-1]
    engine.error = AssertionError("The network was asked again.")
    changed = list(CONTROLS)
    changed[3] = 0.25
    again = actions.finish_again(request(), 0, {}, *changed)
    assert again[2]["after"] != first[2]["after"]
    assert 'role="alert"' not in again[0]


def test_a_result_that_had_to_go_is_made_again(actions, kept):
    actions.accept([uploaded(kept)], request())
    first = restore(actions)[-1]
    kept.make_room(2**60)
    assert kept.of("a").pictures[0].result is None
    again = actions.finish_again(request(), 0, {}, *CONTROLS)
    assert again[3]["links"][0]["size"] == first[3]["links"][0]["size"]


def test_a_download_without_the_protection_just_asked_for_is_withdrawn_at_once(
    actions, kept, monkeypatch
):
    actions.accept([uploaded(kept)], request())
    link = restore(actions)[-1][3]["links"][0]
    assert actions.withdraw(request()) == {}
    assert kept.find(link["href"].removeprefix("pictures/")) is None
    protected = list(CONTROLS)
    protected[5] = True
    # Then faces cannot be looked for: no download may come back.
    monkeypatch.setattr(faces, "detect", lambda rgb: raise_(ImportError("No mtcnn.")))
    state, _, viewer, downloads, _ = actions.finish_again(request(), 0, {}, *protected)
    assert "No mtcnn." in state and viewer == {} and downloads == {}


def raise_(error):
    raise error


def test_before_there_is_a_result_changes_say_nothing(actions, kept):
    actions.accept([uploaded(kept)], request())
    assert actions.finish_again(request(), 0, {}, *CONTROLS) == (gr.skip(),) * 5
    assert actions.remind(request()) == gr.skip()
    restore(actions)
    assert "Press Restore" in actions.remind(request())


def test_without_a_photo_the_page_asks_for_one(actions):
    assert "Choose a photo first" in actions.wait(request())
    assert "Choose a photo first" in restore(actions)[-1][0]


def test_a_page_whose_time_was_up_says_so(actions, kept, monkeypatch):
    actions.accept([uploaded(kept)], request())
    shown = restore(actions)[-1][2]
    later = time.monotonic() + kept.keep_seconds + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    kept.sweep()
    for state in (
        actions.finish_again(request(), 0, shown, *CONTROLS)[0],
        actions.wait(request()),
        actions.show(0, request())[0],
    ):
        assert "have been deleted" in state


def test_an_upload_that_vanished_is_said_without_a_path(actions, kept):
    path = uploaded(kept)
    actions.accept([path], request())
    pathlib.Path(path).unlink()
    state = restore(actions)[-1][0]
    assert "have been deleted" in state and str(kept.folder) not in state


def test_a_full_disk_is_said_without_a_path(actions, kept, monkeypatch):
    actions.accept([uploaded(kept)], request())
    full = OSError(errno.ENOSPC, "No space left on device", str(kept.folder / "x"))
    monkeypatch.setattr(images, "write", lambda *_, **__: raise_(full))
    state = restore(actions)[-1][0]
    assert "No space left on device" in state and str(kept.folder) not in state


def test_an_example_replaces_the_photos(actions, kept):
    actions.accept([uploaded(kept)], request())
    files, state, *_ = actions.choose_example(event(name="coffee.jpg"), request())
    assert len(files) == 1 and files[0].endswith("coffee.jpg")
    assert [picture.name for picture in kept.of("a").pictures] == ["coffee.jpg"]
    assert "coffee_restored.jpg" in restore(actions)[-1][3]["links"][0]["name"]
    assert "no such example" in actions.choose_example(event(name="../page.js"), request())[1]


def test_a_photo_from_the_camera_is_added(actions, kept):
    first = uploaded(kept)
    actions.accept([first], request())
    shot = uploaded(kept, png(seed=3), "image.png")
    camera, files, state, *_ = actions.add(shot, [first], request())
    assert camera is None and files == [first, shot] and "2 photos are ready" in state
    assert actions.add(None, [first], request()) == (gr.skip(),) * 7


def test_cancelling_stops_between_tiles(actions, kept, engine):
    actions.accept([uploaded(kept, png((600, 900, 3)))], request())
    started = threading.Event()
    engine.hold = lambda: (started.set(), kept.of("a").cancelled.wait(10))
    assert "Nothing is under way" in actions.cancel(request())
    outcome = []
    worker = threading.Thread(target=lambda: outcome.extend(restore(actions)))
    worker.start()
    assert started.wait(10)
    assert "Cancelling" in actions.cancel(request())
    worker.join(10)
    state, _, viewer, downloads, _ = outcome[-1]
    assert "Cancelled" in state and viewer == {} and downloads == {}
    # The next one is not cancelled with it.
    engine.hold = None
    actions.wait(request())
    assert restore(actions)[-1][3]["links"]


def test_whoever_closes_the_page_stops_the_work(actions, kept, engine):
    actions.accept([uploaded(kept, png((600, 900, 3)))], request())
    working = actions.restore(request(), *CONTROLS)
    next(working)
    working.close()
    assert kept.of("a").cancelled.is_set() and not kept.of("a").work.locked()


def test_after_a_download_the_page_says_what_is_left(actions, kept):
    actions.accept([uploaded(kept)], request())
    token = restore(actions)[-1][3]["links"][0]["href"].removeprefix("pictures/")
    actions.set_deletion(False, request())
    kept.downloaded(*kept.find(token))
    assert "kept here until 10 minutes" in actions.downloaded(event(name="a.png"), request())[1]
    actions.set_deletion(True, request())
    kept.downloaded(*kept.find(token))
    files, state, *_ = actions.downloaded(event(name="a.png"), request())
    assert files is None and "have been deleted here" in state
    assert is_empty(kept)


def test_clearing_deletes(actions, kept):
    actions.accept([uploaded(kept)], request())
    restore(actions)
    state, _, viewer, downloads, _ = actions.clear(request())
    assert "deleted" in state and viewer == {} and downloads == {}
    assert is_empty(kept)


def test_visitors_do_not_see_each_other_s_photos(actions, kept):
    actions.accept([uploaded(kept, png(seed=1), "mine.png")], request("a"))
    actions.accept([uploaded(kept, png(seed=2), "yours.png")], request("b"))
    mine, yours = restore(actions, "a")[-1], restore(actions, "b")[-1]
    assert mine[2]["name"] == "mine.png" and yours[2]["name"] == "yours.png"
    assert mine[2]["after"] != yours[2]["after"]
    actions.clear(request("a"))
    assert kept.find(yours[2]["after"].removeprefix("pictures/"))
    assert "mine" not in repr(actions.show(0, request("b")))


# What can go wrong.


def bomb():
    """A PNG of 100,000 x 100,000 pixels in few bytes."""

    def chunk(kind, body):
        checked = kind + body
        return len(body).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = (100_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    body = zlib.compress(bytes(100_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "content, name, said",
    [
        (b"MZ\x90\x00" + bytes(500), "holiday.jpg", "none of these"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "a.png", "none of these"),
        (bomb(), "a.png", "at most 1,000,000 pixels"),
        (png((1100, 1000, 3)), "a.png", "at most 1,000,000 pixels"),
        (png()[:200], "a.png", "must be whole"),
        (b"", "a.png", "0 bytes"),
    ],
    ids=["executable", "svg", "bomb", "too large", "cut off", "empty"],
)
def test_bad_files_are_refused_in_words(actions, kept, content, name, said):
    actions.accept([uploaded(kept, content, name)], request())
    state, _, viewer, downloads, _ = restore(actions)[-1]
    assert said in state and 'role="alert"' in state and "Traceback" not in state
    assert viewer == {} and downloads == {}
    # Nothing of where the file lies.
    assert str(kept.folder) not in state


def test_one_pixel_is_restored(actions, kept):
    actions.accept([uploaded(kept, png((1, 1, 3)))], request())
    assert "1 × 1 pixels" in restore(actions)[-1][4]["value"]


@pytest.mark.slow
def test_100_megapixels_are_restored_in_bounded_memory(tmp_path):
    """The settings are those of `refocus demo`; a process of its own tells its own peak."""
    block = np.asarray(Image.open(io.BytesIO(png((10, 10, 3)))).resize((500, 500)))
    images.write(tmp_path / "large.jpg", images.Photo(rgb=np.tile(block, (20, 20, 1))))
    program = (
        "import pathlib, test_app\n"
        "from keras_refocus.page import layout as app, sessions\n"
        "from keras_refocus.restoration import pipeline\n"
        "from keras_refocus.system import machine\n"
        "with sessions.Sessions() as kept:\n"
        "    restorer = pipeline.Restorer(test_layout.HalvingEngine())\n"
        "    settings = app.AppSettings()\n"
        "    actions = test_layout.PageActions(restorer, kept, settings, app.EXAMPLES)\n"
        "    upload = kept.import_file(pathlib.Path('large.jpg').read_bytes(), 'large.jpg')\n"
        "    actions.accept([str(upload)], test_layout.request())\n"
        "    state, _, viewer, downloads, details = test_layout.restore(actions)[-1]\n"
        "    print(state, details['value'])\n"
        "    token = downloads['links'][0]['href'].removeprefix('pictures/')\n"
        "    print(test_layout.images.read(kept.find(token)[1].path).rgb.shape)\n"
        "print(machine.peak_memory())\n"
    )
    here = str(pathlib.Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Done" in done.stdout and "(10000, 10000, 3)" in done.stdout
    # What is shown is smaller, and that is said.
    assert "Shown at 5000 × 5000; the download has full size." in done.stdout
    assert int(done.stdout.split()[-1]) < 3 * 2**30


def test_what_nobody_foresaw_is_a_sentence_and_no_name_is_logged(actions, kept, engine, caplog):
    engine.error = None
    actions.accept([uploaded(kept, None, "secret_wedding.png")], request())
    engine.restore = lambda tiles, model: raise_(KeyError("secret_wedding.png"))
    with caplog.at_level(logging.DEBUG):
        state = restore(actions)[-1][0]
    assert "Something went wrong (KeyError)" in state
    assert "test_layout.py" in caplog.text and "secret_wedding" not in caplog.text


def test_nothing_that_is_logged_names_a_photo(actions, kept, caplog):
    file = io.BytesIO()
    Image.new("CMYK", (20, 20)).save(file, "TIFF", compression="raw")
    with caplog.at_level(logging.DEBUG):
        actions.accept([uploaded(kept, file.getvalue(), "secret_wedding.tif")], request())
        restore(actions)
        actions.accept([uploaded(kept, b"x", "secret_wedding.jpg")], request())
        restore(actions)
    # The notice about CMYK was logged, without a name.
    assert "CMYK" in caplog.text and "secret_wedding" not in caplog.text


def test_markup_in_a_file_name_is_text_in_the_page(actions, kept):
    actions.accept([uploaded(kept, b"x", "<img src=x onerror=alert(1)>.png")] * 1, request())
    actions.accept([uploaded(kept, b"x", "<b>a.png"), uploaded(kept, b"y", "<b>b.png")], request())
    state = restore(actions)[-1][0]
    assert "<b>" not in state and "&lt;b&gt;a.png" in state


# Over HTTP.


@contextlib.contextmanager
def served(kept, engine, settings=None, **options):
    page = app.build_app(pipeline.Restorer(engine), kept, settings)
    try:
        yield page_server.launch(
            page, kept, examples=app.EXAMPLES, max_upload=200_000, server_port=None, **options
        ).rstrip("/")
    finally:
        page.close(verbose=False)


#: Hosts that something in this process connected to while it was asked to keep watch.
_watched = None


def _watch(name, arguments):
    if _watched is None:
        return
    if name == "socket.connect" and isinstance(arguments[1], tuple):
        _watched.append(arguments[1][0])
    elif name == "socket.getaddrinfo":
        _watched.append(arguments[0])


sys.addaudithook(_watch)


@pytest.fixture
def hosts():
    """Hosts that this process connects to or looks up, as text."""
    global _watched
    _watched = []
    yield _watched
    _watched = None


def local(hosts):
    names = {host.decode() if isinstance(host, bytes) else host for host in hosts}
    return names <= {"127.0.0.1", "localhost", "0.0.0.0", "::1", None}


def test_programs_restore_a_file_and_nothing_is_left(
    kept, engine, tmp_path, hosts, caplog, monkeypatch
):
    # Errands of the client's own, which shares this process; the page's are what is tested.
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setattr(gradio_client.client, "build_hf_headers", lambda **_: {})
    source = tmp_path / "secret wedding.png"
    source.write_bytes(png())
    with caplog.at_level(logging.DEBUG, logger="keras_refocus"), served(kept, engine) as url:
        client = gradio_client.Client(
            url, verbose=False, download_files=str(tmp_path / "got"), analytics_enabled=False
        )
        assert client.predict(api_name="/models") == {"restorer": "1"}
        path, details = client.predict(
            photo=gradio_client.handle_file(source), strength=0.5, api_name="/restore"
        )
        assert pathlib.Path(path).name == "secret wedding_restored.png"
        assert images.read(path).rgb.shape == (30, 40, 3)
        assert details["Detected"] == "a colour photo" and details["Metadata"] == "removed"
        assert is_empty(kept)

        with pytest.raises(Exception, match="colorizer"):
            client.predict(
                photo=gradio_client.handle_file(source), mode="colorize", api_name="/restore"
            )
        source.write_bytes(b"no picture")
        with pytest.raises(Exception, match="none of these"):
            client.predict(photo=gradio_client.handle_file(source), api_name="/restore")
        assert is_empty(kept)
    # All of it without asking any other host for anything.
    assert hosts and local(hosts), set(hosts)
    assert "secret" not in caplog.text


def test_routes_headers_and_limits(kept, engine):
    with served(kept, engine) as url:
        page = httpx.get(url)
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "http" not in policy
        assert page.headers["referrer-policy"] == "no-referrer"

        session = kept.of("a")
        session.use([uploaded(kept)])
        token, path = session.new_file(".png", "übung.png", pictures=session.pictures)
        path.write_bytes(b"result")
        assert httpx.get(f"{url}/pictures/wrong").status_code == 404
        assert httpx.head(f"{url}/pictures/{token}").status_code == 200  # And deletes nothing.
        answer = httpx.get(f"{url}/pictures/{token}")
        assert answer.content == b"result"
        assert answer.headers["cache-control"] == "no-store"
        assert "attachment" in answer.headers["content-disposition"]
        assert "%C3%BCbung.png" in answer.headers["content-disposition"]
        # Fetched, hence deleted.
        assert httpx.get(f"{url}/pictures/{token}").status_code == 404
        assert not session.pictures

        assert httpx.get(f"{url}/examples/coffee.jpg").status_code == 200
        for path in ("examples/..%2Fpage.js", "examples/none.jpg", "pictures/..%2F..%2Fx"):
            assert httpx.get(f"{url}/{path}").status_code == 404, path
        # Gradio would fetch from elsewhere, and serve files it should not.
        for path in ("file=http://example.com/a.png", "proxy=http://example.com/"):
            assert httpx.get(f"{url}/gradio_api/{path}").status_code == 404, path
        for path in (__file__, "/etc/hostname"):
            assert httpx.get(f"{url}/gradio_api/file={path}").status_code in (403, 404), path

        files = {"files": ("big.png", bytes(300_000))}
        answer = httpx.post(f"{url}/gradio_api/upload", files=files)
        assert answer.status_code == 413 and "maximum allowed size" in answer.text
        assert is_empty(kept)


def test_users_and_passwords(kept, engine):
    with served(kept, engine, auth=[("me", "secret")]) as url:
        assert httpx.get(f"{url}/config").status_code == 401
        assert httpx.get(f"{url}/gradio_api/info").status_code == 401
        answer = httpx.post(f"{url}/login", data={"username": "me", "password": "secret"})
        assert answer.status_code == 200
        assert httpx.get(f"{url}/config", cookies=answer.cookies).status_code == 200


def test_uploads_must_go_to_the_private_folder(kept, engine, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(RuntimeError, match="GRADIO_TEMP_DIR"):
        app.build_app(pipeline.Restorer(engine), kept)


def test_examples_are_pictures_with_a_title_and_a_credit():
    entries = json.loads((app.EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    assert len(entries) >= 4
    for entry in entries:
        assert images.read(app.EXAMPLES / entry["file"]).width >= 300
        assert entry["title"] and ("CC0" in entry["credit"] or "public domain" in entry["credit"])
