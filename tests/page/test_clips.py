"""The Video tab without a browser: arithmetic stands in for the networks."""

import asyncio
import contextlib
import os
import tempfile
import threading
import time
import types

import gradio as gr
import numpy as np
import pytest
import tiny_clips
from arithmetic_engine import ArithmeticEngine
from PIL import Image

from keras_refocus.page import clips, layout, sessions, uploads
from keras_refocus.page.actions import PageActions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.words import Words
from keras_refocus.restoration import pipeline
from keras_refocus.video import containers


@pytest.fixture
def engine():
    return ArithmeticEngine("restorer", "colorizer")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    with sessions.Sessions() as kept:
        yield kept


@pytest.fixture
def actions(engine, kept):
    return make(engine, kept)


def make(engine, kept, **settings):
    settings = AppSettings(**{"max_clip_seconds": 5} | settings)
    return PageActions(pipeline.Restorer(engine), kept, settings, layout.EXAMPLES).clips


def request(visitor="a", language="en"):
    return types.SimpleNamespace(session_hash=visitor, headers={"accept-language": language})


def film(folder, count=75, name="walk.mp4", **options):
    lumas = tiny_clips.soft(tiny_clips.moving(0, count, step=0.5))
    return tiny_clips.write(folder / name, lumas, **{"codec": "libx264", "gray": True} | options)


def upload(actions, kept, source, visitor="a", words=None):
    """What the page's route of clips does."""
    path = kept.of(visitor).reserve()
    path.write_bytes(source.read_bytes())
    actions.receive(kept.door(visitor), path, source.name, words or Words())
    return kept.of(visitor).clip


def chosen(**changes):
    return tuple(vars(clips.ClipChoices(**changes)).values())


def collect(values):
    async def run():
        return [value async for value in values]

    return asyncio.run(run())


def text(state):
    return " ".join([state["message"], *state["errors"]]).strip()


def fetched(kept, token):
    return kept.find(token.removeprefix("pictures/"))[1].path


def is_empty(kept):
    return not any(files for _, _, files in os.walk(kept.folder))


def test_the_first_seconds_then_all_of_it(actions, kept, tmp_path):
    source = film(tmp_path, sounds=[("eng", "Left", 1)])
    clip = upload(actions, kept, source)
    state, listed, shown, links, _ = actions.arrived(request())
    assert "is ready" in text(state) and links["links"] == [] and "after" not in shown
    assert listed["clip"]["name"] == "walk.mp4" and listed["clip"]["about"].endswith("64 × 48")
    told = collect(actions.preview(request(), *chosen()))
    assert any("frame" in text(one[0]) for one in told[1:-1])
    state, _, shown, links, table = told[-1]
    assert "first seconds" in text(state) and "would take about" in text(state)
    assert shown["preview"] and links["links"] == []
    assert "restorer 1" in table["value"] and "60 frames" in table["value"]
    before, after = (fetched(kept, shown[side]) for side in ("before", "after"))
    assert tiny_clips.times(before) == tiny_clips.times(after) == tiny_clips.times(source)[:60]
    state, _, shown, links, table = collect(actions.restore(request(), *chosen()))[-1]
    assert "is restored" in text(state) and not shown["preview"]
    # What the preview was made of is gone.
    assert not before.exists()
    (link,) = links["links"]
    assert link["name"] == "walk_restored.mp4" and "SHA-256 of the download" in table["value"]
    result = fetched(kept, link["href"])
    assert tiny_clips.times(result) == tiny_clips.times(source)
    assert tiny_clips.packets(result, "audio") == tiny_clips.packets(source, "audio")
    # The stand-in halves luminance.
    means = [
        np.mean([planes[0].mean() for planes in tiny_clips.planes(p)]) for p in (source, result)
    ]
    assert means[1] - 16 == pytest.approx((means[0] - 16) / 2, rel=0.1)
    session, shared = kept.find(link["href"].removeprefix("pictures/"))
    kept.downloaded(session, shared)
    state, listed, _, links, _ = actions.downloaded(gr.EventData(None, {"name": "a"}), request())
    assert "have been deleted" in text(state) and listed["clip"] is None and links["links"] == []
    assert clip.upload.parent.exists() and is_empty(kept)


def test_a_download_can_be_kept(actions, kept, tmp_path):
    upload(actions, kept, film(tmp_path, 10))
    collect(actions.restore(request(), *chosen(steady=False)))
    actions.set_deletion(False, request())
    session, shared = kept.find(kept.of("a").clip.download)
    kept.downloaded(session, shared)
    state, listed, *_ = actions.downloaded(gr.EventData(None, {"name": "x.mp4"}), request())
    assert "Downloaded x.mp4. It is kept" in text(state) and listed["clip"] is not None


