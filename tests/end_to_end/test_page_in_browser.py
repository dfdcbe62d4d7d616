"""The web page in a real browser: Debian's Chromium, driven by Playwright, without internet access.

Screenshots are written to `build/screenshots`.
"""

import base64
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile

import httpx
import numpy as np
import pytest
import tiny_clips
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page import finishing, layout, sessions
from keras_refocus.page import server as page_server
from keras_refocus.page.settings import AppSettings
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


def engine():
    return ArithmeticEngine("restorer", "colorizer", "mine")


class Page:
    """The page under test, served by this process."""

    def __init__(self, engine, **options):
        self.engine, self._options = engine, options

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        self.kept = self._stack.enter_context(sessions.Sessions())
        patch.setenv("GRADIO_TEMP_DIR", str(self.kept.uploads))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        restorer = self._stack.enter_context(pipeline.Restorer(self.engine))
        settings = AppSettings(max_upload=3_000_000, max_clip_seconds=20)
        page, actions = layout.build_app(restorer, self.kept, settings)
        self._stack.callback(lambda: page.close(verbose=False))
        self.url = page_server.launch(
            page,
            actions,
            self.kept,
            examples=layout.EXAMPLES,
            max_upload=settings.max_upload,
            max_clip=settings.max_clip_upload,
            **self._options,
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
def served(browser):
    with Page(engine()) as served:
        yield served


@pytest.fixture
def visit(browser, served):
    """Opens the page as another visitor each time; in the end nothing was asked of other hosts."""
    requests, problems, contexts = [], [], []

    def visit(url=None, *, button="Restore", **options):
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
        page.get_by_role("button", name=button, exact=True).wait_for()
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
    expect_entries(page, files)


def expect_entries(page, files):
    for name, _ in files:
        shown = pathlib.PurePosixPath(name).name
        page.locator(".rf-show", has_text=shown).first.wait_for()
    page.locator(".rf-arriving").first.wait_for(state="detached")


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
    address = page.evaluate("address => new URL(address, location.href).href", address)
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
    field = page.locator("#work").get_by_label(f"number input for {label}")
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
    # What was chosen is seen before anything is done.
    page.locator(".rf-alone .rf-before img").wait_for()
    restore(page)
    ready(page, "Detected: a colour photo")
    before, after = preview(page, "before"), preview(page, "after")
    # The stand-in halves luminance.
    assert color.rgb_to_luminance(after).mean() == pytest.approx(
        color.rgb_to_luminance(before).mean() / 2, abs=0.01
    )
    screenshot(page, "restored", full_page=True)
    address = page.locator(".rf-after img").get_attribute("src")
    name, data = download(page)
    assert name == "holiday_restored.jpg"
    photo = images.read(data)
    assert photo.format == "JPEG" and photo.metadata == b"" and photo.rgb.shape == source.shape
    assert b"Camera of mine" not in data and b"Exif" not in data
    ready(page, "have been deleted here")
    assert not served.files
    assert page.request.get(address).status == 404
    # The page still shows what the browser holds, and can go on: its list is empty.
    assert page.locator(".rf-after img").is_visible()
    page.locator(".rf-show").wait_for(state="detached")
    upload(page, ("next.png", content(colorful(seed=1))))
    restore(page)


def test_metadata_is_kept_on_request_but_not_the_place_and_a_second_download_works(visit):
    page = visit()
    upload(page, ("a.jpg", content(colorful(), "JPEG", exif=exif())))
    restore(page)
    page.locator("#work").get_by_label("Delete after download").uncheck()
    page.locator("#work").get_by_label("Remove metadata").uncheck()
    page.locator("#details").get_by_text("kept, but for the place").wait_for()
    for _ in range(2):
        _, data = download(page)
        kept = Image.open(io.BytesIO(data)).getexif()
        assert kept[0x010F] == "Camera of mine" and not kept.get_ifd(0x8825)
        ready(page, "It is kept here until 10 minutes")


def test_slider_side_by_side_zoom_and_holding_a_key(visit):
    page = visit()
    upload(page, ("a.png", content(colorful((300, 500)))))
    restore(page)
    after = page.locator(".rf-after")
    panes = page.locator(".rf-panes").bounding_box()

    def line():
        return page.locator("#work .rf-line").bounding_box()["x"] + 1 - panes["x"]

    def clip():
        return float(re.search(r"([\d.]+)px\)", after.evaluate("e => e.style.clipPath"))[1])

    assert line() == pytest.approx(panes["width"] / 2, abs=1) == clip()
    divider = page.locator("#work").get_by_label("Position of the dividing line")
    divider.focus()
    page.keyboard.press("End")
    assert clip() == pytest.approx(panes["width"], abs=1)
    page.keyboard.press("Home")
    assert clip() == pytest.approx(0, abs=1)
    page.mouse.move(panes["x"] + 5, panes["y"] + 50)
    page.mouse.down()
    page.mouse.move(panes["x"] + 0.25 * panes["width"], panes["y"] + 50)
    page.mouse.up()
    assert clip() == pytest.approx(0.25 * panes["width"], abs=2)
    # The knob of the range is under the line.
    knob = page.evaluate(
        "e => e.getBoundingClientRect().left + 8 + (e.clientWidth - 16) * e.value / 100",
        divider.element_handle(),
    )
    assert knob - panes["x"] == pytest.approx(line(), abs=2)

    def transforms():
        read = "e => e.style.transform + e.style.width"
        return [page.locator(f".rf-{side} img").evaluate(read) for side in ("before", "after")]

    page.locator(".rf-panes").focus()
    page.keyboard.down("b")
    assert after.evaluate("e => getComputedStyle(e).visibility") == "hidden"
    page.keyboard.up("b")
    assert after.evaluate("e => getComputedStyle(e).visibility") == "visible"
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
    assert divider.is_visible()


def test_settings_change_the_result_without_pressing_anything_and_two_can_be_compared(visit):
    page = visit()
    upload(page, ("a.png", content(colorful())))
    restore(page)
    full = preview(page, "after")
    page.get_by_role("button", name="Keep to compare").click()
    weak = shown_after(page, lambda: set_slider(page, "Deblur strength", 0))
    np.testing.assert_array_equal(weak, colorful())
    # On the left is what was kept, as it was.
    assert "strength 1" in page.locator(".rf-left").inner_text()
    kept = page.evaluate(
        "async address => [...new Uint8Array(await (await fetch(address)).arrayBuffer())]",
        page.locator(".rf-before img").get_attribute("src"),
    )
    pixels = np.asarray(Image.open(io.BytesIO(bytes(kept))).convert("RGB"))
    np.testing.assert_array_equal(pixels, full)
    page.get_by_role("button", name="Compare with the original").click()
    np.testing.assert_array_equal(preview(page, "before"), colorful())
    pale = shown_after(page, lambda: set_slider(page, "Saturation", 0))
    assert grayscale.is_grayscale(pale)


def test_modes_and_tabbing_past_the_model_changes_nothing(visit):
    page = visit()
    gray = np.repeat(colorful()[..., :1], 3, axis=-1)
    upload(page, ("gray.png", content(gray)))
    # The careful one comes first.
    assert page.get_by_label("Restore only").is_checked()
    restore(page)
    ready(page, "Detected: a grey photo")
    assert grayscale.is_grayscale(preview(page, "after"))
    model = page.get_by_label("Model", exact=True)
    chosen = model.input_value()
    model.focus()
    page.keyboard.press("Tab")
    assert model.input_value() == chosen and chosen.startswith("restorer: ")
    page.get_by_label("Restore + Colorize").check()
    ready(page, "Press Restore to apply")
    restore(page)
    ready(page, "coloured")
    # The stand-in's colour is a single tint.
    assert np.ptp(preview(page, "after").astype(int), axis=-1).mean() > 5
    marked = shown_after(page, page.get_by_label("Mark as colourised").check)
    assert marked[-5:].std() > 0
    page.locator(".rf-download").wait_for()
    _, data = download(page)
    assert provenance.COLOURISED.encode() in data
    ready(page, "have been deleted here")
    # A colour photo keeps its own colours, unless they are to be guessed anew.
    upload(page, ("color.png", content(colorful())))
    restore(page)
    ready(page, "its own colours kept")
    page.get_by_label("Always colorize").check()
    ready(page, "Press Restore to apply")
    restore(page)
    ready(page, "coloured")


def test_faces_are_blurred_on_the_page_and_in_the_download(visit):
    page = visit()
    upload(page, ("portrait.jpg", PORTRAIT.read_bytes()))
    # It is the page of one person on one machine: off by default.
    assert not page.locator("#work").get_by_label("Blur faces").is_checked()
    restore(page)
    before, after = preview(page, "before"), preview(page, "after")
    blurred = shown_after(page, page.locator("#work").get_by_label("Blur faces").check)
    page.locator("#details").get_by_text("1 face found and blurred").wait_for()
    face = np.s_[80:140, 60:120]

    def detail(rgb):
        return np.abs(np.diff(rgb[face].astype(float), axis=1)).mean()

    assert detail(blurred) < 0.4 * detail(after)
    assert detail(preview(page, "before")) < 0.4 * detail(before)
    page.locator(".rf-download").wait_for()
    _, data = download(page)
    assert detail(images.read(data).rgb) < 0.5 * detail(after)


def test_a_batch_with_bad_files_is_looked_through_and_fetched_as_a_zip(visit, served):
    page = visit()
    page.set_input_files(
        "#photos input[type=file]",
        [
            {"name": name, "mimeType": "image/png", "buffer": data}
            for name, data in (
                ("cut.png", content(colorful())[:-400]),
                ("._0.png", b"Mac OS X"),
                ("film.mp4", b"\0\0\0\x18ftypisom" + bytes(99)),
                ("big.png", bytes(4_000_000)),
                *((f"{number}.png", content(colorful(seed=number))) for number in range(2)),
            )
        ],
    )
    # Who is in a hurry need not wait for the uploads.
    page.get_by_role("button", name="Restore", exact=True).click()
    ready(page, "2 of 3 restored")
    page.locator("#status [role=alert]").get_by_text("cut.png: ").wait_for()
    refused = page.locator("#photos [role=alert]").inner_text()
    for said in (
        "macOS leaves",
        "This is a video. Choose it on the Video tab",
        "--max-upload-mb 4",
    ):
        assert said in refused
    # The first success is shown; the bad one is in its place in the list.
    page.locator(".rf-title", has_text="0.png").wait_for()
    states = page.locator(".rf-entry small").all_inner_texts()
    assert states == ["not restored", "restored", "restored"]
    first = preview(page, "after")
    second = shown_after(page, page.get_by_role("button", name="Next photo").click)
    assert (first != second).any()
    page.locator(".rf-panes").focus()
    shown_after(page, lambda: page.keyboard.press(","))
    screenshot(page, "batch", full_page=True)
    with page.expect_download() as started:
        page.locator(".rf-download", has_text="Download all").click()
    with zipfile.ZipFile(started.value.path()) as archived:
        names = ["0_restored.png", "1_restored.png", "report.json"]
        assert archived.namelist() == names
    ready(page, "Still here: 1 photo")
    # Of the one that could not be restored the upload is left, until it is removed.
    page.get_by_label("Remove cut.png").click()
    ready(page, "cut.png has been deleted")
    assert not served.files


def test_one_of_several_is_downloaded_and_the_view_stays(visit):
    page = visit()
    upload(page, *((f"{number}.png", content(colorful(seed=number))) for number in range(3)))
    restore(page)
    ready(page, "3 photos restored")
    shown = page.locator(".rf-after img").get_attribute("src")
    assert download(page)[0] == "0_restored.png"
    ready(page, "Still here: 2 photos")
    assert page.locator(".rf-after img").get_attribute("src") == shown
    assert page.locator(".rf-name").all_inner_texts() == ["1.png", "2.png"]


HAND_OVER = """([how, place, bytes]) => {
    const transfer = new DataTransfer();
    const file = new File([new Uint8Array(bytes)], `${how}.png`, {type: 'image/png'});
    transfer.items.add(file);
    const options = {bubbles: true, cancelable: true};
    const event = how === 'paste'
        ? new ClipboardEvent(how, {...options, clipboardData: transfer})
        : new DragEvent(how, {...options, dataTransfer: transfer});
    document.querySelector(place).dispatchEvent(event);
    return event.defaultPrevented;
}"""


def test_photos_can_be_pasted_and_dropped_anywhere_on_the_page(visit):
    page = visit()
    hand_overs = [
        ("paste", "body"),
        ("drop", "#privacy"),
        ("drop", ".rf-list"),
        ("drop", "#viewer"),
    ]
    for number, (how, place) in enumerate(hand_overs, 1):
        data = list(content(colorful(seed=number)))
        assert page.evaluate(HAND_OVER, [how, place, data])
        page.locator(".rf-show").nth(number - 1).wait_for()
    ready(page, "4 photos are ready")
    assert page.locator(".rf-name").all_inner_texts() == ["paste.png", *["drop.png"] * 3]
    # What else is dropped does not lead away either.
    assert (
        page.evaluate(
            "document.body.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true}))"
        )
        is False
    )
    assert page.get_by_role("button", name="Add photos").is_visible()


def test_a_photo_is_taken_with_the_camera(visit):
    page = visit(permissions=["camera"])
    # Chromium's stand-in for a camera takes 8 megapixels if it may.
    page.evaluate(
        "{ const devices = navigator.mediaDevices, real = devices.getUserMedia.bind(devices);"
        " devices.getUserMedia = () => real({video: {width: 320, height: 240}}); }"
    )
    page.get_by_role("button", name="Take a photo").click()
    # Before its first frame there is nothing to capture.
    page.wait_for_function("document.querySelector('.rf-shot video').videoWidth > 0")
    page.get_by_role("button", name="Take it").click()
    page.locator(".rf-show", has_text="Photo from the camera").wait_for()
    restore(page)
    assert preview(page, "after").std() > 0


def test_what_happened_during_an_exposure_is_played(visit):
    page = visit()
    upload(page, ("shaken.png", content(colorful())))
    page.get_by_role("button", name="What happened during the exposure?").click()
    player = page.locator(".rf-moments")
    player.wait_for()
    assert "The direction is a guess" in player.inner_text()
    assert "shaken.png" in player.inner_text()
    frame = "document.querySelector('.rf-moments-screen').dataset.frame"
    page.wait_for_function(f"{frame} === '3'")
    player.get_by_role("button", name="Pause").click()
    player.get_by_role("slider", name="Moment of the exposure").fill("0")
    assert page.evaluate(frame) == "0"
    player.get_by_role("button", name="The other direction").click()
    assert page.evaluate(frame) == "6"
    drawn = page.evaluate(
        "(() => { const one = document.querySelector('.rf-moments-screen');"
        " const data = one.getContext('2d').getImageData(0, 0, one.width, one.height).data;"
        " return [one.width, one.height, Math.min(...data), Math.max(...data)]; })()"
    )
    assert drawn[:2] == [180, 120] and drawn[3] > drawn[2]
    screenshot(page, "moments")
    with page.expect_download() as fetched:
        player.get_by_role("link", name="Download").click()
    assert fetched.value.suggested_filename.startswith("shaken_exposure.")
    page.get_by_role("button", name="Remove shaken.png").click()
    player.wait_for(state="hidden")


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


def test_of_two_examples_clicked_quickly_the_last_one_is_restored(visit):
    page = visit()
    page.get_by_role("button", name=re.compile("Cup of coffee")).click()
    page.get_by_role("button", name=re.compile("^Cat")).click()
    ready(page, "Done")
    page.locator(".rf-title", has_text="cat.jpg").wait_for()
    assert page.locator(".rf-name").all_inner_texts() == ["cat.jpg"]
    assert "CC0" in page.locator("#examples").inner_text()


def test_a_part_of_a_photo_is_marked_with_mouse_and_keys(visit):
    page = visit()
    upload(page, ("a.png", content(colorful((300, 500)))))
    page.get_by_role("button", name="Mark a part").click()
    box = page.locator(".rf-panes").bounding_box()
    scale = box["width"] / 500
    page.mouse.move(box["x"] + 100 * scale, box["y"] + 50 * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + 200 * scale, box["y"] + 150 * scale, steps=3)
    page.mouse.up()
    ready(page, "marked part only")
    restore(page)
    changed = (preview(page, "after") != colorful((300, 500))).any(axis=-1)
    assert changed[60:140, 110:190].mean() > 0.95 and not changed[:40].any()
    assert not changed[:, :90].any()
    # The same without a mouse, and back to the whole photo.
    page.get_by_role("button", name="Mark a part").focus()
    for key in ("Enter", "ArrowRight", "Shift+ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Whole photo").click()
    ready(page, "change the whole photo")
    shown_after(page, page.get_by_role("button", name="Restore", exact=True).click)
    assert (preview(page, "after") != colorful((300, 500))).any(axis=-1).mean() > 0.9


def test_a_part_is_painted_with_mouse_keys_and_fingers(visit):
    page = visit(has_touch=True)
    source = colorful((300, 500))
    upload(page, ("a.png", content(source)))
    page.get_by_role("button", name="Mark a part").click()
    page.get_by_role("button", name="Brush").click()
    box = page.locator(".rf-panes").bounding_box()
    scale = box["width"] / 500

    def drag(*points):
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()

    def at(x, y):
        return box["x"] + x * scale, box["y"] + y * scale

    drag(at(100, 60), at(200, 60), at(200, 160))
    ready(page, "marked part only")
    page.get_by_role("button", name="Eraser").click()
    drag(at(150, 20), at(150, 110))
    # A stroke too many is taken back.
    page.get_by_role("button", name="Brush").click()
    drag(at(400, 250), at(450, 250))
    page.get_by_role("button", name="Undo").click()
    page.touchscreen.tap(*at(350, 100))
    # The keys paint at the brush: it stands where the finger was.
    page.locator(".rf-panes").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", " ", "Escape"):
        page.keyboard.press(key)
    screenshot(page, "painted")
    restore(page)
    changed = (preview(page, "after") != source).any(axis=-1)
    for x, y in ((110, 60), (190, 60), (200, 150), (350, 100), (350, 120)):
        assert changed[y - 2 : y + 2, x - 2 : x + 2].any(), (x, y)
    for x, y in ((150, 60), (425, 250), (250, 250), (20, 20)):
        assert not changed[y - 2 : y + 2, x - 2 : x + 2].any(), (x, y)
    assert "only where it was painted" in page.locator("#details").inner_text()


def in_every_look(page, name):
    """Screenshots of a state: of a desk and of a phone, light and dark."""
    for width, device in ((1280, "desk"), (390, "phone")):
        page.set_viewport_size({"width": width, "height": 900})
        for dark in (False, True):
            page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
            page.wait_for_timeout(150)
            look = "dark" if dark else "light"
            screenshot(page, f"{name}_{device}_{look}", full_page=True)
    page.evaluate("document.body.classList.remove('dark')")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_walk_with_twenty_photos_a_bad_and_a_huge_one_from_cancel_to_zip(visit, served):
    page = visit()
    huge = Image.new("L", (12_000, 11_000))
    blank = io.BytesIO()
    huge.save(blank, "PNG")
    files = [(f"photo {number:02}.jpg", content(colorful((90, 120), number), "JPEG"))
             for number in range(20)]  # fmt: skip
    files.insert(7, ("cut.png", content(colorful())[:-400]))
    page.set_input_files(
        "#photos input[type=file]",
        [
            {"name": name, "mimeType": "image/jpeg", "buffer": data}
            for name, data in [*files, ("huge.png", blank.getvalue())]
        ],
    )
    page.locator("#photos [role=alert]").get_by_text("huge.png: It has 132 megapixels").wait_for()
    expect_entries(page, files)
    ready(page, "21 photos are ready")
    in_every_look(page, "walk_chosen")
    served.engine.hold = lambda: time.sleep(0.2)
    try:
        page.get_by_role("button", name="Restore", exact=True).click()
        ready(page, r"photo [3-9] of 21")
        page.get_by_role("button", name="Cancel", exact=True).click()
        ready(page, r"Cancelled\. \d+ of 21 are restored")
    finally:
        served.engine.hold = None
    done = page.locator(".rf-entry.rf-done").count()
    assert 1 <= done < 20
    # What is there can be looked at and fetched.
    page.locator(".rf-after img[src]").wait_for(state="attached")
    in_every_look(page, "walk_cancelled")
    page.get_by_role("button", name="Restore", exact=True).click()
    ready(page, "20 of 21 restored")
    page.locator("#status [role=alert]").get_by_text("cut.png: ").wait_for()
    in_every_look(page, "walk_restored")
    with page.expect_download() as started:
        page.locator(".rf-download", has_text="Download all").click()
    with zipfile.ZipFile(started.value.path()) as archived:
        names = archived.namelist()
        assert len(names) == 21 and names[0] == "photo 00_restored.jpg"
        told = json.loads(archived.read("report.json"))["files"]
    assert [one["input"] for one in told] == [n for n, _ in files if n != "cut.png"]
    ready(page, "Still here: 1 photo")
    page.get_by_label("Remove cut.png").click()
    ready(page, "cut.png has been deleted")
    assert not served.files


def test_rare_formats_go_through_the_page(visit):
    """JPEG 2000, JPEG XL, GIF and AVIF, as they come from other programs."""
    imagecodecs = pytest.importorskip("imagecodecs")
    source = colorful()
    gif, avif = io.BytesIO(), io.BytesIO()
    Image.fromarray(source).save(gif, "GIF")
    Image.fromarray(source).save(avif, "AVIF", quality=90)
    page = visit()
    page.locator("#work").get_by_label("Delete after download").uncheck()
    upload(
        page,
        ("old.jp2", bytes(imagecodecs.jpeg2k_encode(source, level=0))),
        ("new.jxl", bytes(imagecodecs.jpegxl_encode(source, lossless=True))),
        ("still.gif", gif.getvalue()),
        ("phone.avif", avif.getvalue()),
    )
    restore(page)
    ready(page, "4 photos restored")
    for name, kind in (
        ("old.jp2", "JPEG 2000"), ("new.jxl", "JPEG XL"), ("still.gif", "GIF"),
        ("phone.avif", "AVIF"),
    ):  # fmt: skip
        page.locator(".rf-show", has_text=name).click()
        page.locator(".rf-title", has_text=name).wait_for()
        page.locator("#details").get_by_text(f"{kind} cannot be written").wait_for()
        before, after = preview(page, "before"), preview(page, "after")
        assert np.abs(before.astype(int) - source).mean() < 12, name
        # The stand-in halves luminance. Of the dots that a GIF is made of the mean is kept where
        # they are strong enough to count as a pattern.
        light, restored = (color.rgb_to_luminance(side).mean() for side in (before, after))
        most = light if kind == "GIF" else light / 2
        assert light / 2 - 0.02 < restored < most + 0.02
        fetched, data = download(page)
        assert fetched == f"{name.split('.')[0]}_restored.png"
        assert images.read(data).rgb.shape == source.shape


def film(path, count=90, size=(96, 128), **options):
    """A clip of a few seconds, with sound, as a browser plays it."""
    lumas = tiny_clips.moving(0, count, height=size[0], width=size[1], step=0.5)
    lumas = tiny_clips.soft(lumas)
    sounds = [("eng", "Left", 1)]
    return tiny_clips.write(path, lumas, codec="libx264", gray=True, sounds=sounds, **options)


# How bright each film is at the same moment.
BRIGHTNESS = """() => ['before', 'after'].map((side) => {
    const film = document.querySelector(`.rf-film-${side}`);
    const canvas = document.createElement('canvas');
    canvas.width = film.videoWidth; canvas.height = film.videoHeight;
    const pen = canvas.getContext('2d');
    pen.drawImage(film, 0, 0);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.reduce((sum, value, index) => sum + (index % 4 ? 0 : value), 0);
})"""
TIMES = """() => ['before', 'after'].map((side) => {
    const film = document.querySelector(`.rf-film-${side}`);
    return [film.currentTime, film.duration];
})"""


def test_a_clip_is_previewed_restored_compared_and_fetched(visit, served, tmp_path):
    page = visit()
    page.get_by_role("tab", name="Video").click()
    # What may be uploaded is said before anything is.
    page.get_by_text("up to 20 seconds and 500 MB").wait_for()
    source = film(tmp_path / "walk.mp4")
    page.set_input_files("#clip input[type=file]", source)
    said = page.locator("#clip_status")
    said.get_by_text("The clip is ready").wait_for()
    page.get_by_text("3 seconds, 128 × 96").wait_for()
    screenshot(page, "clip_chosen", full_page=True)
    page.get_by_role("button", name="Preview").click()
    said.get_by_text("These are the first seconds").wait_for()
    said.get_by_text("All of it would take about").wait_for()
    page.locator(".rf-film-shown").wait_for()
    (_, before), (_, after) = page.evaluate(TIMES)
    assert before == pytest.approx(2.0, abs=0.1) == after
    assert not page.locator("#clip_downloads .rf-download").count()
    page.get_by_role("button", name="Restore the clip").click()
    said.get_by_text("The clip is restored").wait_for()
    page.wait_for_function("document.querySelector('.rf-film-before').duration > 2.5")
    # The stand-in darkens.
    before, after = page.evaluate(BRIGHTNESS)
    assert after < 0.9 * before
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("document.querySelector('.rf-film-before').currentTime > 1")
    (first, _), (second, _) = page.evaluate(TIMES)
    assert abs(first - second) < 0.2
    page.locator(".rf-screen").focus()
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('.rf-film-before').paused")
    page.wait_for_timeout(300)
    (first, _), (second, _) = page.evaluate(TIMES)
    assert first == pytest.approx(second, abs=0.001)
    page.keyboard.press(".")
    page.keyboard.down("b")
    clipped = page.locator(".rf-film-after").evaluate("e => e.style.clipPath")
    assert "100%" in clipped
    page.keyboard.up("b")
    screen = page.locator(".rf-screen").bounding_box()
    page.mouse.move(screen["x"] + 0.5 * screen["width"], screen["y"] + 40)
    page.mouse.down()
    page.mouse.move(screen["x"] + 0.25 * screen["width"], screen["y"] + 40, steps=3)
    page.mouse.up()
    line = page.locator(".rf-film-line").bounding_box()["x"] + 1 - screen["x"]
    assert line == pytest.approx(0.25 * screen["width"], abs=2)
    screenshot(page, "clip_restored", full_page=True)
    with page.expect_download() as started:
        page.locator("#clip_downloads .rf-download").click()
    result = tmp_path / started.value.suggested_filename
    started.value.save_as(result)
    assert result.name == "walk_restored.mp4"
    assert tiny_clips.times(result) == tiny_clips.times(source)
    assert tiny_clips.packets(result, "audio") == tiny_clips.packets(source, "audio")
    said.get_by_text("have been deleted here").wait_for()
    assert not served.files
    # What the browser holds still plays.
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()


def test_clips_that_cannot_be_taken_are_named_and_work_is_cancelled(visit, served, tmp_path):
    page = visit()
    # Dropped among the photos, a clip opens its own tab.
    data = list(film(tmp_path / "a.mp4", 30).read_bytes())
    page.evaluate(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], 'a.mp4', {type: 'video/mp4'}));
            const options = {bubbles: true, cancelable: true, dataTransfer: transfer};
            document.body.dispatchEvent(new DragEvent('drop', options));
        }""",
        data,
    )
    said = page.locator("#clip_status")
    said.get_by_text("The clip is ready").wait_for()
    assert page.get_by_role("tab", name="Video").get_attribute("aria-selected") == "true"
    refused = page.locator("#clip [role=alert]")
    long = film(tmp_path / "long.mp4", 25, times=[90000 * index for index in range(25)])
    page.set_input_files("#clip input[type=file]", long)
    refused.get_by_text(re.compile("long.mp4: The clip lasts .* takes up to 20")).wait_for()
    (tmp_path / "b.mp4").write_bytes(content(colorful()))
    page.set_input_files("#clip input[type=file]", tmp_path / "b.mp4")
    refused.get_by_text("This is a photo. Choose it on the Photos tab.").wait_for()
    (tmp_path / "c.mp4").write_bytes(b"no film")
    page.set_input_files("#clip input[type=file]", tmp_path / "c.mp4")
    refused.get_by_text("no video that Refocus reads").wait_for()
    # The clip that was there before is still there; work on it can be stopped.
    page.locator("#clip .rf-name", has_text="a.mp4").wait_for()
    page.get_by_role("button", name="Restore the clip").click()
    said.get_by_text(re.compile("Starting|Looking|Restoring")).wait_for()
    page.locator("#cancel_clip").click()
    said.get_by_text("Cancelled.").wait_for()
    page.get_by_label("Remove a.mp4").click()
    said.get_by_text("The clip has been deleted").wait_for()
    assert not served.files


def test_colours_are_given_with_mouse_keys_and_fingers(visit):
    page = visit(has_touch=True)
    levels = np.full((300, 500, 3), 90, np.uint8)
    levels[:, 170:340] = 255
    upload(page, ("gray.png", content(levels)))
    page.get_by_label("Restore + Colorize").check()
    restore(page)
    guess = preview(page, "after").astype(int)
    page.get_by_role("button", name="Correct colours").click()
    box = page.locator(".rf-panes").bounding_box()
    scale = box["width"] / 500

    def redness(x):
        after = preview(page, "after").astype(int)
        place = np.s_[100:200, x - 20 : x + 20]
        return (after[place] - guess[place])[..., 0].mean()

    def click():
        page.mouse.click(box["x"] + 80 * scale, box["y"] + 150 * scale)

    shown_after(page, click)
    assert redness(80) > 15 and abs(redness(250)) < 3 > abs(redness(420))
    tap = [box["x"] + 420 * scale, box["y"] + 150 * scale]
    shown_after(page, lambda: page.touchscreen.tap(*tap))
    assert redness(420) > 15 and abs(redness(250)) < 3
    # The keys begin where the finger was.
    page.locator(".rf-panes").focus()
    for _ in range(round(170 * scale / 24)):
        page.keyboard.press("Shift+ArrowLeft")
    page.locator("#hints input[type=color]").evaluate("e => (e.value = '#c02020')")
    shown_after(page, lambda: page.keyboard.press(" "))
    assert redness(250) > 10
    screenshot(page, "hints", full_page=True)
    shown_after(page, lambda: page.keyboard.press("u"))
    assert abs(redness(250)) < 3
    assert "2 colours given" in page.locator("#details").inner_text()
    cleared = shown_after(page, page.get_by_role("button", name="Remove all hints").click)
    np.testing.assert_array_equal(cleared, guess)
    page.locator(".rf-panes").focus()
    page.keyboard.press("Escape")
    assert (
        page.get_by_role("button", name="Correct colours").get_attribute("aria-pressed") == "false"
    )


CLOSEUP = """side => {
    const canvas = document.querySelector(`.rf-${side} .rf-closeup`);
    return canvas.hidden ? null : canvas.toDataURL('image/png');
}"""


def closeup(page, side):
    """Pixels of a place that is shown in full."""
    data = page.evaluate(CLOSEUP, side).partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_large_photo_is_seen_in_full_where_one_looks_closer(visit, monkeypatch):
    monkeypatch.setattr(finishing, "SCREEN_PIXELS", 60_000)
    monkeypatch.setattr(finishing, "PREVIEW_PIXELS", 120_000)
    page = visit()
    source = colorful((2100, 2800))
    upload(page, ("large.png", content(source)))
    page.locator("#work").get_by_label("Delete after download").uncheck()
    restore(page)
    assert preview(page, "after").shape == (300, 400, 3)
    assert page.evaluate(CLOSEUP, "after") is None
    page.get_by_role("button", name="Zoom to pixels").click()
    page.wait_for_function("!document.querySelector('.rf-after .rf-closeup').hidden")
    result = images.read(download(page)[1]).rgb

    def place():
        """Rows and columns that are seen so."""
        left, top, scale = page.evaluate(
            "(e => { const t = new DOMMatrix(e.style.transform), "
            "i = new DOMMatrix(e.previousElementSibling.style.transform); "
            "return [t.e - i.e, t.f - i.f, parseFloat(e.style.width) / e.width]; })"
            "(document.querySelector('.rf-after .rf-closeup'))"
        )
        assert scale == pytest.approx(1, abs=0.01)
        height, width = closeup(page, "after").shape[:2]
        return np.s_[round(top) : round(top) + height, round(left) : round(left) + width]

    np.testing.assert_array_equal(closeup(page, "after"), result[place()])
    np.testing.assert_array_equal(closeup(page, "before"), source[place()])
    # Elsewhere, and with another strength, it follows.
    page.locator(".rf-panes").focus()
    old = place()
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(1500)
    assert place() != old
    np.testing.assert_array_equal(closeup(page, "before"), source[place()])
    screenshot(page, "closeup")
    set_slider(page, "Deblur strength", 0)
    ready(page, "Applied")
    page.wait_for_timeout(1500)
    np.testing.assert_array_equal(closeup(page, "after"), source[place()])
    # What is kept to compare with is as sharp as what it is compared with.
    page.get_by_role("button", name="Keep to compare").click()
    set_slider(page, "Deblur strength", 1)
    ready(page, "Applied")
    page.wait_for_timeout(1500)
    np.testing.assert_array_equal(closeup(page, "before"), source[place()])
    np.testing.assert_array_equal(closeup(page, "after"), result[place()])
    page.get_by_role("button", name="Compare with the original").click()
    page.get_by_role("button", name="Fit").click()
    page.locator(".rf-after .rf-closeup").wait_for(state="hidden")


def test_a_small_part_of_a_large_photo_is_brought_near(visit, monkeypatch):
    monkeypatch.setattr(finishing, "SCREEN_PIXELS", 60_000)
    monkeypatch.setattr(finishing, "PREVIEW_PIXELS", 120_000)
    page = visit()
    source = colorful((2400, 3200))
    upload(page, ("crowd.png", content(source)))
    page.get_by_role("button", name="Mark a part").click()
    box = page.locator(".rf-panes").bounding_box()
    scale = box["width"] / 3200
    page.mouse.move(box["x"] + 2000 * scale, box["y"] + 1000 * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + 2200 * scale, box["y"] + 1150 * scale, steps=3)
    page.mouse.up()
    ready(page, "marked part only")
    restore(page)
    # Nobody has to look for it.
    assert page.locator(".rf-scale").inner_text() == "100%"
    page.wait_for_function("!document.querySelector('.rf-after .rf-closeup').hidden")
    changed = (closeup(page, "after") != closeup(page, "before")).any(axis=-1)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert 130 < len(rows) < 170 and 180 < len(columns) < 220
    screenshot(page, "part", full_page=True)
    # The file, which holds the whole photo, is made when it is asked for.
    page.locator("#details").get_by_text("SHA-256 of the input").wait_for()
    assert "SHA-256 of the download" not in page.locator("#details").inner_text()
    page.locator("#work").get_by_label("Delete after download").uncheck()
    result = images.read(download(page)[1]).rgb
    assert result.shape == source.shape
    np.testing.assert_array_equal(result[:900], source[:900])
    page.locator("#details").get_by_text("SHA-256 of the download").wait_for()


def test_thumbnails_come_with_the_upload_and_results_as_they_finish(visit, served):
    page = visit()
    accepted = page.locator("#photos input[type=file]").get_attribute("accept").split(",")
    assert {"image/*", ".heic", ".jxl", ".jp2", ".avif", ".gif"} <= set(accepted)
    upload(page, *((f"{number}.png", content(colorful(seed=number))) for number in range(2)))
    page.wait_for_function("document.querySelectorAll('.rf-show img').length === 2")
    assert page.locator(".rf-show img").first.get_attribute("src").startswith("data:image/jpeg")
    tiles, go_on = [], threading.Event()
    served.engine.hold = lambda: (tiles.append(1), len(tiles) > 1 and go_on.wait(60))
    try:
        page.get_by_role("button", name="Restore", exact=True).click()
        ready(page, "photo 2 of 2")
        # The first is there to be looked at while the second is worked on.
        page.locator(".rf-after img[src]").wait_for(state="attached")
        assert page.locator("#viewer .rf-title").inner_text() == "0.png"
        states = page.locator(".rf-entry small").all_inner_texts()
        assert states[0] == "restored" and states[1].startswith("working")
    finally:
        go_on.set()
        served.engine.hold = None
    ready(page, "2 photos restored")


def choose(page, label, option):
    """Choose from a list of Gradio's."""
    page.locator("#work").get_by_label(label, exact=True).click()
    page.get_by_role("option", name=re.compile(f"^{option}")).click()


