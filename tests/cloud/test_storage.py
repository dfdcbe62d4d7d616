"""Places against a real S3 in another process, folders, the Web; and faults between."""

import functools
import http.server
import json
import threading

import pytest
from object_store import SECRET
from other_stores import SECRETS

from keras_refocus.cloud import storage


def names(place, **options):
    return sorted(found.name for found in place.entries(**options))


# Addresses.


def test_addresses_are_told_from_paths():
    assert storage.is_url("s3://bucket/a") and storage.is_url("HTTPS://host/a.jpg")
    assert not storage.is_url("photos/a.jpg") and not storage.is_url(r"C:\photos")
    with pytest.raises(ValueError, match="must begin with s3://"):
        storage.is_url("ftp://host/a.jpg")


@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/etc/a.png", "", "a\\b.png"])
def test_names_of_objects_cannot_lead_out_of_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match="stay inside"):
        storage.LocalFolder(tmp_path / "in").write(name, b"x")
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_a_bucket_or_with_a_password_is_refused():
    with pytest.raises(ValueError, match="name a bucket"):
        storage.open_place("s3://")
    with pytest.raises(ValueError, match="must not hold a user") as raised:
        storage.open_place("https://me:hunter2hunter2@host/a.jpg")
    assert "hunter2" not in str(raised.value)


# The same for every place.


@pytest.fixture(params=["folder", "memory", "store", "google_store", "azure_store"])
def place(request, tmp_path):
    if request.param == "folder":
        return storage.open_place(tmp_path / "place")
    if request.param == "memory":
        return storage.open_place(f"memory://{tmp_path.name}/place")
    return storage.open_place(request.getfixturevalue(request.param).url + "/place")


def test_what_is_written_can_be_listed_read_and_removed(place):
    place.write("a.png", b"one")
    place.write("in/der/b ü+.png", b"two")
    assert names(place) == ["a.png", "in/der/b ü+.png"]
    assert names(place, recursive=False) == ["a.png"]
    assert place.read("in/der/b ü+.png") == b"two"
    assert place.entry("a.png").size == 3 and place.entry("c.png") is None
    place.delete("a.png")
    place.delete("a.png")
    assert names(place) == ["in/der/b ü+.png"]
    with pytest.raises(FileNotFoundError):
        place.read("a.png")


def test_the_tag_changes_with_the_content(place):
    place.write("a.png", b"one")
    first = place.entry("a.png").tag
    assert first and [found.tag for found in place.entries()] == [first]
    place.write("a.png", b"other")
    assert place.entry("a.png").tag != first


def test_notes_stay_with_results_and_go_with_them(place):
    place.write("a.png", b"one", {"source": "tag", "record": {"name": "ü", "seconds": 1.5}})
    assert place.note("a.png") == {"source": "tag", "record": {"name": "ü", "seconds": 1.5}}
    assert place.note("b.png") is None
    assert names(place) == ["a.png"], "notes are not pictures"
    place.delete("a.png")
    assert place.note("a.png") is None


def test_notes_of_a_folder_survive_a_torn_line_and_other_writers(tmp_path):
    first = storage.LocalFolder(tmp_path)
    first.write("a.png", b"x", {"source": "1"})
    with (tmp_path / ".refocus-notes.jsonl").open("a") as file:
        file.write("damaged\n")
    second = storage.LocalFolder(tmp_path)
    second.write("b.png", b"x", {"source": "2"})
    assert first.note("a.png") == {"source": "1"} and first.note("b.png") == {"source": "2"}
    with (tmp_path / ".refocus-notes.jsonl").open("a") as file:
        file.write('{"name": "a.png", "no')
    assert storage.LocalFolder(tmp_path).note("a.png") == {"source": "1"}


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        storage.LocalFolder(tmp_path).write("a.png", b"x")
    assert list(tmp_path.iterdir()) == []


# S3.


def test_a_listing_is_paged_and_a_page_that_fails_once_is_asked_again(store, proxy):
    for number in range(7):
        store.put(f"in/{number}.png", b"x")
    store.put("in/", b"")
    store.put("other/9.png", b"x")
    fault = proxy.fail("GET", "continuation-token", status=503)
    place = storage.ObjectFolder(store.url + "/in", page=3)
    assert names(place) == [f"{number}.png" for number in range(7)]
    listings = [path for _, path in proxy.requests if "list-type=2" in path]
    assert fault.met == 1 and len(listings) == 4 and all("max-keys=3" in path for path in listings)


def test_a_listing_is_not_taken_further_than_it_is_read(store, proxy):
    for number in range(6):
        store.put(f"{number}.png", b"x")
    entries = storage.ObjectFolder(store.url, page=2).entries()
    assert next(entries).name == "0.png"
    assert sum("list-type=2" in path for _, path in proxy.requests) == 1


def test_cut_and_slow_bodies_are_read_again(store, proxy):
    store.put("a.png", bytes(range(256)) * 100)
    cut = proxy.fail("GET", "/a.png", cut=True)
    slow = proxy.fail("GET", "/a.png", slow=0.2)
    assert storage.ObjectFolder(store.url).read("a.png") == bytes(range(256)) * 100
    assert cut.met == 1 and slow.met == 1


