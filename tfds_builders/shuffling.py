"""How much of a data set is held in memory while it is built."""

import contextlib
from collections.abc import Iterator

from tensorflow_datasets.core import shuffle

# TensorFlow Datasets itself takes 1 GB, which is most of what a build needs then.
_BYTES = 256 << 20


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let TensorFlow Datasets hold fewer examples in memory before it shuffles them in files.

    The order of the examples is that of the hashes of their names, in memory and in files alike.
    There is no option for the bound, so it is another while this lasts, and then what it was.
    """
    before = shuffle.MAX_MEM_BUFFER_SIZE
    shuffle.MAX_MEM_BUFFER_SIZE = min(_BYTES, before)
    try:
        yield
    finally:
        shuffle.MAX_MEM_BUFFER_SIZE = before
