"""The web page in a real browser: Debian's Chromium, driven by Playwright, without internet access.

Screenshots are written to `build/screenshots`.
"""

import contextlib
import io
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile

import httpx
import numpy as np
import pytest
import tiny_models
from PIL import Image

from keras_refocus.page import layout as app
from keras_refocus.page import server as page_server
from keras_refocus.page import sessions
from keras_refocus.pictures import color, grayscale, images, provenance
from keras_refocus.restoration import pipeline

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
PORTRAIT = ROOT / "tests" / "pictures" / "astronaut_face.jpg"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a moving pattern, and asks nobody.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        reason = "Chromium is not installed: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_models.write_models(tmp_path_factory.mktemp("models"))


class Page:
    """The page under test, served by this process."""

    def __init__(self, engine):
        self._engine = engine

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        self.kept = self._stack.enter_context(sessions.Sessions())
        patch.setenv("GRADIO_TEMP_DIR", str(self.kept.uploads))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        restorer = self._stack.enter_context(pipeline.Restorer(self._engine))
        self.blocks = app.build_app(restorer, self.kept)
        self._stack.callback(lambda: self.blocks.close(verbose=False))
        self.url = page_server.launch(
            self.blocks, self.kept, examples=app.EXAMPLES, max_upload=3_000_000
        ).rstrip("/")
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def files(self):
        """What is kept; Gradio leaves empty files of random names, which are swept later."""
        found = [
            pathlib.Path(folder, name)
            for folder, _, names in os.walk(self.kept.folder)
            for name in names
        ]
        return [path for path in found if path.exists() and path.stat().st_size]

    def forget(self):
        """Let the next test begin with nobody's photos."""
        for visitor in list(self.kept._sessions):
            self.kept.end(visitor)


@pytest.fixture(scope="module")
def served(models, browser):
    with Page(models) as served:
        yield served


@pytest.fixture
def visit(browser, served):
    """Opens the page as another visitor each time; in the end nothing was asked of other hosts."""
    requests, problems, contexts = [], [], []

    def visit(url=None, **options):
        url = url or served.url
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda said: problems.append(said.text) if "Content Security" in said.text else None,
        )
        page.goto(url)
        page.get_by_role("button", name="Restore", exact=True).wait_for()
        # What is on offer has arrived.
        page.wait_for_timeout(500)
        return page

    yield visit
    for context in contexts:
        context.close()
    served.forget()
    outside = [
        url
        for url in requests
        if not url.startswith(("data:", "blob:")) and httpx.URL(url).host != "127.0.0.1"
    ]
    assert not outside and not problems


def content(rgb, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format, **options)
    return file.getvalue()


def colorful(size=(120, 180), seed=0):
    rng = np.random.default_rng(seed)
    small = (60 + 120 * rng.random((6, 9, 3))).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], Image.BICUBIC))


def upload(page, *files):
    """Choose `(name, content)` files."""
    page.set_input_files(
        "#photos input[type=file]",
        [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files],
    )
    ready(page, "ready. Press Restore")


def ready(page, text):
    page.locator("#status").get_by_text(re.compile(text)).first.wait_for()


def restore(page):
    """Restore, and wait until the result is what the comparison shows."""
    old = page.locator(".rf-after img").get_attribute("src")
    page.get_by_role("button", name="Restore", exact=True).click()
    ready(page, "Done|restored")
    shown_anew(page, old)
    page.locator(".rf-shown img").nth(1).wait_for()


def preview(page, side):
    """Pixels of one side of the comparison."""
    # The page may say that it is done a moment before it shows the picture.
    address = page.locator(f".rf-{side} img[src]").get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(page.request.get(address).body())).convert("RGB"))


def shown_after(page, change):
    """Make a change and wait until the comparison shows another picture; gives its pixels."""
    old = page.locator(".rf-after img").get_attribute("src")
    change()
    shown_anew(page, old)
    return preview(page, "after")