def test_grey_footage_is_coloured_and_the_frame_rate_doubled_when_asked(actions, kept, tmp_path):
    assert actions.offer(request())[0]["visible"]
    source = film(tmp_path, 12)
    upload(actions, kept, source)
    *_, links, table = collect(actions.restore(request(), *chosen(colors=True, smooth=True)))[-1]
    assert "coloured, steadied, frame rate doubled" in table["value"]
    assert "colorizer 1" in table["value"]
    result = fetched(kept, links["links"][0]["href"])
    planes = tiny_clips.planes(result)
    assert 22 <= len(planes) <= 24 and abs(planes[0][1].mean() - 128) > 3


def test_frames_take_turns_with_photos(actions, kept, tmp_path, engine):
    """While a photo has the only place, a clip waits, and goes on afterwards."""
    upload(actions, kept, film(tmp_path, 8))
    work = None
    with actions._queue.place():
        thread = threading.Thread(
            target=lambda: collect(actions.restore(request(), *chosen(steady=False)))
        )
        thread.start()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            work = kept.of("a").clip.work
            if work is not None and work.step == "clip_restoring":
                break
            time.sleep(0.02)
        time.sleep(0.3)
        assert work.step == "clip_restoring" and work.done == 0 and not work.is_over
    assert work.join(60)
    thread.join(60)
    assert kept.of("a").clip.download


def test_clips_wait_in_line_and_the_line_is_left_by_cancelling(actions, kept, tmp_path):
    upload(actions, kept, film(tmp_path, 6))
    with actions._line.place():
        told = []

        async def watch():
            async for values in actions.preview(request(), *chosen()):
                told.append(
                    text(values[0])
                    if isinstance(values[0], dict) and values[0].get("message")
                    else ""
                )
                if "before yours: 1" in told[-1]:
                    actions.cancel(request())

        asyncio.run(watch())
    assert any("before yours: 1" in one for one in told) and told[-1] == "Cancelled."
    assert text(actions.cancel(request())) == "Nothing is under way."


def test_removing_a_clip_stops_the_work_and_leaves_nothing(actions, kept, tmp_path, engine):
    upload(actions, kept, film(tmp_path, 40))
    begun = threading.Event()
    engine.hold = begun.set
    thread = threading.Thread(target=lambda: collect(actions.restore(request(), *chosen())))
    thread.start()
    assert begun.wait(20)
    work = kept.of("a").clip.work
    state, listed, *_ = actions.remove(request())
    assert "has been deleted" in text(state) and listed["clip"] is None
    assert work.join(20)
    thread.join(20)
    assert is_empty(kept)
    assert text(collect(actions.restore(request(), *chosen()))[-1][0]).startswith("Choose a clip")


def test_a_visitor_whose_time_is_up_leaves_nothing(actions, kept, tmp_path):
    upload(actions, kept, film(tmp_path, 6))
    session = kept.of("a")
    session.expires = time.monotonic() - 1
    kept.sweep()
    assert is_empty(kept)
    assert "after your last action" in text(actions.expire(request())[0])


@pytest.mark.parametrize(
    ("make_file", "said"),
    [
        (lambda path: path.write_bytes(b""), "It is empty"),
        (lambda path: path.write_bytes(b"no film at all"), "no video that Refocus reads"),
        (lambda path: Image.new("RGB", (9, 9)).save(path, "PNG"), "Photos tab"),
    ],
)
def test_what_is_no_clip_is_refused_in_words(actions, kept, tmp_path, make_file, said):
    path = tmp_path / "a.mp4"
    make_file(path)
    with pytest.raises(uploads.Unwanted, match=said):
        upload(actions, kept, path)
    assert kept.of("a").clip is None and is_empty(kept)


def test_limits_are_told_with_the_flags_that_move_them(kept, engine, tmp_path):
    source = film(tmp_path, 75)
    with pytest.raises(uploads.Unwanted, match="lasts 3 seconds.*--max-clip-seconds 3"):
        upload(make(engine, kept, max_clip_seconds=1), kept, source)
    with pytest.raises(uploads.Unwanted, match="dauert 3 Sekunden"):
        upload(make(engine, kept, max_clip_seconds=1), kept, source, words=Words("de"))
    # A file that does not say how long it is is found out when it is looked through.
    raw = film(tmp_path, 75, "raw.y4m", codec="wrapped_avframe", container="yuv4mpegpipe")
    actions = make(engine, kept, max_clip_seconds=1)
    if clips.containers.look(raw).seconds is None:
        upload(actions, kept, raw)
        assert "--max-clip-seconds" in text(collect(actions.restore(request(), *chosen()))[-1][0])
    actions = make(engine, kept, max_clip_work=0)
    upload(actions, kept, source)
    state, *_ = collect(actions.restore(request(), *chosen()))[-1]
    assert "given up after 0 seconds" in text(state)


