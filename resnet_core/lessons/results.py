"""Results of real runs on the page: the table of a comparison, and training curves over each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from resnet_core.comparison.wording import scientific
from resnet_core.errors import InputError
from resnet_core.fields import parse_json
from resnet_core.files import read_bytes
from resnet_core.lessons.plot import Curve, plot
from resnet_core.lessons.texts import Texts
from resnet_core.spec_files import from_json
from resnet_core.specification import ResNetSpec
from resnet_core.training.curves import RunCurves

#: Bytes of a comparison's JSON.
MOST_JSON = 4 * 2**20


class Made(Struct):
    """When and on what a comparison was made."""

    date: str
    machine: dict[str, str | int | float] = {}


class Entry(Struct):
    """A backend's result, as far as the page shows it."""

    device: str | None = None
    versions: dict[str, str] = {}
    error: str | None = None
    tolerance: float = 0.0
    max_error: dict[str, float | None] = {}
    tolerances: dict[str, float] = {}
    seconds: dict[str, float | None] = {}
    equal: bool = False


class ComparisonFile(Struct):
    """The JSON of `resnet compare`, as far as the page shows it."""

    spec: dict[str, Any]
    level: str
    dtype: str
    reference: str
    batch: int
    backends: dict[str, Entry]
    made: Made | None = None


def read_comparison(path: str | Path, spec: ResNetSpec) -> ComparisonFile:
    """A finished comparison of this network. Raises InputError for anything else."""
    where, expected = f"comparison: {path}", "a file that `resnet compare --json F` wrote"
    try:
        text = read_bytes(Path(path), expected, MOST_JSON).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is no text in UTF-8; expected {expected}") from error
    fields = parse_json(text, where, "keys of `resnet compare --json`", InputError, most=MOST_JSON)
    try:
        found = msgspec.convert(fields, ComparisonFile)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}; expected {expected}") from error
    compared = from_json(json.dumps(found.spec), where)
    if structs.replace(compared, name=spec.name) != spec:
        raise InputError(
            f"{where}: received one of {compared.name or 'another network'}, which differs from this page's, "
            f"{spec.name or 'one without a name'}; compare that one"
        )
    return found


def parity_part(found: ComparisonFile | None, texts: Texts) -> Iterator[str]:
    """The table, or that there is none."""
    if found is None:
        yield f"<p>{texts.html('parity.none')}</p>"
        return
    named = {key: escape(str(getattr(found, key))) for key in ("level", "dtype", "batch", "reference")}
    when = texts.html("parity.undated")
    if found.made is not None:
        machine = _machine_text(found.made.machine)
        when = texts.html("parity.when", date=escape(found.made.date), machine=escape(machine))
    yield f"<h3>{texts.html('parity.title')}</h3><p>{texts.html('parity.about', **named)} {when}</p>"
    columns = ("backend", "versions", "device", "largest", "tolerance", "seconds", "verdict")
    head = "".join(f"<th scope=col>{texts.html(f'parity.{column}')}" for column in columns)
    rows = "".join(_parity_row(name, entry, texts) for name, entry in found.backends.items())
    yield (
        f'<div class="wide" tabindex="0" role="group" aria-label="{texts.html("parity.title")}">'
        f'<table class="parity"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _machine_text(facts: Mapping[str, str | int | float]) -> str:
    return ", ".join(
        f"{facts[key]}{' cores' * (key == 'cores')}" for key in ("cpu", "cores", "platform") if key in facts
    )


def _parity_row(name: str, entry: Entry, texts: Texts) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in entry.versions.items())
    start = f"<tr><th scope=row>{escape(name)}<td>{escape(versions)}<td>{escape(entry.device or '')}"
    if entry.error is not None:
        return f'{start}<td colspan=4 class="no">{texts.html("parity.failed", reason=escape(entry.error))}</tr>'
    deciding = [entry.max_error.get(key) for key in entry.tolerances]
    known = [error for error in deciding if error is not None]
    largest = scientific(max(known)) if known and len(known) == len(deciding) else "–"
    steady = entry.seconds.get("steady")
    kind, verdict = ("yes", "parity.equal") if entry.equal else ("no", "parity.differs")
    return (
        f"{start}<td>{largest}<td>{scientific(entry.tolerance)}<td>{'–' if steady is None else f'{steady:.3g}'}"
        f"<td class={kind}>{texts.html(verdict)}</tr>"
    )


def runs_part(runs: Sequence[RunCurves], texts: Texts) -> Iterator[str]:
    """Loss and accuracy of the runs over each other, or that there are none."""
    if not runs:
        yield f"<p>{texts.html('runs.none')}</p>"
        return
    networks = ", ".join(dict.fromkeys(run.network for run in runs))
    yield f"<h3>{texts.html('runs.title')}</h3><p>{texts.html('runs.about', network=escape(networks))}</p>"
    drawn = []
    for field, title in (("loss", "plot.loss"), ("test_accuracy", "plot.accuracy")):
        points = [[(epoch.epoch, getattr(epoch, field)) for epoch in run.epochs] for run in runs]
        curves = [Curve(run.name, points[n], points[n], n) for n, run in enumerate(runs)]
        ends = "; ".join(texts("plot.ends", name=c.name, value=f"{c.points[-1][1]:.3g}") for c in curves)
        drawn.append(plot(f"{texts(title)}: {ends}", (texts("plot.epoch"), texts(title)), curves))
    yield f'<div class="charts">{"".join(drawn)}</div><ul>{"".join(_last(run, texts) for run in runs)}</ul>'


def _last(run: RunCurves, texts: Texts) -> str:
    last = run.epochs[-1]
    backends = ", ".join(dict.fromkeys(record.backend for record in run.epochs))
    accuracy = f"{100 * last.test_accuracy:.2f} %"
    said = texts("runs.last", name=run.name, epochs=last.epoch, backend=backends, accuracy=accuracy)
    return f"<li>{escape(said)}</li>"


def require_epochs(runs: Sequence[RunCurves]) -> None:
    """Raise InputError where a run has no finished epoch."""
    for run in runs:
        if not run.epochs:
            raise InputError(f"runs: {run.name} has no finished epoch; expected runs with one or more")