def test_a_body_that_stops_coming_is_given_up(store, proxy, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE", 0.4)
    store.put("a.png", b"x" * 10_000)
    proxy.fail("GET", "/a.png", times=9, slow=3)
    with pytest.raises(storage.TemporaryError, match="tried several times"):
        storage.ObjectFolder(store.url, attempts=2).read("a.png")


def test_what_fails_for_good_is_asked_once_and_names_the_picture(store, proxy):
    place = storage.ObjectFolder(store.url)
    with pytest.raises(FileNotFoundError, match=rf"{store.url}/none.png"):
        place.read("none.png")
    assert len([path for _, path in proxy.requests if "none.png" in path]) == 1
    proxy.fail("PUT", "/a.png", times=9, status=403)
    with pytest.raises(PermissionError, match="check the credentials") as raised:
        place.write("a.png", b"x")
    assert SECRET not in str(raised.value)


def test_a_part_that_fails_is_sent_again_and_a_lost_one_leaves_nothing(store, proxy, monkeypatch):
    monkeypatch.setattr(storage, "_PART", 5 * 2**20)  # the least that S3 takes
    place = storage.ObjectFolder(store.url, attempts=2)
    content = b"0" * (11 * 2**20)
    once = proxy.fail("PUT", "partNumber=2", status=500)
    place.write("large.tif", content)
    assert once.met == 1 and store.head("large.tif")["ContentLength"] == len(content)
    proxy.fail("PUT", "partNumber=3", times=99, status=500)
    with pytest.raises(storage.TemporaryError):
        place.write("lost.tif", content)
    assert store.keys() == ["large.tif"]
    uploads = store.client.list_multipart_uploads(Bucket=store.bucket)
    assert not uploads.get("Uploads")


def test_results_carry_their_kind_and_their_note(store):
    storage.ObjectFolder(store.url).write("a.png", b"x", {"source": "ü"})
    found = store.head("a.png")
    assert found["ContentType"] == "image/png"
    assert json.loads(found["Metadata"]["refocus"]) == {"source": "ü"}


# Google and Azure.


@pytest.fixture(params=["google_store", "azure_store"])
def other(request):
    return request.getfixturevalue(request.param)


def test_what_fails_for_a_while_is_tried_again_at_google_and_azure_too(other):
    place = storage.ObjectFolder(other.url)
    place.write("a.png", b"one")
    faults = [other.proxy.fail(method, "a.png", status=503) for method in ("GET", "PUT", "POST")]
    assert place.read("a.png") == b"one"
    place.write("a.png", b"two")
    assert place.read("a.png") == b"two" and sum(fault.met for fault in faults) >= 1


def test_what_google_and_azure_refuse_is_said_without_secrets(other):
    place = storage.ObjectFolder(other.url)
    place.write("a.png", b"one")
    other.proxy.fail("GET", "a.png", times=99, status=403)
    with pytest.raises(PermissionError, match="check the credentials") as raised:
        place.read("a.png")
    assert SECRETS[other.scheme] not in str(raised.value)
    with pytest.raises(FileNotFoundError, match=f"{other.url}/none.png"):
        place.read("none.png")


# What inputs name.


def test_inputs_name_folders_patterns_and_single_pictures(store):
    for key in ("in/a.png", "in/b.jpg", "in/deep/c.png", "in/notes.txt", "in/.hidden.png"):
        store.put(key, b"x")

    def found(name, **options):
        return sorted(e.name for e in storage.open_source(store.url + name, **options).pictures())

    assert found("/in") == ["a.png", "b.jpg"]
    assert found("/in/", recursive=True) == ["a.png", "b.jpg", "deep/c.png"]
    assert found("/in/*.png") == ["a.png", "deep/c.png"]
    assert found("/in/b.jpg") == ["b.jpg"]
    with pytest.raises(FileNotFoundError, match="picture must exist"):
        found("/in/gone.png")


# The Web.


@pytest.fixture
def web(tmp_path):
    (tmp_path / "a b.png").write_bytes(b"picture")
    handler = functools.partial(_Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_pictures_of_the_web_are_read_and_their_queries_never_shown(web):
    source = storage.open_source(f"{web}/a%20b.png?signature=abcdefgh")
    (entry,) = source.pictures()
    assert entry.name == "a b.png"
    assert source.place.read(entry.name) == b"picture"
    assert "abcdefgh" not in source.place.show(entry.name)
    gone = storage.open_source(f"{web}/gone.png?signature=abcdefgh")
    with pytest.raises(FileNotFoundError) as raised:
        list(gone.pictures())
    assert "abcdefgh" not in str(raised.value)
    with pytest.raises(ValueError, match="only read from"):
        source.place.write("a.png", b"x")
    with pytest.raises(ValueError, match="no folders"):
        list(source.place.entries())


def test_a_body_without_end_does_not_fill_the_memory(web, monkeypatch):
    monkeypatch.setattr(storage, "LARGEST", 3)
    with pytest.raises(ValueError, match="must be at most"):
        storage.open_place(f"{web}/a%20b.png").read("a b.png")
