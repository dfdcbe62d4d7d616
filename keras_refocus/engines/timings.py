"""Seconds that restorers take on this machine, as `refocus models --time` measured them last.

They lie in the user's cache, since a folder of models may be copied to another machine or be
read-only. A figure holds for one machine and one version of a model, and is forgotten with either.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from keras_refocus.engines import contract, remote
from keras_refocus.system import files, machine

# Rows and columns of the picture that is timed.
SIZE = (720, 1280)

_FILE = "seconds.json"


def remember(version: Path, seconds: float) -> None:
    """Keep how long a restorer took for one picture of `SIZE`; a cache that is shut keeps nothing.

    Args:
        version: Folder of the version that was timed.
        seconds: Wall-clock time on all cores.
    """
    known = _read()
    known[str(version.resolve())] = {**_identity(version), "seconds": seconds}
    with contextlib.suppress(OSError):
        remote.cache_folder().mkdir(parents=True, exist_ok=True)
        files.write_json(remote.cache_folder() / _FILE, known)


def recall(version: Path) -> float | None:
    """Tell how long a restorer takes for one picture of `SIZE`, `None` if it was not timed here.

    Args:
        version: Folder of a version of a model.
    """
    entry = _read().get(str(version.resolve()))
    if not isinstance(entry, dict):
        return None
    seconds = entry.pop("seconds", None)
    try:
        is_same = entry == _identity(version)
    except OSError:
        return None
    return seconds if is_same and isinstance(seconds, float) else None


def _identity(version: Path) -> dict[str, Any]:
    changed = (version / contract.SAVED_MODEL_FILE).stat().st_mtime_ns
    return {"machine": machine.describe(), "changed": changed}


def _read() -> dict[str, Any]:
    try:
        found = json.loads((remote.cache_folder() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
