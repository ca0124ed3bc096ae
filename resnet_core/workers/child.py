"""The child's side of a worker process: a request per line in, an answer per line out, arrays through files.

A request is {"function": "module:name", "arguments": {…}, "arrays": PATH or null, "answer": PATH}. The
function is called as `function(session, arrays, **arguments)` and returns (result, arrays or None).
Started by `parent.py` as `python -m resnet_core.workers.child`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.errors import ResNetError
from resnet_core.specification import ResNetSpec

Arrays = dict[str, np.ndarray]


class Session:
    """What a worker keeps between requests: its backend's package, the dtype it was set up for, and the last
    model that was built, with its spec."""

    backend: Any
    dtype: str
    spec: ResNetSpec
    model: Any = None


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a framework's output must not be taken for an answer
    session = Session()
    for line in sys.stdin:
        answers.write(json.dumps(answer(session, json.loads(line))) + "\n")
        answers.flush()


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    """The result of a request, or its error: one line if the user can fix it, otherwise with the traceback."""
    try:
        module, _, name = request["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        arrays = read_arrays(request["arrays"]) if request["arrays"] else {}
        result, arrays = function(session, arrays, **request["arguments"])
        if arrays is not None:
            write_arrays(request["answer"], arrays)
        return {"result": result, "arrays": arrays is not None}
    except ResNetError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {str(error).strip() or 'no message'}", "kind": "crash"}


def write_arrays(path: str | Path, arrays: Arrays) -> None:
    """Write {name: array}: the names as a line of JSON, then each array as NumPy saves it.

    An .npz would have a checksum of every byte, which takes longer than writing it.
    """
    with Path(path).open("wb") as file:
        file.write(json.dumps(list(arrays)).encode() + b"\n")
        for array in arrays.values():
            np.save(file, np.asarray(array, order="C"), allow_pickle=False)  # of a view it would be slow


def read_arrays(path: str | Path) -> Arrays:
    """Read what `write_arrays` wrote."""
    with Path(path).open("rb") as file:
        return {name: np.load(file, allow_pickle=False) for name in json.loads(file.readline())}


if __name__ == "__main__":
    main()
