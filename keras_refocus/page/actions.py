"""What the buttons of the web page do.

Each method is one event: it takes the values of the page's controls and the visitor's request, and
gives new values. Whatever goes wrong becomes a sentence in the page, never a traceback; what is
logged identifies no picture.
"""

import asyncio
import dataclasses
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr

from keras_refocus.engines import contract, installed
from keras_refocus.page import closeups, finishing, shakes, uploads, views
from keras_refocus.page.clips import ClipActions
from keras_refocus.page.errors import say
from keras_refocus.page.jobs import Job, Wish, WorkQueue
from keras_refocus.page.moments import MomentActions
from keras_refocus.page.reading import PhotoReader
from keras_refocus.page.sessions import Picture, Session, Sessions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.words import Words
from keras_refocus.restoration import hints, pipeline, regions
from keras_refocus.restoration.deconvolution.finding import Reason
from keras_refocus.system import memory

#: The modes, by the names of their sentences, and what the pipeline calls them.
MODES = {
    "restore_only": "restore",
    "restore_colorize": "restore+colorize",
    "always_colorize": "colorize",
}

# What known restorers are good for, as names of sentences.
_GOOD_FOR = {"restorer": "closest", "restorer_gan": "crisper"}

# How often those who wait for a job look how far it is, and how long a change may take before the
# page says that it is at it. Seconds.
_LOOK_EVERY = 0.1
_PATIENCE = 0.5

# What is found at once, or not to the end, says nothing of how long a search takes.
_SHORT = (Reason.TOO_SMALL, Reason.NO_TIME)

# A server is asked for these, whose names it does not list.
_KNOWN = tuple(_GOOD_FOR)

