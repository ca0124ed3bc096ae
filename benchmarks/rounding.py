"""Do the frameworks' runs part by rounding alone? The first steps of a recipe, in float32 and in float64.

A framework's own noise is what its losses change by when the rows of every batch come in another order: the same sums,
rounded otherwise. Two frameworks that compute the same may differ by the noise of both, and by no more. The same check
is asked about a planted defect, so that it is seen what the check can see.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
from measure.frameworks import TIME_LIMIT, add_framework_option
from measure.losses import difference, parting
from measure.report import Report, parse_with_output_options

import resnet_core as rn
from resnet_core.datasets import dataset
from resnet_core.engine import Engine
from resnet_core.initialize import initialize
from resnet_core.pipeline import Pipeline
from resnet_core.recipe import Recipe
from resnet_core.recipe_files import recipe, recipe_to_json
from resnet_core.spec_files import to_json

#: How many other orders of the rows the noise is taken from, the largest.
ORDERS = 2

#: Small defects of the kind that frameworks really differ by: Keras' default epsilon, a little decay.
PLANTED = {"adam": {"epsilon": 1e-7}, "adamw": {"epsilon": 1e-7}, "sgd": {"weight_decay": 1e-6}}

Runs = dict[str, list[np.ndarray]]


def main() -> int:
    options = _options()
    report = Report(
        name=f"rounding-{options.recipe}",
        title=f"{options.spec}, recipe {options.recipe}: the first {options.steps} losses",
        columns=("dtype", "seed", "run", "against", "noise of both", "difference", "1 % from step", "verdict"),
        settings={name: getattr(options, name) for name in ("spec", "recipe", "steps", "seeds")},
        timed=False,
    )
    apart = False
    for dtype in options.dtypes:
        # In float64 one seed is enough: nothing in it depends on luck.
        for seed in range(options.seeds if dtype == "float32" else 1):
            apart |= _compare(report, options, dtype, seed)
    report.notes.append(
        f"Noise: largest relative change of a loss with the rows of every batch in {ORDERS} other orders. Difference: "
        "largest of the losses. Planted: the first framework, with a defect that the check should catch."
    )
    report.finish(options)
    return 1 if apart else 0


def _compare(report: Report, options: Namespace, dtype: str, seed: int) -> bool:
    """Rows of one dtype and seed. True where two frameworks differ by more than rounding."""
    plan = recipe(options.recipe, seed=seed, steps=options.steps)
    first, *others = options.frameworks
    runs = {name: _losses(report, options, name, plan, dtype) for name in options.frameworks}
    changed = PLANTED[plan.optimizer]
    planted = f"{first} with " + ", ".join(f"{name} {value:g}" for name, value in changed.items())
    broken = recipe(options.recipe, seed=seed, steps=options.steps, **changed)
    runs[planted] = [_losses(report, options, first, broken, dtype, orders=0)[0], *runs[first][1:]]
    apart = False
    for name in (*others, planted):
        noise = sum(max(difference(other, own[0]).max() for other in own[1:]) for own in (runs[first], runs[name]))
        largest = difference(runs[name][0], runs[first][0])
        within = bool(largest.max() <= noise)
        apart |= not within and name != planted
        step = parting(largest)
        verdict = "rounding" if within else "differs"
        row = (dtype, str(seed), name, first, f"{noise:.1e}", f"{largest.max():.1e}", str(step or "none"), verdict)
        losses = {"first": runs[first][0].tolist(), "run": runs[name][0].tolist()}
        keys = ("dtype", "seed", "run", "against", "verdict")
        facts = dict(zip(keys, (dtype, seed, name, first, verdict), strict=True))
        report.add(row, {**facts, "noise": noise, "difference": largest.max(), "losses": losses})
    return apart


def _losses(
    report: Report, options: Namespace, framework: str, plan: Recipe, dtype: str, orders: int = ORDERS
) -> list[np.ndarray]:
    """The losses of the run, then those with the rows in other orders."""
    network = rn.spec(options.spec, input_size=plan.resize or 28)
    pipeline = Pipeline(dataset("fashion-mnist", options.data_dir), plan, network)
    images, labels = (np.stack(parts) for parts in zip(*map(pipeline.batch, range(options.steps)), strict=True))
    weights = {f"weight.{name}": array for name, array in initialize(network, plan.seed, dtype).items()}
    found = []
    with Engine() as engine:
        facts, _ = engine.call("open_backend", backend=framework, device="cpu", dtype=dtype)
        report.versions |= facts["versions"]
        for order in range(orders + 1):
            batches = {"images": np.roll(images, order, axis=1), "labels": np.roll(labels, order, axis=1)}
            _, answer = engine.call(
                "train_steps",
                {**batches, **weights},
                spec=to_json(network),
                recipe=recipe_to_json(plan),
                dtype=dtype,
                time_limit=TIME_LIMIT,
            )
            found.append(answer["loss"])
    return found


def _options() -> Namespace:
    parser = ArgumentParser(description="Whether the frameworks' runs part by rounding alone.")
    add_framework_option(parser)
    parser.add_argument("--data-dir", type=Path, required=True, help="where Fashion-MNIST's four files are")
    parser.add_argument("--spec", default="resnet18_d2l", help="a name from `resnet list` (%(default)s)")
    parser.add_argument("--recipe", default="fashion-adam", help="a name from `resnet train --help` (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--dtypes", default="float32,float64", type=lambda text: text.split(","), help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two steps, one seed: does it run?")
    options = parse_with_output_options(parser)
    if options.quick:
        options.steps, options.seeds = 2, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
