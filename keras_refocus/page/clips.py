"""What the buttons of the page's Video tab do: one clip a visitor, its first seconds or all of it.

A clip takes turns with photos frame by frame, so that nobody with a photo waits for a film; clips
themselves are done one after the other.
"""

import asyncio
import dataclasses
import importlib.util
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from pathlib import Path, PurePath
from typing import Any

import gradio as gr
import numpy as np

from keras_refocus.engines import contract
from keras_refocus.page import finishing, uploads, views
from keras_refocus.page.errors import say, translated
from keras_refocus.page.jobs import WorkQueue
from keras_refocus.page.sessions import Clip, Session, Sessions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.words import Words
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline
from keras_refocus.system import files as system_files
from keras_refocus.system import machine, memory
from keras_refocus.video import clip as video_clip
from keras_refocus.video import containers, interpolation, playable, segments

#: Seconds of a clip that a preview restores.
PREVIEW_SECONDS = 2.0

# How often a clip's work is looked at by whoever tells of it, in seconds.
_LOOK_EVERY = 0.2

# What an event gives that has nothing to show any more.
_UNCHANGED = tuple(gr.skip() for _ in views.CLIP_SHOWN)


def is_available() -> bool:
    """Whether what reads and writes videos is installed."""
    return importlib.util.find_spec("av") is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipChoices:
    """What a visitor has chosen; the fields are in the order of the tab's controls."""

    strength: float = 1.0
    colors: bool = False
    steady: bool = True
    smooth: bool = False
    blur_faces: bool = False
    remove_metadata: bool = True

    @classmethod
    def of(cls, controls: tuple) -> "ClipChoices":
        """Take the values of the tab's controls."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**dict(zip(names, controls, strict=True)))

    def options(self, *, deinterlace: bool) -> video_clip.ClipOptions:
        """What is done with a clip."""
        return video_clip.ClipOptions(
            restore=pipeline.RestoreOptions(
                mode="restore+colorize" if self.colors else "restore",
                strength=self.strength,
                blur_faces=self.blur_faces,
            ),
            steady=self.steady,
            rate=interpolation.Rate.parse("2x") if self.smooth else None,
            deinterlace=deinterlace,
        )


class Work:
    """Work on a clip, in a thread of its own.

    Attributes:
        is_preview: Whether only the beginning is restored.
        ahead: Clips that are restored before it.
        step: Name of the sentence that says what is done just now.
        done: Frames of this step that are done.
        total: All of them; 0 while that is not known.
        was_cancelled: Whether it was told to stop.
    """

    def __init__(self, is_preview: bool, limit: float | None):
        self.is_preview = is_preview
        self.ahead = 0
        self.step, self.done, self.total = "clip_waiting", 0, 0
        self.was_cancelled = False
        self._limit = limit
        self._stop = threading.Event()
        self._over = threading.Event()
        self._began = self._step_began = time.monotonic()
        self._wake: Callable[[], None] = lambda: None

    def start(self, run: Callable[[], None], wake: Callable[[], None]) -> None:
        """Begin; `run` ends when `must_stop` says so, `wake` lets it look if it waits."""
        self._wake = wake

        def work():
            try:
                run()
            finally:
                self._over.set()

        threading.Thread(target=work, daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, whatever came of it."""
        return self._over.is_set()

    @property
    def stopped(self) -> threading.Event:
        """Set when it was told to stop."""
        return self._stop

    def cancel(self) -> bool:
        """Stop; returns whether anything was under way."""
        if self.is_over:
            return False
        self.was_cancelled = True
        self._stop.set()
        self._wake()
        return True

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it is over; returns whether it is."""
        return self._over.wait(timeout)

    def must_stop(self) -> bool:
        """Whether it was cancelled or takes too long."""
        return self._stop.is_set() or self.is_late

    @property
    def is_late(self) -> bool:
        """Whether it takes longer than it may."""
        return self._limit is not None and time.monotonic() - self._began > self._limit

    def moved(self, ahead: int) -> None:
        """Note how many clips are before it."""
        self.ahead = ahead
        if not ahead:
            self._began = time.monotonic()

    def begin(self, step: str) -> None:
        """Note what is done now."""
        self.step, self.done, self.total = step, 0, 0
        self._step_began = time.monotonic()

    def stepped(self, done: int, total: int) -> None:
        """Note how far it is; ends the work if it must stop."""
        self.done, self.total = done, total
        if self.must_stop():
            raise CancelledError("The clip is not wanted any more.")

    @property
    def seconds_left(self) -> float | None:
        """How long this step will still take; `None` while that cannot be told."""
        if self.done < 2 or not self.total:
            return None
        took = time.monotonic() - self._step_began
        return took / self.done * (self.total - self.done)


class _InTurn:
    """A restorer that waits for its turn before each call, as a photo waits for its place."""

    def __init__(self, restorer: pipeline.Restorer, queue: WorkQueue, stop: threading.Event):
        self._restorer = restorer
        self._queue = queue
        self._stop = stop
        self.engine = restorer.engine

    def restore_luminance(self, planes: np.ndarray, *arguments: Any, **options: Any) -> np.ndarray:
        with self._queue.place(cancelled=self._stop, again=True):
            return self._restorer.restore_luminance(planes, *arguments, **options)


class ClipActions:
    """The actions of the Video tab, for all visitors.

    Args:
        restorer: What restores frames.
        sessions: Where the visitors' clips are kept.
        settings: How the page behaves.
        queue: Where photos wait for their places, and frames for theirs.
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
        self._line = WorkQueue(1, settings.queue_size)

    @property
    def is_offered(self) -> bool:
        """Whether the page has a Video tab."""
        return self._settings.max_clip_seconds > 0 and is_available()

    # Clips come and go.

    def offer(self, request: gr.Request) -> tuple:
        """Offer what the installed models can do: colours, status, clip."""
        session, words = self._session(request), Words.of(request)
        try:
            colors = contract.COLORIZER in self._restorer.engine.versions(contract.COLORIZER)
            message = views.status(words.say("choose_clip", seconds=PREVIEW_SECONDS))
        except Exception as error:
            colors, message = False, views.status(say(error, words), error=True)
        return gr.update(visible=colors), message, views.clip(session, words, self._door(request))

    def receive(self, door: str, path: Path, name: str, words: Words) -> dict[str, Any]:
        """Take a clip that has arrived, in place of an earlier one.

        Raises:
            uploads.Unwanted: The page does not take it; it is deleted.
        """
        session = self._sessions.of(self._sessions.behind(door))
        try:
            clip = self._look(session, path, uploads.clean_name(name), words)
        except uploads.Unwanted:
            path.unlink(missing_ok=True)
            raise
        session.set_clip(clip)
        session.settle_clip(clip)
        return {"id": clip.id, "name": clip.name}

    def _look(self, session: Session, path: Path, name: str, words: Words) -> Clip:
        if uploads.is_leaving(name):
            raise uploads.Unwanted(words.say("is_leaving"))
        if not path.stat().st_size:
            raise uploads.Unwanted(words.say("is_empty"))
        # What reads videos reads photos too, as clips of one frame.
        if _is_photo(path):
            raise uploads.Unwanted(words.say("is_photo"))
        try:
            head = containers.look(path)
        except ValueError:
            raise uploads.Unwanted(words.say("is_no_clip")) from None
        limit = self._settings.max_clip_seconds
        if head.seconds is not None and head.seconds > limit + 0.5:
            raise uploads.Unwanted(
                words.say(
                    "clip_long",
                    size=words.duration(head.seconds),
                    most=words.duration(limit),
                    suggested=math.ceil(head.seconds),
                )
            )
        if head.width * head.height > self._settings.max_pixels:
            raise uploads.Unwanted(words.say("clip_frames_large"))
        if head.hdr is not None:
            raise uploads.Unwanted(words.say("clip_hdr", kind=head.hdr))
        # The result has the form of the input, which its suffix names.
        upload = session.reserve(_suffix(name, head))
        path.rename(upload)
        size = (head.width, head.height)
        return Clip(name, upload, size, head.seconds, float(head.rate))

    def arrived(self, request: gr.Request) -> tuple:
        """Say that a clip has arrived."""
        session, words = self._session(request), Words.of(request)
        message = gr.skip()
        if session.clip is not None:
            message = views.status(words.say("clip_ready"))
        return self._shown(session, request, message)

    def remove(self, request: gr.Request) -> tuple:
        """Delete the visitor's clip."""
        session, words = self._session(request), Words.of(request)
        session.say_clip_turn()
        session.drop_clip()
        return self._shown(session, request, views.status(words.say("clip_deleted")))

    def expire(self, request: gr.Request) -> tuple:
        """Say that the visitor's time was up."""
        session, words = self._session(request), Words.of(request)
        if session.clip is not None or not session.is_renewed:
            return self.refresh(request)
        kept = words.duration(self._sessions.keep_seconds)
        message = views.status(words.say("clip_expired", kept=kept))
        return self._shown(session, request, message)

    def refresh(self, request: gr.Request) -> tuple:
        """Show how things stand, to a page that was away."""
        session, words = self._session(request), Words.of(request)
        clip = session.clip
        if clip is None:
            message = views.status(words.say("choose_clip", seconds=PREVIEW_SECONDS))
        elif clip.is_working:
            message = views.clip_progress(clip.work, words)
        else:
            message = self._outcome(clip, words)
        return self._shown(session, request, message)

    def set_deletion(self, delete: bool, request: gr.Request) -> None:
        """Choose whether a download deletes what it was made of."""
        self._session(request).delete_clip_after_download = delete

    def downloaded(self, event: gr.EventData, request: gr.Request) -> tuple:
        """Say what a download has left here."""
        session, words = self._session(request), Words.of(request)
        name = str(event._data.get("name"))
        if session.clip is not None and not session.delete_clip_after_download:
            kept = words.duration(self._sessions.keep_seconds)
            message = views.status(words.say("downloaded_kept", name=name, kept=kept))
            return self._shown(session, request, message)
        message = views.status(words.say("clip_downloaded", name=name))
        # The players go on: their films are in the browser already.
        listed = views.clip(session, words, self._door(request))
        return message, listed, gr.skip(), views.clip_downloads(session, words), gr.skip()

    # The work.

    async def preview(self, request: gr.Request, *controls: Any) -> AsyncIterator[tuple]:
        """Restore the first seconds of the visitor's clip, telling how far it is."""
        async for values in self._start(request, controls, is_preview=True):
            yield values

    async def restore(self, request: gr.Request, *controls: Any) -> AsyncIterator[tuple]:
        """Restore all of the visitor's clip, telling how far it is."""
        async for values in self._start(request, controls, is_preview=False):
            yield values

    def cancel(self, request: gr.Request) -> Any:
        """Stop the work under way; whoever watches it says so."""
        session, words = self._session(request), Words.of(request)
        if session.clip is not None and session.clip.work is not None:
            if session.clip.work.cancel():
                return gr.skip()
        return views.status(words.say("idle"))

    async def _start(
        self, request: gr.Request, controls: tuple, *, is_preview: bool
    ) -> AsyncIterator[tuple]:
        session, words = self._session(request), Words.of(request)
        clip = session.clip
        if clip is None:
            said = words.say("choose_clip", seconds=PREVIEW_SECONDS)
            if session.is_renewed:
                said = words.say("clip_gone")
            yield self._shown(session, request, views.status(said))
            return
        if clip.work is not None:
            # The last wish wins.
            clip.work.cancel()
        work = clip.work = Work(is_preview, self._settings.max_clip_work)
        choices = ClipChoices.of(controls)
        work.start(lambda: self._do(session, clip, work, choices, words), self._wake)
        turn = session.say_clip_turn()
        told = None
        yield self._shown(session, request, views.clip_progress(work, words))
        while not work.is_over and session.clip_turn == turn:
            now = work.ahead, work.step, work.done, work.was_cancelled
            if now != told:
                session.touch()
                told = now
                yield views.clip_progress(work, words), *[gr.skip()] * 4
            await asyncio.sleep(_LOOK_EVERY)
        if session.clip_turn != turn:
            yield _UNCHANGED
            return
        session.touch()
        yield self._shown(session, request, self._outcome(clip, words))

    def _wake(self) -> None:
        self._line.wake()
        self._queue.wake()

    def _outcome(self, clip: Clip, words: Words) -> dict[str, Any]:
        work = clip.work
        if clip.error:
            return views.status(clip.error, error=True)
        if work is None or (work.was_cancelled and clip.after is None):
            return views.status(words.say("cancelled" if work else "clip_ready"))
        if work.was_cancelled:
            return views.status(words.say("cancelled"))
        if not work.is_preview:
            return views.status(words.say("clip_done"))
        whole = clip.cost * clip.rate * (clip.seconds or 0)
        if not whole:
            return views.status(words.say("clip_previewed"))
        left = words.duration(whole)
        return views.status(f"{words.say('clip_previewed')} {words.say('clip_whole', time=left)}")

    def _do(
        self, session: Session, clip: Clip, work: Work, choices: ClipChoices, words: Words
    ) -> None:
        """Restore a clip or its beginning, in a thread of its own."""
        clip.error = ""
        try:
            with self._line.place(cancelled=work.stopped, moved=work.moved):
                work.moved(0)
                self._make(session, clip, work, choices, words)
        except CancelledError:
            if not work.was_cancelled:
                limit = self._settings.max_clip_work
                clip.error = words.say("clip_too_long", limit=words.duration(limit))
        except uploads.Unwanted as error:
            clip.error = str(error)
        except (video_clip.ClipError, ValueError) as error:
            # Those name paths and flags, of which a visitor has neither, unless a server is gone.
            of_server = "TF Serving" in str(error)
            message = translated(str(error), words) if of_server else words.say("clip_failed")
            clip.error = message
        except Exception as error:
            clip.error = say(error, words)
        finally:
            session.settle_clip(clip)
            memory.release_memory()

    def _make(
        self, session: Session, clip: Clip, work: Work, choices: ClipChoices, words: Words
    ) -> None:
        until = PREVIEW_SECONDS if work.is_preview else None
        found, choices, deinterlace, notes = self._survey(clip, work, choices, until, words)
        with session.clip_folder() as folder:
            job = segments.ClipJob(
                source=clip.upload,
                folder=folder,
                name="result",
                options=choices.options(deinterlace=deinterlace),
                end=until,
                keep_metadata=not choices.remove_metadata,
            )
            work.begin("clip_restoring")
            outcome = segments.restore(
                job,
                _InTurn(self._restorer, self._queue, work.stopped),
                threads=machine.usable_cores(),
                found=found,
                progress=work.stepped,
                cancel=work.must_stop,
            )
            work.begin("clip_preparing")
            before, after = folder / "before.mp4", folder / "after.mp4"
            playable.write(clip.upload, before, seconds=until, sound=False, cancel=work.must_stop)
            playable.write(outcome.path, after, cancel=work.must_stop)
            work.stepped(0, 0)
            if session.clip is not clip:
                return
            shown = {"before": before, "after": after}
            if not work.is_preview:
                name = PurePath(finishing.download_name(clip.name, None))
                shown |= {
                    "result": outcome.path,
                    "name": name.with_suffix(outcome.path.suffix).name,
                }
            session.show_clip(clip, folder, **shown)
            clip.cost = outcome.seconds / max(outcome.frames, 1)
            needed = [contract.RESTORER] * (choices.strength > 0)
            needed += [contract.COLORIZER] * (choices.colors and found.is_gray)
            models = self._restorer.engine.versions(*needed) if needed else {}
            clip.details = _details(clip, outcome, choices, models, notes, words)

    def _survey(
        self, clip: Clip, work: Work, choices: ClipChoices, until: float | None, words: Words
    ) -> tuple[containers.Survey, ClipChoices, bool, list[str]]:
        """Look at all frames that are wanted; decide what can be done with them.

        Returns:
            The survey; the choices, as far as they can be; whether frames are deinterlaced; what
            there is to say of it.
        """
        work.begin("clip_looking")
        notes = []
        deinterlace = False
        while True:
            found = containers.survey(
                clip.upload,
                deinterlace=deinterlace,
                look_for_gray=choices.colors,
                until=until,
                progress=work.stepped,
            )
            if deinterlace or found.interlaced <= len(found.frames) // 10:
                break
            deinterlace = True
            notes.append(words.say("clip_deinterlaced"))
        if found.hdr:
            raise uploads.Unwanted(words.say("clip_hdr", kind=found.hdr))
        limit = self._settings.max_clip_seconds
        if found.seconds > limit + 1:
            size = words.duration(found.seconds)
            suggested = math.ceil(found.seconds)
            most = words.duration(limit)
            message = words.say("clip_long", size=size, most=most, suggested=suggested)
            raise uploads.Unwanted(message)
        if choices.colors and found.layout.is_rgb:
            choices = dataclasses.replace(choices, colors=False)
            notes.append(words.say("clip_rgb"))
        return found, choices, deinterlace, notes

    # What the others are made of.

    def _session(self, request: gr.Request) -> Session:
        return self._sessions.of(request.session_hash)

    def _door(self, request: gr.Request) -> str:
        return self._sessions.door(request.session_hash)

    def _shown(self, session: Session, request: gr.Request, message: Any) -> tuple:
        words = Words.of(request)
        return views.clip_shown(session, words, self._door(request), message=message)


