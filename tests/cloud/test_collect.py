"""Collecting against a server on this machine that answers as documented, and badly."""

import json
import logging

import pytest
from photo_server import PhotoServer
from tiny_pictures import encoded, scene

from keras_refocus.cloud import collect


@pytest.fixture
def server():
    found = PhotoServer()
    yield found
    found.close()


class Clock:
    """Time that passes only when it is waited for, and what happens then."""

    def __init__(self, server=None):
        self.now, self.waited, self.server = 0.0, 0.0, server

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.waited += seconds
        if self.server is not None and self.waited >= 3600:
            self.server.remaining, self.waited = self.server.limit, 0.0


def unsplash(server, out, count, clock=None, key=None, **options):
    clock = clock or Clock(server)
    return collect.collect_unsplash(
        "street",
        count=count,
        out=out,
        key=server.key if key is None else key,
        api=server.url,
        limit=collect.Limit(clock=clock, sleep=clock.sleep),
        **options,
    )


def manifest(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_photos_come_with_photographer_links_and_licence(server, tmp_path):
    summary = unsplash(server, tmp_path, 33)
    assert (summary.collected, summary.there, summary.failed) == (33, 0, [])
    assert len(list(tmp_path.glob("*.jpg"))) == 33
    assert [path for path in server.asked if "/search/" in path] == [
        "/search/photos?query=street&page=1&per_page=30",
        "/search/photos?query=street&page=2&per_page=30",
    ]
    # As the guidelines want it, once for each photo that is taken.
    assert len(server.asked_for("/download?ixid=abc")) == 33
    line = manifest(tmp_path)[3]
    assert line["id"] == "id_003" and line["file"] == "id_003.jpg" and line["height"] == 60
    assert line["photographer"] == "Photographer 3"
    assert line["photographer_page"] == "https://unsplash.com/@p3"
    assert line["page"] == "https://unsplash.com/photos/id_003"
    assert line["licence"] == collect.UNSPLASH_LICENCE
    assert server.key not in (tmp_path / "manifest.jsonl").read_text()


def test_a_collection_goes_on_and_fetches_nothing_twice(server, tmp_path):
    unsplash(server, tmp_path, 4)
    (tmp_path / "id_001.jpg").unlink()
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write('{"id": "id_004", "fi')
    server.asked.clear()
    summary = unsplash(server, tmp_path, 6)
    assert (summary.collected, summary.there) == (3, 3)
    assert sorted(path.split("?")[0] for path in server.asked_for("/picture/")) == [
        "/picture/1",
        "/picture/4",
        "/picture/5",
    ]
    assert len(list(tmp_path.glob("*.jpg"))) == 6
    json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[-1])


def test_a_search_that_ends_early_is_no_failure(tmp_path):
    server = PhotoServer(photos=2)
    assert unsplash(server, tmp_path, 50).collected == 2
    server.close()


def test_the_limit_of_the_headers_is_kept_and_time_left_is_told(server, tmp_path):
    server.limit = server.remaining = 5
    told = []
    clock = Clock(server)
    unsplash(server, tmp_path, 6, clock, tell=lambda p: told.append((p.waits, p.left, p.done)))
    # Seven requests: five, an hour, two; none was refused.
    assert 3600 <= clock.now < 3700 and server.remaining == 3
    waits = [entry for entry in told if entry[0]]
    assert waits[0][0] > 3600 and waits[-1][0] <= 1 and waits[0][2] < 6
    assert all(left >= waiting for waiting, left, _ in waits)
    assert told[-1] == (0.0, 0.0, 6)


def test_fifty_an_hour_are_assumed_until_told_otherwise():
    clock = Clock()
    limit = collect.Limit(clock=clock, sleep=clock.sleep)
    for _ in range(50):
        limit.wait()
    assert clock.now == 0
    limit.wait()
    assert clock.now >= 3600
    assert limit.seconds_for(49) == 0 and limit.seconds_for(50 + 49) > 3600


def test_403_at_the_limit_waits_for_the_next_hour(server, tmp_path):
    server.limit, server.remaining = 100, 0
    clock = Clock(server)
    summary = unsplash(server, tmp_path, 2, clock)
    assert summary.collected == 2 and clock.now >= 3600


def test_429_waits_and_5xx_is_asked_again(server, tmp_path):
    server.failures["/search/photos"] = [429, 500, 503]
    clock = Clock(server)
    assert unsplash(server, tmp_path, 1, clock).collected == 1
    assert clock.now >= 3600


