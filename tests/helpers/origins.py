"""What `refocus import` writes beside a model, for models that were not imported."""

import json

from keras_refocus.engines import contract, installed

ORIGIN = {
    "family": "dmphn",
    "title": "DMPHN",
    "purpose": "strong motion blur",
    "trained_on": "GoPro",
    "paper": "Zhang 2019",
    "address": "https://example.org",
    "code_licence": "none stated",
    "weights_licence": "none stated",
    "terms": "unstated",
    "accepted": True,
    "settings": {},
    "files": [{"name": "a.pkl", "sha256": "0" * 64}],
}


def write_origin(version, **changes):
    """Let a SavedModel say that its weights were published by others."""
    file = version / contract.NETWORK_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"generator": "multipatch", installed.IMPORTED: ORIGIN | changes})
    file.write_text(text)
