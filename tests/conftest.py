"""Settings for every test. Nothing here may import TensorFlow: collection has to stay quick."""

import os

# Only errors: TensorFlow's start-up notices would drown the test report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
