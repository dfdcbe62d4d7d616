"""What SageMaker's container of TensorFlow Serving runs for each request: `code/inference.py`.

In: `image/jpeg`, `image/png`, or `application/x-npy` (uint8 [height, width, 3] or [height, width]).
Out, as the header Accept asks: `image/png` (the default), `application/x-npy`, or
`application/json` with the picture in base64 and whether it was taken for grey.

This file travels without the package that it comes from, and imports nothing of it.
"""

import base64
import io
import json
from typing import Any

import numpy as np
import requests
from PIL import Image

_PNG, _NPY, _JSON = "image/png", "application/x-npy", "application/json"
_IN = ("image/jpeg", _PNG, _NPY)
_OUT = (_PNG, _NPY, _JSON)


def handler(data: Any, context: Any) -> tuple[bytes | str, str]:
    """Restore the picture of one request.

    Args:
        data: The body, as a file.
        context: Of the container: `request_content_type`, `accept_header`, `rest_uri`.

    Returns:
        Tuple `(body, content type)`.

    Raises:
        ValueError: The request is not one that is served, or the model refused it.
    """
    content_type = (context.request_content_type or "").split(";")[0].strip().lower()
    accept = _accepted(context.accept_header)
    content = _as_picture(data.read(), content_type)
    picture = base64.b64encode(content).decode("ascii")
    answer = requests.post(
        context.rest_uri,
        data=json.dumps({"instances": [{"image_bytes": {"b64": picture}}]}),
        timeout=300,
    )
    if answer.status_code != 200:
        raise ValueError(f"The model refused the picture: {answer.text[:500]}")
    (found,) = answer.json()["predictions"]
    restored = found["image_bytes"]["b64"]
    if accept == _JSON:
        told = {"image_bytes": restored, "is_grayscale": bool(found["is_grayscale"])}
        return json.dumps(told), _JSON
    content = base64.b64decode(restored)
    if accept == _PNG:
        return content, _PNG
    file = io.BytesIO()
    np.save(file, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), allow_pickle=False)
    return file.getvalue(), _NPY


def _accepted(header):
    """The first type of the header that is given, the default where any will do."""
    kinds = [part.split(";")[0].strip().lower() for part in (header or "*/*").split(",")]
    for kind in kinds:
        if kind in _OUT:
            return kind
        if kind in ("*/*", "image/*", ""):
            return _PNG
    raise ValueError(f"Accept must be one of {', '.join(_OUT)}. Received: {header}.")


def _as_picture(content, content_type):
    """The content of a file that the model decodes."""
    if content_type not in _IN:
        raise ValueError(
            f"Content-Type must be one of {', '.join(_IN)}. Received: {content_type or 'none'}."
        )
    if content_type != _NPY:
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    is_gray = array.ndim == 2
    if array.dtype != np.uint8 or not (is_gray or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(
            "An array must be uint8 of shape (height, width, 3) or (height, width). Received: "
            f"{array.dtype} {array.shape}."
        )
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=1)
    return file.getvalue()
