"""Models at addresses: copied once, checked, and used where the address is out of reach."""

import fsspec
import pytest

from keras_refocus.engines import remote, store


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Two versions of a servable in a store of this process."""
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    root = f"/bucket-{tmp_path.name}/models"
    for name in ("restorer/1", "restorer/2"):
        memory.pipe_file(f"{root}/{name}/saved_model.pb", name.encode())
        memory.pipe_file(f"{root}/{name}/variables/variables.index", b"index")
    memory.pipe_file(f"{root}/restorer/README.md", b"card")
    return f"memory:/{root}"


def change(address, name, content):
    fsspec.filesystem("memory").pipe_file(f"{address.removeprefix('memory:/')}/{name}", content)


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "cached.json"
    )


def test_the_newest_version_is_copied_once(address, monkeypatch):
    folder = store.find_models(address)
    assert files(folder) == ["restorer/2/saved_model.pb", "restorer/2/variables/variables.index"]
    monkeypatch.setattr(remote, "_copy", lambda *arguments: pytest.fail("copied again"))
    monkeypatch.setenv("REFOCUS_MODELS", address)
    assert store.find_models() == folder


def test_what_has_changed_here_or_there_is_copied_again(address):
    folder = remote.fetch(address)
    (folder / "restorer/2/saved_model.pb").write_bytes(b"damaged")
    assert (remote.fetch(address) / "restorer/2/saved_model.pb").read_bytes() == b"restorer/2"
    change(address, "restorer/3/saved_model.pb", b"newer")
    assert store.newest_version(remote.fetch(address) / "restorer").name == "3"


def test_files_must_be_what_the_manifest_says(address):
    wrong = f"{'0' * 64}  restorer/2/saved_model.pb\n"
    change(address, "manifest.sha256", wrong.encode())
    with pytest.raises(ValueError, match="another SHA-256"):
        remote.fetch(address)


def test_the_cache_serves_where_the_address_is_out_of_reach(address, monkeypatch, caplog):
    folder = remote.fetch(address)
    monkeypatch.setattr(remote, "_listed", lambda *a: (_ for _ in ()).throw(ConnectionError()))
    assert remote.fetch(address) == folder and "those of the cache are used" in caplog.text
    with pytest.raises(OSError, match="must be reachable"):
        remote.fetch(f"{address}-other")


def test_an_address_without_models_is_named_without_its_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path))
    with pytest.raises(OSError) as raised:
        remote.fetch("https://me:password@127.0.0.1:9/models?signature=abcdefgh")
    assert "https://127.0.0.1:9/models" in str(raised.value)
    assert "password" not in str(raised.value) and "abcdefgh" not in str(raised.value)