def test_two_models_are_compared_on_the_full_screen_and_another_format_is_fetched(
    visit, served, monkeypatch
):
    gains = {"restorer": 0.5, "mine": 0.8}
    monkeypatch.setattr(
        served.engine, "restore", lambda tiles, *, model: tiles * np.float32(gains[model])
    )
    page = visit()
    upload(page, ("a.png", content(colorful())))
    restore(page)
    dark = preview(page, "after")
    page.get_by_role("button", name="Keep to compare").click()
    choose(page, "Model", "mine")
    ready(page, "Press Restore to apply")
    restore(page)
    assert "restorer 1" in page.locator(".rf-left").inner_text()
    assert preview(page, "after").mean() > 1.2 * dark.mean()
    # Full screen, by key and back.
    page.locator(".rf-panes").focus()
    for is_full in (True, False):
        page.keyboard.press("f")
        page.wait_for_function("yes => Boolean(document.fullscreenElement) === yes", arg=is_full)
    sizes = []
    choose(page, "Format of the download", "WebP")
    page.locator("#work").get_by_label("Delete after download").uncheck()
    for quality in (60, 95):
        set_slider(page, "Quality", quality)
        ready(page, "Applied")
        page.wait_for_timeout(500)
        name, data = download(page)
        assert name == "a_restored.webp" and images.read(data).format == "WebP"
        sizes.append(len(data))
    assert sizes[0] < sizes[1]


