"""Which failures pass, how long is waited, and what no message may hold."""

import pytest

from keras_refocus.cloud import retries


class Answered(Exception):
    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class ClientPayloadError(Exception):
    """Named as that of aiohttp."""


def caused(cause):
    error = OSError(5, "Input/output error")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (Answered(503), True),
        (Answered(429), True),
        (Answered(403), False),
        (caused(Answered(500)), True),
        (caused(Answered(400)), False),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (ClientPayloadError(), True),
        (FileNotFoundError("gone"), False),
        (PermissionError("no"), False),
        (ValueError("not a picture"), False),
    ],
)
def test_what_passes_is_told_from_what_stays(error, temporary):
    assert retries.is_temporary(error) is temporary


def test_botocore_and_gcsfs_say_the_status_in_their_own_ways():
    error = Exception()
    error.response = {"ResponseMetadata": {"HTTPStatusCode": 503}}
    assert retries.status_of(error) == 503
    error = Exception()
    error.code = "404"
    assert retries.status_of(error) == 404


def test_waits_double_up_to_a_limit_and_end_with_the_last_failure(monkeypatch):
    monkeypatch.setattr(retries.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(retries, "FIRST_WAIT", 10)
    waits = []

    def work():
        raise Answered(500)

    with pytest.raises(Answered):
        retries.retrying(work, "asking", attempts=5, sleep=waits.append)
    assert waits == [10, 20, 30, 30]


def test_a_lasting_failure_is_not_tried_again():
    asked = []

    def work():
        asked.append(1)
        raise Answered(404)

    with pytest.raises(Answered):
        retries.retrying(work, "asking", sleep=pytest.fail)
    assert len(asked) == 1


def test_messages_hold_neither_signatures_nor_users_nor_values_of_secrets(monkeypatch):
    monkeypatch.setenv("SOME_SECRET_KEY", "hunter2hunter2")
    text = (
        "404, url='https://me:pass@host/a.jpg?X-Amz-Signature=abc&x=1' after hunter2hunter2, "
        "see https://host/page"
    )
    said = retries.redact(text)
    for secret in ("abc", "pass", "me:", "hunter2"):
        assert secret not in said
    assert "https://host/a.jpg?..." in said and said.endswith("see https://host/page")
