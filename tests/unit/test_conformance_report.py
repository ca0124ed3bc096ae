"""What a person reads of a run of the conformance kit."""

from __future__ import annotations

from resnet_core.conformance.report import Result, folded


def violation(name: str, message: str, group: str = "weights") -> Result:
    return Result(group, name, "norm", "float32", "failed", message)


def test_equal_messages_are_one_line_with_their_number_and_the_first_check() -> None:
    found = folded(
        [
            violation("a", "ValueError: cannot build"),
            violation("b", "b.bias has other values"),
            violation("c", "ValueError: cannot build"),
            violation("d", "ValueError: cannot build", "inference"),
        ]
    )
    assert found == [
        "ValueError: cannot build, in 3 checks; first: weights: a [norm, float32]",
        "weights: b [norm, float32]: b.bias has other values",
    ]


def test_messages_that_differ_in_a_number_stay_apart() -> None:
    found = folded([violation("a", "differs by 0.1"), violation("b", "differs by 0.2")])
    assert found == ["weights: a [norm, float32]: differs by 0.1", "weights: b [norm, float32]: differs by 0.2"]


def test_nothing_wrong_is_no_line() -> None:
    assert folded([]) == []
