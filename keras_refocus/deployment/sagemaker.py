"""The archive that SageMaker's container of TensorFlow Serving takes: model and request code.

    refocus_model/1/saved_model.pb, variables/     the servable `refocus`, the whole pipeline
    code/inference.py, code/requirements.txt       JPEG, PNG or npy in, a picture out

Format: https://docs.aws.amazon.com/sagemaker/latest/dg/deploy-model.html and the README of
https://github.com/aws/sagemaker-tensorflow-serving-container.
"""

import gzip
import io
import os
import tarfile
from pathlib import Path

from keras_refocus.deployment import sagemaker_inference
from keras_refocus.engines import contract
from keras_refocus.system import files

#: Name of the archive, as SageMaker calls it.
ARCHIVE = "model.tar.gz"

# Beside what the container has. Pillow reads and writes what npy is turned into.
_REQUIREMENTS = "numpy\npillow\n"


def write_archive(
    version: str | os.PathLike, file: str | os.PathLike, *, overwrite: bool = False
) -> Path:
    """Write the archive of a servable of the whole pipeline.

    Args:
        version: Its version folder, such as `serving_models/refocus/1`.
        file: Archive to write; the same files give the same bytes.
        overwrite: Whether an archive that is there is replaced.

    Returns:
        The archive.

    Raises:
        FileExistsError: It is there, and `overwrite` is off.
        FileNotFoundError: The folder holds no SavedModel.
    """
    version, file = Path(version), Path(file)
    if not (version / contract.SAVED_MODEL_FILE).is_file():
        raise FileNotFoundError(
            f"The archive needs a SavedModel. Received: version='{version}'. Write one with "
            "`refocus export --refocus`."
        )
    if file.exists() and not overwrite:
        raise files.exists_error(file)
    code = Path(sagemaker_inference.__file__).read_bytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        files.replacing(file, overwrite=overwrite) as part,
        part.open("wb") as raw,
        # Without name and time, which would make each archive another.
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(path for path in version.rglob("*") if path.is_file()):
            name = path.relative_to(version).as_posix()
            _add(archive, f"{contract.REFOCUS}/1/{name}", path.read_bytes())
        _add(archive, "code/inference.py", code)
        _add(archive, "code/requirements.txt", _REQUIREMENTS.encode())
    return file


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))