def test_a_cut_connection_is_fetched_again(server, tmp_path):
    server.failures["/picture/0"] = ["cut", 502, "cut"]
    assert unsplash(server, tmp_path, 1).collected == 1
    assert len(server.asked_for("/picture/0")) == 4


def test_html_for_a_picture_is_named_and_the_next_one_taken(server, tmp_path):
    server.failures["/picture/0"] = [b"<!DOCTYPE html><html>sign in</html>"]
    server.failures["/picture/1"] = [404]
    summary = unsplash(server, tmp_path, 2)
    assert summary.collected == 2
    assert [name for name, _ in summary.failed] == ["id_000", "id_001"]
    assert "none of these" in summary.failed[0][1] and "404" in summary.failed[1][1]
    assert not (tmp_path / "id_000.jpg").exists()
    assert not server.asked_for("/photos/id_000/download"), "it was not taken"


def test_a_wrong_or_missing_key_is_said_without_showing_it(server, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(PermissionError, match="UNSPLASH_ACCESS_KEY") as raised:
            unsplash(server, tmp_path, 1, key="a-wrong-secret-key")
    assert "a-wrong-secret-key" not in str(raised.value) + caplog.text
    with pytest.raises(ValueError, match="needs the access key"):
        unsplash(server, tmp_path, 1, key="")


# The data set.

HEADER = (
    "photo_id\tphoto_url\tphoto_image_url\tphotographer_username\tphotographer_first_name\t"
    "photographer_last_name\tphoto_description\tai_description\n"
)


def test_photos_of_the_data_set(server, tmp_path):
    table = tmp_path / "photos.tsv000"
    rows = [
        f'p{n}\thttps://unsplash.com/photos/p{n}\t{server.url}/picture/{n}\tanna\tAnna\tB "C\t\tx\n'
        for n in range(3)
    ]
    table.write_text(HEADER + "".join(rows), encoding="utf-8")
    out = tmp_path / "out"
    assert collect.collect_lite(table, count=2, width=640, out=out).collected == 2
    assert server.asked == [f"/picture/{n}?w=640&fm=jpg&q=90&fit=max" for n in range(2)]
    line = manifest(out)[0]
    assert line["photographer"] == 'Anna B "C' and line["licence"] == collect.LITE_LICENCE
    assert line["photographer_page"] == "https://unsplash.com/@anna"
    assert collect.collect_lite(table, out=out).there == 2


def test_another_table_is_refused(tmp_path):
    (tmp_path / "keywords.tsv000").write_text("photo_id\tkeyword\n1\tdog\n")
    with pytest.raises(ValueError, match=r"photos\.tsv000"):
        collect.collect_lite(tmp_path / "keywords.tsv000", out=tmp_path)


# Lists.


def test_a_list_of_addresses_with_licences_and_copies(server, tmp_path):
    (tmp_path / "list.txt").write_text(
        f"# mine\n{server.url}/picture/1?token=abcdefgh\n\n{server.url}/picture/2\tCC BY 4.0\n"
        f"{server.url}/picture/1?other\n"
    )
    out = tmp_path / "out"
    summary = collect.collect_urls(tmp_path / "list.txt", licence="own", out=out)
    assert (summary.collected, summary.there) == (2, 1)
    lines = manifest(out)
    assert [line["licence"] for line in lines] == ["own", "CC BY 4.0", "own"]
    assert lines[2]["copy_of"] == lines[0]["sha256"] and len(list(out.glob("*.jpg"))) == 2
    assert "abcdefgh" not in (out / "manifest.jsonl").read_text()
    server.asked.clear()
    assert collect.collect_urls(tmp_path / "list.txt", out=out).collected == 0
    assert server.asked == []


def test_a_line_that_is_no_address_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("https://host/a.jpg\nfile:///etc/passwd\n")
    with pytest.raises(ValueError, match="line 2"):
        collect.collect_urls(tmp_path / "list.txt", out=tmp_path)


def test_a_collection_may_lie_in_a_bucket(server, store, tmp_path):
    (tmp_path / "list.txt").write_text(f"{server.url}/picture/1\n{server.url}/picture/2\n")
    for collected in (2, 0):
        summary = collect.collect_urls(tmp_path / "list.txt", out=f"{store.url}/photos")
        assert summary.collected == collected
    assert len(store.keys("photos/")) == 3
    assert len(store.get("photos/manifest.jsonl").splitlines()) == 2
    assert store.get([key for key in store.keys() if key.endswith("jpg")][0]) in (
        encoded(scene(1), "JPEG"),
        encoded(scene(2), "JPEG"),
    )
