"""Which failures of a store are temporary, how long to wait, and messages that hold no secret.

Every store has errors of its own. What they have in common is looked for: the status of HTTP, and
kinds of broken connections, also in what an error was raised from.
"""

import errno
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How often something is tried, the first time included.
ATTEMPTS = 5
#: Seconds before the second attempt, at most; doubled for each further one.
FIRST_WAIT = 0.5
#: Seconds between two attempts, at most.
LONGEST_WAIT = 30.0

# Request timeout, too early, too many requests, and faults of the server that pass.
_TEMPORARY_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))

# By the names of the libraries' classes: importing those to compare would load every store.
_TEMPORARY_NAMES = frozenset(
    "ClientConnectionError ClientConnectorError ClientOSError ClientPayloadError "
    "ServerDisconnectedError ServerTimeoutError ContentLengthError IncompleteRead "
    "IncompleteReadError ResponseStreamingError ConnectTimeoutError ReadTimeoutError "
    "EndpointConnectionError ConnectionClosedError ConnectTimeout ReadTimeout ChunkedEncodingError "
    "FSTimeoutError ServiceRequestError ServiceResponseError HTTPClientError RequestTimeout "
    "SlowDown ProtocolError".split()
)
_TEMPORARY_ERRNO = frozenset(
    (
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
    )
)

# What is secret in this process; the names of variables say so, whoever reads them.
_SECRET_VARIABLE = re.compile(r"(SECRET|TOKEN|PASSWORD|_KEY$|SAS|CONNECTION_STRING)")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s'\"<>?#]+)[?#][^\s'\"<>)]*", re.IGNORECASE)
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s'\"<>/@]+@", re.IGNORECASE)


def redact(text: str) -> str:
    """Take out of a text what may be secret: queries and users of addresses, values of variables.

    Signed addresses carry their signature in the query, and libraries put whole addresses into
    their messages.
    """
    text = _USER.sub(r"\1", _QUERY.sub(r"\1?...", text))
    for name, value in os.environ.items():
        # Short values are no secrets, and would tear holes into every sentence.
        if len(value) >= 8 and _SECRET_VARIABLE.search(name.upper()):
            text = text.replace(value, "...")
    return text


def say(error: BaseException) -> str:
    """One line for people about an error: what was said or its type, and no secret."""
    message = redact(" ".join(str(error).split()))
    if isinstance(error, OSError | ValueError | TypeError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def status_of(error: BaseException) -> int | None:
    """The status of HTTP that an error of a store tells, `None` if it tells none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for holder, names in ((error, ("status", "status_code", "code")), (response, ("status_code",))):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
                return value
            if isinstance(value, str) and value.isdecimal() and len(value) == 3:  # gcsfs
                return int(value)
    return None


def is_temporary(error: BaseException) -> bool:
    """Tell whether trying again may help."""
    for cause in _causes(error):
        if isinstance(cause, FileNotFoundError | PermissionError | FileExistsError):
            return False
        status = status_of(cause)
        if status is not None:
            return status in _TEMPORARY_STATUS
        if isinstance(cause, ConnectionError | TimeoutError):
            return True
        if isinstance(cause, OSError) and cause.errno in _TEMPORARY_ERRNO:
            return True
        if any(kind.__name__ in _TEMPORARY_NAMES for kind in type(cause).__mro__):
            return True
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def retrying(
    work: Callable[[], T],
    what: str,
    *,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Do something that may fail for a while.

    Args:
        work: Called until it returns, or fails for good.
        what: What it is, for the log, without secrets.
        attempts: How often it is tried at most.
        sleep: Waits for some seconds.

    Returns:
        What `work` returned.

    Raises:
        Exception: The last failure of `work`, or the first that is not temporary.
    """
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except Exception as error:
            if attempt == attempts or not is_temporary(error):
                raise
            # Full jitter: many that failed together do not come back together. Amazon, "Exponential
            # backoff and jitter", 2015.
            seconds = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)))
            logger.info("%s: %s; once more in %.1f s", what, say(error), seconds)
            sleep(seconds)
    raise AssertionError("the last attempt returns or raises")
