"""The web page: upload photos, restore them, compare, download.

    restorer, sessions = Restorer(), Sessions()
    page = build_app(restorer, sessions)
    page_server.launch(page, sessions, ...)

This is how the page looks and what hangs on what. What the buttons do is `page_actions`, what a
visitor's pictures are kept in is `sessions`, what is made of a result without the networks is
`finishing`; `page/` holds scripts, styles and examples.
"""

import dataclasses
import html
import json
from pathlib import Path

import gradio as gr

from keras_refocus.page.actions import (
    NO_COLORIZER,
    AppSettings,
    PageActions,
    duration_words,
    status,
)
from keras_refocus.page.sessions import Sessions
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline

_PAGE = Path(__file__).parent / "static"

#: Folder of the example photos; `examples.json` in it says what they are and whose.
EXAMPLES = _PAGE / "examples"


def build_app(
    restorer: pipeline.Restorer, sessions: Sessions, settings: AppSettings | None = None
) -> gr.Blocks:
    """Build the page.

    Args:
        restorer: What restores the photos.
        sessions: Where the visitors' pictures are kept. Gradio must put uploads there: set the
            environment variable `GRADIO_TEMP_DIR` to `sessions.uploads` first.
        settings: How the page behaves.

    Returns:
        The page, to be served by `page_server.launch`.

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
    with gr.Blocks(title="Refocus", analytics_enabled=False) as page:
        _lay_out(page, actions, sessions, settings)
    page.queue(max_size=settings.queue_size, default_concurrency_limit=settings.concurrency)
    return page


def _lay_out(
    page: gr.Blocks, actions: PageActions, sessions: Sessions, settings: AppSettings
) -> None:
    """Put the parts on the page, in the order of a narrow one, and connect them."""
    gr.HTML(
        "<h1>Refocus</h1><p>Removes motion blur from photos and, when asked, colours grey ones. "
        "For research use: details and colours in a result may be wrong.</p>",
        apply_default_css=False,
        elem_classes="rf-head",
    )
    # A wide page puts the second column beside the other two.
    with gr.Row(equal_height=False, elem_id="work"):
        begin = _begin()
        compare = _compare()
        options = _options(settings)
    gr.HTML(
        _privacy(duration_words(sessions.keep_seconds), relayed=settings.relayed),
        apply_default_css=False,
        elem_id="privacy",
        elem_classes="rf-privacy",
    )
    _offer_to_programs(actions, settings)
    _connect(page, actions, settings, begin, compare, options)


@dataclasses.dataclass(frozen=True)
class _Begin:
    """Where photos come in, and what happens is said."""

    files: gr.File
    camera: gr.Image
    start: gr.Button
    cancel: gr.Button
    state: gr.HTML


@dataclasses.dataclass(frozen=True)
class _Compare:
    """Where results are looked at and fetched."""

    picker: gr.Dropdown
    viewer: gr.HTML
    downloads: gr.HTML
    details: gr.HTML
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
    delete_after: gr.Checkbox

    @property
    def controls(self) -> list:
        """Those that make a `Choices`, in the order of its fields."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)][:-1]


def _begin() -> _Begin:
    with gr.Column(elem_id="begin"):
        files = gr.File(
            label="Photos: drop, choose or paste them",
            file_count="multiple",
            file_types=["image", *sorted(images.SUFFIXES)],
            elem_id="photos",
            height=170,
        )
        with gr.Accordion("Take a photo", open=False):
            camera = gr.Image(
                sources=["webcam"],
                type="filepath",
                format="png",
                label="Camera",
                webcam_options=gr.WebcamOptions(mirror=False),
            )
        with gr.Row():
            start = gr.Button("Restore", variant="primary", elem_id="start", scale=3)
            cancel = gr.Button("Cancel", elem_id="cancel", scale=1, min_width=90)
        state = gr.HTML(
            status("Choose a photo, then press Restore."),
            elem_id="status",
            elem_classes="rf-status",
        )
    return _Begin(files, camera, start, cancel, state)


def _compare() -> _Compare:
    with gr.Column(elem_id="compare"):
        picker = gr.Dropdown([], label="Photo", visible=False, elem_id="picker")
        viewer = gr.HTML(
            value={},
            html_template=_read("viewer.html"),
            js_on_load=_read("viewer.js"),
            apply_default_css=False,
            elem_id="viewer",
        )
        downloads = gr.HTML(
            value={},
            html_template='<div class="rf-downloads"></div>'
            '<p class="rf-download-said" role="status"></p>',
            js_on_load=_read("downloads.js"),
            apply_default_css=False,
            elem_id="downloads",
        )
        details = gr.HTML(visible=False, apply_default_css=False, elem_id="details")
        examples = _examples()
    return _Compare(picker, viewer, downloads, details, examples)