def test_without_encryption_there_is_no_camera_to_offer(visit):
    page = visit()
    assert page.get_by_role("button", name="Take a photo").is_visible()
    # As browsers do with pages that came over plain http.
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.reload()
    page.get_by_role("button", name="Choose photos").wait_for()
    assert not page.get_by_role("button", name="Take a photo").is_visible()


def test_odd_shapes_show_something(visit):
    page = visit()
    rng = np.random.default_rng(0)
    thin = rng.integers(0, 255, (5000, 3, 3), np.uint8)
    glass = np.dstack([colorful(), np.zeros((120, 180), np.uint8)])
    upload(
        page,
        ("thin.png", content(thin)),
        ("glass.png", content(glass)),
        ("../../../up.png", content(np.full((1, 1, 3), 90, np.uint8))),
    )
    restore(page)
    width = page.locator(".rf-after img").evaluate("e => e.getBoundingClientRect().width")
    assert width >= 40
    shown_after(page, page.get_by_role("button", name="Next photo").click)
    address = page.locator(".rf-after img").get_attribute("src")
    shown = Image.open(io.BytesIO(page.request.get(address).body()))
    # Transparent there, too: what is behind it is the checkerboard.
    assert np.asarray(shown)[..., 3].max() == 0
    assert "conic" in page.locator(".rf-after img").evaluate("e => getComputedStyle(e).background")
    shown_after(page, page.get_by_role("button", name="Next photo").click)
    assert "1 × 1 pixels" in page.locator("#details").inner_text()


