"""What the buttons of the page do, without a browser: arithmetic stands in for the networks."""

import asyncio
import errno
import io
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import types
import zlib

import gradio as gr
import numpy as np
import origins
import psutil
import pytest
from arithmetic_engine import ArithmeticEngine
from PIL import Image
from shaken_scenes import blurred, scene

from keras_refocus.engines import timings
from keras_refocus.page import decoding, finishing, layout, sessions, uploads
from keras_refocus.page.actions import AppSettings, PageActions
from keras_refocus.page.words import Words
from keras_refocus.pictures import color, faces, images
from keras_refocus.restoration import pipeline
from keras_refocus.restoration.deconvolution import kernels


@pytest.fixture
def engine():
    return ArithmeticEngine()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with sessions.Sessions() as kept:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(kept.uploads))
        yield kept


@pytest.fixture
def actions(engine, kept):
    settings = AppSettings(max_pixels=1_000_000, max_files=3)
    return PageActions(pipeline.Restorer(engine), kept, settings, layout.EXAMPLES)


def request(visitor="a", language="en"):
    return types.SimpleNamespace(session_hash=visitor, headers={"accept-language": language})


def event(**data):
    return gr.EventData(None, data)


def png(shape=(30, 40, 3), seed=0):
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    # Smooth: where there is nothing but noise, means are kept (`restoration/means`).
    small = (60 + 80 * rng.random((*(max(side // 8, 1) for side in shape[:2]), 3))).astype(np.uint8)
    Image.fromarray(small).resize(shape[1::-1], Image.BILINEAR).save(file, "PNG")
    return file.getvalue()


def upload(actions, kept, content=None, name="photo.png", visitor="a"):
    """What the page's route of uploads does."""
    path = kept.of(visitor).reserve()
    path.write_bytes(png() if content is None else content)
    answer = actions.receive(kept.door(visitor), path, name, Words())
    return kept.of(visitor).picture(answer["id"])


def damaged():
    """A PNG whose head is whole."""
    return png()[:-40]


def is_empty(kept):
    """Whether no file is left, once what is deleted after an answer is deleted."""
    deadline = time.monotonic() + 10
    while any(files for _, _, files in os.walk(kept.folder)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# The page's controls: mode, auto-detect, model, strength, saturation, faces, metadata, mark,
# format, quality, patient.
CONTROLS = ("restore", True, "restorer", 1.0, 1.0, False, True, False, "", 95, False)


def controls(**changes):
    names = (
        "mode auto_detect restorer strength saturation blur_faces remove_metadata visible_mark "
        "format quality patient"
    ).split()
    return tuple((dict(zip(names, CONTROLS, strict=True)) | changes).values())


def collect(values):
    async def run():
        return [value async for value in values]

    return asyncio.run(run())


def restore(actions, visitor="a", chosen=CONTROLS):
    """All that the page is given while a restoration runs, the end last."""
    return collect(actions.restore(request(visitor), *chosen))


def text(state):
    """All that the line of status says."""
    return " ".join([state["message"], *state["errors"]])


def token(link):
    return link["href"].removeprefix("pictures/")


# What is on offer.


def test_without_a_colorizer_only_restoring_is_offered_and_it_is_said(actions):
    mode, auto_detect, model, mark, state, photos = actions.offer(request())
    assert mode["choices"] == [("Restore only", "restore")] and mode["value"] == "restore"
    assert "none is installed" in mode["info"]
    assert not auto_detect["visible"] and not mark["visible"] and not model["visible"]
    assert "Choose a photo" in text(state) and photos["pictures"] == [] and photos["door"]


def test_with_more_models_there_is_more_to_choose(kept):
    engine = ArithmeticEngine("colorizer", "mine", "refocus", "restorer", "restorer_gan")
    actions = PageActions(pipeline.Restorer(engine), kept, AppSettings(), layout.EXAMPLES)
    mode, auto_detect, model, mark, *_ = actions.offer(request())
    assert [value for _, value in mode["choices"]] == ["restore", "restore+colorize", "colorize"]
    assert mode["value"] == "restore"
    assert auto_detect["visible"] and mark["visible"] and model["visible"]
    assert [name for _, name in model["choices"]] == ["mine", "restorer", "restorer_gan"]
    assert model["value"] == "restorer"
    assert all(label.startswith(f"{name}: ") for label, name in model["choices"])


def test_german_browsers_are_spoken_to_in_german(actions, kept):
    assert actions.offer(request(language="de-AT,en;q=0.5"))[0]["choices"][0][0] == (
        "Nur restaurieren"
    )
    upload(actions, kept)
    assert "1 Foto ist bereit" in text(actions.added(request(language="de"))[0])


def test_published_weights_are_offered_with_time_and_licence(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path / "cache"))
    origins.write_origin(tmp_path / "mine" / "1")
    (tmp_path / "mine" / "1" / "saved_model.pb").touch()
    timings.remember(tmp_path / "mine" / "1", 2.5)
    engine = ArithmeticEngine("mine", "restorer")
    engine.models_dir = tmp_path
    actions = PageActions(pipeline.Restorer(engine), kept, AppSettings(), layout.EXAMPLES)
    labels = [label for label, _ in actions.offer(request())[2]["choices"]]
    assert labels == [
        "mine: DMPHN, for strong motion blur (restorer, 0.0 MB, 2.50 s at 720p, licence unstated: "
        "none stated, https://example.org)",
        "restorer: closest to the truth",
    ]


def test_a_published_colorizer_is_not_offered_as_a_restorer(kept, tmp_path):
    origins.write_origin(tmp_path / "mine" / "1", kind="colorizer")
    (tmp_path / "mine" / "1" / "saved_model.pb").touch()
    engine = ArithmeticEngine("mine", "restorer")
    engine.models_dir = tmp_path
    actions = PageActions(pipeline.Restorer(engine), kept, AppSettings(), layout.EXAMPLES)
    assert [name for _, name in actions.offer(request())[2]["choices"]] == ["restorer"]


def test_a_server_that_is_gone_is_a_message(actions, engine):
    engine.error = ConnectionError("The server at gpu:8500 does not answer.")
    assert "gpu:8500 does not answer" in text(actions.offer(request())[4])


# From an upload to a download.


def test_a_photo_goes_all_the_way(actions, kept):
    upload(actions, kept)
    state, photos, viewer, downloads, details = actions.added(request())
    assert "1 photo is ready" in text(state) and downloads["links"] == []
    assert [one["state"] for one in photos["pictures"]] == ["new"]
    # What was chosen is looked at already; the browser has it.
    assert viewer["id"] == photos["chosen"] and "after" not in viewer and not details["visible"]
    state, photos, viewer, downloads, details = restore(actions)[-1]
    assert "Detected: a colour photo" in text(state) and state["progress"] is None
    assert photos["pictures"][0]["state"] == "done"
    (link,) = downloads["links"]
    assert link["name"] == "photo_restored.png"
    _, shared = kept.find(token(link))
    assert images.read(shared.path).rgb.shape == (30, 40, 3)
    for side in ("before", "after"):
        assert kept.find(viewer[side].removeprefix("pictures/"))
    assert "30 pixels" in details["value"] and "SHA-256" in details["value"]


def test_progress_counts_steps_of_a_photo_and_photos_of_a_batch(actions, kept, engine):
    for seed in range(2):
        upload(actions, kept, png((300, 500, 3), seed), f"{seed}.png")
    engine.hold = lambda: time.sleep(0.15)
    states = [state for state, *_ in restore(actions)]
    said = [text(state) for state in states]
    assert any("photo 1 of 2" in one for one in said) and any("photo 2 of 2" in one for one in said)
    done = [state["progress"][0] for state in states[:-1]]
    assert done == sorted(done) and all(s["progress"][1] == 2 for s in states[:-1])
    assert 1 <= done[-1] <= 2 and said[-1] == "2 photos restored."


def test_a_bad_first_file_hides_nothing(actions, kept):
    upload(actions, kept, damaged(), "broken.png")
    for seed in range(2):
        upload(actions, kept, png(seed=seed), f"{seed}.png")
    state, photos, viewer, downloads, _ = restore(actions)[-1]
    assert state["message"] == "2 of 3 restored."
    assert len(state["errors"]) == 1 and state["errors"][0].startswith("broken.png: ")
    assert [one["state"] for one in photos["pictures"]] == ["failed", "done", "done"]
    # The first success is shown, and everything can be fetched at once.
    assert viewer["name"] == "0.png" and photos["chosen"] == viewer["id"]
    assert [link["label"] for link in downloads["links"]] == ["Download", "Download all"]
    other = actions.show(event(id=photos["pictures"][2]["id"]), request())
    assert other[2]["name"] == "1.png" and other[2]["after"] != viewer["after"]
    bad = actions.show(event(id=photos["pictures"][0]["id"]), request())
    assert "after" not in bad[2]
    assert [link["label"] for link in bad[3]["links"]] == ["Download all"]


def test_why_a_photo_was_not_restored_is_said_again_when_it_is_chosen(actions, kept):
    picture = upload(actions, kept, damaged(), "cut.png")
    upload(actions, kept)
    restore(actions)
    actions.downloaded(event(name="restored.zip"), request())
    state = actions.show(event(id=picture.id), request())[0]
    assert "cut.png: " in text(state) and "damaged" in text(state)


def test_only_so_many_photos_are_taken(actions, kept):
    for seed in range(3):
        upload(actions, kept, png(seed=seed))
    with pytest.raises(uploads.Unwanted, match="More than 3 photos"):
        upload(actions, kept)
    assert len(kept.of("a").pictures) == 3


def test_a_leaving_of_macos_is_left_out_and_the_rest_goes_on(actions, kept):
    with pytest.raises(uploads.Unwanted, match="macOS"):
        upload(actions, kept, b"Mac OS X", "._x.jpg")
    picture = upload(actions, kept, name="..\\..\\up.png")
    assert picture.name == "up.png" and upload(actions, kept, name=".x.png").name == "x.png"
    assert "2 photos restored" in text(restore(actions)[-1][0])


def test_what_is_done_is_not_done_again(actions, kept, engine):
    upload(actions, kept)
    restore(actions)
    calls = []
    engine.hold = lambda: calls.append(1)
    upload(actions, kept, png(seed=1), "second.png")
    assert "2 photos restored" in text(restore(actions)[-1][0])
    assert len(calls) == 1
    # Other settings of the networks need them again, for both.
    engine.names = ("restorer", "mine")
    restore(actions, chosen=controls(restorer="mine"))
    assert len(calls) == 3


def adjust(actions, *chosen, fully=False):
    last = collect(actions.adjust(request(), *chosen))[-1]
    if fully:
        last = (collect(actions.adjust_fully(request(), *chosen)) or [last])[-1]
    return last


def test_settings_that_need_no_network_do_not_run_it(actions, kept, engine):
    upload(actions, kept)
    first = restore(actions)[-1]
    engine.error = AssertionError("The network was asked again.")
    again = adjust(actions, *controls(strength=0.25))
    assert again[2]["after"] != first[2]["after"] and again[0]["errors"] == []
    # What changes the file alone is told, too.
    kept_metadata = adjust(actions, *controls(strength=0.25, remove_metadata=False))
    assert "kept, but for the place" in kept_metadata[4]["value"]
    # The download is written with the same settings, when it is fetched.
    session = kept.of("a")
    actions.prepare(session, token(again[3]["links"][0]), Words())
    (picture,) = session.pictures
    assert picture.record["options"]["strength"] == 0.25


def test_the_download_is_named_by_the_format_that_is_chosen(actions, kept):
    upload(actions, kept)
    assert restore(actions)[-1][3]["links"][0]["name"] == "photo_restored.png"
    link = adjust(actions, *controls(format="WebP"))[3]["links"][0]
    assert link["name"] == "photo_restored.webp"
    actions.prepare(kept.of("a"), token(link), Words())
    assert kept.find(token(link))[1].name == link["name"]


def test_strength_does_not_wait_for_other_visitors(actions, kept, engine):
    upload(actions, kept)
    restore(actions)
    upload(actions, kept, visitor="b")
    going, go_on = threading.Event(), threading.Event()
    engine.hold = lambda: (going.set(), go_on.wait(10))
    worker = threading.Thread(target=restore, args=(actions, "b"))
    worker.start()
    assert going.wait(10)
    started = time.monotonic()
    assert "Applied" in text(adjust(actions, *controls(strength=0.5))[0])
    # Nor does the download, nor a place that one looks at closely.
    (picture,) = kept.of("a").pictures
    actions.prepare(kept.of("a"), picture.download, Words())
    assert picture.written.strength == 0.5
    assert actions.closeup(kept.of("a"), picture.id, (0, 0, 9, 9), before=False)
    assert time.monotonic() - started < 5 and worker.is_alive()
    go_on.set()
    worker.join(10)


def test_what_takes_long_to_apply_says_so_and_is_shown_small_first(actions, kept, monkeypatch):
    monkeypatch.setattr(finishing, "SCREEN_PIXELS", 500)
    upload(actions, kept)
    restore(actions)
    written = kept.of("a").pictures[0].written
    real = finishing.show
    monkeypatch.setattr(finishing, "show", lambda *a, **o: (time.sleep(0.6), real(*a, **o)))
    values = collect(actions.adjust(request(), *controls(strength=0.5)))
    assert "Applying" in text(values[0][0]) and values[0][0]["progress"]
    (picture,) = kept.of("a").pictures
    size = images.read(kept.find(picture.after)[1].path).width
    assert size < 40 and values[-1][2]["width"] == 40
    collect(actions.adjust_fully(request(), *controls(strength=0.5)))
    assert images.read(kept.find(picture.after)[1].path).width == 40
    # The file is written when it is fetched, not before.
    assert picture.written == written and written.strength == 1
    actions.prepare(kept.of("a"), picture.download, Words())
    assert picture.written.strength == 0.5
    # What is not wanted any more is not made in full.
    kept.of("a").finish = None
    unchanged = [(gr.skip(),) * 5]
    assert collect(actions.adjust_fully(request(), *controls(strength=0.75))) == unchanged


def test_a_result_that_had_to_go_comes_back_without_the_network(actions, kept, engine):
    upload(actions, kept)
    restore(actions)
    kept.make_room(2**60)
    assert kept.of("a").pictures[0].result is None
    engine.error = AssertionError("The network was asked again.")
    again = adjust(actions, *controls(saturation=0.5))
    assert again[0]["errors"] == [] and again[2]["after"]


def test_a_download_without_the_protection_just_asked_for_cannot_be_had(actions, kept, monkeypatch):
    upload(actions, kept)
    link = restore(actions)[-1][3]["links"][0]
    protected = controls(blur_faces=True)
    # Then faces cannot be looked for: no download may come back.
    monkeypatch.setattr(faces, "detect", lambda rgb: raise_(ImportError("No mtcnn.")))
    assert actions.withdraw(request(), *protected) == {}
    with pytest.raises(RuntimeError, match="No mtcnn"):
        actions.prepare(kept.of("a"), token(link), Words())
    state, _, viewer, downloads, _ = adjust(actions, *protected)
    assert "No mtcnn." in text(state) and "after" not in viewer and downloads["links"] == []
    with pytest.raises(FileNotFoundError):
        finishing.write(kept.of("a"), kept.of("a").pictures[0], finishing.Finish(), Words())


def raise_(error):
    raise error


def test_before_there_is_a_result_changes_say_nothing(actions, kept):
    upload(actions, kept)
    assert collect(actions.adjust(request(), *CONTROLS)) == [(gr.skip(),) * 5]
    assert actions.remind(request()) == gr.skip()
    restore(actions)
    assert "Press Restore" in text(actions.remind(request()))


def test_without_a_photo_the_page_asks_for_one(actions):
    assert "Choose a photo first" in text(restore(actions)[-1][0])


def test_a_page_whose_time_was_up_says_so_and_can_go_on_at_once(actions, kept, monkeypatch):
    upload(actions, kept)
    restore(actions)
    clock, later = time.monotonic, kept.keep_seconds + 1
    monkeypatch.setattr(time, "monotonic", lambda: clock() + later)
    kept.sweep()
    state, photos, viewer, downloads, _ = actions.expire(request())
    assert "deleted here, 10 minutes after your last action" in text(state)
    # Nothing dead is left in the list.
    assert photos["pictures"] == [] and viewer == {} and downloads["links"] == []
    assert "have been deleted" in text(restore(actions)[-1][0])
    assert "have been deleted" in text(actions.show(event(id="x"), request())[0])
    upload(actions, kept, name="new.png")
    assert "1 photo is ready" in text(actions.added(request())[0])
    assert "Done" in text(restore(actions)[-1][0])


def test_how_things_stand_is_told_without_starting_the_time_anew(actions, kept, monkeypatch):
    picture = upload(actions, kept)
    session = kept.of("a")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 570)
    standing = actions.standing(session)
    assert 25 < standing["left"] <= 31 and standing["pictures"] == {picture.id: "new"}
    assert not standing["working"]


def test_a_page_that_was_away_is_shown_how_things_are(actions, kept):
    upload(actions, kept)
    assert "1 photo is ready" in text(actions.refresh(request())[0])
    restore(actions)
    state, _, viewer, *_ = actions.refresh(request())
    assert "Done" in text(state) and viewer["after"]


def test_an_upload_that_vanished_is_said_without_a_path(actions, kept):
    upload(actions, kept).upload.unlink()
    state = restore(actions)[-1][0]
    assert "have been deleted" in text(state) and str(kept.folder) not in text(state)


def test_a_full_disk_is_said_without_a_path(actions, kept, monkeypatch):
    upload(actions, kept)
    full = OSError(errno.ENOSPC, "No space left on device", str(kept.folder / "x"))
    monkeypatch.setattr(images, "write", lambda *_, **__: raise_(full))
    state = restore(actions)[-1][0]
    assert "No space left on device" in text(state) and str(kept.folder) not in text(state)


def example(actions, name, visitor="a"):
    return actions.restore_example(request(visitor), event(name=name), *CONTROLS)


def test_an_example_joins_the_photos_and_takes_the_place_of_another(actions, kept):
    upload(actions, kept)
    values = collect(example(actions, "coffee.jpg"))[-1]
    assert values[2]["name"] == "coffee.jpg"
    assert values[3]["links"][0]["name"] == "coffee_restored.jpg"
    collect(example(actions, "cat.jpg"))
    assert [picture.name for picture in kept.of("a").pictures] == ["photo.png", "cat.jpg"]
    assert "no such example" in text(collect(example(actions, "../page.js"))[-1][0])


def test_of_two_examples_the_last_one_wins(actions, kept, engine):
    async def both():
        begun = threading.Event()
        engine.hold = lambda: (begun.set(), time.sleep(0.05))
        first = example(actions, "coffee.jpg")
        said = [await anext(first)]
        await asyncio.to_thread(begun.wait, 10)
        last = [values async for values in example(actions, "cat.jpg")]
        said += [values async for values in first]
        return said, last

    said, last = asyncio.run(both())
    # Who spoke first fell silent; nobody said that anything was deleted.
    assert said[1:] == [(gr.skip(),) * 5] and "deleted" not in " ".join(
        text(values[0]) for values in last
    )
    assert last[-1][2]["name"] == "cat.jpg" and "Done" in text(last[-1][0])
    assert [picture.name for picture in kept.of("a").pictures] == ["cat.jpg"]


def test_a_photo_that_comes_during_a_job_waits_for_the_next(actions, kept, engine):
    upload(actions, kept)
    going, go_on = threading.Event(), threading.Event()
    engine.hold = lambda: (going.set(), go_on.wait(10))
    outcome = []
    worker = threading.Thread(target=lambda: outcome.extend(restore(actions)))
    worker.start()
    assert going.wait(10)
    upload(actions, kept, png(seed=1), "late.png")
    # What is said of the job stays; the list has both.
    values = actions.added(request())
    assert values[0] == gr.skip()
    assert [one["state"] for one in values[1]["pictures"]] == ["working", "new"]
    go_on.set()
    worker.join(10)
    assert text(outcome[-1][0]) == "1 of 2 restored. 1 more waits: press Restore."
    assert "2 photos restored" in text(restore(actions)[-1][0])


def test_restore_pressed_during_a_job_goes_on_with_it(actions, kept, engine):
    upload(actions, kept)
    going, calls = threading.Event(), []
    engine.hold = lambda: (calls.append(1), going.set(), time.sleep(0.3))
    worker = threading.Thread(target=restore, args=(actions,))
    worker.start()
    assert going.wait(10)
    assert "Done" in text(restore(actions)[-1][0])
    worker.join(10)
    assert len(calls) == 1


def test_a_place_in_the_queue_is_told_and_can_be_left(kept, engine):
    actions = PageActions(
        pipeline.Restorer(engine), kept, AppSettings(queue_size=1), layout.EXAMPLES
    )
    going, go_on = threading.Event(), threading.Event()
    engine.hold = lambda: (going.set(), go_on.wait(10))
    said = {"b": [], "c": []}
    for visitor in "abc":
        upload(actions, kept, visitor=visitor)
    first = threading.Thread(target=restore, args=(actions, "a"))
    first.start()
    assert going.wait(10)

    def watch(visitor):
        async def run():
            async for values in actions.restore(request(visitor), *CONTROLS):
                said[visitor].append(text(values[0]))

        asyncio.run(run())

    second = threading.Thread(target=watch, args=("b",))
    second.start()
    deadline = time.monotonic() + 10
    while "Waiting: you are next." not in said["b"] and time.monotonic() < deadline:
        time.sleep(0.02)
    watch("c")
    assert "The queue is full: 1 are waiting. Press Restore to try again" in said["c"][-1]
    assert actions.cancel(request("b")) == gr.skip()
    second.join(10)
    assert said["b"][-1] == "Cancelled: you are out of the queue."
    go_on.set()
    first.join(10)
    # Trying again works.
    engine.hold = None
    watch("c")
    assert "Done" in said["c"][-1]


def test_a_photo_that_takes_too_long_is_given_up(kept, engine):
    settings = AppSettings(max_seconds=0.1)
    actions = PageActions(pipeline.Restorer(engine), kept, settings, layout.EXAMPLES)
    upload(actions, kept, png((600, 900, 3)))
    engine.hold = lambda: time.sleep(0.06)
    state = restore(actions)[-1][0]
    assert "given up after 0.1 seconds, the time limit" in text(state)


def test_a_decoder_that_never_ends_is_ended(kept, engine, monkeypatch):
    endless = decoding.Decoder([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(decoding, "decoder", lambda: endless)
    settings = AppSettings(max_seconds=0.3)
    actions = PageActions(pipeline.Restorer(engine), kept, settings, layout.EXAMPLES)
    upload(actions, kept)
    assert "the time limit" in text(restore(actions)[-1][0])
    assert actions._queue._abandoned == 0
    running = psutil.Process().children()
    assert not any("time.sleep(600)" in process.cmdline() for process in running)


def test_cancelling_stops_between_tiles_and_counts(actions, kept, engine):
    assert "Nothing is under way" in text(actions.cancel(request()))
    upload(actions, kept, name="first.png")
    upload(actions, kept, png((600, 900, 3)), "second.png")
    session = kept.of("a")
    calls, started = [], threading.Event()

    def hold():
        calls.append(1)
        if len(calls) > 1:
            started.set()
            deadline = time.monotonic() + 10
            while not session.job.was_cancelled and time.monotonic() < deadline:
                time.sleep(0.01)

    engine.hold = hold
    outcome = []
    worker = threading.Thread(target=lambda: outcome.extend(restore(actions)))
    worker.start()
    assert started.wait(10)
    assert actions.cancel(request()) == gr.skip()
    worker.join(10)
    assert text(outcome[-1][0]) == "Cancelled. 1 of 2 are restored."
    assert [picture.is_done for picture in session.pictures] == [True, False]
    # The next one is not cancelled with it.
    engine.hold = None
    assert "2 photos restored" in text(restore(actions)[-1][0])


def test_after_one_of_several_downloads_the_view_stays_and_the_rest_is_told(actions, kept):
    for seed in range(3):
        upload(actions, kept, png(seed=seed), f"{seed}.png")
    link = restore(actions)[-1][3]["links"][0]
    kept.downloaded(*kept.find(token(link)))
    state, photos, viewer, downloads, details = actions.downloaded(
        event(name="0_restored.png"), request()
    )
    assert "deleted here. Still here: 2 photos." in text(state)
    assert viewer == gr.skip() and details == gr.skip()
    assert [one["name"] for one in photos["pictures"]] == ["1.png", "2.png"]
    assert [link["label"] for link in downloads["links"]] == ["Download all"]


def test_a_download_that_deletes_nothing_can_be_had_again(actions, kept):
    upload(actions, kept)
    link = restore(actions)[-1][3]["links"][0]
    actions.set_deletion(False, request())
    for _ in range(2):
        actions.prepare(kept.of("a"), token(link), Words())
        session, shared = kept.find(token(link))
        assert shared.path.is_file()
        kept.downloaded(session, shared)
        state, *_, downloads, _ = actions.downloaded(event(name="a.png"), request())
        assert "kept here until 10 minutes" in text(state)
        assert downloads["links"][0]["href"] == link["href"]
    actions.set_deletion(True, request())
    kept.downloaded(*kept.find(token(link)))
    state, photos, *_ = actions.downloaded(event(name="a.png"), request())
    assert photos["pictures"] == [] and "only in your browser" in text(state)
    assert is_empty(kept)


def test_clearing_and_removing_delete(actions, kept):
    first = upload(actions, kept)
    upload(actions, kept, png(seed=1), "b.png")
    restore(actions)
    state, photos, viewer, *_ = actions.remove(event(id=first.id), request())
    assert "photo.png has been deleted" in text(state) and viewer["name"] == "b.png"
    assert [one["name"] for one in photos["pictures"]] == ["b.png"]
    actions.remove(event(id=first.id), request())  # Pressed twice.
    state, photos, viewer, downloads, _ = actions.clear(request())
    assert "deleted" in text(state) and viewer == {} and downloads["links"] == []
    assert is_empty(kept)


def test_a_part_is_marked_and_only_that_is_restored(actions, kept):
    picture = upload(actions, kept, png((200, 300, 3)))
    values = actions.mark(event(id=picture.id, region=[40.2, 60, 100, 50]), request())
    assert "marked part only" in text(values[0]) and values[2]["region"] == [40, 60, 100, 50]
    state, *_, details = restore(actions)[-1]
    assert "100 × 50 + 40 + 60" in details["value"]
    source, result = images.read(picture.upload).rgb, picture.result.image
    changed = (source != result).any(axis=-1)
    assert changed[60:110, 40:140].mean() > 0.9
    changed[60:110, 40:140] = False
    assert not changed.any()
    painted = {"strokes": [{"points": [[200, 100], [240, 100]], "radius": 20.0, "erases": False}]}
    values = actions.mark(event(id=picture.id, region=painted), request())
    assert values[2]["region"]["strokes"][0]["radius"] == 20
    assert "only where it was painted" in restore(actions)[-1][-1]["value"]
    changed = (source != picture.result.image).any(axis=-1)
    assert changed[95:105, 200:240].mean() > 0.9
    changed[78:122, 178:262] = False
    assert not changed.any()
    for nonsense in (None, [1, 2], "abcd", [0, 0, 0, 5], [float("nan")] * 4, {"strokes": [3]}):
        actions.mark(event(id=picture.id, region=nonsense), request())
        assert picture.region is None
    assert text(restore(actions)[-1][0]).startswith("Done")
    assert (picture.result.image != source).any(axis=-1).mean() > 0.9


def halves(shape=(120, 160)):
    """A grey picture of two plain surfaces, dark and light."""
    levels = np.full((*shape, 3), 90, np.uint8)
    levels[:, shape[1] // 2 :] = 255
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


def hint(actions, picture, *hints):
    given = event(id=picture.id, hints=list(hints))
    return collect(actions.hint(request(), given, *controls(mode="restore+colorize")))[-1]


def test_colours_that_a_person_gives_are_taken_shown_and_written(engine, actions, kept):
    engine.names = ("restorer", "colorizer")
    picture = upload(actions, kept, halves())
    restore(actions, chosen=controls(mode="restore+colorize"))
    guess = picture.result.image.astype(int)
    red = {"color": "#b01e1e", "points": [[30, 60]], "width": 0}
    state, _, viewer, _, details = hint(actions, picture, red)
    assert text(state) == "Applied." and "1 colour given" in details["value"]
    assert viewer["coloured"] and viewer["hints"][0]["color"] == "#b01e1e"
    image = picture.result.image.astype(int)
    # The dark half is red now, the light one is as it was guessed.
    left, right = np.s_[40:80, 10:60], np.s_[40:80, 100:150]
    assert (image[left][..., 0] - image[left][..., 1]).mean() > 40
    assert np.abs(image[right] - guess[right]).mean() < 2
    # What is fetched has it too, though a file had been written before.
    token = picture.download
    actions.prepare(kept.of("a"), token, Words())
    written = images.read(kept.find(token)[1].path).rgb.astype(int)
    assert (written[left][..., 0] - written[left][..., 1]).mean() > 40
    assert picture.record["options"]["hints"]["hints"][0]["points"] == ((30.0, 60.0),)
    # Taken back, everything is as it was.
    hint(actions, picture)
    np.testing.assert_array_equal(picture.result.image, guess)
    for nonsense in ({"color": "#b01e1e", "points": [[900, 1]]}, {"color": "red"}, 3):
        state, *_ = hint(actions, picture, nonsense)
        assert "Click inside the photo" in text(state) and not picture.hints
    # Of a picture that keeps its own colours nothing is changed.
    hint(actions, picture, red)
    restore(actions, chosen=controls(mode="restore"))
    assert picture.hints and np.ptp(picture.result.as_photo().rgb, axis=-1).max() == 0


def test_likely_colours_are_offered_of_a_coloured_photo(engine, actions, kept, monkeypatch):
    engine.names = ("restorer", "colorizer")
    asked = []

    def suggestions(self, result, point):
        asked.append((result.image.shape, point))
        if point[0] > 100:
            raise ValueError("The point must lie in the picture.")
        return [
            types.SimpleNamespace(color=(176, 30, 30)),
            types.SimpleNamespace(color=(0, 9, 255)),
        ]

    monkeypatch.setattr(pipeline.Restorer, "suggestions", suggestions, raising=False)
    picture = upload(actions, kept, halves())
    session = kept.of("a")
    assert actions.suggest(session, picture.id, (3, 4)) == []
    restore(actions, chosen=controls(mode="restore+colorize"))
    assert actions.suggest(session, picture.id, (3, 4)) == ["#b01e1e", "#0009ff"]
    assert asked == [((120, 160, 3), (3, 4))]
    assert actions.suggest(session, picture.id, (101, 4)) == []
    assert actions.suggest(session, "another's", (3, 4)) == []


def test_visitors_do_not_see_each_other_s_photos(actions, kept):
    upload(actions, kept, png(seed=1), "mine.png", "a")
    upload(actions, kept, png(seed=2), "yours.png", "b")
    mine, yours = restore(actions, "a")[-1], restore(actions, "b")[-1]
    assert mine[2]["name"] == "mine.png" and yours[2]["name"] == "yours.png"
    assert mine[2]["after"] != yours[2]["after"]
    actions.clear(request("a"))
    assert kept.find(yours[2]["after"].removeprefix("pictures/"))
    assert "mine" not in repr(actions.show(event(id=mine[1]["chosen"]), request("b")))


# Heavy shake.


@pytest.fixture
def shaken():
    """A PNG of a photo that is shaken by 15 pixels."""
    light, _ = blurred(scene((190, 230)), kernels.motion_kernel(15, 20))
    file = io.BytesIO()
    Image.fromarray(color.from_float(color.light_to_luminance(light), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_heavy_shake_is_taken_away_and_what_was_found_is_shown(actions, kept, engine, shaken):
    engine.restore = lambda tiles, **_: tiles
    picture = upload(actions, kept, shaken)
    told = restore(actions, chosen=controls(patient=True))
    details = told[-1][4]["value"]
    assert "pixels long, direction" in details and "of the photo was changed" in details
    assert details.count('<img class="rf-kernel" src="data:image/png;base64,') == 1
    assert picture.shake.changed > 0.5 and picture.shake.share is None
    # More steps than a tile and its end.
    assert re.search(r"of ([5-9]|1\d) steps", " ".join(text(values[0]) for values in told[:-1]))
    assert picture.record["shake"]["blur_length"] == pytest.approx(15, abs=4)
    # The next page says how long it took here.
    assert "About 60 seconds" not in actions.expect(request())["info"]
    # Without it the networks are asked anew, and nothing is said of a shake.
    told = restore(actions, chosen=controls())
    assert "Shake" not in told[-1][4]["value"] and picture.shake is None


def test_the_search_for_a_shake_is_cancelled(actions, kept, engine, shaken):
    picture = upload(actions, kept, shaken)
    session, started = kept.of("a"), threading.Event()

    def quickly(tiles, **_):
        started.set()
        return tiles

    engine.restore = quickly
    outcome = []
    worker = threading.Thread(
        target=lambda: outcome.extend(restore(actions, chosen=controls(patient=True)))
    )
    worker.start()
    assert started.wait(30)
    assert actions.cancel(request()) == gr.skip()
    worker.join(30)
    assert text(outcome[-1][0]) == "Cancelled." and not picture.is_done
    assert session.job.is_over


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
    "content, said",
    [(bomb(), "10,000 megapixels"), (png((1100, 1000, 3)), "1.1 megapixels"), (b"", "empty")],
    ids=["bomb", "too large", "empty"],
)
def test_bad_files_are_refused_when_they_arrive(actions, kept, content, said):
    with pytest.raises(uploads.Unwanted, match=said):
        upload(actions, kept, content)
    assert is_empty(kept) and not kept.of("a").pictures


def test_a_file_that_is_damaged_further_on_is_refused_in_words(actions, kept):
    upload(actions, kept, damaged())
    state, _, viewer, downloads, _ = restore(actions)[-1]
    assert len(state["errors"]) == 1 and "Traceback" not in text(state)
    assert "after" not in viewer and downloads["links"] == []
    # Nothing of where the file lies.
    assert str(kept.folder) not in text(state)


def test_one_pixel_is_restored(actions, kept):
    upload(actions, kept, png((1, 1, 3)))
    assert "1 × 1 pixels" in restore(actions)[-1][4]["value"]


@pytest.mark.slow
def test_100_megapixels_are_restored_in_bounded_memory(tmp_path):
    """The limits are those of `refocus demo`, but for time; a process of its own tells its peak."""
    block = np.asarray(Image.open(io.BytesIO(png((10, 10, 3)))).resize((500, 500)))
    images.write(tmp_path / "large.jpg", images.Photo(rgb=np.tile(block, (20, 20, 1))))
    program = (
        "import pathlib, test_actions\n"
        "from keras_refocus.page import layout, sessions\n"
        "from keras_refocus.restoration import pipeline\n"
        "from keras_refocus.system import machine\n"
        "with sessions.Sessions() as kept:\n"
        "    restorer = pipeline.Restorer(test_actions.ArithmeticEngine())\n"
        "    settings = layout.AppSettings(max_seconds=None)\n"
        "    actions = test_actions.PageActions(restorer, kept, settings, layout.EXAMPLES)\n"
        "    content = pathlib.Path('large.jpg').read_bytes()\n"
        "    test_actions.upload(actions, kept, content, 'large.jpg')\n"
        "    state, _, viewer, downloads, details = test_actions.restore(actions)[-1]\n"
        "    print(state, details['value'])\n"
        "    token = downloads['links'][0]['href'].removeprefix('pictures/')\n"
        "    print(test_actions.images.read(kept.find(token)[1].path).rgb.shape)\n"
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
    assert "Shown at 1732 × 1732, and in full where you zoom in" in done.stdout
    assert int(done.stdout.split()[-1]) < 3 * 2**30


def test_what_nobody_foresaw_is_a_sentence_and_no_name_is_logged(actions, kept, engine, caplog):
    upload(actions, kept, None, "secret_wedding.png")
    engine.restore = lambda tiles, model: raise_(KeyError("secret_wedding.png"))
    with caplog.at_level(logging.DEBUG):
        state = restore(actions)[-1][0]
    assert "Something went wrong (KeyError)" in text(state)
    assert "test_actions.py" in caplog.text and "secret_wedding" not in caplog.text


def test_nothing_that_is_logged_names_a_photo(actions, kept, caplog, capfd):
    file = io.BytesIO()
    Image.new("CMYK", (20, 20)).save(file, "TIFF", compression="raw")
    with caplog.at_level(logging.DEBUG):
        upload(actions, kept, file.getvalue(), "secret_wedding.tif")
        restore(actions)
        upload(actions, kept, damaged(), "secret_wedding.png")
        restore(actions)
    # Photos are decoded in a process of its own, which has standard error for its notices.
    said = caplog.text + "".join(capfd.readouterr())
    assert "secret_wedding" not in said
    details = [picture.details for picture in kept.of("a").pictures if picture.details]
    assert any("CMYK" in str(found) for found in details)


def test_markup_is_text_in_the_page(actions, kept):
    upload(actions, kept, name="<b>a.png")
    picture = kept.of("a").pictures[0]
    *_, details = restore(actions)[-1]
    picture.details["Notes"] = "<b>bold"
    *_, details = actions.show(event(id=picture.id), request())
    assert "<b>" not in details["value"] and "&lt;b&gt;bold" in details["value"]
