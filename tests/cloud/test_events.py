"""The function of AWS Lambda on events of a real queue and bucket, good ones and bad ones."""

import json

import boto3
import numpy as np
import pytest
from object_store import SECRET
from PIL import Image
from tiny_pictures import encoded, scene

from keras_refocus.cloud import events, restoring
from keras_refocus.pictures import cleaning, images


class Context:
    """What Lambda tells of an invocation."""

    function_name, memory_limit_in_mb, aws_request_id = "restore", 3008, "1"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:restore"

    def __init__(self, seconds=60.0):
        self.seconds = seconds

    def get_remaining_time_in_millis(self):
        return round(self.seconds * 1000)


def s3_event(store, *keys, name="ObjectCreated:Put"):
    """As S3 sends it; keys are encoded as in a form."""
    from urllib.parse import quote_plus

    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventName": name,
                "s3": {
                    "bucket": {"name": store.bucket, "arn": f"arn:aws:s3:::{store.bucket}"},
                    "object": {"key": quote_plus(key, safe="/"), "size": 1, "eTag": "0"},
                },
            }
            for key in keys
        ]
    }


def bridge_event(store, key):
    """As EventBridge sends it; keys are as they are."""
    return {
        "version": "0",
        "id": "1",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-29T12:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{store.bucket}"],
        "detail": {"bucket": {"name": store.bucket}, "object": {"key": key, "size": 1}},
    }


def sqs_event(*bodies):
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": "handle",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:pictures",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


class Function:
    """A handler and its buckets."""

    def __init__(self, store, stage, restorer=None, **options):
        self.source, self.target, self.rejected = store, store.new(), store.new()
        self.configuration = events.Configuration(
            stage=stage,
            source=self.source.url,
            target=self.target.url,
            rejected=self.rejected.url,
            **options,
        )
        self.handler = events.Handler(self.configuration, restorer)

    def __call__(self, event, seconds=60.0):
        return self.handler(event, Context(seconds))

    def put(self, key, seed=1, **size):
        self.source.put(key, encoded(scene(seed, **size)))


@pytest.fixture
def prepare(store):
    return Function(store, "prepare", copying=cleaning.Copying(format="JPEG", size=24))


@pytest.fixture
def restore(store, restorer):
    return Function(store, "restore", restorer)


def statuses(told):
    return [picture["status"] for picture in told["pictures"]]


def test_prepare_writes_what_curate_would(prepare, tmp_path):
    turned = Image.fromarray(scene(1))
    exif = Image.Exif()
    exif[274] = 6
    turned.save(tmp_path / "a.png", exif=exif)
    prepare.source.put("trip/a b+ü.png", (tmp_path / "a.png").read_bytes())
    assert statuses(prepare(s3_event(prepare.source, "trip/a b+ü.png"))) == ["done"]
    assert prepare.target.keys() == ["trip/a b+ü.jpg"]
    (tmp_path / "b.jpg").write_bytes(prepare.target.get("trip/a b+ü.jpg"))
    expected = cleaning.clean(images.read(tmp_path / "a.png"), prepare.configuration.copying)
    assert expected.shape == (32, 24, 3)
    written = images.read(tmp_path / "b.jpg")
    assert np.abs(written.rgb.astype(int) - expected).mean() < 6


def test_restore_writes_the_restored_picture(restore, restorer, tmp_path):
    restore.put("a+%20.png", height=12, width=10)
    assert statuses(restore(bridge_event(restore.source, "a+%20.png"))) == ["done"]
    (tmp_path / "a.png").write_bytes(restore.target.get("a+%20.png"))
    expected = restorer.restore(scene(1, height=12, width=10)).image
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected)


def test_the_same_event_twice_gives_one_result_and_a_new_picture_another(restore):
    restore.put("a.png")
    event = s3_event(restore.source, "a.png")
    assert statuses(restore(event)) == ["done"]
    first = restore.target.head("a.png")["LastModified"], restore.target.get("a.png")
    assert statuses(restore(event)) == ["skipped"]
    assert (restore.target.head("a.png")["LastModified"], restore.target.get("a.png")) == first
    restore.put("a.png", seed=2)
    assert statuses(restore(event)) == ["done"]
    assert restore.target.get("a.png") != first[1]


