"""The web page: upload a photo, restore it, compare, download."""

import logging
import secrets
from pathlib import Path

import gradio as gr
import numpy as np

from keras_refocus import color, images, pipeline

logger = logging.getLogger(__name__)


def build_app(restorer: pipeline.Restorer, *, folder: Path) -> gr.Blocks:
    """Build the page.

    Args:
        restorer: What restores the photos.
        folder: Private folder for the results.

    Returns:
        The page, not yet launched.
    """

    def restore(upload: str | None, strength: float, progress=gr.Progress()):  # noqa: B008
        if upload is None:
            raise gr.Error("Choose a photo first.", print_exception=False)
        try:
            # From its content: messages then say nothing about where the file lies.
            photo = images.read(Path(upload).read_bytes())
            result = restorer.restore(
                photo,
                pipeline.RestoreOptions(strength=strength),
                progress=lambda done, total: progress((done, total), unit="steps"),
            )
            suffix = images.FORMATS.get(photo.format, ".png")
            target = folder / secrets.token_urlsafe(16)
            target.mkdir()
            target /= f"{Path(upload).stem}_restored{suffix}"
            result.save(target)
        except (OSError, ValueError, ImportError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        before, after = (_for_screen(picture) for picture in (photo.rgb, result.image))
        return (before, after), str(target)

    with gr.Blocks(title="keras_refocus", analytics_enabled=False) as page:
        gr.Markdown("# keras_refocus\nRemoves motion blur from photos, on this computer.")
        with gr.Row():
            with gr.Column(scale=1):
                upload = gr.File(
                    label="Photo", file_types=["image", *sorted(images.SUFFIXES)], type="filepath"
                )
                strength = gr.Slider(0, 1, value=1, step=0.05, label="Deblur strength")
                start = gr.Button("Restore", variant="primary")
            with gr.Column(scale=2):
                compare = gr.ImageSlider(
                    label="Before and after", format="png", type="numpy", interactive=False
                )
                download = gr.DownloadButton("Download")
        start.click(restore, [upload, strength], [compare, download], api_name="restore")
    return page


def _for_screen(rgb: np.ndarray) -> np.ndarray:
    """8 bits for the browser."""
    return rgb if rgb.dtype == np.uint8 else color.from_float(color.to_float(rgb), np.uint8)


def theme() -> gr.themes.Base:
    """A theme of the system's own fonts: the page asks no other host for anything."""
    return gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