def shown_anew(page, old):
    """Wait until the comparison shows another result than that of the address `old`."""
    page.wait_for_function(
        """old => {
            const shown = document.querySelector('.rf-after img').getAttribute('src');
            return shown && shown !== old;
        }""",
        arg=old,
    )


def download(page, name="Download"):
    button = page.locator(".rf-download", has_text=re.compile(f"^{name}(?! all)"))
    with page.expect_download() as started:
        button.first.click()
    file = started.value
    return file.suggested_filename, pathlib.Path(file.path()).read_bytes()


def set_slider(page, label, value):
    field = page.get_by_label(f"number input for {label}")
    field.fill(str(value))
    field.press("Tab")


def screenshot(page, name, **options):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)


def exif():
    metadata = Image.Exif()
    metadata[0x010F] = "Camera of mine"
    metadata[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return metadata


def test_from_upload_to_a_download_that_leaves_nothing_behind(visit, served):
    page = visit()
    source = colorful()
    upload(page, ("holiday.jpg", content(source, "JPEG", quality=95, exif=exif())))
    restore(page)
    ready(page, "Detected: a colour photo")
    before, after = preview(page, "before"), preview(page, "after")
    # The stand-in halves luminance.
    assert color.rgb_to_luminance(after).mean() == pytest.approx(
        color.rgb_to_luminance(before).mean() / 2, abs=0.01
    )
    screenshot(page, "restored", full_page=True)
    address = page.locator(".rf-after img").get_attribute("src")
    chosen = page.locator("#photos").get_by_text("holiday").first
    chosen.wait_for()
    name, data = download(page)
    assert name == "holiday_restored.jpg"
    photo = images.read(data)
    assert photo.format == "JPEG" and photo.metadata == b"" and photo.rgb.shape == source.shape
    assert b"Camera of mine" not in data and b"Exif" not in data
    ready(page, "have been deleted here")
    assert not served.files
    assert page.request.get(address).status == 404
    # The page still shows what the browser holds, and can go on once its list is empty.
    assert page.locator(".rf-after img").is_visible()
    chosen.wait_for(state="detached")
    upload(page, ("next.png", content(colorful(seed=1))))
    restore(page)


def test_metadata_is_kept_on_request_but_not_the_place(visit):
    page = visit()
    upload(page, ("a.jpg", content(colorful(), "JPEG", exif=exif())))
    restore(page)
    page.get_by_label("Delete after download").uncheck()
    shown_after(page, page.get_by_label("Remove metadata").uncheck)
    page.locator(".rf-download").wait_for()
    _, data = download(page)
    kept = Image.open(io.BytesIO(data)).getexif()
    assert kept[0x010F] == "Camera of mine" and not kept.get_ifd(0x8825)
    ready(page, "It is kept here until 10 minutes")


def test_slider_side_by_side_and_zoom(visit):
    page = visit()
    upload(page, ("a.png", content(colorful((300, 500)))))
    restore(page)
    after = page.locator(".rf-after")

    def clip():
        return float(re.search(r"([\d.]+)%", after.evaluate("e => e.style.clipPath"))[1])

    assert clip() == 50
    divider = page.get_by_label("Position of the dividing line")
    divider.focus()
    page.keyboard.press("End")
    assert clip() == 100
    page.keyboard.press("Home")
    assert clip() == 0
    box = page.locator(".rf-panes").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 50)
    page.mouse.up()
    assert clip() == pytest.approx(25, abs=1)

    def transforms():
        read = "e => e.style.transform + e.style.width"
        return [page.locator(f".rf-{side} img").evaluate(read) for side in ("before", "after")]

    page.get_by_role("button", name="Side by side").click()
    assert after.evaluate("e => e.style.clipPath") == "" and not divider.is_visible()
    left, right = (page.locator(f".rf-{side}").bounding_box() for side in ("before", "after"))
    assert left["x"] + left["width"] <= right["x"] and left["y"] == right["y"]
    page.get_by_role("button", name="Zoom to pixels").click()
    assert page.locator(".rf-scale").inner_text() == "100%"
    assert page.locator(".rf-after img").evaluate("e => e.style.width") == "500px"
    one = transforms()
    page.locator(".rf-panes").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    other = transforms()
    assert one[0] == one[1] and other[0] == other[1] and one != other
    page.get_by_role("button", name="Fit").click()
    page.get_by_role("button", name="Slider").click()
    assert divider.is_visible() and clip() == pytest.approx(25, abs=1)


