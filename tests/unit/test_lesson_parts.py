"""Parts of the lesson: recorded curves, an exercise whose answer runs, finished comparisons, and runs."""

from __future__ import annotations

import contextlib
import io
import json
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest

import resnet_core as rn
from resnet_core import tree
from resnet_core.benchmark.machine import machine
from resnet_core.cli.compare import _report
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.errors import InputError
from resnet_core.lessons.degradation import degradation_part, recorded
from resnet_core.lessons.documentation import PAGES
from resnet_core.lessons.exercise import exercise, exercise_part, program
from resnet_core.lessons.plot import Curve, plot, ticks
from resnet_core.lessons.program_rows import FRAMEWORKS
from resnet_core.lessons.results import parity_part, read_comparison, require_epochs, runs_part
from resnet_core.lessons.texts import Texts
from resnet_core.specification import to_fields
from resnet_core.training.curves import RunCurves
from resnet_core.training.reporting import EpochRecord

ENGLISH = Texts("en")


def test_the_recorded_networks_differ_in_the_shortcut_alone() -> None:
    found = recorded()
    specs = {name: rn.spec(**found[name]["spec"]) for name in ("residual", "plain")}
    renamed = msgspec.structs.replace(specs["plain"], name=specs["residual"].name, shortcut=specs["residual"].shortcut)
    assert (renamed, specs["plain"].shortcut) == (specs["residual"], "none")
    assert specs["residual"].shortcut != "none"
    assert {rn.totals(spec).parameters for spec in specs.values()} == {found["parameters"]}
    layers = [
        path for path, leaf in tree.leaves(rn.layer_tree(specs["plain"])) if isinstance(leaf, tree.Conv | tree.Linear)
    ]
    assert len(layers) == found["layers"]


def test_the_recorded_curves_are_of_the_same_steps_and_show_what_is_said() -> None:
    found = recorded()
    steps = {name: [step for step, _ in found[name]["training"]] for name in ("residual", "plain")}
    assert steps["residual"] == steps["plain"] == list(range(found["window"], found["steps"] + 1, found["window"]))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", found["date"])
    ends = {name: (found[name]["training"][-1][1], found[name]["test"][-1][1]) for name in steps}
    assert all(plain > residual + 0.03 for plain, residual in zip(ends["plain"], ends["residual"], strict=True))
    said = unescape("".join(degradation_part(ENGLISH)))
    assert f"{100 * ends['residual'][0]:.1f} % with shortcuts and {100 * ends['plain'][0]:.1f} % without" in said
    assert found["command"] in said


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "resnetrs50", "plain20", "resnet_v2_50"])
def test_the_answer_of_the_exercise_runs(name: str) -> None:
    spec = rn.spec(name, classes=7)
    found = exercise(spec)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program(found.spec), {})
    assert int(output.getvalue()) == found.after
    assert found.before + sum(count * each for _, count, each in found.stages) == found.after
    html = "".join(exercise_part(spec, ENGLISH))
    assert f'data-answer="{found.after}"' in html
    shown = unescape(re.sub(r"<[^>]+>", "", html.split("<code>")[-1].split("</code>")[0]))
    assert shown.strip() == program(found.spec).strip()


def test_the_exercise_on_resnet18_is_a_resnet34() -> None:
    spec = rn.spec("resnet18")
    assert exercise(spec).after == rn.totals(rn.spec("resnet34")).parameters
    assert "Make it a ResNet-34: blocks 2, 2, 2, 2 become 3, 4, 6, 3." in "".join(exercise_part(spec, ENGLISH))
    assert exercise(rn.spec("resnet18", depths=[1, 1, 1, 1])).spec.depths == (3, 4, 6, 3)
    assert exercise(rn.spec("resnet18", depths=[4, 4, 4, 4])).spec.depths == (5, 5, 5, 5)


def comparison(**changes: Any) -> dict[str, Any]:
    entry = {
        "device": "cpu", "versions": {"torch": "9.8"}, "tolerance": 1e-5, "max_error": {"logits": 3.2e-7},
        "tolerances": {"logits": 1e-5}, "seconds": {"first": 1.0, "steady": 0.25, "repeats": 3}, "equal": True,
    }  # fmt: skip
    facts = {"level": "logits", "dtype": "float32", "device": "cpu", "reference": "numpy", "batch": 4, "equal": True}
    return {"spec": to_fields(rn.spec("resnet20")), **facts, "backends": {"torch": entry}, **changes}


def write(folder: Path, found: dict[str, Any]) -> Path:
    (folder / "comparison.json").write_text(json.dumps(found))
    return folder / "comparison.json"