def test_hdr_is_refused(actions, kept, tmp_path):
    pq = film(tmp_path, 6, "hdr.mp4", properties={"color_trc": 16})
    with pytest.raises(uploads.Unwanted, match=r"HDR \(PQ\)"):
        upload(actions, kept, pq)


def test_interlaced_frames_are_made_whole_and_it_is_said(actions, kept, tmp_path):
    source = film(tmp_path, 8, "tape.mp4", options={"flags": "+ildct+ilme"})
    assert containers.survey(source).interlaced == 8
    upload(actions, kept, source)
    state, _, _, links, table = collect(actions.restore(request(), *chosen()))[-1]
    assert "is restored" in text(state)
    assert Words().say("clip_deinterlaced") in str(table["value"])
    (link,) = links["links"]
    result = fetched(kept, link["href"])
    assert containers.survey(result).interlaced == 0
    assert tiny_clips.times(result) == tiny_clips.times(source)


def test_a_clip_that_changes_its_size_midway_is_refused_without_its_path(actions, kept, tmp_path):
    small = film(tmp_path, 6, "a.ts", container="mpegts").read_bytes()
    lumas = tiny_clips.moving(0, 6, height=96, width=128)
    large = tiny_clips.write(
        tmp_path / "b.ts",
        lumas,
        codec="libx264",
        container="mpegts",
        times=[18_018 + 3003 * i for i in range(6)],
    )
    both = tmp_path / "c.ts"
    both.write_bytes(small + large.read_bytes())
    upload(actions, kept, both)
    state, *_ = collect(actions.restore(request(), *chosen()))[-1]
    assert "change their size" in text(state) and str(kept.folder) not in text(state)


def test_a_server_that_is_gone_is_told_in_the_visitor_s_language(kept, tmp_path):
    serving = pytest.importorskip("keras_refocus.engines.serving")
    with serving.ServingEngine("grpc://127.0.0.1:9", connect_timeout=0.2) as engine:
        actions = make(engine, kept)
        upload(actions, kept, film(tmp_path, 4))
        state, *_ = collect(actions.restore(request(language="de"), *chosen()))[-1]
        assert "Der Server der Modelle ist nicht zu erreichen (127.0.0.1:9)" in text(state)


def test_two_visitors_have_clips_of_their_own(actions, kept, tmp_path):
    upload(actions, kept, film(tmp_path, 6, "mine.mp4"), "a")
    upload(actions, kept, film(tmp_path, 6, "yours.mp4"), "b")
    assert actions.arrived(request("a"))[1]["clip"]["name"] == "mine.mp4"
    actions.remove(request("a"))
    assert actions.arrived(request("b"))[1]["clip"]["name"] == "yours.mp4"


@pytest.mark.slow
def test_a_server_gives_what_the_local_engine_gives(kept, tmp_path, tmp_path_factory):
    """Frames, in batches, over gRPC."""
    from stand_in_models import export_colorizer, export_sharpener

    from keras_refocus.engines.local import LocalEngine
    from keras_refocus.engines.serving import ServingEngine
    from keras_refocus.local_server.configuration import model_config_for
    from keras_refocus.local_server.services import LocalServer

    models = tmp_path_factory.mktemp("models")
    export_sharpener(models / "restorer" / "1")
    export_colorizer(models / "colorizer" / "1")
    source = film(tmp_path, 10)
    planes = []
    with LocalServer(model_config_for(models), port=0, poll_seconds=0) as server:
        for engine in (LocalEngine(models), ServingEngine(f"grpc://127.0.0.1:{server.port}")):
            with contextlib.closing(engine):
                actions = make(engine, kept)
                upload(actions, kept, source)
                *_, links, _ = collect(actions.restore(request(), *chosen()))[-1]
                planes.append(tiny_clips.planes(fetched(kept, links["links"][0]["href"])))
    # H.264 is lossy: what differs in the last bit may be coded otherwise here and there.
    for local, remote, before in zip(*planes, tiny_clips.planes(source), strict=True):
        assert np.abs(local[0].astype(int) - remote[0]).mean() <= 2
        assert np.abs(local[0].astype(int) - before[0]).mean() > 3