def test_strength_and_saturation_change_the_result_without_pressing_anything(visit):
    page = visit()
    upload(page, ("a.png", content(colorful())))
    restore(page)
    weak = shown_after(page, lambda: set_slider(page, "Deblur strength", 0))
    np.testing.assert_array_equal(weak, preview(page, "before"))
    pale = shown_after(page, lambda: set_slider(page, "Saturation", 0))
    assert grayscale.is_grayscale(pale)


def test_modes(visit):
    page = visit()
    gray = np.repeat(colorful()[..., :1], 3, axis=-1)
    upload(page, ("gray.png", content(gray)))
    # The careful one comes first.
    assert page.get_by_label("Restore only").is_checked()
    restore(page)
    ready(page, "Detected: a grey photo")
    assert grayscale.is_grayscale(preview(page, "after"))
    page.get_by_label("Restore + Colorize").check()
    ready(page, "Press Restore to apply")
    restore(page)
    ready(page, "coloured")
    # The stand-in's colour is a single tint.
    assert np.ptp(preview(page, "after").astype(int), axis=-1).mean() > 5
    marked = shown_after(page, page.get_by_label("Mark as colourised").check)
    assert marked[-5:].std() > 0
    _, data = download(page)
    assert provenance.COLOURISED.encode() in data
    ready(page, "have been deleted here")
    # A colour photo keeps its own colours, unless they are to be guessed anew.
    upload(page, ("color.png", content(colorful())))
    restore(page)
    ready(page, "its own colours kept")
    assert "coloured" not in page.locator("#status").inner_text()
    page.get_by_label("Always colorize").check()
    ready(page, "Press Restore to apply")
    restore(page)
    ready(page, "coloured")


def test_faces_are_blurred_on_the_page_and_in_the_download(visit):
    page = visit()
    upload(page, ("portrait.jpg", PORTRAIT.read_bytes()))
    # It is the page of one person on one machine: off by default.
    assert not page.get_by_label("Blur faces").is_checked()
    restore(page)
    before, after = preview(page, "before"), preview(page, "after")
    blurred = shown_after(page, page.get_by_label("Blur faces").check)
    page.locator("#details").get_by_text("1 face found and blurred").wait_for()
    face = np.s_[80:140, 60:120]

    def detail(rgb):
        return np.abs(np.diff(rgb[face].astype(float), axis=1)).mean()

    assert detail(blurred) < 0.4 * detail(after)
    assert detail(preview(page, "before")) < 0.4 * detail(before)
    page.locator(".rf-download").wait_for()
    _, data = download(page)
    assert detail(images.read(data).rgb) < 0.5 * detail(after)


def test_a_batch_is_looked_through_and_fetched_as_a_zip(visit, served):
    page = visit()
    upload(
        page,
        *((f"{number}.png", content(colorful(seed=number))) for number in range(2)),
        ("broken.png", b"MZ no picture at all"),
    )
    page.get_by_role("button", name="Restore", exact=True).click()
    # The bad one is named, and the others are done.
    page.locator("#status").get_by_text("broken.png: The file must be").wait_for()
    first = preview(page, "after")
    page.get_by_label("Photo", exact=True).click()
    second = shown_after(page, lambda: page.get_by_role("option", name="2. 1.png").click())
    assert (first != second).any()
    with page.expect_download() as started:
        page.locator(".rf-download", has_text="Download all").click()
    with zipfile.ZipFile(started.value.path()) as archived:
        assert archived.namelist() == ["0_restored.png", "1_restored.png"]
    ready(page, "have been deleted here")
    # Of the one that could not be restored the upload is left, until it is removed.
    page.get_by_label("Clear").click()
    ready(page, "deleted")
    assert not served.files


