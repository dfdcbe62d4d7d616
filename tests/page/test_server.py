"""The page over HTTP: uploads, pictures, headers, the login, proxies, and programs."""

import contextlib
import io
import json
import logging
import os
import pathlib
import re
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import gradio_client
import httpx
import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page import finishing, layout, sessions
from keras_refocus.page import server as page_server
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline


def png(seed=0):
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    pixels = (60 + 80 * rng.random((30, 40, 3))).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Served:
    """A page under way: its address, what it keeps and what works for it."""

    def __init__(self, engine=None, settings=None, **options):
        self.engine = engine or ArithmeticEngine()
        self._settings, self._options = settings, options

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        self.kept = self._stack.enter_context(sessions.Sessions())
        patch.setenv("GRADIO_TEMP_DIR", str(self.kept.uploads))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        page, actions = layout.build_app(pipeline.Restorer(self.engine), self.kept, self._settings)
        self._stack.callback(lambda: page.close(verbose=False))
        self.url = page_server.launch(
            page, actions, self.kept, examples=layout.EXAMPLES, max_upload=200_000, **self._options
        ).rstrip("/")
        return self

    def __exit__(self, *_):
        self._stack.close()

    def upload(self, content, name="a.png", visitor="a", **options):
        return httpx.post(
            f"{self.url}/uploads/{self.kept.door(visitor)}",
            content=content,
            headers={"x-name": name, **options.pop("headers", {})},
            **options,
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("page")))
        with Served() as served:
            yield served


@pytest.fixture(autouse=True)
def _nobody(request):
    """Let each test begin with nobody's photos."""
    yield
    if "served" in request.fixturenames:
        served = request.getfixturevalue("served")
        served.engine.hold = lambda: None
        for visitor in list(served.kept._sessions):
            served.kept.end(visitor)