def test_poison_ends_in_rejected_with_its_reason_once(restore):
    restore.source.put("page.jpg", b"<!DOCTYPE html><html></html>")
    restore.put("good.png")
    event = s3_event(restore.source, "page.jpg", "good.png")
    assert statuses(restore(event)) == ["rejected", "done"]
    assert restore.rejected.keys() == ["page.jpg", "page.jpg.reason.txt"]
    assert restore.rejected.get("page.jpg").startswith(b"<!DOCTYPE")
    reason = restore.rejected.get("page.jpg.reason.txt").decode()
    assert reason.count("\n") == 1 and "whatever its name says" in reason
    assert statuses(restore(event)) == ["skipped", "skipped"]


@pytest.mark.parametrize(
    ("options", "key", "size", "reason"),
    [
        ({"min_size": 64}, "small.png", {}, "too small: 80x60"),
        ({"max_pixels": 1000}, "large.png", {}, "megapixels; at most"),
        ({"timeout": 10.0, "seconds_per_megapixel": 9000.0}, "slow.png", {}, "function has 10 s"),
    ],
)
def test_what_may_not_be_used_is_rejected(store, options, key, size, reason):
    function = Function(store, "prepare", **options)
    function.put(key, **size)
    (told,) = function(s3_event(store, key))["pictures"]
    assert told["status"] == "rejected" and reason in told["reason"]


def test_gray_pictures_are_rejected_where_colour_is_needed(store):
    function = Function(store, "prepare", drop_gray=True)
    store.put("gray.png", encoded(np.full((20, 20, 3), 99, np.uint8)))
    (told,) = function(s3_event(store, "gray.png"))["pictures"]
    assert (told["status"], told["reason"]) == ("rejected", "gray")


def test_keys_that_would_lead_elsewhere_are_rejected_under_a_safe_name(restore, monkeypatch):
    key = "a/..\\..\\b.png"
    restore.put(key)
    assert statuses(restore(s3_event(restore.source, key))) == ["rejected"]
    assert restore.rejected.keys() == ["a/.._.._b.png.reason.txt"]
    assert restore.target.keys() == []


def test_what_is_gone_or_no_news_is_passed_by(restore):
    assert statuses(restore(s3_event(restore.source, "gone.png", "folder/"))) == ["passed by"] * 2
    assert restore(s3_event(restore.source, "a.png", name="ObjectRemoved:Delete")) == {
        "pictures": []
    }
    assert restore({"Service": "Amazon S3", "Event": "s3:TestEvent"}) == {"pictures": []}
    with pytest.raises(ValueError, match="must be one of S3"):
        restore({"hello": "world"})


def test_other_buckets_are_passed_by(restore):
    assert statuses(restore(s3_event(restore.target, "a.png"))) == ["passed by"]


def test_a_missing_partner_is_noted_until_it_comes(store):
    function = Function(store, "prepare", pairs=True)
    function.put("train/blur/1.png")
    function(s3_event(store, "train/blur/1.png"))
    note = "missing-partner/train/blur/1.png.txt"
    assert function.rejected.keys() == [note]
    assert b"no sharp picture" in function.rejected.get(note)
    function.put("train/sharp/1.jpg")
    function(s3_event(store, "train/sharp/1.jpg"))
    assert function.rejected.keys() == []
    assert function.target.keys() == ["train/blur/1.png", "train/sharp/1.png"]


def test_time_that_is_too_short_hands_the_message_back(restore):
    restore.put("small.png", height=12, width=10)
    restore.put("large.png", height=500, width=1000)
    event = sqs_event(s3_event(restore.source, "large.png"), s3_event(restore.source, "small.png"))
    assert restore(event, seconds=4) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert restore.target.keys() == ["small.png"] and restore.rejected.keys() == []
    assert restore(event, seconds=60) == {"batchItemFailures": []}
    assert restore.target.keys() == ["large.png", "small.png"]