# What an event gives that has nothing to show any more. Gradio repeats the last values of an event
# when it ends, and empties everything if there were none.
_UNCHANGED = tuple(gr.skip() for _ in views.SHOWN)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What a visitor has chosen; the fields are in the order of the page's controls."""

    mode: str = "restore"
    auto_detect: bool = True
    restorer: str | None = None
    strength: float = 1.0
    saturation: float = 1.0
    blur_faces: bool = False
    remove_metadata: bool = True
    visible_mark: bool = False
    format: str | None = None
    quality: float = 95
    patient: bool = False

    @classmethod
    def of(cls, controls: tuple) -> "Choices":
        """Take the values of the page's controls."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**dict(zip(names, controls, strict=True)))

    def options(
        self, region: regions.Region | None = None, patience: float | None = None
    ) -> pipeline.RestoreOptions:
        """What the networks have to do with; `patience` in seconds, for heavy shake."""
        return pipeline.RestoreOptions(
            mode=MODES.get(self.mode, self.mode),
            auto_detect=self.auto_detect,
            restorer=self.restorer or contract.RESTORER,
            strength=self.strength,
            saturation=self.saturation,
            region=region,
            patient=self.patient,
            patience=patience if self.patient else None,
        )

    def asked(self, picture: Picture) -> tuple:
        """What the networks are asked for; two photos of equal answers need not be run again."""
        options = self.options(picture.region)
        asked = options.mode, options.auto_detect, options.restorer, options.region
        return *asked, options.patient

    def finish(self) -> finishing.Finish:
        """What they have not."""
        return finishing.Finish(
            strength=self.strength,
            saturation=self.saturation,
            blur_faces=self.blur_faces,
            remove_metadata=self.remove_metadata,
            visible_mark=self.visible_mark,
            format=self.format or None,
            quality=round(self.quality),
        )


class PageActions:
    """The actions of the page, for all its visitors.

    Args:
        restorer: What restores the photos.
        sessions: Where the visitors' pictures are kept.
        settings: How the page behaves.
        examples: Folder of the examples.
    """

    def __init__(
        self,
        restorer: pipeline.Restorer,
        sessions: Sessions,
        settings: AppSettings,
        examples: Path,
    ):
        self._restorer = restorer
        self._sessions = sessions
        self._settings = settings
        self._examples = examples
        self._queue = WorkQueue(settings.concurrency, settings.queue_size, settings.max_seconds)
        #: Those of the Video tab; clips take turns with photos, frame by frame.
        self.clips = ClipActions(restorer, sessions, settings, self._queue)
        self._expected = shakes.Expected()
        self._reader = PhotoReader(sessions, settings)
        #: Those of what happened during an exposure.
        self.moments = MomentActions(restorer, sessions, settings, self._queue)
        # Strength and saturation do not wait for anybody's networks.
        self._finishers = ThreadPoolExecutor(2, thread_name_prefix="finish")

    # The page comes and goes.

    def offer(self, request: gr.Request) -> tuple:
        """Offer what the installed models can do: mode, auto-detect, model, mark, status, list."""
        words = Words.of(request)
        session = self._session(request)
        listed = views.photos(session, words, self._door(request))
        try:
            engine = self._restorer.engine
            # A server has no list to give: it is asked for each known name.
            names = sorted({*engine.versions(), *engine.versions(*_KNOWN)})
        except Exception as error:
            unchanged = [gr.skip()] * 4
            return *unchanged, views.status(say(error, words), error=True), listed
        models = self._models()
        origins = {name: models[name].origin if name in models else None for name in names}
        restorers = [
            name
            for name, origin in origins.items()
            if installed.kind_of(name, origin) == contract.RESTORER
        ]
        colors = contract.COLORIZER in names
        choices = [(_model_label(name, models.get(name), words), name) for name in restorers]
        default = contract.RESTORER if contract.RESTORER in restorers else None
        modes = [(words.say(name), mode) for name, mode in MODES.items()]
        state = views.status(words.say("choose"))
        if not restorers:
            state = views.status(words.say("no_restorer"), error=True)
        return (
            gr.update(
                choices=modes if colors else modes[:1],
                value="restore",
                info=words.say("mode_info" if colors else "no_colorizer"),
            ),
            gr.update(visible=colors),
            gr.update(
                choices=choices,
                value=default or (restorers[0] if restorers else None),
                visible=len(restorers) > 1 or (bool(restorers) and default is None),
            ),
            gr.update(visible=colors),
            state,
            listed,
        )

    def expect(self, request: gr.Request) -> Any:
        """Say how long heavy shake takes, as far as is known by now."""
        return gr.update(info=shakes.expected_words(Words.of(request), self._expected))

    def leave(self, request: gr.Request) -> None:
        """Note that a visitor's page was closed, or has lost its connection."""
        self._sessions.leave(request.session_hash)

    def refresh(self, request: gr.Request) -> tuple:
        """Show how things stand, to a page that was away."""
        session, words = self._session(request), Words.of(request)
        if session.job is not None and not session.job.is_over:
            message = views.progress(session.job.progress, session.job, words)
        elif session.job is not None and session.pictures:
            message = views.outcome(session, session.job, words)
        elif session.pictures:
            message = views.ready(session, words)
        else:
            message = views.status(_nothing(session, words))
        return self._shown(session, request, message)

    def expire(self, request: gr.Request) -> tuple:
        """Say that the visitor's time was up; everything the page still shows is gone here."""
        session, words = self._session(request), Words.of(request)
        if session.pictures:
            return self.refresh(request)
        kept = words.duration(self._sessions.keep_seconds)
        message = views.status(words.say("expired", kept=kept))
        return self._shown(session, request, message)

    # Pictures come and go.

    def receive(self, door: str, path: Path, name: str, words: Words) -> dict[str, Any]:
        """Take a file that has arrived; returns what the browser is told of it.

        Raises:
            uploads.Unwanted: The page does not take it; it is deleted.
        """
        visitor = self._sessions.behind(door)
        session = self._sessions.of(visitor)
        try:
            if len(session.pictures) >= self._settings.max_files:
                raise uploads.Unwanted(words.say("too_many", most=self._settings.max_files))
            if uploads.is_leaving(name):
                raise uploads.Unwanted(words.say("is_leaving"))
            size = uploads.check(
                path,
                name,
                max_pixels=self._settings.max_pixels,
                words=words,
                videos=self.clips.is_offered,
            )
        except uploads.Unwanted:
            path.unlink(missing_ok=True)
            raise
        picture = session.add(path, uploads.clean_name(name), size=size)
        session.settle(picture)
        return {"id": picture.id, "name": picture.name}

    def added(self, request: gr.Request) -> tuple:
        """Say that photos have arrived."""
        session, words = self._session(request), Words.of(request)
        if not session.pictures:
            return self._shown(session, request, gr.skip())
        busy = session.job is not None and not session.job.is_over
        if session.chosen is None:
            session.chosen = session.pictures[0]
        return self._shown(session, request, gr.skip() if busy else views.ready(session, words))

    def remove(self, event: gr.EventData, request: gr.Request) -> tuple:
        """Delete one of the visitor's photos."""
        session, words = self._session(request), Words.of(request)
        picture = session.picture(event._data.get("id"))
        if picture is None:
            return self._shown(session, request, gr.skip())
        place = session.pictures.index(picture)
        looked_at = session.chosen is picture
        session.delete([picture])
        if looked_at and session.pictures:
            session.chosen = session.pictures[min(place, len(session.pictures) - 1)]
        message = views.status(words.say("one_removed", name=picture.name))
        return self._shown(session, request, message)

    def clear(self, request: gr.Request) -> tuple:
        """Delete the visitor's photos."""
        session, words = self._session(request), Words.of(request)
        session.say_turn()
        session.delete(session.pictures)
        return self._shown(session, request, views.status(words.say("deleted")))

    def set_deletion(self, delete: bool, request: gr.Request) -> None:
        """Choose whether a download deletes what it was made of."""
        self._session(request).delete_after_download = delete

    def downloaded(self, event: gr.EventData, request: gr.Request) -> tuple:
        """Say what a download has left here."""
        session, words = self._session(request), Words.of(request)
        name = str(event._data.get("name"))
        if not session.delete_after_download:
            kept = words.duration(self._sessions.keep_seconds)
            message = views.status(words.say("downloaded_kept", name=name, kept=kept))
            return self._shown(session, request, message)
        listed = views.photos(session, words, self._door(request))
        if session.pictures:
            left = words.count("one_photo", "many_photos", len(session.pictures))
            message = views.status(words.say("downloaded_one", name=name, left=left))
        else:
            message = views.status(words.say("downloaded_last", name=name))
        # The comparison stays: its pictures are in the browser already.
        buttons = views.downloads(session, words)
        return message, listed, gr.skip(), buttons, gr.skip()

    # The work.

    async def restore(self, request: gr.Request, *controls: Any) -> AsyncIterator[tuple]:
        """Restore the visitor's photos, telling how far it is."""
        session, words = self._session(request), Words.of(request)
        if not session.pictures:
            yield self._shown(session, request, views.status(_nothing(session, words)))
            return
        choices = Choices.of(controls)
        session.finish = choices.finish()
        self._wish(session, session.pictures, choices, words)
        async for values in self._watch(session, request, words):
            yield values

    async def restore_example(
        self, request: gr.Request, event: gr.EventData, *controls: Any
    ) -> AsyncIterator[tuple]:
        """Put an example among the visitor's photos, in place of an earlier one, and restore it."""
        session, words = self._session(request), Words.of(request)
        name = Path(str(event._data.get("name"))).name
        source = self._examples / name
        if not source.is_file():
            yield self._shown(session, request, views.status(words.say("no_example"), error=True))
            return
        rest = [] if session.job is None else session.job.pending
        session.delete([picture for picture in session.pictures if picture.example])
        path = session.reserve()
        path.write_bytes(source.read_bytes())
        picture = session.add(path, name, example=True)
        session.chosen = picture
        choices = Choices.of(controls)
        session.finish = choices.finish()
        # What was under way for other photos goes on afterwards.
        unfinished = [wish.picture for wish in rest if not wish.picture.example]
        self._wish(session, [picture, *unfinished], choices, words)
        async for values in self._watch(session, request, words):
            yield values

    def cancel(self, request: gr.Request) -> Any:
        """Stop the work under way; whoever watches it says so."""
        session, words = self._session(request), Words.of(request)
        if session.job is not None and session.job.cancel():
            return gr.skip()
        return views.status(words.say("idle"))

    def withdraw(self, request: gr.Request, *controls: Any) -> dict:
        """Take downloads back that were made without the protection just asked for."""
        session = self._session(request)
        session.finish = Choices.of(controls).finish()
        return {}

    async def adjust(self, request: gr.Request, *controls: Any) -> AsyncIterator[tuple]:
        """Apply what needs no network to the photo that is looked at, at the size of a screen."""
        async for values in self._adjust(request, controls, quickly=True):
            yield values

    async def adjust_fully(self, request: gr.Request, *controls: Any) -> AsyncIterator[tuple]:
        """The same in full size, for those who look at pixels."""
        session = self._session(request)
        if session.chosen is None or finishing.is_quick(session.chosen):
            yield _UNCHANGED
            return
        async for values in self._adjust(request, controls, quickly=False):
            yield values

    async def _adjust(
        self, request: gr.Request, controls: tuple, *, quickly: bool
    ) -> AsyncIterator[tuple]:
        session, words = self._session(request), Words.of(request)
        choices = Choices.of(controls)
        settings = choices.finish()
        if quickly:
            session.finish = settings
        picture = session.chosen
        # In full size something else may be wanted by now.
        if picture is None or not picture.is_done or session.finish != settings:
            yield _UNCHANGED
            return
        work = asyncio.get_running_loop().run_in_executor(
            self._finishers,
            lambda: finishing.show(session, picture, settings, words, quickly=quickly),
        )
        try:
            done, _ = await asyncio.wait([work], timeout=_PATIENCE)
            if not done and quickly:
                looks = settings.blur_faces and picture.faces is None
                message = words.say("finding_faces" if looks else "applying")
                yield views.status(message, progress=(0, 0)), *[gr.skip()] * 4
            await work
        except Exception as error:
            # What was made with other settings must not be downloaded in its place.
            session.forget_result(picture)
            picture.error = say(error, words)
            yield self._shown(session, request, views.status(picture.error, error=True))
            return
        finally:
            session.settle(picture)
        if session.chosen is picture and session.finish == settings:
            job = session.job
            busy = job is not None and not job.is_over
            message = gr.skip() if busy else views.status(words.say("applied"))
            yield self._shown(session, request, message)
        else:
            yield _UNCHANGED

    def show(self, event: gr.EventData, request: gr.Request) -> tuple:
        """Show another photo of several, as it was made."""
        session, words = self._session(request), Words.of(request)
        picture = session.picture(event._data.get("id"))
        if picture is None:
            message = gr.skip() if session.pictures else views.status(_nothing(session, words))
            return self._shown(session, request, message)
        session.chosen = picture
        message = gr.skip()
        busy = session.job is not None and not session.job.is_over
        if picture.error and not busy:
            # The line that said so may have been overtaken by others.
            message = views.outcome(session, session.job, words)
        if picture.is_done and session.finish is not None:
            try:
                finishing.show(session, picture, session.finish, words, quickly=True)
            except Exception as error:
                session.forget_result(picture)
                picture.error = say(error, words)
                message = views.status(picture.error, error=True)
        return self._shown(session, request, message)

    def mark(self, event: gr.EventData, request: gr.Request) -> tuple:
        """Take a part of a photo as all there is to restore, or the whole photo again."""
        session, words = self._session(request), Words.of(request)
        picture = session.picture(event._data.get("id"))
        if picture is None:
            return self._shown(session, request, gr.skip())
        session.chosen = picture
        picture.region = _region(event._data.get("region"))
        if picture.region is not None:
            self._reader.read_ahead(session, picture)
        said = "region_gone" if picture.region is None else "region_kept"
        return self._shown(session, request, views.status(words.say(said)))

    async def hint(
        self, request: gr.Request, event: gr.EventData, *controls: Any
    ) -> AsyncIterator[tuple]:
        """Take what the visitor says of the colours of a photo, and show what becomes of it."""
        session, words = self._session(request), Words.of(request)
        picture = session.picture(event._data.get("id"))
        if picture is None:
            yield self._shown(session, request, views.status(_nothing(session, words)))
            return
        session.chosen = picture
        try:
            given = hints.ColorHints.from_json({"hints": event._data.get("hints")})
            if picture.result is not None:
                given.check(picture.result.planes.source.shape[:2])
        except (TypeError, ValueError):
            # A point beside the photo, or a request of somebody's own.
            yield self._shown(session, request, views.status(words.say("no_hints"), error=True))
            return
        finishing.hint(session, picture, given)
        async for values in self._adjust(request, controls, quickly=True):
            yield values

    def remind(self, request: gr.Request) -> Any:
        """Say that a change needs the networks."""
        session, words = self._session(request), Words.of(request)
        if any(picture.is_done for picture in session.pictures):
            return views.status(words.say("press_restore"))
        return gr.skip()

    # For programs.

    async def restore_file(
        self,
        photo: gr.FileData,
        mode: str = "restore",
        strength: float = 1.0,
        saturation: float = 1.0,
        auto_detect: bool = True,
        blur_faces: bool = False,
        remove_metadata: bool = True,
        visible_mark: bool = False,
        model: str = contract.RESTORER,
        patient: bool = False,
    ) -> tuple[gr.FileData, dict]:
        """Restore one photo: a file in, a file of its format and depth out, and what was done.

        The modes are `restore`, `restore+colorize` and `colorize`; `patient` looks for heavy shake.
        Upload and result are deleted when the result has been fetched.
        """
        choices = Choices(
            mode=mode,
            auto_detect=auto_detect,
            restorer=model,
            strength=strength,
            saturation=saturation,
            blur_faces=blur_faces,
            remove_metadata=remove_metadata,
            visible_mark=visible_mark,
            patient=patient,
        )
        return await asyncio.to_thread(self._restore_file, photo, choices)

    def _restore_file(self, photo: Any, choices: Choices) -> tuple[gr.FileData, dict]:
        visitor = f"program-{secrets.token_hex(8)}"
        session, words = self._sessions.of(visitor), Words()
        try:
            name = uploads.clean_name(photo.get("orig_name") or Path(photo["path"]).name)
            picture = self._sessions.claim(photo["path"], session, name)
            uploads.check(picture.upload, name, max_pixels=self._settings.max_pixels, words=words)
            session.finish = choices.finish()
            outcome: list[Exception] = []
            session.job = Job(
                self._queue, self._worker(session, words), lambda _, error: outcome.append(error)
            )
            session.job.wish([Wish(picture, choices)], lambda one, other: False)
            session.job.join()
            if session.job.refusal is not None:
                raise session.job.refusal
            if outcome:
                raise outcome[0]
            shared = finishing.write(session, picture, session.finish, words)
            path = self._sessions.hand_out(shared)
            details = picture.details
        except Exception as error:
            raise gr.Error(say(error, words), print_exception=False) from error
        finally:
            self._sessions.end(visitor)
        return gr.FileData(path=str(path), orig_name=shared.name), details

    def list_models(self) -> dict:
        """List the models and their versions."""
        try:
            return self._restorer.engine.versions()
        except Exception as error:
            raise gr.Error(say(error), print_exception=False) from error

    # For the server's routes.

    def standing(self, session: Session) -> dict[str, Any]:
        """Say how things stand: seconds left, whether work is under way, state of each photo."""
        return {
            "left": max(session.remaining, 0) if session.pictures or session.clip else None,
            "working": session.is_working,
            "clip": None if session.clip is None else session.clip.id,
            "pictures": {
                picture.id: views.state_of(session, picture) for picture in session.pictures
            },
        }

    def suggest(self, session: Session, picture_id: str, point: tuple[float, float]) -> list[str]:
        """Tell the likeliest colours at a point of a photo that was coloured, as `#rrggbb`.

        None if the colorizer predicts no distribution, or the photo is not there.
        """
        picture = session.picture(picture_id)
        if picture is None or not picture.is_done:
            return []
        try:
            with picture.work:
                result = session.recall(picture)
            # The network runs: it waits for its turn, as a photo does.
            with self._queue.place(again=True):
                found = self._restorer.suggestions(result, point)
        except ValueError:
            return []
        return ["#{:02x}{:02x}{:02x}".format(*one.color) for one in found]

    def closeup(
        self,
        session: Session,
        picture_id: str,
        box: closeups.Box,
        *,
        before: bool,
        width: int | None = None,
    ) -> bytes | None:
        """Draw a place of a photo in full, as `closeups.draw` does; of the visitor's settings.

        Raises:
            FileNotFoundError: There is no such photo, or it has no result.
            ValueError: The place is none, or too large.
        """
        picture = session.picture(picture_id)
        if picture is None or not picture.is_done:
            raise FileNotFoundError(2, "The picture has been deleted.")
        settings = session.finish or finishing.Finish()
        return closeups.draw(session, picture, settings, box, before=before, width=width)

    def prepare(self, session: Session, token: str, words: Words) -> None:
        """Write the file of a token, unless it is there already.

        Raises:
            FileNotFoundError: What it is to be made of has been deleted.
            RuntimeError: It cannot be made; the message is for people.
        """
        settings = session.finish or finishing.Finish()

        def progress(done: int, total: int) -> None:
            session.preparing = done, total
            session.touch()

        progress(0, 1)
        try:
            if token == session.archive:
                finishing.archive(session, settings, words, progress)
                return
            for picture in session.pictures:
                if picture.download == token:
                    finishing.write(session, picture, settings, words)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise RuntimeError(say(error, words)) from error
        finally:
            session.preparing = None

    # What the others are made of.

    def _session(self, request: gr.Request) -> Session:
        return self._sessions.of(request.session_hash)

    def _door(self, request: gr.Request) -> str:
        return self._sessions.door(request.session_hash)

    def _shown(self, session: Session, request: gr.Request, message: Any) -> tuple:
        if session.archive is None or session.find(session.archive) is None:
            session.archive, _ = session.new_file(".zip", "restored.zip")
        return views.shown(session, Words.of(request), self._door(request), message=message)

    def _wish(
        self, session: Session, pictures: Iterable[Picture], choices: Choices, words: Words
    ) -> None:
        """Begin to restore pictures, those that are right already left out."""
        if session.job is None:

            def failed(wish: Wish, error: Exception) -> None:
                session.forget_result(wish.picture)
                wish.picture.error = say(error, words)

            session.job = Job(self._queue, self._worker(session, words), failed)
        wishes = []
        for picture in pictures:
            if picture.is_done and picture.asked == choices.asked(picture):
                continue
            picture.error = ""
            wishes.append(Wish(picture, choices))
        session.job.wish(
            wishes,
            lambda one, other: (
                one.picture is other.picture
                and one.choices.asked(one.picture) == other.choices.asked(other.picture)
            ),
        )

    async def _watch(
        self, session: Session, request: gr.Request, words: Words
    ) -> AsyncIterator[tuple]:
        """Tell how a visitor's job goes on until it is over, or another one tells."""
        turn, job = session.say_turn(), session.job
        told: Any = None
        while not job.is_over:
            now = job.progress, job.was_cancelled, len(session.pictures)
            if session.turn != turn:
                break
            if now != told:
                session.touch()
                message = views.progress(job.progress, job, words)
                if told is None or told[0].finished != now[0].finished or told[2] != now[2]:
                    self._choose(session)
                    yield self._shown(session, request, message)
                else:
                    listed = views.photos(session, words, self._door(request))
                    yield message, listed, *[gr.skip()] * 3
                told = now
            await asyncio.sleep(_LOOK_EVERY)
        if session.turn != turn:
            yield _UNCHANGED
            return
        session.touch()
        self._choose(session)
        picture = session.chosen
        if picture is not None and picture.is_done and session.finish is not None:
            # Strength and the like may have been changed since it was made.
            await asyncio.to_thread(self._show_quietly, session, picture, words)
        outcome = views.outcome(session, job, words)
        yield self._shown(session, request, outcome)
        if picture is not None and finishing.is_first_look(picture):
            # Who marked a part has seen it; the rest of the photo may take a moment longer.
            await asyncio.to_thread(self._show_quietly, session, picture, words, quickly=False)
            if session.turn == turn and session.chosen is picture:
                yield self._shown(session, request, outcome)
            else:
                yield _UNCHANGED

    def _show_quietly(
        self, session: Session, picture: Picture, words: Words, *, quickly: bool = True
    ) -> None:
        try:
            finishing.show(session, picture, session.finish, words, quickly=quickly)
        except Exception as error:
            session.forget_result(picture)
            picture.error = say(error, words)

    def _choose(self, session: Session) -> None:
        """Look at the first result if the visitor looks at none."""
        chosen = session.chosen
        if chosen is not None and (chosen.is_done or self._is_expected(session, chosen)):
            return
        done = [picture for picture in session.pictures if picture.is_done]
        if done:
            session.chosen = done[0]
        elif chosen is None and session.pictures:
            session.chosen = session.pictures[0]

    @staticmethod
    def _is_expected(session: Session, picture: Picture) -> bool:
        """Whether a picture is about to have a result, being the only one or worked on."""
        if session.job is None:
            return False
        return picture.example and session.job.state_of(picture) is not None

    def _worker(self, session: Session, words: Words) -> Callable:
        """Make what a job does with one wish."""

        def work(wish: Wish, stop: threading.Event, progress: Callable[[int, int], None]) -> None:
            picture, choices = wish.picture, wish.choices
            try:
                result = self._queue.run(
                    lambda must_stop: self._run(picture, choices, must_stop, progress), stop
                )
                if stop.is_set():
                    raise CancelledError
                with picture.work:
                    session.forget_result(picture)
                    picture.error, picture.asked = "", choices.asked(picture)
                    picture.result, picture.seconds = result, result.seconds
                    if result.shake is not None:
                        # Without the plane, so that it can stay when the result is stored.
                        picture.shake = dataclasses.replace(result.shake, share=None)
                    settings = session.finish or choices.finish()
                    finishing.finish(session, picture, settings, words)
            finally:
                session.settle(picture)
                memory.release_memory()

        return work

    def _run(
        self,
        picture: Picture,
        choices: Choices,
        must_stop: Callable[[], bool],
        progress: Callable[[int, int], None],
    ) -> pipeline.RestoreResult:
        """Run the networks on one picture."""
        photo = self._reader.read(picture, must_stop)
        patience = shakes.patience(self._settings.max_seconds)
        result = self._restorer.restore(
            photo,
            choices.options(picture.region, patience),
            progress=progress,
            cancel=must_stop,
            keep_stages=True,
        )
        if result.shake is not None and result.shake.reason not in _SHORT:
            self._expected.note(result.seconds)
        return result

    def _models(self) -> dict[str, installed.Installed]:
        """What is installed, by name, if that can be told: a server does not say."""
        folder = getattr(self._restorer.engine, "models_dir", None)
        return {model.name: model for model in installed.list_models(folder)} if folder else {}


def _model_label(name: str, model: installed.Installed | None, words: Words) -> str:
    """What a model is good for, its size, and of published weights licence and source."""
    if model is None or model.origin is None:
        what = words.say(_GOOD_FOR.get(name, "your_model"))
    else:
        what = installed.good_for(name, model.origin)
    facts = installed.facts(model) if model is not None else ()
    return f"{name}: {what}" + (f" ({', '.join(facts)})" if facts else "")


def _nothing(session: Session, words: Words) -> str:
    return words.say("gone" if session.is_renewed else "nothing")


def _region(given: Any) -> regions.Region | None:
    """Read a rectangle or strokes of a brush; nothing sensible is the whole photo."""
    try:
        if isinstance(given, dict):
            return regions.Strokes.of(given)
        left, top, width, height = (round(float(number)) for number in given)
    except (TypeError, ValueError, OverflowError):
        return None
    return (max(left, 0), max(top, 0), width, height) if width >= 1 and height >= 1 else None
