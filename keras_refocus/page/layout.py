"""The web page: upload photos, restore them, compare, download.

    restorer, sessions = Restorer(), Sessions()
    page, actions = build_app(restorer, sessions)
    server.launch(page, actions, sessions, ...)

This is how the page looks and what hangs on what. What the buttons do is `actions`, what a
visitor's pictures are kept in is `sessions`, what is made of a result without the networks is
`finishing`; `static/` holds scripts, styles and examples.
"""

import dataclasses
import html
import json
import logging
from pathlib import Path
from typing import Any

import gradio as gr

from keras_refocus.page import shakes
from keras_refocus.page.actions import PageActions
from keras_refocus.page.clips import ClipActions
from keras_refocus.page.sessions import Sessions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.views import status
from keras_refocus.page.words import LABELS, SCRIPTS, SENTENCES, Words
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline
from keras_refocus.video import containers

logger = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"

#: Folder of the example photos; `examples.json` in it says what they are and whose.
EXAMPLES = _STATIC / "examples"


def build_app(
    restorer: pipeline.Restorer, sessions: Sessions, settings: AppSettings | None = None
) -> tuple[gr.Blocks, PageActions]:
    """Build the page.

    Args:
        restorer: What restores the photos.
        sessions: Where the visitors' pictures are kept. Gradio must put uploads there: set the
            environment variable `GRADIO_TEMP_DIR` to `sessions.uploads` first.
        settings: How the page behaves.

    Returns:
        The page, to be served by `server.launch`, and what its buttons do.

    Raises:
        RuntimeError: `GRADIO_TEMP_DIR` is another folder.
    """
    settings = settings or AppSettings()
    uploads = gr.utils.get_upload_folder()
    if uploads != str(sessions.uploads):
        raise RuntimeError(
            f"Uploads must go to the private folder. Received: GRADIO_TEMP_DIR={uploads}. "
            f"Set it to {sessions.uploads} before building the page."
        )
    actions = PageActions(restorer, sessions, settings, EXAMPLES)
    with _Page(title="Refocus", analytics_enabled=False) as page:
        _lay_out(page, actions, settings)
    # Who waits for a place to work at is told so by the actions; this is for floods of requests.
    page.queue(max_size=1000 + settings.queue_size, default_concurrency_limit=None)
    return page, actions