def _options(settings: AppSettings) -> _Options:
    with gr.Column(elem_id="options"):
        mode = gr.Radio(
            ["Restore only"], value="Restore only", label="What to do", info=NO_COLORIZER
        )
        auto_detect = gr.Checkbox(
            True,
            label="Auto-detect grayscale",
            info="Restore + Colorize leaves colour photos in their own colours.",
            visible=False,
        )
        model = gr.Dropdown(
            [], label="Model", info="Which network removes the blur.", visible=False
        )
        strength = gr.Slider(
            0,
            1,
            value=1,
            step=0.05,
            label="Deblur strength",
            info="0 leaves the blur as it is.",
        )
        saturation = gr.Slider(
            0, 1.5, value=1, step=0.05, label="Saturation", info="0 is grey, 1 as it comes."
        )
        blur_faces = gr.Checkbox(
            settings.blur_faces,
            label="Blur faces",
            info="For good, in the download and on this page. Some faces are missed: look.",
        )
        remove_metadata = gr.Checkbox(
            True,
            label="Remove metadata",
            info="No camera, date or author in the download. The place is always removed.",
        )
        visible_mark = gr.Checkbox(
            False,
            label="Mark as colourised",
            info="Writes “colourised” into the corner. The metadata says so anyway.",
            visible=False,
        )
        delete_after = gr.Checkbox(
            True,
            label="Delete after download",
            info="Upload and result are deleted as soon as the result is downloaded.",
        )
    return _Options(
        mode,
        auto_detect,
        model,
        strength,
        saturation,
        blur_faces,
        remove_metadata,
        visible_mark,
        delete_after,
    )


def _offer_to_programs(actions: PageActions, settings: AppSettings) -> None:
    """The interface for programs; first, because the first to have a name keeps it."""
    api = {"concurrency_id": "work", "concurrency_limit": settings.concurrency}
    gr.api(actions.restore_file, api_name="restore", **api)
    gr.api(actions.list_models, api_name="models", queue=False)


def _connect(
    page: gr.Blocks,
    actions: PageActions,
    settings: AppSettings,
    begin: _Begin,
    compare: _Compare,
    options: _Options,
) -> None:
    """Say what happens when."""
    files, state = begin.files, begin.state
    picker, viewer, downloads = compare.picker, compare.viewer, compare.downloads
    controls = options.controls
    shown = [state, picker, viewer, downloads, compare.details]
    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    slow = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_id": "work",
        "concurrency_limit": settings.concurrency,
    }
    offered = [options.mode, options.auto_detect, options.model, options.visible_mark, state]
    page.load(actions.offer, None, offered, **quick)
    page.unload(actions.leave)
    for listener in (files.upload, files.delete):
        listener(actions.accept, files, shown, **quick)
    files.clear(actions.clear, None, shown, **quick)
    camera = begin.camera
    camera.input(actions.add, [camera, files], [camera, files, *shown], **quick)
    options.delete_after.change(actions.set_deletion, options.delete_after, None, **quick)
    picker.input(actions.show, picker, shown, **quick)
    begin.cancel.click(actions.cancel, None, state, **quick)
    downloads.downloaded(actions.downloaded, None, [files, *shown], **quick)
    begin.start.click(actions.wait, None, state, **quick).success(
        actions.restore, controls, shown, trigger_mode="once", **slow
    )
    compare.examples.chosen(actions.choose_example, None, [files, *shown], **quick).success(
        actions.restore, controls, shown, **slow
    )
    for control in (options.strength, options.saturation):
        control.change(
            actions.finish_again,
            [picker, viewer, *controls],
            shown,
            trigger_mode="always_last",
            **slow,
        )
    for control in (options.blur_faces, options.remove_metadata, options.visible_mark):
        control.input(actions.withdraw, None, downloads, **quick).then(
            actions.finish_again, [picker, viewer, *controls], shown, **slow
        )
    for control in (options.mode, options.auto_detect, options.model):
        control.input(actions.remind, None, state, **quick)


def _examples() -> gr.HTML:
    """The gallery of examples: one click restores one."""
    entries = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    buttons = "".join(
        f'<button type="button" class="rf-example" data-example="{html.escape(entry["file"])}">'
        f'<img src="examples/{html.escape(entry["file"])}" alt="" loading="lazy">'
        f"<span>{html.escape(entry['title'])}</span><small>{html.escape(entry['credit'])}</small>"
        "</button>"
        for entry in entries
    )
    return gr.HTML(
        f'<h2>Examples</h2><div class="rf-examples">{buttons}</div>',
        js_on_load=_read("examples.js"),
        apply_default_css=False,
        elem_id="examples",
    )


def _privacy(keep: str, *, relayed: bool) -> str:
    relay = " Between you and it everything passes through a relay of Gradio's." if relayed else ""
    return (
        "<h2>What is kept</h2><p>Photos and results lie in a private temporary folder on the "
        "computer that serves this page, and nowhere else. They are deleted after the download if "
        f"“Delete after download” is on, {keep} after your last action at the latest, and when the "
        "page is shut down. Nothing is logged that identifies a photo, and this page asks no other "
        f"host for anything.{relay}</p>"
    )


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
