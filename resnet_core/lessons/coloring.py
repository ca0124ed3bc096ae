"""The lines of a Python program with their words marked, as HTML."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections.abc import Iterator
from html import escape


def colored_lines(program: str) -> list[str]:
    """Each line as HTML; without its tags, and unescaped, it is the line."""
    lines = program.split("\n")[:-1]
    found: list[list[str]] = [[] for _ in lines]
    ends = [0] * len(lines)
    for kind, (row, start), (last, end) in _words(program):
        for number in range(row, last + 1):
            line = lines[number - 1]
            begin, stop = start if number == row else 0, end if number == last else len(line)
            found[number - 1].append(escape(line[ends[number - 1] : begin], quote=False))
            if stop > begin:
                found[number - 1].append(f"<i class={kind}>{escape(line[begin:stop], quote=False)}</i>")
            ends[number - 1] = stop
    for number, line in enumerate(lines):
        found[number].append(escape(line[ends[number] :], quote=False))
    return ["".join(pieces) for pieces in found]


def _words(program: str) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
    """(class, start, end) of what has a color: keywords, strings, comments, numbers, and names that are defined."""
    defines = False
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        kind = {tokenize.STRING: "s", tokenize.COMMENT: "c", tokenize.NUMBER: "n"}.get(token.type, "")
        if token.type == tokenize.NAME:
            kind = "k" if keyword.iskeyword(token.string) else "d" if defines else ""
            defines = token.string in ("def", "class")
        elif token.type in F_STRINGS:
            kind = "s"
        if kind:
            yield kind, token.start, token.end


#: Parts of an f-string, which Python 3.12 and later have as tokens of their own.
F_STRINGS = {
    getattr(tokenize, name, -1) for name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
}  # fmt: skip