def test_a_finished_comparison_is_a_table(tmp_path: Path) -> None:
    made = {"date": "2031-02-03", "machine": {"cpu": "A <fast> one", "cores": 2, "platform": "Linux"}}
    broken = {"device": "cpu", "error": "keras: <fell over>", "bad_input": False}
    entry = {**comparison()["backends"]["torch"], "equal": False, "max_error": {"logits": 0.1}}
    backends = {**comparison()["backends"], "flax": entry, "keras": broken}
    file = write(tmp_path, comparison(made=made, backends=backends))
    html = "".join(parity_part(read_comparison(file, rn.spec("resnet20", name="")), ENGLISH))
    assert "Made on 2031-02-03 on A &lt;fast&gt; one, 2 cores, Linux." in html
    rows = re.findall(
        r"<tr><th scope=row>(\w+)<td>([^<]*)<td>cpu(?:<td>([^<]*)<td>[^<]*<td>0.25)?.*?class=\"?(yes|no)", html
    )
    assert rows == [
        ("torch", "torch 9.8", "3.2e-7", "yes"),
        ("flax", "torch 9.8", "1e-1", "no"),
        ("keras", "", "", "no"),
    ]
    assert "no result: keras: &lt;fell over&gt;" in html


def test_a_comparison_without_a_date_says_so_and_none_too(tmp_path: Path) -> None:
    undated = "".join(parity_part(read_comparison(write(tmp_path, comparison()), rn.spec("resnet20")), ENGLISH))
    assert "The file does not say when and on what machine." in undated
    assert "none was given (--comparison)" in "".join(parity_part(None, ENGLISH))


def test_a_comparison_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="received one of resnet20, which differs from this page's, resnet18"):
        read_comparison(write(tmp_path, comparison()), rn.spec("resnet18"))


def test_what_the_command_writes_is_read_with_its_date(tmp_path: Path) -> None:
    result = BackendResult(device="cpu", versions={"torch": "9"}, max_error={"logits": 0.0}, tolerances={"logits": 1.0})
    spec = rn.spec("resnet20")
    done = Comparison(
        spec=spec, level="logits", dtype="float32", asked_device="cpu", reference="numpy", batch=4,
        backends={"torch": result},
    )  # fmt: skip
    made = {"date": datetime.now(UTC).date().isoformat(), "machine": machine()}
    _report(done, tmp_path / "made.json", made)
    found = read_comparison(tmp_path / "made.json", spec)
    assert found.made is not None
    assert found.made.date == made["date"]
    assert {"cpu", "cores"} <= set(found.made.machine)
    assert found.backends["torch"].equal


def run(name: str, accuracies: list[float]) -> RunCurves:
    epochs = [EpochRecord(10 * n, n, 1.0 / n, a, 2.0 / n, a, 1.0, name) for n, a in enumerate(accuracies, start=1)]
    return RunCurves(name, "resnet20", "fashion-adam", (), tuple(epochs), ())


def test_runs_are_drawn_over_each_other() -> None:
    html = "".join(runs_part([run("torch", [0.5, 0.8]), run("flax", [0.5, 0.7875])], ENGLISH))
    assert html.count('class="curve look-0"') == html.count('class="curve look-1"') == 4  # two plots and their legends
    assert html.count('class="spot look-1"') == 4  # a run of one epoch is a dot
    assert "flax: 2 epochs in flax, test accuracy 78.75 %." in html
    assert "torch ends at 0.8; flax ends at 0.787" in html
    assert "no runs were given (--runs)" in "".join(runs_part([], ENGLISH))
    with pytest.raises(InputError, match=r"^runs: torch has no finished epoch"):
        require_epochs([run("torch", [])])


def test_the_higher_value_is_drawn_higher() -> None:
    drawn = plot("one", ("x", "y"), [Curve("a", [(0, 0.1), (10, 0.4)])])
    (x0, y0), (x1, y1) = (map(float, point.split()) for point in re.search(r'd="M([\d. ]+)L([\d. ]+)"', drawn).groups())
    assert x1 > x0
    assert y1 < y0


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.17, 0.89), (0.0, 546.0), (2.0, 2.0), (-3.0, 1e-3), (0.0, 1e-9)])
def test_ticks_are_round_and_enclose(bounds: tuple[float, float]) -> None:
    found = ticks(*bounds)
    assert 2 <= len(found) <= 9
    assert found[0] <= bounds[0] + 1e-12
    assert found[-1] >= bounds[1] - 1e-12
    assert all(len(f"{value:g}") <= 7 for value in found)


def test_every_framework_documents_what_it_has() -> None:
    """Kinds that no framework has by a name have no entry; the others have at least PyTorch's and Keras'."""
    kinds = {k for k in vars(tree).values() if isinstance(k, type) and issubclass(k, tree.Leaf) and k is not tree.Leaf}
    own = {tree.BlurPool, tree.Subsample, tree.PadChannels, tree.GlobalConcatPool, tree.DropPath, tree.FrozenNorm}
    assert set(PAGES) == kinds - own
    for pages in PAGES.values():
        assert {"torch", "keras"} <= set(pages) <= set(FRAMEWORKS)
        assert all(address.startswith("https://") and name for name, address in pages.values())