class _Page(gr.Blocks):
    """Blocks that log nothing of a request that goes wrong, and answer it with a sentence."""

    async def process_api(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Answer one request; Gradio's own would print what it holds, paths of uploads too."""
        try:
            return await super().process_api(*arguments, **options)
        except gr.Error:
            raise
        except Exception as error:
            logger.error("a request could not be read: %s", type(error).__name__)
            message = "The request could not be read. See the page “Use via API” for its form."
            raise gr.Error(message, print_exception=False) from None


def _lay_out(page: gr.Blocks, actions: PageActions, settings: AppSettings) -> None:
    """Put the parts on the page, in the order of a narrow one, and connect them."""
    _part("head", "head.html", "head.js")
    if actions.clips.is_offered:
        _part("tabs", "tabs.html", "tabs.js")
    # A wide page puts the second column beside the other two.
    with gr.Row(equal_height=False, elem_id="work", elem_classes="rf-work"):
        begin = _begin(settings, with_clips=actions.clips.is_offered)
        compare = _compare()
        options = _options(settings, compare.strength)
    _offer_to_programs(actions)
    if actions.clips.is_offered:
        with gr.Row(equal_height=False, elem_id="clips", elem_classes="rf-work"):
            clips = _clips(settings)
        _connect_clips(page, actions.clips, clips)
    _part("privacy", "privacy.html", "said.js")
    _connect(page, actions, begin, compare, options)
    _connect_moments(actions, begin, compare, options)


@dataclasses.dataclass(frozen=True)
class _Begin:
    """Where photos come in, and what happens is said."""

    photos: gr.HTML
    start: gr.Button
    cancel: gr.Button
    state: gr.HTML


@dataclasses.dataclass(frozen=True)
class _Compare:
    """Where results are looked at and fetched."""

    viewer: gr.HTML
    hints: gr.HTML
    strength: gr.Slider
    downloads: gr.HTML
    details: gr.HTML
    find_moments: gr.Button
    moments: gr.HTML
    examples: gr.HTML


@dataclasses.dataclass(frozen=True)
class _Options:
    """What can be chosen."""

    mode: gr.Radio
    auto_detect: gr.Checkbox
    model: gr.Dropdown
    strength: gr.Slider
    saturation: gr.Slider
    blur_faces: gr.Checkbox
    remove_metadata: gr.Checkbox
    visible_mark: gr.Checkbox
    format: gr.Dropdown
    quality: gr.Slider
    patient: gr.Checkbox
    delete_after: gr.Checkbox

    @property
    def controls(self) -> list:
        """Those that make a `Choices`, in the order of its fields."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)][:-1]


@dataclasses.dataclass(frozen=True)
class _Clips:
    """The Video tab."""

    clip: gr.HTML
    preview: gr.Button
    start: gr.Button
    cancel: gr.Button
    state: gr.HTML
    strength: gr.Slider
    colors: gr.Checkbox
    steady: gr.Checkbox
    smooth: gr.Checkbox
    blur_faces: gr.Checkbox
    remove_metadata: gr.Checkbox
    delete_after: gr.Checkbox
    film: gr.HTML
    downloads: gr.HTML
    details: gr.HTML

    @property
    def controls(self) -> list:
        """Those that make a `ClipChoices`, in the order of its fields."""
        names = "strength colors steady smooth blur_faces remove_metadata"
        return [getattr(self, name) for name in names.split()]


def _clips(settings: AppSettings) -> _Clips:
    with gr.Column(elem_classes="rf-begin"):
        clip = _part(
            "clip",
            "clip.html",
            "clip.js",
            accepted=",".join(["video/*", *sorted(containers.SUFFIXES)]),
            megabytes=round(settings.max_clip_upload / 1e6),
            seconds=settings.max_clip_seconds,
        )
        with gr.Row():
            preview = gr.Button(_("preview_clip"), variant="primary", elem_id="preview_clip")
            start = gr.Button(_("restore_clip"), elem_id="start_clip")
            cancel = gr.Button(_("cancel"), elem_id="cancel_clip", scale=0, min_width=90)
        state = _part("clip_status", "status.html", "status.js", value=status())
    with gr.Column(elem_classes="rf-compare"):
        film = _part("film", "film.html", "film.js", value={})
        downloads = _part("clip_downloads", "downloads.html", "downloads.js", value={})
        details = gr.HTML(visible=False, apply_default_css=False, elem_id="clip_details")
    with gr.Column(elem_classes="rf-options"):
        strength = gr.Slider(0, 1, value=1, step=0.05, label=_("strength"), info=_("strength_info"))
        steady = gr.Checkbox(True, label=_("steady"), info=_("steady_info"))
        smooth = gr.Checkbox(False, label=_("smooth"), info=_("smooth_info"))
        colors = gr.Checkbox(
            False, label=_("clip_colors"), info=_("clip_colors_info"), visible=False
        )
        remove = gr.Checkbox(True, label=_("remove_metadata"), info=_("remove_metadata_info"))
        faces = gr.Checkbox(settings.blur_faces, label=_("blur_faces"), info=_("blur_faces_info"))
        delete_after = gr.Checkbox(True, label=_("delete_after"), info=_("clip_delete_info"))
    return _Clips(
        clip=clip,
        preview=preview,
        start=start,
        cancel=cancel,
        state=state,
        strength=strength,
        colors=colors,
        steady=steady,
        smooth=smooth,
        blur_faces=faces,
        remove_metadata=remove,
        delete_after=delete_after,
        film=film,
        downloads=downloads,
        details=details,
    )


def _connect_clips(page: gr.Blocks, actions: ClipActions, parts: _Clips) -> None:
    """Say what happens when on the Video tab."""
    shown = [parts.state, parts.clip, parts.film, parts.downloads, parts.details]
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick = {"queue": False, "trigger_mode": "multiple", **hidden}
    slow = {"concurrency_limit": None, "trigger_mode": "multiple", **hidden}
    page.load(actions.offer, None, [parts.colors, parts.state, parts.clip], **quick)
    parts.clip.arrived(actions.arrived, None, shown, **quick)
    parts.clip.removed(actions.remove, None, shown, **quick)
    parts.clip.expired(actions.expire, None, shown, **quick)
    parts.preview.click(actions.preview, parts.controls, shown, **slow)
    parts.start.click(actions.restore, parts.controls, shown, **slow)
    parts.cancel.click(actions.cancel, None, parts.state, **quick)
    parts.downloads.downloaded(actions.downloaded, None, shown, **quick)
    parts.delete_after.change(actions.set_deletion, parts.delete_after, None, **quick)


def _begin(settings: AppSettings, *, with_clips: bool) -> _Begin:
    with gr.Column(elem_id="begin", elem_classes="rf-begin"):
        photos = _part(
            "photos",
            "photos.html",
            "photos.js",
            accepted=",".join(["image/*", *sorted(images.SUFFIXES)]),
            most=settings.max_files,
            videos=sorted(containers.SUFFIXES) if with_clips else [],
        )
        with gr.Row():
            start = gr.Button(_("restore"), variant="primary", elem_id="start", scale=3)
            cancel = gr.Button(_("cancel"), elem_id="cancel", scale=1, min_width=90)
        state = _part("status", "status.html", "status.js", value=status())
    return _Begin(photos, start, cancel, state)


def _compare() -> _Compare:
    with gr.Column(elem_id="compare", elem_classes="rf-compare"):
        viewer = _part("viewer", "viewer.html", "viewer.js", value={})
        hints = _part("hints", "hints.html", "hints.js", value={})
        strength = gr.Slider(
            0,
            1,
            value=1,
            step=0.05,
            label=_("strength"),
            info=_("strength_info"),
            elem_id="strength",
        )
        downloads = _part("downloads", "downloads.html", "downloads.js", value={})
        details = gr.HTML(visible=False, apply_default_css=False, elem_id="details")
        find_moments = gr.Button(_("find_moments"), elem_id="find_moments")
        moments = _part("moments", "moments.html", "moments.js", value={})
        examples = _part("examples", "examples.html", "examples.js", markup=_examples())
    return _Compare(viewer, hints, strength, downloads, details, find_moments, moments, examples)


def _options(settings: AppSettings, strength: gr.Slider) -> _Options:
    with gr.Column(elem_id="options", elem_classes="rf-options"):
        mode = gr.Radio(
            [(SENTENCES["restore_only"][0], "restore")],
            value="restore",
            label=_("mode"),
            info=SENTENCES["no_colorizer"][0],
        )
        auto_detect = gr.Checkbox(
            True, label=_("auto_detect"), info=_("auto_detect_info"), visible=False
        )
        # Without a field to type in, which would take its text for a choice when it is left.
        model = gr.Dropdown(
            [], label=_("model"), info=_("model_info"), visible=False, filterable=False
        )
        # How long it takes is said when the page is loaded.
        patient = gr.Checkbox(
            False, label=_("patient"), info=shakes.expected_words(Words()), elem_id="patient"
        )
        saturation = gr.Slider(
            0, 1.5, value=1, step=0.05, label=_("saturation"), info=_("saturation_info")
        )
        remove_metadata = gr.Checkbox(
            True, label=_("remove_metadata"), info=_("remove_metadata_info")
        )
        blur_faces = gr.Checkbox(
            settings.blur_faces, label=_("blur_faces"), info=_("blur_faces_info")
        )
        visible_mark = gr.Checkbox(
            False, label=_("visible_mark"), info=_("visible_mark_info"), visible=False
        )
        delete_after = gr.Checkbox(True, label=_("delete_after"), info=_("delete_after_info"))
        format = gr.Dropdown(
            [(_("as_uploaded"), ""), *((name, name) for name in images.FORMATS)],
            value="",
            label=_("format"),
            info=_("format_info"),
            filterable=False,
        )
        quality = gr.Slider(
            50, 100, value=95, step=1, label=_("quality"), info=_("quality_info"), visible=False
        )
    return _Options(
        mode=mode,
        auto_detect=auto_detect,
        model=model,
        strength=strength,
        saturation=saturation,
        blur_faces=blur_faces,
        remove_metadata=remove_metadata,
        visible_mark=visible_mark,
        format=format,
        quality=quality,
        patient=patient,
        delete_after=delete_after,
    )


def _offer_to_programs(actions: PageActions) -> None:
    """The interface for programs; first, because the first to have a name keeps it."""
    gr.api(actions.restore_file, api_name="restore", concurrency_limit=None)
    gr.api(actions.list_models, api_name="models", queue=False)


def _connect(
    page: gr.Blocks,
    actions: PageActions,
    begin: _Begin,
    compare: _Compare,
    options: _Options,
) -> None:
    """Say what happens when."""
    photos, state, viewer = begin.photos, begin.state, compare.viewer
    controls = options.controls
    shown = [state, photos, viewer, compare.downloads, compare.details]
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # Gradio drops what is triggered while the same is under way, unless told otherwise.
    quick = {"queue": False, "trigger_mode": "multiple", **hidden}
    slow = {"concurrency_limit": None, "trigger_mode": "multiple", **hidden}
    offered = [options.mode, options.auto_detect, options.model, options.visible_mark]
    page.load(actions.expect, None, options.patient, **quick)
    page.load(actions.offer, None, [*offered, state, photos], **quick)
    page.unload(actions.leave)

    photos.added(actions.added, None, shown, **quick)
    photos.removed(actions.remove, None, shown, **quick)
    photos.cleared(actions.clear, None, shown, **quick)
    photos.chosen(actions.show, None, shown, **quick)
    photos.expired(actions.expire, None, shown, **quick)
    photos.returned(actions.refresh, None, shown, **quick)
    viewer.marked(actions.mark, None, shown, **quick)

    begin.start.click(actions.restore, controls, shown, **slow)
    begin.cancel.click(actions.cancel, None, state, **quick)
    compare.examples.chosen(actions.restore_example, controls, shown, **slow)
    compare.downloads.downloaded(actions.downloaded, None, shown, **quick)
    options.delete_after.change(actions.set_deletion, options.delete_after, None, **quick)

    # The last value counts: those in between are passed over while one is applied.
    last = {**slow, "trigger_mode": "always_last"}
    for control in (options.strength, options.saturation):
        control.change(actions.adjust, controls, shown, **last).then(
            actions.adjust_fully, controls, shown, **slow
        )
    compare.hints.hinted(actions.hint, controls, shown, **last).then(
        actions.adjust_fully, controls, shown, **slow
    )
    for control in (options.blur_faces, options.remove_metadata, options.visible_mark):
        control.input(actions.withdraw, controls, compare.downloads, **quick).then(
            actions.adjust, controls, shown, **slow
        ).then(actions.adjust_fully, controls, shown, **slow)
    for control in (options.format, options.quality):
        control.change(actions.adjust, controls, shown, **last)
    options.format.change(
        lambda format: gr.update(visible=format in ("JPEG", "WebP")),
        options.format,
        options.quality,
        **quick,
    )
    for control in (options.mode, options.auto_detect, options.model, options.patient):
        control.input(actions.remind, None, state, **quick)


def _connect_moments(
    actions: PageActions, begin: _Begin, compare: _Compare, options: _Options
) -> None:
    """Say what happens when with the player of what happened during an exposure."""
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick = {"queue": False, "trigger_mode": "multiple", **hidden}
    moments, asked = actions.moments, [options.model, options.blur_faces]
    compare.find_moments.click(
        moments.find,
        asked,
        [begin.state, compare.moments],
        concurrency_limit=None,
        trigger_mode="multiple",
        **hidden,
    )
    begin.cancel.click(moments.cancel, None, None, **quick)
    options.blur_faces.input(moments.withdraw, options.blur_faces, compare.moments, **quick)
    begin.photos.chosen(moments.show, None, compare.moments, **quick)
    for gone in (begin.photos.removed, begin.photos.cleared, begin.photos.expired):
        gone(moments.hide, None, compare.moments, **quick)


def _part(name: str, template: str, script: str, *, value: Any = None, **props: Any) -> gr.HTML:
    """Make a part of the page of our own: its template and script are in `static`."""
    return gr.HTML(
        value={} if value is None else value,
        html_template=_in_english(_read(template)),
        js_on_load=_read(script),
        apply_default_css=False,
        elem_id=name,
        **props,
    )


def _in_english(template: str) -> str:
    """Fill the sentences of a template in; the browser puts another language in their place."""
    for name, texts in SCRIPTS.items():
        template = template.replace(f"[[{name}]]", html.escape(texts[0]))
    return template


def _examples() -> str:
    """The buttons of the examples: one click restores one."""
    entries = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    return "".join(
        f'<button type="button" class="rf-example" data-example="{html.escape(entry["file"])}">'
        f'<img data-src="examples/{html.escape(entry["file"])}" alt="">'
        f"{_said('span', entry['title'])}"
        f"<small>{_said('span', entry['about'])} {html.escape(entry['credit'])}</small></button>"
        for entry in entries
    )


def _said(tag: str, name: str) -> str:
    """A sentence of the table, which the browser says in its language."""
    return f'<{tag} data-say="{name}">{html.escape(SCRIPTS[name][0])}</{tag}>'


def _(name: str) -> gr.I18n:
    """A label in the language of the browser."""
    if name not in LABELS:
        raise KeyError(name)
    return gr.I18n()(name)


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