def test_pictures_that_arrive_go_through_queue_and_function(restore, caplog):
    sqs = boto3.client("sqs", endpoint_url=restore.source.address)
    url = sqs.create_queue(QueueName=f"q-{restore.source.bucket}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    restore.source.client.put_bucket_notification_configuration(
        Bucket=restore.source.bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    restore.put("in/a b.png")
    restore.source.put("in/page.png", b"<html>")
    bodies = []
    while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in received:
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert len(bodies) == 3 and any("TestEvent" in body for body in bodies)
    with caplog.at_level("DEBUG", "keras_refocus"):
        assert restore(sqs_event(*bodies, "no json")) == {
            "batchItemFailures": [{"itemIdentifier": "3"}]
        }
    assert restore.target.keys() == ["in/a b.png"]
    assert restore.rejected.keys() == ["in/page.png", "in/page.png.reason.txt"]
    assert SECRET not in caplog.text


def test_a_store_that_fails_hands_back_only_its_message(store, proxy, restorer):
    function = Function(store, "restore", restorer)
    function.put("a.png")
    function.put("b.png")
    proxy.fail("GET", "/a.png", times=99, status=503)
    event = sqs_event(s3_event(store, "a.png"), s3_event(store, "b.png"))
    assert function(event) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    with pytest.raises(OSError, match=r"a\.png"):
        function(s3_event(store, "a.png", "b.png"))
    assert function.target.keys() == ["b.png"] and function.rejected.keys() == []


# The start.

VARIABLES = {
    "REFOCUS_STAGE": "restore",
    "REFOCUS_SOURCE": "s3://in/photos",
    "REFOCUS_TARGET": "s3://out",
    "REFOCUS_REJECTED": "s3://rejected",
}


@pytest.mark.parametrize(
    "change",
    [
        {"REFOCUS_TARGET": "s3://in"},
        {"REFOCUS_TARGET": "s3://in/photos/restored"},
        {"REFOCUS_REJECTED": "s3://in/photos/"},
    ],
)
def test_an_output_that_would_trigger_its_own_function_is_refused(change):
    with pytest.raises(ValueError, match="trigger the function again"):
        events.start({**VARIABLES, **change})


def test_outputs_beside_the_source_are_allowed():
    beside = {"REFOCUS_TARGET": "s3://in/photos2", "REFOCUS_REJECTED": "s3://in/rejected"}
    events.Configuration.from_environment({**VARIABLES, **beside})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"REFOCUS_STAGE": ""}, "needs REFOCUS_STAGE"),
        ({"REFOCUS_STAGE": "paint"}, "prepare, restore"),
        ({"REFOCUS_SIZE": "large"}, "REFOCUS_SIZE must be"),
        ({"REFOCUS_FORMAT": "gif"}, "REFOCUS_FORMAT must be"),
        ({"REFOCUS_PAIRS": "perhaps"}, "REFOCUS_PAIRS"),
        ({"REFOCUS_REJECTED": "s3://out/x"}, "among the results"),
    ],
)
def test_mistakes_in_variables_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        events.Configuration.from_environment({**VARIABLES, **change})


def test_variables_choose_format_size_and_mode():
    found = events.Configuration.from_environment(
        {**VARIABLES, "REFOCUS_FORMAT": ".jpg", "REFOCUS_SIZE": "512", "REFOCUS_STRENGTH": "0.5"}
    )
    assert found.copying == cleaning.Copying(format="JPEG", size=512)
    assert found.settings.options.strength == 0.5
    assert isinstance(found.settings, restoring.Settings)


def test_start_loads_the_models_before_the_first_event(models, store, monkeypatch):
    monkeypatch.setenv("REFOCUS_MODELS", str(models))
    handler = events.start({**VARIABLES, "REFOCUS_SOURCE": store.url})
    store.put("a.png", encoded(scene(1)))
    store.client.create_bucket(Bucket="out")
    store.client.create_bucket(Bucket="rejected")
    assert statuses(handler(s3_event(store, "a.png"), Context())) == ["done"]