def _is_photo(path: Path) -> bool:
    try:
        images.look(path)
    except ValueError:
        return False
    return True


def _suffix(name: str, head: containers.Look) -> str:
    """The suffix of a clip: that of its name, or of what it is."""
    suffix = PurePath(name).suffix.lower()
    if suffix in containers.SUFFIXES:
        return suffix
    return ".mp4" if "mp4" in head.format else ".mkv"


def _details(
    clip: Clip,
    outcome: segments.Outcome,
    choices: ClipChoices,
    models: dict[str, str],
    notes: list[str],
    words: Words,
) -> dict[str, str]:
    """What was seen and done, for the table."""
    found = outcome.survey
    done = [words.say("blur_removed")]
    if choices.colors:
        grey = words.say("coloured") if found.is_gray else words.say("own_colours")
        done.append(grey)
    if choices.steady:
        done.append(words.say("clip_steadied"))
    if choices.smooth:
        done.append(words.say("clip_doubled"))
    what = words.say("in_seconds", what=", ".join(done), seconds=outcome.seconds)
    size = words.say(
        "clip_size",
        width=found.width,
        height=found.height,
        frames=outcome.frames,
        rate=found.frame_rate,
    )
    details = {
        words.say("what_done"): what,
        words.say("size"): size,
        words.say("models"): ", ".join(f"{name} {version}" for name, version in models.items()),
        words.say("settings"): words.say("clip_strength", strength=choices.strength),
        words.say("metadata"): words.say(
            "metadata_removed" if choices.remove_metadata else "metadata_kept"
        ),
        words.say("input_hash"): system_files.sha256(clip.upload),
    }
    if clip.download is not None:
        details[words.say("output_hash")] = system_files.sha256(outcome.path)
        details[words.say("clip_encoder")] = outcome.encoder
    if outcome.failed:
        notes = [*notes, words.say("clip_frames_failed", count=len(outcome.failed))]
    if notes:
        details[words.say("notes")] = " ".join(notes)
    return details
