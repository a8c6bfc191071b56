"""Asks a server for predictions over REST: `python client_rest.py photo.jpg`. Needs NumPy.

The protocol is TensorFlow Serving's; `must serve` speaks it as well. Every photo is a request of its own: servers join
requests into batches, and the maps of a batch would be padded to its largest image.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

ABOUT = Path(__file__).with_name("must_tf.json")  # the names of the classes
OK = "ok"
FEW = 4  # numbers of an output that are printed; of more, their shape
REMEDY = "Start a server, for example with must serve FOLDER_OF_THE_EXPORT, or give its address with --url."
TOKEN = "MUST_SERVE_TOKEN"  # environment variable with the server's bearer token, if it wants one


def request_body(photos: list[bytes], signature: str = "serving_default") -> bytes:
    """Returns the JSON of a request for JPEG or PNG files."""
    instances = [{"b64": base64.b64encode(photo).decode()} for photo in photos]
    return json.dumps({"signature_name": signature, "instances": instances}).encode()


def predict(url: str, model: str, photo: bytes, timeout: float = 60.0) -> dict[str, Any]:
    """Returns the outputs for one photo as arrays by name, without a batch axis; `image/status` is a string.

    Raises:
      RuntimeError: the server refuses, with its reason, or cannot be reached.
    """
    headers = {"Content-Type": "application/json"}
    if os.environ.get(TOKEN):
        headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"
    request = urllib.request.Request(f"{url}/v1/models/{model}:predict", request_body([photo]), headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            row = json.load(response)["predictions"][0]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from None
    except OSError as error:
        raise RuntimeError(f"{url} cannot be reached: {getattr(error, 'reason', error)}. {REMEDY}") from None
    return {name: value if isinstance(value, str) else np.array(value) for name, value in row.items()}


def lines(outputs: dict[str, Any], classes: dict[str, list[str]], threshold: float = 0.5) -> list[str]:
    """Returns the status, the outputs, the likeliest class, and the objects above a score, a line each."""
    shown = [f"status: {outputs['image/status']}"]
    if outputs["image/status"] != OK:
        return shown
    arrays = {name: value for name, value in sorted(outputs.items()) if not isinstance(value, str)}
    for name, value in arrays.items():
        is_short = value.size <= FEW and value.dtype != object
        shown.append(f"{name}: {value.tolist() if is_short else f'shape {value.shape}'}")
    probability, names = outputs.get("classification/probability"), classes.get("classification", [])
    if probability is not None and len(names) == len(probability):
        shown.append(f"{names[int(np.argmax(probability))]} {np.max(probability):.2f}")
    names = classes.get("detection", [])
    keys = ("scores", "classes", "boxes") if "detection/boxes" in outputs else ()
    for score, number, box in zip(*(outputs[f"detection/{key}"] for key in keys), strict=True):
        if score >= threshold:
            label = names[int(number) - 1] if int(number) <= len(names) else f"class {int(number)}"
            shown.append(f"{label} {score:.2f} at y0, x0, y1, x1 = {np.round(box, 3).tolist()}")
    return shown


def main() -> int:
    """Prints the predictions for photos. Returns 1 if there is none for one of them, 2 if a request is impossible."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--url", default="http://127.0.0.1:8501", help="of the server (%(default)s)")
    parser.add_argument("--model", default="student", help="its name at the server (%(default)s)")
    flags = parser.parse_args()
    classes = json.loads(ABOUT.read_text())["classes"] if ABOUT.exists() else {}
    code = 0
    for photo in flags.photos:
        try:
            outputs = predict(flags.url, flags.model, Path(photo).read_bytes())
        except (OSError, RuntimeError) as error:
            print(f"error: {photo}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            return 2
        print("\n  ".join([photo, *lines(outputs, classes)]))
        code = max(code, int(outputs["image/status"] != OK))
    return code


if __name__ == "__main__":
    sys.exit(main())
