"""The errors that this project raises on purpose. Each has a one-line message; bad input gives exit code 2.

A message says what was received, what was expected and, where it helps, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

#: What people call the choices of this project.
_OTHER_WORDS = dict.fromkeys(("cuda", "mps", "rocm"), "gpu")


class ResNetError(Exception):
    """Base class of every error this project raises on purpose."""


class InputError(ResNetError, ValueError):
    """An argument, an image or an option that cannot be used."""


class SpecError(InputError):
    """An invalid specification. The message starts with the field's path."""


class RecipeError(InputError):
    """An invalid training recipe. The message starts with the field's path."""


class DataError(InputError):
    """A data set, or a picture in it, that cannot be used."""


class WeightsError(InputError):
    """Weights, or a weight file, that do not fit the specification."""


class NewerFormatError(WeightsError):
    """A file of a later version of this project: it is left alone, and no earlier one takes its place."""


class MissingBackendError(InputError, ImportError):
    """A backend that is not installed. The message contains the pip command that installs it."""


class BackendError(ResNetError):
    """A backend that is installed but broken: its import fails, or it does not keep the contract."""


class TrainingError(ResNetError):
    """A run that cannot continue: its loss is NaN or infinite."""


class WorkerError(ResNetError):
    """A backend's process crashed, was killed, hung, or answered with an error."""


def require_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise InputError, with the nearest, unless the value of the argument `name` is one of those allowed."""
    if value not in allowed:
        word = str(value)
        near = [_OTHER_WORDS.get(word, "")]
        if word.isalpha():  # a number in a word is no slip: float16 is not nearly float64
            near += difflib.get_close_matches(word, allowed, n=1, cutoff=0.75)
        hint = next((f"did you mean {word}? " for word in near if word in allowed), "")
        raise InputError(f"{name}: received {value!r}; {hint}expected one of {', '.join(allowed)}")


def likely(received: str, known: Mapping[str, str]) -> str:
    """ "did you mean torch? ", where one of the words is near, with what it stands for; otherwise nothing."""
    close = difflib.get_close_matches(received, known, n=1)
    return f"did you mean {known[close[0]]}? " if close else ""


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would not print.

    A file's names may be anything: escapes, marks that turn the direction of writing around, halves of characters.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))