def test_two_visitors_at_once_see_their_own_photos(visit):
    pages = [visit(), visit()]
    for number, page in enumerate(pages):
        upload(page, (f"photo{number}.png", content(colorful(seed=number))))
    for page in pages:
        page.get_by_role("button", name="Restore", exact=True).click()
    for number, page in enumerate(pages):
        ready(page, "Done")
        page.locator(".rf-download").wait_for()
        np.testing.assert_array_equal(preview(page, "before"), colorful(seed=number))
        assert f"photo{1 - number}" not in page.content()
    # What one of them does leaves the other's alone.
    pages[0].get_by_label("Remove photo0.png").click()
    ready(pages[0], "deleted")
    np.testing.assert_array_equal(preview(pages[1], "before"), colorful(seed=1))
    assert download(pages[1])[0] == "photo1_restored.png"


def test_the_end_of_the_time_is_announced_and_leaves_nothing_dead(visit, served):
    page = visit()
    upload(page, ("a.png", content(colorful())))
    (session,) = served.kept._sessions.values()
    session.expires = time.monotonic() + 50
    page.get_by_text(re.compile(r"deleted here in \d+ seconds")).first.wait_for()
    page.get_by_role("button", name="Keep them").click()
    page.get_by_role("button", name="Keep them").wait_for(state="hidden")
    assert session.remaining > 500
    session.expires = time.monotonic()
    served.kept.sweep()
    ready(page, "10 minutes after your last action")
    page.locator(".rf-show").wait_for(state="detached")
    assert not served.files and not page.locator(".rf-shown").is_visible()
    upload(page, ("b.png", content(colorful())))
    restore(page)


