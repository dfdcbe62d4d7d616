"""What the buttons of the web page do.

Each method is one event: it takes the values of the page's controls and the visitor's request, and
gives new values. Whatever goes wrong becomes a sentence in the page, never a traceback; what is
logged identifies no picture.
"""

import dataclasses
import html
import logging
import queue
import secrets
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import gradio as gr

from keras_refocus.engines import contract, installed, store
from keras_refocus.page import finishing
from keras_refocus.page.sessions import Picture, Session, Sessions
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline
from keras_refocus.system import console

logger = logging.getLogger(__name__)

#: What the page calls the modes, and the pipeline.
MODES = {
    "Restore only": "restore",
    "Restore + Colorize": "restore+colorize",
    "Always colorize": "colorize",
}

NO_COLORIZER = (
    "Restore only: removes blur. Colouring needs a colorizer model, and none is installed here."
)
_MODE_INFO = (
    "Restore only: removes blur. Restore + Colorize: also colours grey photos. Always colorize: "
    "colours every photo anew. Colour is a guess, not a record."
)

# What known restorers are good for.
_GOOD_FOR = {
    "restorer": "closest to the truth",
    "restorer_gan": "crisper textures, partly invented",
}

_NOTHING = "Choose a photo first."
_GONE = "The photos have been deleted here. Upload them again."


