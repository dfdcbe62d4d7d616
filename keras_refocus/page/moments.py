"""What happened during the exposure: the frames of one blurred photo, and a small clip of them.

The photo that is looked at need not be restored before. Its frames go to the browser as one sheet,
one below the other, and are played there; which of both directions is the right one a blurred
picture does not tell, so that the visitor can turn them round.
"""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from keras_refocus.engines import contract
from keras_refocus.page import clips, decoding, finishing, views
from keras_refocus.page.errors import say
from keras_refocus.page.jobs import WorkQueue
from keras_refocus.page.sessions import Moments, Picture, Session, Sessions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.words import Words
from keras_refocus.pictures import faces
from keras_refocus.restoration import pipeline
from keras_refocus.system import memory
from keras_refocus.video import unblur

#: Longest side of the frames in pixels.
SIDE = 1280


class MomentActions:
    """The actions of the player of moments, for all visitors.

    Args:
        restorer: What sharpens the photo, and runs the motion network where there is one.
        sessions: Where the visitors' pictures are kept.
        settings: How the page behaves.
        queue: Where photos wait for their places, and these with them.
    """

    def __init__(
        self,
        restorer: pipeline.Restorer,
        sessions: Sessions,
        settings: AppSettings,
        queue: WorkQueue,
    ):
        self._restorer = restorer
        self._sessions = sessions
        self._settings = settings
        self._queue = queue

    async def find(
        self, request: gr.Request, model: str | None, blur_faces: bool
    ) -> AsyncIterator[tuple]:
        """Find the frames of the photo that is looked at; gives status and player."""
        session, words = self._session(request), Words.of(request)
        picture = session.chosen or next(iter(session.pictures), None)
        if picture is None or session.finding is not None:
            said = "nothing" if picture is None else "moments_busy"
            yield views.status(words.say(said)), gr.skip()
            return
        wanted = (model or contract.RESTORER, bool(blur_faces))
        if picture.moments is not None and picture.moments.wanted == wanted:
            yield views.status(words.say("moments_found")), shown(picture, words)
            return
        stop = session.finding = threading.Event()
        yield views.status(words.say("moments_finding"), progress=(0, 0)), gr.skip()
        try:
            is_found = await asyncio.to_thread(self._find, session, picture, wanted, stop)
            message = views.status(words.say("moments_found" if is_found else "cancelled"))
        except Exception as error:
            message = views.status(say(error, words), error=True)
        finally:
            # Whoever has left needs no result.
            stop.set()
            session.finding = None
            session.touch()
        yield message, shown(picture, words)

    def cancel(self, request: gr.Request) -> None:
        """Stop the work under way; whoever waits for it says so."""
        session = self._session(request)
        if session.finding is not None:
            session.finding.set()
            self._queue.wake()

    def show(self, event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        """Show what was found of another photo."""
        session, words = self._session(request), Words.of(request)
        return shown(session.picture(event._data.get("id")), words)

    def hide(self, request: gr.Request) -> dict[str, Any]:
        """Show nothing: the photo has been deleted."""
        session, words = self._session(request), Words.of(request)
        return shown(session.chosen, words)

    def withdraw(self, blur_faces: bool, request: gr.Request) -> dict[str, Any]:
        """Take back what shows faces that are to be blurred from now on."""
        session, words = self._session(request), Words.of(request)
        for picture in session.pictures if blur_faces else ():
            if picture.moments is not None and not picture.moments.wanted[1]:
                session.show_moments(picture, None)
        return shown(session.chosen, words)

    def _session(self, request: gr.Request) -> Session:
        return self._sessions.of(request.session_hash)

    def _find(
        self, session: Session, picture: Picture, wanted: tuple, stop: threading.Event
    ) -> bool:
        """Find and write the frames of a picture; returns whether it was left to the end."""
        try:
            with self._queue.place(cancelled=stop):
                clip = self._queue.run(lambda must: self._frames(picture, wanted, must), stop)
            if stop.is_set():
                raise CancelledError
            with picture.work:
                session.show_moments(picture, _write(session, picture, clip, wanted))
            return True
        except CancelledError:  # On its way into a coroutine it would become that of asyncio.
            return False
        finally:
            session.settle(picture)
            memory.release_memory()

    def _frames(
        self, picture: Picture, wanted: tuple, must_stop: Callable[[], bool]
    ) -> unblur.Clip:
        # From its content: then neither messages nor logs hold the name.
        photo = decoding.decoder().read(
            picture.upload.read_bytes(), max_pixels=self._settings.max_pixels, must_stop=must_stop
        )
        restorer, blur_faces = wanted
        clip = unblur.unblur(
            photo.rgb,
            self._restorer,
            longest_side=SIDE,
            options=pipeline.RestoreOptions(restorer=restorer),
            cancel=must_stop,
        )
        if not blur_faces:
            return clip
        frames = [faces.anonymize(frame, faces.detect(frame)) for frame in clip.frames]
        return dataclasses.replace(clip, frames=np.stack(frames))


def _write(session: Session, picture: Picture, clip: unblur.Clip, wanted: tuple) -> Moments:
    """Write the sheet of the frames and the clip to download."""
    count, height, width, _ = clip.frames.shape
    sheet, path = session.new_file(".webp")
    Image.fromarray(clip.frames.reshape(count * height, width, 3)).save(path, quality=90, method=2)
    suffix = ".mp4" if clips.is_available() else ".gif"
    name = finishing.download_name(picture.name, None).removesuffix("_restored.png")
    download, path = session.new_file(suffix, f"{name}_exposure{suffix}")
    # There and back again, so that it can repeat: the direction is a guess.
    unblur.write(path, clip, loop=True)
    return Moments(
        sheet=sheet,
        download=download,
        wanted=wanted,
        count=count,
        size=(width, height),
        length=clip.length,
        method=clip.method,
    )


def shown(picture: Picture | None, words: Words) -> dict[str, Any]:
    """What the player is given."""
    if picture is None or picture.moments is None:
        return {}
    found = picture.moments
    method = words.say("moments_lines") if found.method == unblur.CLASSICAL else found.method
    return {
        "id": picture.id,
        "name": picture.name,
        "sheet": f"pictures/{found.sheet}",
        "clip": f"pictures/{found.download}",
        "count": found.count,
        "width": found.size[0],
        "height": found.size[1],
        "about": words.say("moments_about", pixels=round(found.length), method=method),
    }
