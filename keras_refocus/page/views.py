"""What the parts of the page are given: values of the list, the viewer, the downloads, the status.

Every event that changes what a visitor sees gives the values of `SHOWN`, in that order.
"""

import html
from typing import Any

import gradio as gr

from keras_refocus.page import finishing, shakes
from keras_refocus.page.jobs import Job, Progress
from keras_refocus.page.sessions import Picture, Session
from keras_refocus.page.words import Words
from keras_refocus.restoration import regions
from keras_refocus.restoration.deconvolution.finding import Finding

#: Names of the parts.
SHOWN = ("status", "photos", "viewer", "downloads", "details")
#: Those of the Video tab, which has its own.
CLIP_SHOWN = ("status", "clip", "film", "downloads", "details")


def status(
    message: str = "",
    *,
    error: bool = False,
    failures: list[str] | None = None,
    progress: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Make the line that says what happens.

    Args:
        message: What happens.
        error: Whether it is something that went wrong.
        failures: What went wrong besides.
        progress: How much is done, and of how much; of 0 if that is not known.
    """
    return {
        "message": "" if error else message,
        "errors": [message] * error + (failures or []),
        "progress": None if progress is None else list(progress),
    }


def photos(session: Session, words: Words, door: str) -> dict[str, Any]:
    """What the list of photos shows."""
    return {
        "door": door,
        "chosen": None if session.chosen is None else session.chosen.id,
        "pictures": [_entry(session, picture) for picture in session.pictures],
    }


def state_of(session: Session, picture: Picture) -> str:
    """Say of a photo whether it is new, waiting, working, done or failed."""
    state = None if session.job is None else session.job.state_of(picture)
    if state is None:
        state = "failed" if picture.error else "done" if picture.is_done else "new"
    return state


def _entry(session: Session, picture: Picture) -> dict[str, Any]:
    return {
        "id": picture.id,
        "name": picture.name,
        "state": state_of(session, picture),
        "error": picture.error,
        "thumbnail": picture.thumbnail and f"pictures/{picture.thumbnail}",
    }


def shown(session: Session, words: Words, door: str, *, message: Any) -> tuple:
    """Everything that a visitor sees: values of `SHOWN`."""
    listed = photos(session, words, door)
    picture = session.chosen
    if picture is None or picture.after is None:
        viewer = {}
        if picture is not None:
            region = regions.record(picture.region)
            viewer = {"id": picture.id, "name": picture.name, "region": region}
        return message, listed, viewer, downloads(session, words), details(None, words)
    return (
        message,
        listed,
        viewer_of(picture, words),
        downloads(session, words),
        details(picture, words),
    )


def viewer_of(picture: Picture, words: Words) -> dict[str, Any]:
    """What the comparison shows."""
    height, width = _size(picture)
    look, *_ = picture.shown
    return {
        "id": picture.id,
        "name": picture.name,
        "before": f"pictures/{picture.before}",
        "after": f"pictures/{picture.after}",
        "width": width,
        "height": height,
        "region": regions.record(picture.region),
        "coloured": picture.result is not None and "colorize" in picture.result.stages,
        "hints": picture.hints.to_json()["hints"],
        "label": f"{picture.details.get(words.say('models'), '')}, "
        f"{words.say('strength_is', strength=look[0], saturation=look[1])}",
    }


def _size(picture: Picture) -> tuple[int, int]:
    if picture.result is not None:
        return picture.result.planes.source.shape[:2]
    width, height = picture.size or (0, 0)
    return height, width


def downloads(session: Session, words: Words) -> dict[str, Any]:
    """The buttons that fetch results."""
    links = []
    picture = session.chosen
    if picture is not None and picture.download is not None and picture.is_done:
        shared = session.find(picture.download)
        if shared is not None:
            photo = None if picture.result is None else picture.result.photo
            format = None if session.finish is None else session.finish.format
            written = shared.path.is_file() and picture.written == session.finish
            # The file that lies there may have another format than the one that will be fetched.
            known = shared.name and (written or photo is None)
            name = (
                shared.name
                if known
                else finishing.download_name(
                    picture.name, None if photo is None else photo.format, format
                )
            )
            size = finishing.size_words(shared.path.stat().st_size) if written else ""
            links.append(
                {
                    "label": words.say("download_one"),
                    "href": f"pictures/{picture.download}",
                    "name": name,
                    "size": size,
                }
            )
    done = [picture for picture in session.pictures if picture.is_done]
    if done and len(session.pictures) > 1:
        links.append(
            {
                "label": words.say("download_all"),
                "href": f"pictures/{session.archive}",
                "name": "restored.zip",
                "size": words.count("one_photo", "many_photos", len(done)),
            }
        )
    return {"links": links}


def details(picture: Picture | None, words: Words) -> Any:
    """The table of what was seen and done."""
    if picture is None:
        return _table(None)
    path = None if picture.shake is None else shakes.address(picture.shake)
    return _table(picture.details, "" if path is None else _kernel(path, picture.shake, words))


def _kernel(address: str, finding: Finding, words: Words) -> str:
    """The path of a shake as a row of the table, four times as large as it is."""
    width = 4 * finding.kernel.shape[1]
    name = html.escape(words.say("shake_path"))
    return (
        f'<tr><th scope="row">{name}</th><td><img class="rf-kernel" src="{address}" '
        f'alt="{name}" width="{width}"></td></tr>'
    )


def _table(details: dict[str, str] | None, more: str = "") -> Any:
    """A table of names and texts, and rows that are HTML already."""
    if not details:
        return gr.update(visible=False)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in details.items()
    )
    rows += more
    return gr.update(value=f'<table class="rf-details">{rows}</table>', visible=True)


def clip(session: Session, words: Words, door: str) -> dict[str, Any]:
    """What the list of the Video tab shows."""
    listed = {"door": door, "clip": None}
    if session.clip is not None:
        one = session.clip
        length = "" if one.seconds is None else f"{words.duration(one.seconds)}, "
        listed["clip"] = {
            "id": one.id,
            "name": one.name,
            "about": f"{length}{one.size[0]} × {one.size[1]}",
        }
    return listed


def clip_shown(session: Session, words: Words, door: str, *, message: Any) -> tuple:
    """Everything that a visitor sees on the Video tab: values of `CLIP_SHOWN`."""
    one, film = session.clip, {}
    if one is not None and one.after is not None:
        film = {
            "id": one.id,
            "name": one.name,
            "before": f"pictures/{one.before}",
            "after": f"pictures/{one.after}",
            "preview": one.download is None,
        }
    elif one is not None:
        film = {"id": one.id, "name": one.name}
    table = _table(None if one is None else one.details)
    return message, clip(session, words, door), film, clip_downloads(session, words), table


def clip_downloads(session: Session, words: Words) -> dict[str, Any]:
    """The button that fetches a restored clip."""
    shared = None if session.clip is None else session.find(session.clip.download)
    if shared is None:
        return {"links": []}
    link = {
        "label": words.say("download_one"),
        "href": f"pictures/{session.clip.download}",
        "name": shared.name,
        "size": finishing.size_words(shared.path.stat().st_size),
    }
    return {"links": [link]}


def clip_progress(work: Any, words: Words) -> dict[str, Any]:
    """Say how far work on a clip is."""
    if work.was_cancelled:
        return status(words.say("cancelling"))
    if work.ahead:
        return status(words.say("clip_waiting", ahead=work.ahead), progress=(0, 0))
    said = words.say("clip_starting" if work.step == "clip_waiting" else work.step)
    if work.step == "clip_restoring" and work.total:
        said = words.say("clip_frames", done=work.done, total=work.total)
        if (left := work.seconds_left) is not None:
            said += f" {words.say('clip_left', time=words.duration(left))}"
    return status(said, progress=(work.done, work.total))


def progress(progress: Progress, job: Job, words: Words) -> dict[str, Any]:
    """Say how far a job is, over the whole batch."""
    if job.was_cancelled:
        return status(words.say("cancelling"))
    if progress.ahead:
        if progress.ahead == 1:
            return status(words.say("next"), progress=(progress.finished, progress.count))
        message = words.say("waiting", ahead=progress.ahead)
        return status(message, progress=(progress.finished, progress.count))
    which = words.say("the_photo")
    if progress.count > 1:
        which = words.say("photo_of", number=progress.number, count=progress.count)
    if not progress.total:
        message = words.say("working", which=which)
        return status(message, progress=(progress.finished, progress.count))
    message = words.say("steps", which=which, done=progress.done, total=progress.total)
    part = progress.done / progress.total
    return status(message, progress=(progress.finished + part, progress.count))


def ready(session: Session, words: Words) -> dict[str, Any]:
    """Say how many photos are there to be restored."""
    waiting = sum(not picture.is_done and not picture.error for picture in session.pictures)
    return status(words.count("one_ready", "many_ready", waiting))


def outcome(session: Session, job: Job, words: Words) -> dict[str, Any]:
    """Say what came of a job."""
    pictures = session.pictures
    done = [picture for picture in pictures if picture.is_done]
    failed = [picture for picture in pictures if picture.error]
    if job.refusal is not None:
        return status(words.say("full", count=job.refusal.count), error=True)
    if job.was_cancelled:
        if job.was_waiting:
            return status(words.say("out_of_queue"))
        if len(pictures) > 1:
            message = words.say("cancelled_after", done=len(done), count=len(pictures))
            return status(message, failures=_failures(failed))
        return status(words.say("cancelled"))
    if not pictures:
        return status(words.say("gone"))
    if len(pictures) == 1:
        if failed:
            return status(failed[0].error, error=True)
        if done:
            return status(_done(done[0], words))
        return ready(session, words)
    left = len(pictures) - len(done) - len(failed)
    if failed or left:
        message = words.say("some_restored", done=len(done), count=len(pictures))
    else:
        message = words.say("all_restored", count=len(done))
    if left:
        message += f" {words.count('one_waits', 'many_wait', left)}"
    return status(message, failures=_failures(failed))


def _done(picture: Picture, words: Words) -> str:
    what = picture.details.get(words.say("what_done"), "")
    seen = picture.details.get(words.say("detected"), "")
    return words.say("done", what=what, seen=seen)


def _failures(pictures: list[Picture]) -> list[str]:
    return [f"{picture.name}: {picture.error}" for picture in pictures]