PINCH = """(apart) => {
    const panes = document.querySelector('.rf-panes');
    const box = panes.getBoundingClientRect();
    const send = (type, id, x) => panes.dispatchEvent(new PointerEvent(type, {
        pointerId: id, pointerType: 'touch', bubbles: true, cancelable: true,
        clientX: box.left + box.width / 2 + x, clientY: box.top + box.height / 2}));
    panes.setPointerCapture = () => {};
    send('pointerdown', 1, -20); send('pointerdown', 2, 20);
    send('pointermove', 1, -apart); send('pointermove', 2, apart);
    send('pointerup', 1, -apart); send('pointerup', 2, apart);
}"""


def test_a_phone_reaches_everything_without_sideways_scrolling(visit):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)

    def width():
        return page.evaluate(
            "Math.max(document.documentElement.scrollWidth, "
            "...[...document.querySelectorAll('#work *, #privacy *')]"
            ".filter(e => e.checkVisibility() && !e.closest('.rf-panes'))"
            ".map(e => e.getBoundingClientRect().right))"
        )

    assert width() <= 390
    upload(page, ("a_rather_long_name_for_a_photo_from_a_phone.png", content(colorful())))
    restore(page)
    assert width() <= 390
    screenshot(page, "phone", full_page=True)
    # Two fingers enlarge the picture, not the page; nothing else moves.
    before = page.locator(".rf-scale").inner_text()
    page.evaluate(PINCH, 60)
    assert page.locator(".rf-scale").inner_text() != before
    assert page.evaluate("visualViewport.scale") == 1 and width() <= 390
    assert page.locator(".rf-panes").evaluate("e => getComputedStyle(e).touchAction") == "none"
    page.get_by_role("button", name="Fit").tap()
    assert page.locator(".rf-panes").evaluate("e => getComputedStyle(e).touchAction") == "pan-y"
    page.get_by_role("button", name="Side by side").tap()
    top, bottom = (page.locator(f".rf-{side}").bounding_box() for side in ("before", "after"))
    assert top["y"] + top["height"] <= bottom["y"]
    assert width() <= 390
    # What is pressed first, what comes of it, and its strength are above what may be changed.
    places = ("#start", "#viewer", "#strength", "#downloads", "#options")
    order = [page.locator(place).bounding_box()["y"] for place in places]
    assert order == sorted(order)
    # Picture, its controls and its strength are on one screen.
    page.get_by_role("button", name="Slider").tap()
    top, bottom = (page.locator(place).bounding_box() for place in ("#viewer", "#strength"))
    assert bottom["y"] + bottom["height"] - top["y"] < 844


