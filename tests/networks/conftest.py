"""Networks are tested as they are called: a trace of each would take most of the time."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _eagerly(request):
    """No graphs, but in slow tests, which take many steps."""
    if keras.backend.backend() != "tensorflow" or request.node.get_closest_marker("slow"):
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
