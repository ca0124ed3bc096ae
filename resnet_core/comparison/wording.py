"""A comparison in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_core.comparison.result import BackendResult, Comparison

#: What is compared at each level, and what of it a narrow network decides in float32.
LEVELS = {
    "shapes": ("names, shapes and counts", ""),
    "logits": ("logits and every tap", ""),
    "gradients": ("logits, every tap and every gradient", "the gradients"),
    "training": ("logits, taps, gradients and two training steps", "gradients and training steps"),
}


def sentence(comparison: Comparison) -> str:
    """The outcome in one plain sentence."""
    name = comparison.spec.name or "the network"
    results = comparison.backends
    present = {backend: result for backend, result in results.items() if not result.missing}
    if not comparison.equal:
        unequal = [backend for backend, result in present.items() if result.error is None and not result.equal]
        failed = [backend for backend, result in present.items() if result.error is not None]
        missing = [backend for backend, result in results.items() if result.missing]
        parts = [f"{join(unequal)} differ{'s' if len(unequal) == 1 else ''} from the reference"] if unequal else []
        parts += [f"{join(failed)} gave no result"] if failed else []
        parts += [f"{join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"] if missing else []
        return f"NOT equal: {name}: {'; '.join(parts)}."
    what, narrow = LEVELS[comparison.level]
    if comparison.level == "shapes":
        return f"Equal: {name} in {join(list(present))} has {what} equal to what the spec says."
    exact = {backend: result for backend, result in present.items() if result.dtype == comparison.dtype}
    inexact = {backend: result for backend, result in present.items() if backend not in exact}
    parts = [f" within {_limit(exact)} in {comparison.dtype}"] if exact else []
    parts += [
        f" {backend if exact else ''} within {_limit({backend: result})} in {result.dtype}, "
        "since it has no exact float64".replace("  ", " ")
        for backend, result in inexact.items()
    ]
    narrowed = [backend for backend, result in present.items() if narrow and result.dtype == "float32"]
    if narrowed:
        whose = "" if len(narrowed) == len(present) else f" of {join(narrowed)}"
        parts.append(f" {narrow}{whose} in a narrow network of the same kind")
    ending = ";".join(parts)
    return f"Equal: {name} in {join(list(present))} has {what} equal to the {comparison.reference} reference{ending}."


def notes(comparison: Comparison) -> Iterator[str]:
    """One line for each thing that decides nothing and should be known."""
    for name, result in comparison.backends.items():
        error = result.max_error.get("gradients", 0.0)
        limit = result.tolerances.get("gradients_narrow")
        if limit is not None and "gradients" not in result.tolerances and not error <= limit:
            yield (
                f"{name}: gradients in float32 are too noisy to judge at this width (error {scientific(error)}); "
                f"in the narrow network the error is {scientific(result.max_error['gradients_narrow'])}"
            )


def problems(comparison: Comparison) -> Iterator[str]:
    """One line for each thing that went wrong."""
    for name, result in comparison.backends.items():
        if result.error is not None:
            yield result.error
            continue
        yield from (f"{name}: {line}" for line in result.shape_errors)
        for key, limit in result.tolerances.items():
            if not (error := result.max_error[key]) <= limit:
                what = key.replace("_narrow", " of the narrow network")
                yield f"{name}: {what} differs by {scientific(error)}; allowed is {scientific(limit)}"


def scientific(value: float) -> str:
    """6.5e-07 as 6.5e-7, and 1e-05 as 1e-5."""
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if exponent else digits


def join(names: Sequence[str]) -> str:
    """A, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def _limit(results: dict[str, BackendResult]) -> str:
    return scientific(max(bound for result in results.values() for bound in result.tolerances.values()))