@dataclasses.dataclass(frozen=True, kw_only=True)
class AppSettings:
    """How the page behaves.

    Attributes:
        blur_faces: Whether faces are blurred unless the visitor says otherwise.
        max_pixels: Pixels of the largest photo that is accepted.
        max_files: Photos that one visitor may have at once.
        concurrency: Photos that are worked on at the same time, all visitors together.
        queue_size: Requests that may wait.
        relayed: Whether visitors come through a relay on the internet, which the page then says.
    """

    blur_faces: bool = False
    max_pixels: int = 120_000_000
    max_files: int = 50
    concurrency: int = 1
    queue_size: int = 20
    relayed: bool = False


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

    @classmethod
    def of(cls, controls: tuple) -> "Choices":
        """Take the values of the page's controls."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**dict(zip(names, controls, strict=True)))

    def options(self) -> pipeline.RestoreOptions:
        """What the networks have to do with."""
        return pipeline.RestoreOptions(
            mode=MODES.get(self.mode, self.mode),
            auto_detect=self.auto_detect,
            restorer=self.restorer or contract.RESTORER,
            strength=self.strength,
            saturation=self.saturation,
        )

    def finish(self) -> finishing.Finish:
        """What they have not."""
        return finishing.Finish(
            strength=self.strength,
            saturation=self.saturation,
            blur_faces=self.blur_faces,
            remove_metadata=self.remove_metadata,
            visible_mark=self.visible_mark,
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

    # The page comes and goes.

    def offer(self) -> tuple:
        """Offer what the installed models can do: mode, auto-detect, model, mark, status."""
        try:
            engine = self._restorer.engine
            # A server has no list to give: it is asked for each known name.
            names = sorted({*engine.versions(), *engine.versions(*_GOOD_FOR)})
        except Exception as error:
            unchanged = [gr.skip()] * 4
            return *unchanged, status(say(error), error=True)
        restorers = [
            name
            for name in names
            if not name.startswith((contract.COLORIZER, contract.REFOCUS))
        ]  # fmt: skip
        colors = contract.COLORIZER in names
        choices = [(_model_label(name, self._origin(name)), name) for name in restorers]
        default = contract.RESTORER if contract.RESTORER in restorers else None
        return (
            gr.update(
                choices=list(MODES) if colors else list(MODES)[:1],
                value="Restore only",
                info=_MODE_INFO if colors else NO_COLORIZER,
            ),
            gr.update(visible=colors),
            gr.update(
                choices=choices,
                value=default or (restorers[0] if restorers else None),
                visible=len(restorers) > 1 or (bool(restorers) and default is None),
            ),
            gr.update(visible=colors),
            gr.skip()
            if restorers
            else status("No model to restore with is installed.", error=True),
        )

    def leave(self, request: gr.Request) -> None:
        """Note that a visitor's page was closed, or has lost its connection."""
        self._sessions.leave(request.session_hash)

    # Pictures come and go.

    def accept(self, uploads: list[str] | None, request: gr.Request) -> tuple:
        """Make the listed uploads the visitor's photos."""
        session = self._sessions.of(request.session_hash)
        uploads = uploads or []
        try:
            session.use(uploads[: self._settings.max_files])
        except ValueError as error:
            return _shown(session, message=status(say(error), error=True))
        count = len(session.pictures)
        if not count:
            return self.clear(request)
        message = "1 photo is ready." if count == 1 else f"{count} photos are ready."
        if len(uploads) > self._settings.max_files:
            message += f" More than {self._settings.max_files} at once are not taken."
        return _shown(session, message=status(f"{message} Press Restore."))

    def add(self, shot: str | None, uploads: list[str] | None, request: gr.Request) -> tuple:
        """Put a photo from the camera to the others."""
        if shot is None:
            return gr.skip(), gr.skip(), *[gr.skip()] * 5
        uploads = [*(uploads or []), shot]
        return None, uploads, *self.accept(uploads, request)

    def choose_example(self, event: gr.EventData, request: gr.Request) -> tuple:
        """Make an example the visitor's only photo."""
        name = Path(str(event._data.get("name"))).name
        session = self._sessions.of(request.session_hash)
        if not (self._examples / name).is_file():
            return gr.skip(), *_shown(session, message=status("There is no such example."))
        path = self._sessions.import_file((self._examples / name).read_bytes(), name)
        session.cancelled.clear()
        return [str(path)], *self.accept([str(path)], request)

    def clear(self, request: gr.Request) -> tuple:
        """Delete the visitor's photos."""
        session = self._sessions.of(request.session_hash)
        session.cancelled.set()
        session.delete()
        return _shown(session, message=status("The photos have been deleted here."))

    def set_deletion(self, delete: bool, request: gr.Request) -> None:
        """Choose whether a download deletes what it was made of."""
        self._sessions.of(request.session_hash).delete_after_download = delete

    def downloaded(self, event: gr.EventData, request: gr.Request) -> tuple:
        """Say what a download has left here."""
        session = self._sessions.of(request.session_hash)
        name = event._data.get("name")
        if not session.delete_after_download:
            kept = duration_words(self._sessions.keep_seconds)
            message = status(f"Downloaded {name}. It is kept here until {kept} have passed.")
            return gr.skip(), message, *[gr.skip()] * 4
        message = status(
            f"Downloaded {name}. Its upload and result have been deleted here; what you still see "
            "is only in your browser."
        )
        if session.pictures:
            return [str(picture.upload) for picture in session.pictures], *_shown(
                session, message=message
            )
        # The comparison stays: its pictures are in the browser already.
        return None, message, gr.update(visible=False), gr.skip(), {}, gr.skip()

    # The work.

    def wait(self, request: gr.Request) -> str:
        """Begin: say that work will start, or what is missing."""
        session = self._sessions.of(request.session_hash)
        session.cancelled.clear()
        return status("Waiting for a free place…" if session.pictures else _nothing(session))

    def cancel(self, request: gr.Request) -> str:
        """Stop the work under way."""
        session = self._sessions.of(request.session_hash)
        if session.work.locked():
            session.cancelled.set()
            return status("Cancelling…")
        return status("Nothing is under way.")

    def restore(self, request: gr.Request, *controls: Any) -> Iterator[tuple]:
        """Restore the visitor's photos, telling how far it is."""
        session = self._sessions.of(request.session_hash)
        if not session.pictures:
            yield _shown(session, message=status(_nothing(session)))
            return
        choices = Choices.of(controls)
        with session.work:
            for label, done, total in self._restore_all(session, choices):
                session.touch()
                yield _progress(label, done, total)
        yield _shown(session, message=_outcome(session, session.cancelled.is_set()))

    def withdraw(self, request: gr.Request) -> dict:
        """Take downloads back that were made without the protection just asked for."""
        session = self._sessions.of(request.session_hash)
        for picture in session.pictures:
            session.drop_download(picture)
        return {}

    def finish_again(
        self, request: gr.Request, index: int | None, viewer: dict | None, *controls: Any
    ) -> tuple:
        """Apply what needs no network to the results there are."""
        session = self._sessions.of(request.session_hash)
        choices = Choices.of(controls)
        done = [picture for picture in session.pictures if picture.details]
        if not done:
            # What the page still shows may be gone here.
            gone = viewer and not session.pictures
            return status(_GONE) if gone else gr.skip(), *[gr.skip()] * 4
        with session.work:
            session.cancelled.clear()
            for picture in done:
                session.touch()
                try:
                    if picture.result is None:  # Memory was needed elsewhere.
                        self._run(session, picture, choices)
                    else:
                        finishing.finish(session, picture, choices.finish())
                except Exception as error:
                    # What was made with other settings must not be downloaded in its place.
                    session.drop_result(picture)
                    picture.error = say(error)
        return _shown(session, message=_outcome(session, False), index=index)

    def show(self, index: int | None, request: gr.Request) -> tuple:
        """Show another photo of several."""
        session = self._sessions.of(request.session_hash)
        if not session.pictures:
            return _shown(session, message=status(_GONE))
        return _shown(session, message=gr.skip(), index=index)

    def remind(self, request: gr.Request) -> Any:
        """Say that a change needs the networks."""
        session = self._sessions.of(request.session_hash)
        if any(picture.details for picture in session.pictures):
            return status("Press Restore to apply this.")
        return gr.skip()

    # For programs.

    def restore_file(
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
    ) -> tuple[gr.FileData, dict]:
        """Restore one photo: a file in, a file of its format and depth out, and what was done.

        The modes are `restore`, `restore+colorize` and `colorize`. Upload and result are deleted
        when the result has been fetched.
        """
        visitor = f"program-{secrets.token_hex(8)}"
        session = self._sessions.of(visitor)
        choices = Choices(
            mode=mode,
            auto_detect=auto_detect,
            restorer=model,
            strength=strength,
            saturation=saturation,
            blur_faces=blur_faces,
            remove_metadata=remove_metadata,
            visible_mark=visible_mark,
        )
        try:
            session.use([photo["path"]])
            (picture,) = session.pictures
            picture.name = photo.get("orig_name") or picture.name
            with session.work:
                self._run(session, picture, choices)
            shared, details = session.find(picture.download), picture.details
            path = self._sessions.hand_out(shared)
        except Exception as error:
            raise gr.Error(say(error), print_exception=False) from error
        finally:
            self._sessions.end(visitor)
        return gr.FileData(path=str(path), orig_name=shared.name), details

    def _origin(self, name: str) -> installed.Origin | None:
        """Where the weights of a model came from, if that can be told: a server does not say."""
        folder = getattr(self._restorer.engine, "models_dir", None)
        version = store.newest_version(folder / name) if folder else None
        return installed.read_origin(version) if version else None

    def list_models(self) -> dict:
        """List the models and their versions."""
        try:
            return self._restorer.engine.versions()
        except Exception as error:
            raise gr.Error(say(error), print_exception=False) from error

    def _run(
        self,
        session: Session,
        picture: Picture,
        choices: Choices,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Run the networks on one picture, and finish it."""
        # From its content: then neither messages nor logs hold the name.
        content = picture.upload.read_bytes()
        photo = images.read(content, max_pixels=self._settings.max_pixels)
        del content
        # The result, and luminance in float32, beside the photo itself.
        self._sessions.make_room(2 * photo.rgb.nbytes + 4 * photo.height * photo.width, picture)
        picture.faces = None
        picture.result = self._restorer.restore(
            photo,
            choices.options(),
            progress=progress,
            cancel=session.cancelled.is_set,
            keep_stages=True,
        )
        picture.seconds = picture.result.seconds
        finishing.finish(session, picture, choices.finish())
        session.settle(picture)

    def _restore_all(self, session: Session, choices: Choices) -> Iterator[tuple[str, int, int]]:
        """Run all photos of a visitor in another thread; yields `(which, done, total)`.

        Errors are left in the pictures.
        """
        updates: queue.SimpleQueue = queue.SimpleQueue()
        pictures = list(session.pictures)

        def work():
            for number, picture in enumerate(pictures, 1):
                which = f"photo {number} of {len(pictures)}" if len(pictures) > 1 else "the photo"
                updates.put((which, 0, 0))
                picture.error = ""
                try:
                    self._run(
                        session,
                        picture,
                        choices,
                        lambda done, total, which=which: updates.put((which, done, total)),
                    )
                except CancelledError:
                    break
                except Exception as error:
                    session.drop_result(picture)
                    picture.error = say(error)
            console.release_memory()
            updates.put(None)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        finished = False
        try:
            while (update := updates.get()) is not None:
                yield update
            finished = True
        finally:
            if not finished:  # Whoever listened is gone, and nobody would see the rest.
                session.cancelled.set()
            worker.join()


def say(error: Exception) -> str:
    """Put an error into words for the page; what nobody foresaw is logged, without names."""
    if isinstance(error, gr.Error):
        return str(error.message)
    if isinstance(error, FileNotFoundError) and error.errno is not None:
        return _GONE
    if isinstance(error, OSError) and error.strerror:  # The rest of it names a file.
        return f"It could not be read or written: {error.strerror}."
    if isinstance(error, ValueError | OSError | ImportError) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for a photo of this size. Make it smaller."
    # Its message might name a picture; the places in the code do not.
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    logger.error("unexpected %s at %s", type(error).__name__, places)
    return f"Something went wrong ({type(error).__name__}). Try another photo or other settings."


def _nothing(session: Session) -> str:
    return _GONE if session.is_renewed else _NOTHING


def status(message: str, *, error: bool = False) -> str:
    """Make the line that says what happens."""
    if error:
        return f'<p class="rf-error" role="alert">{html.escape(message)}</p>'
    return f'<p role="status">{html.escape(message)}</p>'


def duration_words(seconds: float) -> str:
    """Say a time: `10 minutes`, `45 seconds`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes"


def _model_label(name: str, origin: installed.Origin | None = None) -> str:
    """What a model is good for; of published weights also whose they are and their licence."""
    if origin is not None:
        return f"{name}: {origin.title}, for {origin.purpose} (licence {origin.licence})"
    return f"{name}: {_GOOD_FOR.get(name, 'your own model')}"


def _progress(which: str, done: int, total: int) -> tuple:
    words = f"Restoring {which}"
    words += f": {done} of {total} steps" if total else "…"
    bar = f'<progress max="{max(total, 1)}" value="{done}" aria-label="Progress"></progress>'
    return f"<p>{html.escape(words)}</p>{bar}", *[gr.skip()] * 4


def _outcome(session: Session, cancelled: bool) -> str:
    failed = [picture for picture in session.pictures if picture.error]
    done = [picture for picture in session.pictures if picture.download]
    if cancelled:
        return status("Cancelled.")
    if failed:
        lines = [f"{picture.name}: {picture.error}" for picture in failed]
        if len(session.pictures) == 1:
            lines = [failed[0].error]
        return "".join(status(line, error=True) for line in lines)
    if not done:
        return status(_GONE)
    if len(done) > 1:
        return status(f"{len(done)} photos restored.")
    details = done[0].details
    return status(f"Done: {details['Done']}. Detected: {details['Detected']}.")


def _shown(session: Session, *, message: Any, index: int | None = None) -> tuple:
    """Values of status, picker, viewer, downloads and details for what the visitor has."""
    pictures = session.pictures
    if not pictures:
        return message, gr.update(visible=False), {}, {}, gr.update(visible=False)
    index = index if index is not None and index < len(pictures) else 0
    picture = pictures[index]
    choices = [(f"{number}. {one.name}", number - 1) for number, one in enumerate(pictures, 1)]
    picker = gr.update(choices=choices, value=index, visible=len(pictures) > 1)
    if picture.download is None:
        return message, picker, {}, {}, gr.update(visible=False)
    viewer = {
        "name": picture.name,
        "before": f"pictures/{picture.before}",
        "after": f"pictures/{picture.after}",
    }
    shared = session.find(picture.download)
    links = [_link("Download", picture.download, shared.name, shared.path)]
    if sum(one.download is not None for one in pictures) > 1:
        token = finishing.archive(session)
        zipped = session.find(token)
        links.append(_link("Download all", token, zipped.name, zipped.path))
    return (
        message,
        picker,
        viewer,
        {"links": links},
        gr.update(value=_table(picture.details), visible=True),
    )


def _link(label: str, token: str, name: str, path: Path) -> dict[str, str]:
    size = finishing.size_words(path.stat().st_size)
    return {"label": label, "href": f"pictures/{token}", "name": name, "size": size}


def _table(details: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in details.items()
    )
    return f'<table class="rf-details">{rows}</table>'
