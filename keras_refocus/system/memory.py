"""Whether freed memory stays with the process."""

import ctypes

# Options of mallopt(3); in Python they have no names.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
_LARGE = 2**25  # bytes; the highest threshold that glibc takes


def keep_memory(*, large: bool = True) -> None:
    """Let this process keep the memory that it frees, for what it asks for next.

    A step of a training, or a tile of a picture, frees and asks for up to gigabytes. glibc returns
    large blocks to the system each time, which has to clear them again; on virtual machines that
    can take as long as the calculation. Call it before the threads that calculate are started, and
    `release_memory` where the process then waits for long. Other C libraries have no such options:
    nothing happens.

    Args:
        large: Whether blocks of 32 MiB and more are kept too. That is faster by a little, and the
            gaps that they leave between them add a sixth to the peak.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    if large:
        mallopt(_M_MMAP_MAX, 0)
    else:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
    mallopt(_M_TRIM_THRESHOLD, -1)
    # Blocks of one thread would not be reused by another.
    mallopt(_M_ARENA_MAX, 1)


def release_memory() -> None:
    """Give the system what `keep_memory` kept and nothing uses now."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)
