#!/usr/bin/env python3
"""Makes the screenshots of docs/demo.md anew: the page with the models that are installed.

    python docs/screenshots.py

Needs Chromium and the extra `test`. The clip is a look around one of the page's example photos,
shaken as the photo is.
"""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from keras_refocus.page import layout

DOCS = pathlib.Path(__file__).parent
DESK = {"viewport": {"width": 1280, "height": 1000}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """Serve the page as its users do; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "keras_refocus", "demo", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if not process.stdout.readline().startswith("The page is at"):
            raise SystemExit("The page did not start.")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def write_clip(path: pathlib.Path) -> None:
    """A look around the cup of coffee: a second and a half, 8 frames a second."""
    photo = cv2.imread(str(layout.EXAMPLES / "coffee.jpg"))[..., ::-1]
    height, width = (side * 4 // 5 // 2 * 2 for side in photo.shape[:2])
    with av.open(str(path), "w") as result:
        stream = result.add_stream("libx264", rate=8, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(12):
            angle = 2 * np.pi * number / 12
            left = photo.shape[1] / 10 * (1 + 0.8 * np.cos(angle))
            top = photo.shape[0] / 10 * (1 + 0.8 * np.sin(angle))
            place = np.float32([[1, 0, -left], [0, 1, -top]])
            rgb = cv2.warpAffine(np.ascontiguousarray(photo), place, (width, height))
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 8)
            result.mux(stream.encode(frame))
        result.mux(stream.encode(None))


def opened(browser: Browser, url: str, look: dict) -> Page:
    """The page, to a visitor who has just come."""
    page = browser.new_context(**look).new_page()
    page.set_default_timeout(600_000)
    page.goto(url)
    page.get_by_role("button", name="Restore", exact=True).wait_for()
    page.wait_for_timeout(1000)
    return page


def photos(browser: Browser, url: str, look: dict, name: str) -> None:
    """An example, restored."""
    page = opened(browser, url, look)
    page.get_by_role("button", name="Cup of coffee").click()
    page.locator("#status").get_by_text("Done").wait_for()
    page.locator(".rf-after img[src]").wait_for(state="attached")
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)
    page.screenshot(path=DOCS / name)
    page.context.close()


def video(browser: Browser, url: str, clip: pathlib.Path, looks: dict[str, dict]) -> None:
    """A clip, restored once and looked at in several sizes."""
    page = opened(browser, url, DESK)
    page.get_by_role("tab", name="Video").click()
    page.set_input_files("#clip input[type=file]", clip)
    page.locator("#clip_status").get_by_text("The clip is ready").wait_for()
    page.get_by_role("button", name="Restore the clip").click()
    page.locator("#clip_status").get_by_text("The clip is restored").wait_for()
    page.locator(".rf-film-shown").wait_for()
    for name, look in looks.items():
        page.set_viewport_size(look["viewport"])
        page.evaluate("window.scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        page.screenshot(path=DOCS / name)
    page.context.close()


def main() -> None:
    """Make all of them."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        clip = pathlib.Path(folder, "coffee.mp4")
        write_clip(clip)
        photos(browser, url, DESK, "demo_light.png")
        photos(browser, url, PHONE, "demo_phone.png")
        video(browser, url, clip, {"demo_video.png": DESK, "demo_video_phone.png": PHONE})
        browser.close()


if __name__ == "__main__":
    main()
