"""Models at addresses: copied once into a cache, checked by SHA-256, used from there.

    REFOCUS_MODELS=s3://bucket/models refocus restore photo.jpg

Of each servable the newest version is copied. A file `manifest.sha256` beside the servables, as
`sha256sum */*/* > manifest.sha256` writes it, says what each file must be; over http and https,
where nothing can be listed, it also says which files there are. Without it the sums that were taken
at the first copy are kept, and a file of the cache that has changed is copied anew. The cache is
the folder `REFOCUS_CACHE`, else `keras_refocus` in the user's folder for caches.
"""

import json
import logging
import os
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from keras_refocus.system import files

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "REFOCUS_CACHE"
MANIFEST = "manifest.sha256"

_RECORD = "cached.json"
_SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "memory")


def cache_folder() -> Path:
    """Where what can be had again is kept: models of addresses, and how long models take."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "keras_refocus"


def is_address(name: str | os.PathLike) -> bool:
    """Tell whether a folder of models lies in a store."""
    scheme, separator, _ = os.fspath(name).partition("://")
    return bool(separator) and scheme.lower() in _SCHEMES


def fetch(address: str) -> Path:
    """Copy the newest models of an address into the cache, as far as they are not there.

    Args:
        address: Of a folder of models.

    Returns:
        A folder of models on this machine.

    Raises:
        FileNotFoundError: There is no model at the address.
        OSError: They cannot be copied, and are not in the cache.
        ValueError: A file is not what the manifest says.
    """
    folder = _cache() / files.sha256(address.encode())[:20]
    record = _read(folder / _RECORD)
    shown = _shown(address)
    try:
        import fsspec

        options = {"use_listings_cache": False} if "http" not in address[:5] else {}
        store, root = fsspec.core.url_to_fs(address, **options)
        sums = _sums(store, root)
        found = _listed(store, root, sums)
    except ImportError:
        raise
    except Exception as error:
        if record and all((folder / name).is_file() for name in record):
            logger.warning(
                "the models at %s cannot be reached (%s); those of the cache are used",
                shown,
                type(error).__name__,
            )
            return folder
        raise OSError(
            f"The models must be reachable. Received: '{shown}' ({type(error).__name__}). Check "
            "the address and the credentials."
        ) from None
    names = _newest(found)
    if not names:
        raise FileNotFoundError(
            "An address of models must hold <name>/<number>/saved_model.pb. Received: "
            f"'{shown}'. Check it; over http it also needs {MANIFEST}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, dict[str, Any]] = {}
    for name in names:
        known = record.get(name)
        path = folder / name
        expected = sums.get(name) or (known or {}).get("sha256")
        is_same = known is not None and known["tag"] == found[name] and path.is_file()
        if is_same and files.sha256(path) == expected:
            kept[name] = known
            continue
        logger.info("copying %s/%s", shown, name)
        _copy(store, f"{root}/{name}", path, sums.get(name), f"{shown}/{name}")
        kept[name] = {"tag": found[name], "sha256": files.sha256(path)}
    if kept != record:
        files.write_bytes(folder / _RECORD, json.dumps(kept, indent=1).encode())
    return folder


def _listed(store: Any, root: str, sums: dict[str, str]) -> dict[str, str]:
    """Files below an address, each with what changes when it changes."""
    if "http" in store.protocol:
        return {name: value for name, value in sums.items()}
    prefix = root.rstrip("/") + "/"
    return {
        path.removeprefix(prefix): str(
            info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("size")
        )
        for path, info in store.find(root, detail=True).items()
        if info.get("type") == "file"
    }


def _newest(found: dict[str, str]) -> list[str]:
    """Of the files those that belong to the newest version of a servable."""
    newest: dict[str, int] = {}
    for name in found:
        parts = PurePosixPath(name).parts
        if len(parts) == 3 and parts[1].isdecimal() and parts[2] == "saved_model.pb":
            newest[parts[0]] = max(newest.get(parts[0], 0), int(parts[1]))
    kept = []
    for name in found:
        parts = PurePosixPath(name).parts
        is_model = len(parts) > 2 and parts[0] in newest and parts[1].isdecimal()
        if is_model and int(parts[1]) == newest[parts[0]] and ".." not in parts:
            kept.append(name)
    return sorted(kept)


def _sums(store: Any, root: str) -> dict[str, str]:
    try:
        text = store.cat_file(f"{root}/{MANIFEST}").decode()
    except FileNotFoundError:
        return {}
    sums = {}
    for line in text.splitlines():
        value, separator, name = line.partition("  ")
        if separator and len(value) == 64:
            sums[name.removeprefix("./")] = value.lower()
    return sums


def _copy(store: Any, source: str, path: Path, expected: str | None, shown: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary:
        try:
            store.get_file(source, str(temporary))
        except Exception as error:
            raise OSError(
                f"A file of the models cannot be copied. Received: '{shown}' "
                f"({type(error).__name__}). Try again."
            ) from None
        if expected is not None and files.sha256(temporary) != expected:
            raise ValueError(
                f"A file of the models must be what {MANIFEST} says. Received: '{shown}' with "
                f"another SHA-256. Copy the models there again, or write {MANIFEST} anew."
            )


def _cache() -> Path:
    return cache_folder() / "models"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _shown(address: str) -> str:
    """An address without its query and user, which may be secret."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
