"""Do the frameworks' runs diverge only because of rounding? The first steps of a recipe, in float32 and float64.

In float32, a framework's own noise is the change of its losses when the rows of every batch are in another order: the
same sums, rounded differently. Two frameworks that compute the same may differ by the noise of both, but no more. In
float64 they must be equal. A planted defect shows what each check is able to detect.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure.frameworks import TIME_LIMIT, add_framework_option
from measure.losses import difference, differences, parting
from measure.report import Report, parse_with_output_options

import resnet_core as rn
from resnet_core.data.named import dataset
from resnet_core.initialization import initialize
from resnet_core.spec_files import to_json
from resnet_core.training.contract import TrainingState
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import recipe, recipe_to_json
from resnet_core.weights import Weights
from resnet_core.workers.parent import Worker

#: Number of other row orders that are tried; the noise is the largest change.
ORDERS = 2
#: Largest allowed difference of a loss in float64, the same as in the tests.
EXACT = 1e-11

#: Small defects that resemble real differences between frameworks: Keras' default epsilon, a little weight decay.
PLANTED = {"adam": {"epsilon": 1e-7}, "adamw": {"epsilon": 1e-7}, "sgd": {"weight_decay": 1e-6}}


@dataclass(frozen=True)
class Run:
    """What every framework gets: weights to start from, and batches (steps, batch, …)."""

    network: rn.ResNetSpec
    dtype: str
    weights: Weights
    images: np.ndarray
    labels: np.ndarray


def main() -> int:
    options = _options()
    report = Report(
        name=f"rounding-{options.recipe}",
        title=f"{options.spec}, recipe {options.recipe}: the first losses",
        columns=("dtype", "seed", "steps", "run", "against", "allowed", "difference", "1 % from step", "verdict"),
        settings={name: getattr(options, name) for name in ("spec", "recipe", "seeds")},
        timed=False,
    )
    apart = False
    for dtype in options.dtypes:
        # In float64 one seed is enough: the result does not depend on luck.
        for seed in range(options.seeds if dtype == "float32" else 1):
            apart |= _compare(report, options, dtype, seed)
    report.notes.append(
        "Difference: the largest relative difference of a loss. Allowed: in float32 the noise of both, which is the "
        f"change of a loss when the rows of every batch are in {ORDERS} other orders; in float64 {EXACT:g}. The last "
        "row of a seed is a planted defect."
    )
    report.finish(options)
    return 1 if apart else 0


def _compare(report: Report, options: Namespace, dtype: str, seed: int) -> bool:
    """Add the rows for one dtype and seed. Returns whether two frameworks differ by more than allowed."""
    steps, orders = (options.steps, ORDERS) if dtype == "float32" else (options.double_steps, 0)
    plan = recipe(options.recipe, seed=seed, steps=steps)
    pipeline = Pipeline(dataset("fashion-mnist", options.data_dir), plan, rn.spec(options.spec))
    images, labels = (np.stack(parts) for parts in zip(*map(pipeline.batch, range(steps)), strict=True))
    network = rn.spec(options.spec, input_size=list(pipeline.size))
    run = Run(network, dtype, initialize(network, seed, dtype), images, labels)

    first, *others = options.frameworks
    runs = {name: _losses(report, name, run, plan, orders) for name in options.frameworks}
    noise = {name: max((difference(other, own) for other in rest), default=0.0) for name, (own, *rest) in runs.items()}
    changed = PLANTED[plan.optimizer]
    planted = f"{first} with " + ", ".join(f"{name} {value:g}" for name, value in changed.items())
    runs[planted], noise[planted] = _losses(report, first, run, recipe(plan, **changed), 0), noise[first]

    apart = False
    for name in (*others, planted):
        own, reference = runs[name][0], runs[first][0]
        found, allowed = difference(own, reference), noise[first] + noise[name] if orders else EXACT
        apart |= found > allowed and name != planted
        verdict = "differs" if found > allowed else "equal"
        step = str(parting(differences(own, reference)) or "none")
        row = (dtype, str(seed), str(steps), name, first, f"{allowed:.1e}", f"{found:.1e}", step, verdict)
        facts = {"dtype": dtype, "seed": seed, "run": name, "against": first, "allowed": allowed, "difference": found}
        report.add(row, {**facts, "verdict": verdict, "losses": {"run": own.tolist(), "against": reference.tolist()}})
    return apart


def _losses(report: Report, framework: str, run: Run, plan: Recipe, orders: int) -> list[np.ndarray]:
    """The losses of the run, then those with the rows in other orders."""
    start = TrainingState(run.weights).to_arrays()
    found = []
    with Worker() as engine:
        facts, _ = engine.call("open_backend", backend=framework, device="cpu", dtype=run.dtype)
        report.versions |= facts["versions"]
        for order in range(orders + 1):
            rows = np.arange(run.labels.shape[1])
            if order:  # random, since sums of neighbors hardly change under a shift
                rows = np.random.default_rng(order).permutation(rows)
            batches = {"images": run.images[:, rows], "labels": run.labels[:, rows]}
            _, answer = engine.call(
                "train_steps",
                {**batches, **start},
                spec=to_json(run.network),
                recipe=recipe_to_json(plan),
                dtype=run.dtype,
                time_limit=TIME_LIMIT,
            )
            found.append(answer["loss"])
    return found


def _options() -> Namespace:
    parser = ArgumentParser(description="Whether the frameworks' runs part by rounding alone.")
    add_framework_option(parser)
    parser.add_argument("--data-dir", type=Path, required=True, help="where Fashion-MNIST's four files are")
    parser.add_argument("--spec", default="resnet18_d2l", help="a name from `resnet list` (%(default)s)")
    parser.add_argument("--recipe", default="fashion-adam", help="a recipe's name or file (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="in float32 (%(default)s)")
    parser.add_argument("--double-steps", type=int, default=4, help="in float64, where a step takes long (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--dtypes", default="float32,float64", type=lambda text: text.split(","), help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two steps, one seed: does it run?")
    options = parse_with_output_options(parser)
    if options.quick:
        options.steps, options.double_steps, options.seeds = 2, 1, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
