"""What the page says: every sentence in every language, and the language the browser asks for."""

import re
import string
import types

import pytest

from keras_refocus.page import layout, words
from keras_refocus.page.words import Words, chosen_language

TABLES = (words.SENTENCES, words.LABELS, words.SCRIPTS)


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_sentence_is_there_in_every_language_with_the_same_values():
    for table in TABLES:
        for name, texts in table.items():
            assert len(texts) == len(words.LANGUAGES) and all(texts), name
            assert len({frozenset(fields(text)) for text in texts}) == 1, name


@pytest.mark.parametrize(
    "accepted, language",
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr,en;q=0.5,de;q=0.7", "de"),
        ("EN-us", "en"),
        ("fr", "en"),
        ("de;q=0,en", "en"),
        ("de;q=x", "en"),
        ("", "en"),
        (";;,,q=", "en"),
    ],
)
def test_the_browser_chooses_the_language(accepted, language):
    assert chosen_language(accepted) == language
    request = types.SimpleNamespace(headers={"accept-language": accepted})
    assert Words.of(request).language == language


def test_times_and_numbers_are_said():
    assert Words().duration(45) == "45 seconds" and Words("de").duration(600) == "10 Minuten"
    assert Words().count("one_photo", "many_photos", 1) == "1 photo"
    assert Words("xx").say("many_photos", count=3) == "3 photos"


def test_templates_and_scripts_say_nothing_that_the_table_lacks():
    static = layout.EXAMPLES.parent
    for path in static.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"\[\[(\w+)\]\]", text) + re.findall(r'data-\w+="(\w+)"', text)
        assert set(named) <= words.SCRIPTS.keys(), path
    for path in static.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        said = re.findall(r"say\('(\w+)'", text)
        assert set(said) <= words.SCRIPTS.keys(), path


def test_what_is_filled_in_for_the_browser():
    filled = words.for_browser(kept={"en": "an hour", "de": "eine Stunde"})
    assert "an hour after" in filled["en"]["privacy"]
    assert "eine Stunde nach" in filled["de"]["privacy"]
    # What the browser fills in itself is left.
    assert "{name}" in filled["en"]["remove"]
