"""A comparison as a page of its own: no script, no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from resnet_core import spec_files
from resnet_core.comparison.picture import compared_keys, comparison_svg
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.comparison.wording import scientific
from resnet_core.errors import printable_lines
from resnet_core.version import __version__

#: What the page says of the machine, by the names of the facts.
MACHINE = {"cpu": "processor", "cores": "cores", "memory_gib": "memory, GiB", "platform": "system"}


def page(comparison: Comparison, date: str, machine: Mapping[str, object], versions: Mapping[str, str]) -> str:
    """HTML, complete: the outcome, the picture, the errors, what a prediction costs, and where that was so.

    - `date`: of the comparison, as text.
    - `machine`: {fact: value}, of which those in `MACHINE` are shown.
    - `versions`: {package: version} of what every backend shares.

    Raises InputError where matplotlib is missing.
    """
    ran = {name: result for name, result in comparison.backends.items() if result.error is None}
    name = comparison.spec.name or "A network without a name"
    return Template((files("resnet_core.comparison") / "page.html").read_text(encoding="utf-8")).substitute(
        name=_text(name),
        sentence=_text(comparison.sentence()),
        outcome="yes" if comparison.equal else "no",
        problems="\n".join(_lines([*comparison.notes(), *comparison.problems()])),
        picture=_picture(comparison) if ran else "",
        reference=_text(comparison.reference),
        batch=comparison.batch,
        errors="\n".join(_errors(comparison, ran)),
        costs="\n".join(_costs(ran)),
        facts="\n".join(_facts(comparison, date, machine, versions)),
        spec=_text(spec_files.to_toml(comparison.spec)),
        version=escape(__version__),
    )


def _text(text: str) -> str:
    """Escaped for HTML, and what cannot be printed too."""
    return escape(printable_lines(text))


def _picture(comparison: Comparison) -> str:
    _, start, drawing = comparison_svg(comparison).partition("<svg")
    return f'<figure tabindex="0" role="group" aria-label="errors and costs as a picture">{start}{drawing}</figure>'


def _lines(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "<ul>"
        yield from (f"<li>{_text(line)}</li>" for line in lines)
        yield "</ul>"


def _errors(comparison: Comparison, ran: Mapping[str, BackendResult]) -> Iterator[str]:
    depth, others = compared_keys(comparison)
    if not depth and not others:
        yield "<p>None were computed: only names, shapes and counts were compared.</p>"
        return
    header = [("backend", False), *((key.replace("_", " "), True) for key in (*depth, *others)), ("gate", True)]
    rows = [
        [_text(name), *(_error(result, key) for key in (*depth, *others)), ", ".join(_gates(result))]
        for name, result in ran.items()
    ]
    yield from _table("errors", header, rows)


def _error(result: BackendResult, key: str) -> str:
    if key not in result.max_error:
        return "–"
    error, limit = result.max_error[key], result.tolerances.get(key)
    shown = scientific(error)
    if limit is None:
        return f"({shown})"
    return f'<span class="{"yes" if error <= limit else "no"}">{shown}{"" if error <= limit else " > gate"}</span>'


def _gates(result: BackendResult) -> list[str]:
    return [scientific(limit) for limit in sorted(set(result.tolerances.values()))]


def _costs(ran: Mapping[str, BackendResult]) -> Iterator[str]:
    if not ran:
        yield "<p>Nothing ran.</p>"
        return
    labeled = any(result.accuracy is not None for result in ran.values())
    header = [
        ("backend", False), ("device", False), ("dtype", False), ("first call, ms", True), ("steady, ms", True),
        ("memory, MiB", True), ("parameters", True), ("state", True), *([("accuracy", True)] if labeled else []),
    ]  # fmt: skip
    rows = [
        [
            _text(name),
            _text(result.device or "–"),
            _text(result.dtype or "–"),
            f"{result.seconds.first * 1000:,.0f}",
            f"{result.seconds.steady * 1000:,.1f}",
            f"{result.peak_memory_bytes / 2**20:,.0f}",
            f"{result.parameters:,}",
            f"{result.state:,}",
            *(["–" if result.accuracy is None else f"{result.accuracy:.1%}"] if labeled else []),
        ]
        for name, result in ran.items()
    ]
    yield from _table("costs", header, rows)


def _facts(
    comparison: Comparison, date: str, machine: Mapping[str, object], versions: Mapping[str, str]
) -> Iterator[str]:
    rows = [("date", date), ("level", comparison.level), ("reference", comparison.reference)]
    rows += [(word, str(machine[fact])) for fact, word in MACHINE.items() if fact in machine]
    rows += [("core", _versions(versions))]
    rows += [(name, _versions(result.versions)) for name, result in comparison.backends.items() if result.versions]
    yield '<table class="facts"><tbody>'
    yield from (f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in rows)
    yield "</tbody></table>"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def _table(kind: str, header: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first cell of a row is its heading; a column that is marked holds numbers."""
    classes = [' class="number"' if number else "" for _, number in header]
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{kind}"><table class="{kind}"><thead><tr>'
    yield from (f'<th scope="col"{style}>{_text(name)}</th>' for (name, _), style in zip(header, classes, strict=True))
    yield "</tr></thead><tbody>"
    for first, *rest in rows:
        cells = "".join(f"<td{style}>{cell}</td>" for cell, style in zip(rest, classes[1:], strict=True))
        yield f'<tr><th scope="row">{first}</th>{cells}</tr>'
    yield "</tbody></table></div>"