# Buttons whose words do not fit into them.
CUT = """() => [...document.querySelectorAll('button')]
    .filter((e) => e.checkVisibility() && (e.scrollWidth > e.clientWidth + 1 || (() => {
        const words = document.createRange();
        words.selectNodeContents(e);
        const [text, box] = [words.getBoundingClientRect(), e.getBoundingClientRect()];
        return text.right > box.right + 1 || text.left < box.left - 1;
    })()))
    .map((e) => e.innerText)"""


def test_german_browsers_get_a_german_page(visit):
    page = visit(locale="de-AT", button="Restaurieren")
    assert page.evaluate("document.documentElement.lang") == "de"
    upload(page, ("a.png", content(colorful())))
    page.get_by_role("button", name="Restaurieren", exact=True).click()
    ready(page, "Fertig: Unschärfe entfernt")
    page.locator(".rf-download", has_text="Herunterladen").wait_for()
    screenshot(page, "german", full_page=True)
    text = page.inner_text("body")
    page.get_by_role("button", name="Tasse Kaffee").wait_for()
    for english in (
        "Restore", "Choose", "Download all", "common.", "Detected", "What is kept", "Blurred",
    ):  # fmt: skip
        assert english not in text
    page.get_by_role("tab", name="Video").click()
    page.get_by_role("button", name="Vorschau").wait_for()
    # No word sticks out of its button, at any size.
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for tab in ("Fotos", "Video"):
            page.get_by_role("tab", name=tab).click()
            assert page.evaluate(CUT) == []
    text = page.inner_text("body")
    for english in ("Restore", "Choose", "drop", "Steady", "frame", "seconds", "plays"):
        assert english not in text


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