HAND_OVER = """([how, bytes]) => {
    const transfer = new DataTransfer();
    const file = new File([new Uint8Array(bytes)], `${how}.png`, {type: 'image/png'});
    transfer.items.add(file);
    const options = {bubbles: true, cancelable: true};
    if (how === 'paste') {
        const event = new ClipboardEvent(how, {...options, clipboardData: transfer});
        document.body.dispatchEvent(event);
    } else {
        const event = new DragEvent(how, {...options, dataTransfer: transfer});
        document.querySelector('#photos [aria-dropeffect]').dispatchEvent(event);
    }
}"""


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_photos_can_be_pasted_and_dropped(visit, how):
    page = visit()
    page.evaluate(HAND_OVER, [how, list(content(colorful()))])
    ready(page, "1 photo is ready")
    assert page.locator("#photos").get_by_text(how, exact=True).is_visible()


def test_a_photo_is_taken_with_the_camera(visit):
    page = visit(permissions=["camera"])
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_text("Click to Access Webcam").click()
    # Before its first frame there is nothing to capture, and the click is lost.
    page.wait_for_function(
        "[...document.querySelectorAll('video')].some(video => video.videoWidth && !video.paused)"
    )
    page.get_by_label("capture photo").click()
    ready(page, "1 photo is ready")
    restore(page)
    assert preview(page, "after").std() > 0


def test_the_photos_of_a_phone_are_taken(visit):
    heif = pytest.importorskip("pillow_heif")
    page = visit()
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(colorful())).save(file, quality=90)
    upload(page, ("IMG_0001.HEIC", file.getvalue()))
    restore(page)
    assert np.abs(preview(page, "before").astype(int) - colorful()).mean() < 8
    # It is not written; what comes back says so and is lossless.
    assert "HEIC cannot be written" in page.locator("#details").inner_text()
    assert download(page)[0] == "IMG_0001_restored.png"


def test_one_click_restores_an_example(visit):
    page = visit()
    page.get_by_role("button", name=re.compile("Cup of coffee")).click()
    ready(page, "Done")
    assert "CC0" in page.locator("#examples").inner_text()


@pytest.mark.parametrize(
    "name, data, said",
    [
        ("a.svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be a JPEG"),
        ("one.png", content(np.full((1, 1, 3), 90, np.uint8)), "Done"),
        ("../../../up.png", content(np.full((9, 9, 3), 90, np.uint8)), "Done"),
    ],
    ids=["svg", "one pixel", "path"],
)
def test_odd_files_end_in_words(visit, served, name, data, said):
    page = visit()
    upload(page, (name, data))
    page.get_by_role("button", name="Restore", exact=True).click()
    ready(page, said)
    assert "Traceback" not in page.inner_text("body")
    assert all(path.is_relative_to(served.kept.folder) for path in served.files)


def test_a_file_over_the_limit_is_refused_in_words(visit):
    page = visit()
    page.set_input_files(
        "#photos input[type=file]",
        [{"name": "big.png", "mimeType": "image/png", "buffer": bytes(4_000_000)}],
    )
    page.get_by_text("exceed the maximum allowed size").first.wait_for()


def test_two_visitors_at_once_see_their_own_photos(visit):
    pages = [visit(), visit()]
    for number, page in enumerate(pages):
        upload(page, (f"photo{number}.png", content(colorful(seed=number))))
    for page in pages:
        page.get_by_role("button", name="Restore", exact=True).click()
    for number, page in enumerate(pages):
        ready(page, "Done")
        np.testing.assert_array_equal(preview(page, "before"), colorful(seed=number))
        assert f"photo{1 - number}" not in page.content()
    # What one of them does leaves the other's alone.
    pages[0].get_by_label("Clear").click()
    ready(pages[0], "deleted")
    np.testing.assert_array_equal(preview(pages[1], "before"), colorful(seed=1))
    assert download(pages[1])[0] == "photo1_restored.png"