def is_empty(kept):
    """Whether no file is left, once what is deleted after an answer is deleted."""
    deadline = time.monotonic() + 10
    while any(files for _, _, files in os.walk(kept.folder)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# Uploads.


def test_uploads_of_the_page_are_checked_when_they_arrive(served):
    answer = served.upload(png(), "..%5C..%5Cm%C3%BCll.png").json()
    assert answer["name"] == "müll.png"
    assert served.kept.of("a").picture(answer["id"]).upload.read_bytes() == png()
    refused = served.upload(b"%PDF-1.7 and so on", "a.jpg")
    assert refused.status_code == 415 and "a PDF document" in refused.json()["error"]
    german = served.upload(b"%PDF-1.7", "a.jpg", headers={"accept-language": "de"})
    assert "ein PDF-Dokument" in german.json()["error"]
    assert "macOS" in served.upload(png(), "._a.jpg").json()["error"]
    files = [path for path in served.kept.folder.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert httpx.post(f"{served.url}/uploads/wrong", content=png()).status_code == 404


def test_likely_colours_are_for_whose_photo_it_is(served):
    assert httpx.get(f"{served.url}/suggestions/wrong?x=1&y=2").status_code == 404
    door = served.kept.door("a")
    served.kept.of("a")
    assert httpx.get(f"{served.url}/suggestions/{door}?x=one&y=2").status_code == 404
    answer = httpx.get(f"{served.url}/suggestions/{door}?picture=none&x=1&y=2")
    assert answer.json() == {"colors": []}


def test_a_place_in_full_is_for_whose_photo_it_is(served):
    answer = served.upload(png()).json()
    session, door = served.kept.of("a"), served.kept.door("a")
    asked = {"picture": answer["id"], "side": "after", "box": "5,6,20,10", "width": "20"}

    def closeup(door=door, **changes):
        return httpx.get(f"{served.url}/closeups/{door}", params=asked | changes)

    assert closeup().status_code == 404  # There is no result yet.
    picture = session.picture(answer["id"])
    picture.result = pipeline.Restorer(served.engine).restore(
        picture.upload.read_bytes(), keep_stages=True
    )
    for side, pixels in (("before", images.read(png()).rgb), ("after", picture.result.image)):
        seen = closeup(side=side)
        assert seen.headers["cache-control"] == "no-store"
        np.testing.assert_array_equal(images.read(seen.content).rgb, pixels[6:16, 5:25])
    wrong = [
        {"door": "wrong"}, {"picture": "x"}, {"box": "1,2,3"}, {"box": "9,9,0,0"},
        {"width": "wide"}, {"door": served.kept.door("b")},
    ]  # fmt: skip
    assert [closeup(**changes).status_code for changes in wrong] == [404] * len(wrong)
    # Where a face may be, the preview has to do.
    session.finish = finishing.Finish(blur_faces=True)
    assert closeup().status_code == 204 and not closeup().content


def test_too_many_bytes_are_refused_whether_announced_or_not(served):
    announced = served.upload(bytes(300_000))
    assert announced.status_code == 413
    assert "up to 200 kB" in announced.json()["error"] or "0.2 MB" in announced.json()["error"]

    def chunks():
        for _ in range(30):
            yield bytes(10_000)

    secret = served.upload(chunks())
    assert secret.status_code == 415 and "--max-upload-mb" in secret.json()["error"]
    assert is_empty(served.kept)


def test_how_things_stand_and_more_time(served):
    door = served.kept.door("a")
    where = f"{served.url}/standing/{door}"
    nothing = {"left": None, "working": False, "pictures": {}}
    assert httpx.get(where).json() == nothing
    assert httpx.get(f"{served.url}/standing/wrong").json() == nothing
    picture = served.upload(png()).json()["id"]
    session = served.kept.of("a")
    session.expires -= 570
    standing = httpx.get(where).json()
    assert 20 < standing["left"] <= 30 and standing["pictures"] == {picture: "new"}
    assert httpx.post(where).json()["left"] > 590


# Pictures and headers.


def test_routes_headers_and_limits(served):
    page = httpx.get(served.url)
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"

    session = served.kept.of("a")
    token, path = session.new_file(".png")
    path.write_bytes(b"preview")
    answer = httpx.get(f"{served.url}/pictures/{token}")
    assert answer.content == b"preview" and "content-disposition" not in answer.headers
    assert httpx.get(f"{served.url}/pictures/wrong").status_code == 404

    assert httpx.get(f"{served.url}/examples/coffee.jpg").status_code == 200
    for path in ("examples/..%2Fpage.js", "examples/none.jpg", "pictures/..%2F..%2Fx"):
        assert httpx.get(f"{served.url}/{path}").status_code == 404, path
    # Gradio would fetch from elsewhere, and serve files it should not.
    for path in ("file=http://example.com/a.png", "proxy=http://example.com/"):
        assert httpx.get(f"{served.url}/gradio_api/{path}").status_code == 404, path
    for path in (__file__, "/etc/hostname"):
        assert httpx.get(f"{served.url}/gradio_api/file={path}").status_code in (403, 404), path

    files = {"files": ("big.png", bytes(300_000))}
    answer = httpx.post(f"{served.url}/gradio_api/upload", files=files)
    assert answer.status_code == 413 and "maximum allowed size" in answer.text


def test_nothing_but_what_everybody_gets_is_stored_by_browsers(served):
    for path in ("", "config", "gradio_api/info", "standing/x", "pictures/x", "login_check"):
        answer = httpx.get(f"{served.url}/{path}")
        assert answer.headers["cache-control"] == "no-store", path
    assert "no-store" not in httpx.get(f"{served.url}/examples/cat.jpg").headers.values()


def test_the_page_has_its_title_language_and_sentences_before_anything_else(served):
    text = httpx.get(served.url).text
    head = text[: text.index("<meta")]
    assert "<title>Refocus</title>" in head and "documentElement.lang" in head
    table = json.loads(re.search(r"const words = (\{.*\});\n", head)[1])
    assert "10 minutes after" in table["en"]["privacy"]
    assert "Fotos wählen" in table["de"]["add"]
    assert len(text.encode()) == int(httpx.get(served.url).headers["content-length"])


def test_a_download_is_made_fetched_once_and_deleted(served):
    from keras_refocus.page import finishing
    from keras_refocus.page.words import Words

    served.upload(png(), "%C3%BCbung.png")
    session = served.kept.of("a")
    (picture,) = session.pictures
    picture.result = pipeline.Restorer(served.engine).restore(
        images.read(picture.upload), keep_stages=True
    )
    session.finish = finishing.Finish()
    finishing.offer(session, picture)
    address = f"{served.url}/pictures/{picture.download}"
    assert httpx.head(address).status_code == 200  # And deletes nothing.
    assert picture.written is None
    answer = httpx.get(address)
    assert Image.open(io.BytesIO(answer.content)).size == (40, 30)
    assert "attachment" in answer.headers["content-disposition"]
    assert "%C3%BCbung_restored.png" in answer.headers["content-disposition"]
    # Fetched, hence deleted.
    assert is_empty(served.kept) and httpx.get(address).status_code == 404
    # What cannot be made is a sentence.
    served.upload(png())
    (picture,) = session.pictures
    picture.result = pipeline.Restorer(served.engine).restore(
        images.read(picture.upload), keep_stages=True
    )
    session.finish = finishing.Finish(strength=7.0)
    finishing.offer(session, picture)
    answer = httpx.get(
        f"{served.url}/pictures/{picture.download}", headers={"accept-language": "de"}
    )
    assert answer.status_code == 500 and "strength must be 0 to 1" in answer.text
    assert Words("de").say("gone") not in answer.text


# Who may come in.


def test_users_and_passwords(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Served(auth=[("me", "secret")]) as served:
        url = served.url
        assert httpx.get(f"{url}/config").status_code == 401
        assert httpx.get(f"{url}/gradio_api/info").status_code == 401
        # The login has a title, and what it lets nobody do is ours to keep, too.
        assert "<title>Refocus</title>" in httpx.get(url).text
        session = served.kept.of("a")
        token, path = session.new_file(".png")
        path.write_bytes(b"preview")
        door = served.kept.door("a")
        for path in (f"pictures/{token}", f"standing/{door}"):
            assert httpx.get(f"{url}/{path}").status_code == 401, path
        assert httpx.post(f"{url}/uploads/{door}", content=png()).status_code == 401
        answer = httpx.post(f"{url}/login", data={"username": "me", "password": "secret"})
        assert answer.status_code == 200
        cookies = {name: value for name, value in answer.cookies.items()}
        with httpx.Client(cookies=cookies) as client:
            assert client.get(f"{url}/config").status_code == 200
            assert client.get(f"{url}/pictures/{token}").content == b"preview"
            assert client.post(f"{url}/uploads/{door}", content=png()).status_code == 200
            client.get(f"{url}/logout")
            client.cookies.update(cookies)
            assert client.get(f"{url}/pictures/{token}").status_code == 401


@pytest.mark.parametrize("strips", [False, True])
def test_behind_a_proxy_under_a_path(monkeypatch, tmp_path, strips):
    """What a browser is given leads through the proxy, whether that strips the path or not."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Served(root_path="/photos") as served:

        def ask(method, path, **options):
            # What a proxy does with a request for /photos/...
            to = path.removeprefix("/photos") if strips else path
            headers = {"host": "example.org", **options.pop("headers", {})}
            return httpx.request(method, served.url + to, headers=headers, **options)

        page = ask("GET", "/photos/")
        config = json.loads(re.search(r"window.gradio_config = (\{.*?\});</script>", page.text)[1])
        assert config["root"].endswith("/photos")
        assert page.headers["cache-control"] == "no-store" and "<title>Refocus" in page.text
        door = served.kept.door("a")
        assert ask("POST", f"/photos/uploads/{door}", content=png()).status_code == 200
        assert ask("GET", f"/photos/standing/{door}").json()["pictures"]
        assert ask("GET", "/photos/examples/cat.jpg").status_code == 200
        assert ask("GET", "/photos/gradio_api/proxy=http://x/").status_code == 404
        script = re.search(r'src="\./(assets/[^"]+\.js)"', page.text)[1]
        assert ask("GET", f"/photos/{script}").status_code == 200


# Programs.

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


def client_of(served, tmp_path, monkeypatch):
    # Errands of the client's own, which shares this process; the page's are what is tested.
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setattr(gradio_client.client, "build_hf_headers", lambda **_: {})
    return gradio_client.Client(
        served.url, verbose=False, download_files=str(tmp_path / "got"), analytics_enabled=False
    )


def test_programs_restore_a_file_and_nothing_is_left(served, tmp_path, hosts, caplog, monkeypatch):
    source = tmp_path / "secret wedding.png"
    source.write_bytes(png())
    with caplog.at_level(logging.DEBUG, logger="keras_refocus"):
        client = client_of(served, tmp_path, monkeypatch)
        assert client.predict(api_name="/models") == {"restorer": "1"}
        path, details = client.predict(
            photo=gradio_client.handle_file(source), strength=0.5, api_name="/restore"
        )
        assert pathlib.Path(path).name == "secret wedding_restored.png"
        assert images.read(path).rgb.shape == (30, 40, 3)
        assert details["Detected"] == "a colour photo" and details["Metadata"] == "removed"
        assert is_empty(served.kept)

        with pytest.raises(Exception, match="colorizer"):
            client.predict(
                photo=gradio_client.handle_file(source), mode="colorize", api_name="/restore"
            )
        source.write_bytes(b"no picture")
        with pytest.raises(Exception, match="a text"):
            client.predict(photo=gradio_client.handle_file(source), api_name="/restore")
        assert is_empty(served.kept)
    # All of it without asking any other host for anything.
    assert hosts and local(hosts), set(hosts)
    assert "secret" not in caplog.text


def test_eight_programs_send_the_same_picture_at_once(served, tmp_path, monkeypatch):
    source = tmp_path / "same.png"
    source.write_bytes(png())
    client = client_of(served, tmp_path, monkeypatch)
    served.engine.hold = lambda: time.sleep(0.05)
    together = threading.Barrier(8)

    def one(number):
        together.wait(10)
        path, _ = client.predict(photo=gradio_client.handle_file(source), api_name="/restore")
        return images.read(path).width

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(8))) == [40] * 8
    assert is_empty(served.kept)


def test_malformed_requests_end_in_a_sentence_and_log_nothing(served, capfd, caplog):
    files = {"files": ("secret_wedding.png", png())}
    (path,) = httpx.post(f"{served.url}/gradio_api/upload", files=files).json()
    for data in (
        [],
        [{"path": "/etc/passwd"}],
        [{"path": "secret_wedding.png", "meta": {"_type": "gradio.FileData"}}],
        ["secret_wedding.png"],
        "secret_wedding",
        [{"path": ["secret_wedding"]}],
        [{"path": path, "meta": {}}, *[{}] * 20],
    ):
        asked = httpx.post(f"{served.url}/gradio_api/call/restore", json={"data": data})
        said = asked.text
        if asked.status_code == 200:
            event = asked.json()["event_id"]
            said = httpx.get(f"{served.url}/gradio_api/call/restore/{event}", timeout=20).text
        assert ("error" in said or asked.status_code == 422) and "Traceback" not in said
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "secret_wedding" not in logged and "Traceback" not in logged