# What Gradio's own controls break, by rule; none of it is in what is ours.
GRADIOS = {
    # Its page has no landmark around the whole.
    "region",
}


def violations(page):
    """Rules of axe-core that are broken by what is ours."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (rule["id"], node["target"])
        for rule in found
        if rule["id"] not in GRADIOS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_state_of_the_page_keeps_anybody_out(visit, tmp_path, scheme, width):
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 900})
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 300) == (scheme == "dark")
    found = {}

    def look(state):
        page.wait_for_timeout(200)
        found[state] = violations(page) + page.evaluate(CONTRAST)

    # Live regions are there before they say anything.
    for role in ("#status [role=status]", "#status [role=alert]", "#photos [role=alert]"):
        assert page.locator(role).count() == 1
    look("empty")
    page.set_input_files(
        "#photos input[type=file]",
        [
            {"name": "a.png", "mimeType": "image/png", "buffer": content(colorful())},
            {"name": "cut.png", "mimeType": "image/png", "buffer": content(colorful())[:-400]},
            {"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"\0\0\0\x18ftypisom"},
        ],
    )
    page.locator("#photos [role=alert] p").wait_for()
    look("chosen and refused")
    page.evaluate("document.querySelector('#status progress').hidden = false")
    look("working")
    page.evaluate("document.querySelector('#status progress').hidden = true")
    restore_all = page.get_by_role("button", name="Restore", exact=True)
    restore_all.click()
    ready(page, "1 of 2 restored")
    page.locator(".rf-download").first.wait_for()
    look("one restored, one not")
    page.get_by_role("button", name="Side by side").click()
    look("side by side")
    page.get_by_role("button", name="Mark a part").click()
    look("marking")
    page.get_by_role("button", name="Brush").click()
    look("painting")
    page.keyboard.press("Escape")
    page.locator(".rf-show").nth(1).click()
    look("a failed one")
    page.evaluate(
        "document.querySelector('.rf-keep').hidden = false;"
        "document.querySelector('.rf-countdown').textContent = '30 seconds'"
    )
    look("about to expire")
    page.get_by_role("button", name="Remove all").click()
    ready(page, "have been deleted")
    look("cleared")
    screenshot(page, f"{scheme}_{width}", full_page=True)
    page.get_by_role("tab", name="Video").click()
    look("video")
    page.set_input_files("#clip input[type=file]", film(tmp_path / "a.mp4", 8))
    page.locator("#clip_status").get_by_text("The clip is ready").wait_for()
    page.get_by_role("button", name="Restore the clip").click()
    page.locator("#clip_status").get_by_text("The clip is restored").wait_for()
    page.locator(".rf-film-shown").wait_for()
    look("film")
    sides = "e => [e.scrollWidth, e.clientWidth]"
    assert len(set(page.locator("html").evaluate(sides))) == 1
    screenshot(page, f"video_{scheme}_{width}", full_page=True)
    assert not {state: broken for state, broken in found.items() if broken}


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
    for name in (
        "Add photos", "Remove a.png", "Restore", "Cancel", "Slider", "Side by side",
        "Hold for before", "Mark a part", "Next photo", "Download", "Remove metadata",
    ):  # fmt: skip
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


NGINX = """
daemon off; {user} pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off; client_max_body_size 300m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
  server {{
    listen 127.0.0.1:{port};
    location /photos/ {{
      proxy_pass http://127.0.0.1:{behind}{stripped};
      proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


@pytest.mark.parametrize("strips", [True, False])
def test_behind_nginx_under_a_path_with_a_login(visit, tmp_path, strips):
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Page(engine(), root_path="/photos", auth=[("me", "secret")]) as behind:
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(
            NGINX.format(
                # Its workers would be nobody, who may not enter this folder.
                user="user root;" if os.geteuid() == 0 else "",
                folder=tmp_path,
                port=port,
                behind=httpx.URL(behind.url).port,
                stripped="/" if strips else "",
            )
        )
        process = subprocess.Popen([nginx, "-c", str(configuration), "-p", str(tmp_path)])
        try:
            page = visit(f"http://127.0.0.1:{port}/photos/", button="Login")
            assert page.title() == "Refocus"
            page.get_by_label("username").fill("me")
            page.get_by_label("password").fill("secret")
            page.get_by_role("button", name="Login").click()
            page.get_by_role("button", name="Restore", exact=True).wait_for()
            upload(page, ("a.png", content(colorful())))
            restore(page)
            assert download(page)[0] == "a_restored.png"
            page.get_by_role("link", name="Log out").click()
            page.get_by_role("button", name="Login").wait_for()
        finally:
            process.terminate()
            process.wait(10)


def test_the_command_serves_the_page_and_tidies_up_within_three_seconds(tmp_path, tmp_path_factory):
    import tiny_models  # Brings TensorFlow.

    models = tiny_models.write_models(tmp_path_factory.mktemp("models"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "keras_refocus", "demo", "--models", str(models)]
    # A proxy that leads nowhere: this machine is reached past it.
    proxies = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY")}
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **proxies, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
    )
    try:
        line = process.stdout.readline()
        assert line == f"The page is at http://127.0.0.1:{port}/. Press Ctrl+C to stop.\n"
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.post(
                f"http://127.0.0.1:{port}/gradio_api/upload",
                files={"files": ("secret_wedding.png", content(colorful()))},
            )
            assert answer.status_code == 200
            assert list(tmp_path.rglob("secret_wedding.png"))
            # From another address of this machine there is nothing.
            with pytest.raises(httpx.ConnectError):
                client.get(f"http://127.0.0.2:{port}/")
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert time.monotonic() - started < 3
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Stopping" in output and not list(tmp_path.iterdir())
    assert "secret_wedding" not in output + errors and "Traceback" not in errors