def test_a_phone_needs_no_sideways_scrolling(visit):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)

    def width():
        return page.evaluate(
            "Math.max(document.documentElement.scrollWidth, "
            "...[...document.querySelectorAll('#work *, #privacy *')]"
            ".filter(e => e.checkVisibility() && !e.closest('.rf-pane, .rf-line'))"
            ".map(e => e.getBoundingClientRect().right))"
        )

    assert width() <= 390
    upload(page, ("a_rather_long_name_for_a_photo_from_a_phone.png", content(colorful())))
    restore(page)
    assert width() <= 390
    screenshot(page, "phone", full_page=True)
    page.get_by_role("button", name="Side by side").tap()
    top, bottom = (page.locator(f".rf-{side}").bounding_box() for side in ("before", "after"))
    assert top["y"] + top["height"] <= bottom["y"]
    assert width() <= 390
    # What is pressed first, and what comes of it, is above what may be changed.
    order = [page.locator(place).bounding_box()["y"] for place in ("#start", "#viewer", "#options")]
    assert order == sorted(order)


CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length && (c.length < 4 || c[3] > 0.9)) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll('.gradio-container *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (e.closest(':disabled, .rf-pane')) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${e.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_contrast(visit, scheme):
    page = visit(color_scheme=scheme)
    page.get_by_role("button", name=re.compile("Cup of coffee")).click()
    ready(page, "Done")
    page.locator(".rf-download").wait_for()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 300) == (scheme == "dark")
    screenshot(page, scheme, full_page=True)
    assert page.evaluate(CONTRAST) == []


def test_the_keyboard_is_enough_and_every_control_has_a_name(visit):
    page = visit()
    upload(page, ("a.png", content(colorful())))
    page.get_by_role("button", name="Restore", exact=True).focus()
    page.keyboard.press("Enter")
    ready(page, "Done")
    page.locator(".rf-download").wait_for()
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(e => (e.getAttribute('aria-label') || (e.labels && e.labels[0] || e).innerText"
                " || '').trim().split(/\\s*\\n/)[0])(document.activeElement)"
            )
        )
    for name in ("Restore", "Cancel", "Slider", "Side by side", "Download", "Remove metadata"):
        assert name in reached, (name, reached)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea')]"
        ".filter(e => e.checkVisibility() && !e.getAttribute('aria-label') && !e.title"
        " && !(e.labels && [...e.labels].some(l => l.innerText.trim())) && !e.innerText.trim())"
        ".map(e => e.outerHTML.slice(0, 200))"
    )
    assert unnamed == []


def test_a_serving_that_is_gone_is_a_message(visit, browser):
    from keras_refocus.engines.serving import ServingEngine

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with Page(ServingEngine(f"grpc://{address}", connect_timeout=0.5)) as lonely:
        page = visit(lonely.url)
        page.locator("#status [role=alert]").get_by_text(re.compile(address)).wait_for()
        upload(page, ("a.png", content(colorful())))
        page.get_by_role("button", name="Restore", exact=True).click()
        page.locator("#status [role=alert]").get_by_text(re.compile(address)).wait_for()
        assert "Traceback" not in page.inner_text("body")


def test_the_command_serves_the_page_and_tidies_up_when_it_is_stopped(models, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "keras_refocus", "demo", "--models", str(models)]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
    )
    try:
        line = process.stdout.readline()
        assert line == f"The page is at http://127.0.0.1:{port}/. Press Ctrl+C to stop.\n"
        answer = httpx.post(
            f"http://127.0.0.1:{port}/gradio_api/upload",
            files={"files": ("secret_wedding.png", content(colorful()))},
            timeout=60,
        )
        assert answer.status_code == 200
        assert list(tmp_path.rglob("secret_wedding.png"))
        # From another address of this machine there is nothing.
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.2:{port}/")
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert not list(tmp_path.iterdir())
    assert "secret_wedding" not in output + errors and "Traceback" not in errors
