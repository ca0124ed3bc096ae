"""The child's side of a worker process: a request per line in, an answer per line out, arrays through files.

A request is {"function": "module:name", "arguments": {…}, "arrays": PATH or null, "answer": PATH}. The
function is called as `function(session, arrays, **arguments)` and returns (result, arrays or None). The answer to the
third request is a line `resnet-answer 3 {…}`; the parent takes no other line for one.
Started by `parent.py` as `python -m resnet_core.workers.child`.
"""

from __future__ import annotations

import importlib
import json
import os
import stat
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_core import errors
from resnet_core.errors import ResNetError, WorkerError, printable

if TYPE_CHECKING:
    import numpy as np

    from resnet_core.specification import ResNetSpec

#: NumPy is imported where arrays are written and read: the parent has begun its worker by then.
Arrays = dict[str, "np.ndarray"]

#: How the line of an answer begins.
ANSWER = b"resnet-answer "

#: Characters of the longest message, and bytes of the longest line with names of arrays.
LONGEST_MESSAGE, LONGEST_NAMES = 2000, 64 * 2**20


class Session:
    """What a worker keeps between requests: its backend's package, the dtype it was set up for, and the last
    model that was built, with its spec."""

    backend: Any
    dtype: str
    spec: ResNetSpec
    model: Any = None


def main() -> None:
    """Answer requests until the input ends."""
    own = os.getpid()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a framework's output must not be taken for an answer,
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # nor may it read what is asked
    session = Session()
    for number, line in enumerate(requests, start=1):
        said = answer(session, json.loads(line))
        if os.getpid() != own:
            os._exit(1)  # a process that the function forked, and that came back from it
        answers.write(b"\n%s%d %s\n" % (ANSWER, number, said.encode()))  # what stands before it may have no end
        answers.flush()


def answer(session: Session, request: dict[str, Any]) -> str:
    """The result of a request as JSON, or its error, one line; the traceback of a crash goes to standard error."""
    try:
        module, _, name = request["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        arrays = read_arrays(request["arrays"]) if request["arrays"] else {}
        result, arrays = function(session, arrays, **request["arguments"])
        if arrays is not None:
            write_arrays(request["answer"], arrays)
        return json.dumps({"result": result, "arrays": arrays is not None})
    except ResNetError as error:
        return json.dumps({"error": _text(error), "kind": _kind(error)})
    except Exception as error:
        traceback.print_exc()
        return json.dumps({"error": f"{type(error).__name__}: {_text(error) or 'no message'}", "kind": "crash"})


def one_line(text: str) -> str:
    """The text in a line, not too long, as a terminal can print it."""
    line = printable(" ".join(text[: 4 * LONGEST_MESSAGE].split()))
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]} …"


def error_class(kind: str) -> type[ResNetError]:
    """The project's error of this name; WorkerError where it has none."""
    found = vars(errors).get(kind)
    return found if isinstance(found, type) and issubclass(found, ResNetError) else WorkerError


def _kind(error: ResNetError) -> str:
    """The name of the error's class, or of the nearest base class that is the project's own."""
    return next(each.__name__ for each in type(error).__mro__ if vars(errors).get(each.__name__) is each)


def _text(error: Exception) -> str:
    try:
        return one_line(str(error))
    except Exception:  # its own `__str__` fails
        return ""


def write_arrays(path: str | Path, arrays: Arrays) -> None:
    """Write {name: array}: the names as a line of JSON, then each array as NumPy saves it.

    An .npz would have a checksum of every byte, which takes longer than writing it.
    """
    import numpy as np

    if not isinstance(arrays, dict):
        raise TypeError(f"received a {type(arrays).__name__}; expected {{name: array}}")
    with Path(path).open("wb") as file:
        file.write(json.dumps(list(arrays)).encode() + b"\n")
        for array in arrays.values():
            stored = np.asarray(array, order="C")  # of a view it would be slow
            if stored.dtype.hasobject:
                raise TypeError(f"received a {type(array).__name__}; expected an array of numbers")
            np.save(file, stored, allow_pickle=False)


def read_arrays(path: str | Path) -> Arrays:
    """Read what `write_arrays` wrote. Raises ValueError for anything else."""
    import numpy as np

    with open(path, "rb", opener=_regular) as file:
        names = json.loads(file.readline(LONGEST_NAMES))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("the arrays have no names")
        return {name: np.lib.format.read_array(file, allow_pickle=False) for name in names}


def _regular(path: str, flags: int) -> int:
    """Open a file, but no pipe, which nobody may ever write to."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("the arrays are in no file")
    return descriptor


if __name__ == "__main__":
    main()
