"""Degradation: the curves of a plain and a residual network in `resnet lesson`, from two runs of `resnet train`.

The runs differ in one field of the spec. Train both, on one core each, then record them:

    resnet train plain56.toml --data fashion-mnist --recipe fashion-resnet20 --epochs 3 --backend torch --out plain
    resnet train resnet56.toml … --out residual
    python benchmarks/degradation.py --residual residual --plain plain

Each file of a spec is in the recorded file, under `spec`. Both curves are cut to the steps that both runs have.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any

from resnet_core.analysis import totals
from resnet_core.architecture import layer_tree
from resnet_core.benchmark.machine import machine
from resnet_core.lessons.degradation import FILE
from resnet_core.specification import ResNetSpec, to_fields
from resnet_core.training.curves import read_curves
from resnet_core.training.run_folder import RunFolder
from resnet_core.tree import Conv, Linear, leaves

#: Batches of which a point of a curve is the mean: twelve points an epoch of 468.
WINDOW = 39

TARGET = Path(__file__).parents[1] / "resnet_core" / "lessons" / FILE


def main() -> None:
    """Read both runs and write the file."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("residual", "plain"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="folder of the run")
    parser.add_argument("--date", default=date.today().isoformat(), help="when they were trained")
    options = parser.parse_args()
    TARGET.write_text(json.dumps(record(options.residual, options.plain, options.date), indent=1) + "\n")


def record(residual: Path, plain: Path, when: str) -> dict[str, Any]:
    """The content of the file."""
    specs = {name: RunFolder(folder).open() for name, folder in (("residual", residual), ("plain", plain))}
    networks = {name: spec for name, (spec, _, _) in specs.items()}
    about = specs["residual"][2]
    recipe = specs["residual"][1]
    if recipe != specs["plain"][1] or networks["residual"] != _like(networks["plain"], networks["residual"]):
        raise SystemExit("the two runs differ in more than the shortcut")
    curves = dict(zip(("residual", "plain"), read_curves([residual, plain]), strict=True))
    steps = min(len(curve.steps) for curve in curves.values()) // WINDOW * WINDOW
    epochs = min(len(curve.epochs) for curve in curves.values())
    facts = machine()
    counts = {totals(network).parameters for network in networks.values()}
    (parameters,) = counts
    versions = ", ".join(f"{name} {version}" for name, version in about["sessions"][-1]["versions"].items())
    found = {
        "date": when,
        "command": f"resnet train SPEC --data fashion-mnist --recipe fashion-resnet20 --epochs {recipe.epochs} "
        f"--backend {about['sessions'][-1]['backend']}",
        "versions": versions,
        "machine": f"{facts['cpu']}, one core",
        "window": WINDOW,
        "steps": steps,
        "layers": _depth(networks["residual"]),
        "parameters": parameters,
    }
    return {
        **found,
        **{
            name: {"spec": to_fields(networks[name]), **_points(curves[name], steps, epochs)}
            for name in ("residual", "plain")
        },
    }


def _like(spec: ResNetSpec, other: ResNetSpec) -> ResNetSpec:
    """The spec with the other's name and shortcut."""
    return ResNetSpec(**{**to_fields(spec), "name": other.name, "shortcut": other.shortcut})


def _depth(spec: ResNetSpec) -> int:
    """Convolutions on the longest way, and the linear layer, as He et al. count."""
    found = leaves(layer_tree(spec))
    return sum(isinstance(leaf, Conv | Linear) for path, leaf in found if ".shortcut." not in path)


def _points(curve: Any, steps: int, epochs: int) -> dict[str, list[tuple[int, float]]]:
    errors = [1 - record["accuracy"] for record in curve.steps[:steps]]
    training = [(WINDOW * n, sum(part) / WINDOW) for n, part in enumerate(_parts(errors), start=1)]
    test = [(epoch.step, 1 - epoch.test_accuracy) for epoch in curve.epochs[:epochs] if epoch.step <= steps]
    return {name: [(x, round(y, 4)) for x, y in points] for name, points in (("training", training), ("test", test))}


def _parts(errors: list[float]) -> list[list[float]]:
    """The errors, `WINDOW` at a time."""
    return [errors[start : start + WINDOW] for start in range(0, len(errors), WINDOW)]


if __name__ == "__main__":
    main()
