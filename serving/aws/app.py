"""What the container image of the function runs: all of it is in keras_refocus.cloud.events."""

import logging

from keras_refocus.cloud import events

# Lambda has a handler for the root logger already; ours only says how much.
logging.getLogger("keras_refocus").setLevel(logging.INFO)

handler = events.start()
