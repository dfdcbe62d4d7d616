"""What goes wrong, in words for visitors.

Errors of the libraries below are sentences for whoever runs a command, in English: those that
people meet on the page are known here by their beginnings, and said in the visitor's language.
"""

import logging
import re
import traceback
from pathlib import Path

import gradio as gr

from keras_refocus.page.jobs import QueueFull, TimeLimit
from keras_refocus.page.words import LANGUAGES, Words

logger = logging.getLogger(__name__)

# How the sentences of the libraries begin, and the names of ours; what is in groups is filled in.
_KNOWN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (r"The picture must be whole\b", "is_damaged"),
        (r"The picture must have a size\b", "is_damaged"),
        (r"The picture must fit into the memory\b", "no_memory"),
        (r"The picture must be at most (?P<most>[\d,]+) pixels wide and high", "too_long_sides"),
        (r"The (picture|file) must be of a kind that is read\b", "not_supported"),
        (r"(A|The) TIFF file must|The (first page|compression|strips)|YCbCr", "not_supported"),
        (r"The model must be one of those in .*model='(?P<model>[^']*)'", "no_such_model"),
        (r"cannot reach TF Serving at (?P<address>\S+);", "no_server"),
        (r"TF Serving at (?P<address>\S+) (stayed|did not)", "slow_server"),
        (r"TF Serving at (?P<address>\S+) (cannot|failed)", "failed_server"),
        (r"The region must lie in the picture", "region_outside"),
        (r"Blurring faces needs", "no_face_detector"),
        (r"A (?P<format>\w+) picture must be at most (?P<most>\d+) pixels", "format_too_small"),
    )
)

# Of these, those that a visitor is told in our words in English too.
_PLAIN = {"is_damaged", "no_memory", "region_outside"}


def say(error: Exception, words: Words | None = None) -> str:
    """Put an error into words for the page; what nobody foresaw is logged, without names."""
    words = words or Words()
    if isinstance(error, gr.Error):
        return str(error.message)
    if isinstance(error, TimeLimit):
        return words.say("too_long", limit=words.duration(error.seconds))
    if isinstance(error, QueueFull):
        return words.say("full", count=error.count)
    if isinstance(error, FileNotFoundError) and error.errno is not None:
        return words.say("gone")
    if isinstance(error, OSError) and error.strerror:  # The rest of it names a file.
        return words.say("unreadable", reason=error.strerror)
    if isinstance(error, ValueError | OSError | ImportError) and str(error):
        return translated(str(error), words)
    if isinstance(error, MemoryError):
        return words.say("no_memory")
    # Its message might name a picture; the places in the code do not.
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    logger.error("unexpected %s at %s", type(error).__name__, places)
    return words.say("unforeseen", kind=type(error).__name__)


def translated(message: str, words: Words) -> str:
    """Say a sentence of the libraries in words for visitors, as far as it is known here."""
    english = words.language == LANGUAGES[0]
    for pattern, name in _KNOWN:
        found = pattern.match(message)
        # In English the sentence itself serves where it tells whoever runs the page what to do.
        if found is not None and not (english and name not in _PLAIN):
            return words.say(name, **found.groupdict())
    return message if english else words.say("said_in_english", message=message)
