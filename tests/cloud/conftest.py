"""Real parts in other processes, for every test of the cloud."""

import pytest
from object_store import proxy, s3_server, store  # noqa: F401
from other_stores import azure_server, azure_store, google_server, google_store  # noqa: F401
from stand_in_models import export_restorer

from keras_refocus.cloud import retries
from keras_refocus.restoration import pipeline


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Waits between attempts are short in tests."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.02)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of models whose restorer halves the luminance."""
    folder = tmp_path_factory.mktemp("models")
    export_restorer(folder / "restorer" / "1", gain=0.5)
    return folder


@pytest.fixture(scope="session")
def restorer(models):
    with pipeline.Restorer(models) as opened:
        yield opened
