"""Numbers as expressions: what a family of like things has in common, and what follows from what.

The one idea behind `outline.py`: members that look alike are laid over each other, number by number. A number that
every member has is a literal, one that a name or an expression gives for every member is that expression, and what
remains is a new name. Nothing is believed: an expression is taken only after it was evaluated for every member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

#: What stands at a place of a leaf: integers, epsilons, flags, and "same".
Number = int | float | bool | str | tuple[Any, ...]


#: What an expression may call.
FUNCTIONS = {"max": max}


class Code(str):
    """A Python expression over the names of the definition it stands in, such as `4 * channels`.

    Every target is Python, so that one text serves all of them.
    """

    __slots__ = ()

    def value(self, names: Mapping[str, Number]) -> Number:
        """What the expression is where the names stand for these numbers. Raises NameError for another name."""
        return eval(_compiled(self), {"__builtins__": FUNCTIONS}, names)

    @property
    def names(self) -> frozenset[str]:
        """The names that it reads."""
        return frozenset(_compiled(self).co_names) - FUNCTIONS.keys()


#: What stands at a place of a definition.
Value = Number | Code


def evaluate(value: Value, names: Mapping[str, Number]) -> Number:
    """The number that a value is."""
    return value.value(names) if isinstance(value, Code) else value


def same(first: Number, second: Number) -> bool:
    """Equal and of one kind: True is not 1."""
    return first == second and type(first) is type(second)


@lru_cache(maxsize=1024)
def _compiled(text: str) -> CodeType:
    return compile(text, "<expression>", "eval")


class Family:
    """Like things laid over each other: {name: {member: number}}, and the sort of each name.

    A name is compared with numbers of its own sort only: a stride of 2 is no dilation of 2.
    """

    def __init__(self) -> None:
        self.columns: dict[str, dict[int, Number]] = {}
        self.sorts: dict[str, str] = {}

    def add(self, name: str, sort: str, numbers: Mapping[int, Number]) -> Code:
        """A name for these numbers, one for each member."""
        self.columns[name], self.sorts[name] = dict(numbers), sort
        return Code(name)

    def names(self, member: int) -> dict[str, Number]:
        """What each name stands for in one member."""
        return {name: column[member] for name, column in self.columns.items()}

    def gives(self, code: Code, numbers: Mapping[int, Number]) -> bool:
        """Whether the expression is each of these members' number."""
        if not code.names <= self.columns.keys():
            return False
        return all(same(code.value(self.names(member)), number) for member, number in numbers.items())

    def first(self, candidates: Iterable[str], numbers: Mapping[int, Number]) -> Code | None:
        """The first expression that gives every number."""
        return next((code for code in map(Code, candidates) if self.gives(code, numbers)), None)

    def find(
        self,
        sort: str,
        numbers: Mapping[int, Number],
        candidates: Sequence[str] = (),
        prefer: Sequence[str] = (),
        literal: bool = True,
    ) -> Value | None:
        """A name of this sort, else the literal, else the first candidate that gives every number; None where none.

        `prefer` are the names to try first. With `literal=False` a candidate goes before the literal, and where
        there is none a literal is found only for what is no width.
        """
        like = [name for name, own in self.sorts.items() if own == sort]
        order = [*(name for name in prefer if name in like), *(name for name in like if name not in prefer)]
        if (found := self.first(order, numbers)) is not None:
            return found
        constant = literal_of(numbers.values())
        if literal and constant is not None:
            return constant
        if (found := self.first(candidates, numbers)) is not None:
            return found
        return None if sort == "width" else constant


def literal_of(numbers: Iterable[Number]) -> Number | None:
    """The number that all of these are, or None."""
    first, *others = numbers
    return first if all(same(first, other) for other in others) else None
