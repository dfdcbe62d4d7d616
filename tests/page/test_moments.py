"""What happened during an exposure, in the page, without a browser."""

import asyncio
import io
import os
import time
import types

import gradio as gr
import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page import layout, moments
from keras_refocus.page.actions import PageActions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.words import Words
from keras_refocus.restoration import pipeline


@pytest.fixture
def actions(kept):
    restorer = pipeline.Restorer(ArithmeticEngine())
    return PageActions(restorer, kept, AppSettings(max_files=3), layout.EXAMPLES)


def request(language="en"):
    return types.SimpleNamespace(session_hash="a", headers={"accept-language": language})


def event(**data):
    return gr.EventData(None, data)


def upload(actions, kept, seed=0, name="shaken.png"):
    cells = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(cells).resize((64, 48), Image.Resampling.BILINEAR).save(file, "PNG")
    path = kept.of("a").reserve()
    path.write_bytes(file.getvalue())
    answer = actions.receive(kept.door("a"), path, name, Words())
    return kept.of("a").picture(answer["id"])


def find(actions, blur_faces=False, language="en"):
    async def run():
        found = actions.moments.find(request(language), "restorer", blur_faces)
        return [values async for values in found]

    return asyncio.run(run())


def file_of(kept, address):
    return kept.find(address.removeprefix("pictures/"))[1]


def test_the_frames_of_a_photo_and_a_clip_of_them(actions, kept):
    picture = upload(actions, kept)
    (working, _), (state, shown) = find(actions)
    assert "Looking for" in working["message"] and "may have happened" in state["message"]
    assert (shown["count"], shown["width"], shown["height"]) == (7, 64, 48)
    assert "straight lines" in shown["about"] and shown["name"] == "shaken.png"
    with Image.open(file_of(kept, shown["sheet"]).path) as sheet:
        assert sheet.size == (64, 7 * 48) and np.asarray(sheet).std() > 10
    clip = file_of(kept, shown["clip"])
    assert clip.path.stat().st_size and clip.name.startswith("shaken_exposure.")
    # The photo stays when the clip of its exposure is fetched.
    kept.downloaded(kept.of("a"), clip)
    assert kept.of("a").pictures == [picture]
    # What is there is not made again.
    ((state, again),) = find(actions, language="de")
    assert again["sheet"] == shown["sheet"] and "geraden Linien" in again["about"]
    assert actions.moments.show(event(id=picture.id), request()) == shown


def test_nothing_is_left_of_a_deleted_photo(actions, kept):
    picture, other = upload(actions, kept), upload(actions, kept, 1)
    find(actions)
    assert actions.moments.show(event(id=other.id), request()) == {}
    paths = [
        file_of(kept, f"pictures/{token}").path
        for token in vars(picture.moments).values()
        if isinstance(token, str) and kept.find(token)
    ]
    assert len(paths) == 2
    actions.remove(event(id=picture.id), request())
    assert not any(path.exists() for path in paths)
    assert actions.moments.hide(request()) == {}
    actions.clear(request())
    assert not any(files for _, _, files in os.walk(kept.folder))


def test_faces_are_not_shown_any_more_when_they_are_to_be_blurred(actions, kept, monkeypatch):
    picture = upload(actions, kept)
    *_, (_, shown) = find(actions)
    assert actions.moments.withdraw(False, request()) == shown or kept.of("a").chosen is None
    assert actions.moments.withdraw(True, request()) == {}
    assert picture.moments is None and kept.find(shown["sheet"].removeprefix("pictures/")) is None
    looked = []
    monkeypatch.setattr(
        moments.faces, "detect", lambda rgb: looked.append(1) or np.array([[8, 8, 20, 20]])
    )
    *_, (_, blurred) = find(actions, blur_faces=True)
    assert len(looked) == 7 and blurred["count"] == 7


def test_what_goes_wrong_is_a_sentence(actions, kept, monkeypatch):
    ((state, _),) = find(actions)
    assert state["message"] == "Choose a photo first."
    picture = upload(actions, kept)
    picture.upload.write_bytes(b"no picture")
    *_, (state, shown) = find(actions)
    assert state["errors"] and shown == {} and kept.of("a").finding is None


def test_cancelled(actions, kept, monkeypatch):
    upload(actions, kept)
    real = moments.unblur.unblur

    def slow(*arguments, cancel, **options):
        actions.moments.cancel(request())
        deadline = time.monotonic() + 10
        while not cancel() and time.monotonic() < deadline:
            time.sleep(0.01)
        return real(*arguments, cancel=cancel, **options)

    monkeypatch.setattr(moments.unblur, "unblur", slow)
    *_, (state, shown) = find(actions)
    assert state["message"] == "Cancelled." and shown == {}
    assert kept.of("a").finding is None and not kept.of("a").is_working
