"""The reference's backward pass, leaf by leaf, against finite differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

import numpy as np
import pytest

from node_kinds import COMBINATORS, LEAVES
from resnet_core import parameters, tree
from resnet_core.padding import symmetric
from resnet_core.training.contract import TrainingState
from resnet_core.training.parameters import Treatment
from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import step_numbers
from resnet_numpy.lowering import Pass, run
from resnet_numpy.optimizer import Optimizer
from resnet_numpy.trainer import cross_entropy

#: Step of the central difference, and what it is good for: rounding 1e-16 / 1e-6, curvature 1e-12.
STEP, TOLERANCE = 1e-6, 1e-8

BLOCK = tree.Residual(
    pre=tree.Chain((("norm1", tree.BatchNorm(4, 1e-5, 0.9)), ("relu1", tree.ReLU()))),
    body=tree.Chain((("conv1", tree.Conv(4, 6, (3, 3), (2, 2), symmetric(3))),)),
    shortcut=tree.Chain((("conv", tree.Conv(4, 6, (1, 1), (2, 2), bias=True)),)),
    post=tree.Chain((("relu", tree.ReLU()),)),
)

#: What the random layers multiply by; by chance, half of it is 0.
FACTORS = {"node": np.array([2.0, 0.0])}

NODES: dict[str, tree.Node] = {
    "conv": tree.Conv(4, 6, (3, 3), padding=symmetric(3), bias=True),
    "conv, stride 2": tree.Conv(4, 6, (3, 3), (2, 2), symmetric(3)),
    "conv, same": tree.Conv(4, 6, (3, 3), (2, 2), "same"),
    "conv, dilated": tree.Conv(4, 6, (3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
    "conv, grouped": tree.Conv(4, 6, (3, 3), padding=symmetric(3), groups=2, bias=True),
    "conv, not square": tree.Conv(4, 2, (3, 2), (2, 1), ((1, 0), (0, 1))),
    "conv, standardized": tree.Conv(4, 6, (3, 3), groups=2, bias=True, standardize=1e-2),
    "norm": tree.BatchNorm(4, 1e-3, 0.9),
    "frozen norm": tree.FrozenNorm(4, 1e-3),
    "group norm": tree.GroupNorm(4, 2, 1e-3),
    "layer norm": tree.LayerNorm(4, 1e-3),
    "relu": tree.ReLU(),
    **{function: tree.Activation(function) for function in get_args(tree.Function)},
    "max-pool": tree.MaxPool((3, 3), (2, 2), symmetric(3)),
    "max-pool, same": tree.MaxPool((3, 3), (2, 2), "same"),
    "average pool": tree.AveragePool((2, 2), (2, 2)),
    "average pool, dilated": tree.AveragePool((2, 2), (1, 2), (2, 1)),
    "average pool, partial": tree.AveragePool((2, 2), (2, 2), (2, 1), partial=True),
    "blur": tree.BlurPool((2, 2)),
    "blur, dilated": tree.BlurPool((1, 2), (3, 2)),
    "pad": tree.Pad(((1, 2), (0, 3))),
    "subsample": tree.Subsample((2, 2)),
    "pad channels": tree.PadChannels(1, 3),
    "global average pool": tree.GlobalAveragePool(),
    "global max-pool": tree.GlobalMaxPool(),
    "global average and max-pool": tree.GlobalConcatPool(),
    "channel conv": tree.Chain((("pool", tree.GlobalAveragePool()), ("conv", tree.ChannelConv(3)))),
    "gate": tree.Gate(tree.Chain((("pool", tree.GlobalAveragePool()), ("linear", tree.Linear(4, 4))))),
    "dropout": tree.Dropout(0.5),
    "drop path": tree.DropPath(0.5),
    "linear, dense": tree.Linear(4, 5, dense=True),
    "chain": tree.Chain((("pool", tree.GlobalAveragePool()), ("linear", tree.Linear(4, 5)))),
    "residual": BLOCK,
}


def derivative(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """The gradient of a function by central differences, number by number."""
    result = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        kept = x[index]
        x[index] = kept + STEP
        above = function(x)
        x[index] = kept - STEP
        result[index] = (above - function(x)) / (2 * STEP)
        x[index] = kept
    return result


def close(found: np.ndarray, truth: np.ndarray) -> bool:
    return bool(np.abs(found - truth).max() <= TOLERANCE * max(1.0, np.abs(truth).max()))


def example(node: tree.Node) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    weights = {
        f"{path}.{name}": rng.uniform(0.5, 1.5, shape) if role == "statistic" else rng.standard_normal(shape)
        for path, leaf in tree.leaves(node, "node")
        for name, (shape, role, _) in leaf.tensors().items()
    }
    return rng.standard_normal((2, 7, 6, 4)), weights


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NODES)
def test_every_pullback_is_the_derivative(name: str, training: bool) -> None:
    node = NODES[name]
    x, weights = example(node)
    state = Pass(weights, training, differentiate=True, factors=FACTORS)
    y, pullback = run(node, x, "node", state)
    cotangent = np.random.default_rng(6).standard_normal(y.shape)
    dx = pullback(cotangent)

    def value(_: np.ndarray) -> float:
        return float((run(node, x, "node", Pass(weights, training, factors=FACTORS))[0] * cotangent).sum())

    assert close(dx, derivative(value, x))
    trained = parameters(tree.Chain((("node", node),)))
    assert state.gradients.keys() == set(trained)
    for tensor in trained:
        assert close(state.gradients[tensor], derivative(value, weights[tensor])), tensor


def without_a_case(nodes: Iterable[tree.Node]) -> set[type]:
    """The leaves and combinators of the tree that none of the nodes is."""
    return {*LEAVES, *COMBINATORS} - {type(part) for node in nodes for _, part in tree.walk(node)}


def test_every_leaf_and_combinator_has_a_case() -> None:
    assert without_a_case(NODES.values()) == set()
    assert without_a_case(node for name, node in NODES.items() if name != "subsample") == {tree.Subsample}


def test_a_wrong_pullback_is_caught() -> None:
    node = NODES["norm"]
    x, weights = example(node)
    _, pullback = run(node, x, "node", Pass(weights, training=False, differentiate=True))  # constants for statistics
    cotangent = np.random.default_rng(6).standard_normal(x.shape)

    def value(_: np.ndarray) -> float:
        return float((run(node, x, "node", Pass(weights, training=True))[0] * cotangent).sum())

    assert not close(pullback(cotangent), derivative(value, x))


def test_of_equal_values_in_a_max_pool_the_first_takes_all() -> None:
    x = np.zeros((1, 3, 3, 1))
    _, pullback = run(tree.MaxPool((3, 3), (1, 1)), x, "pool", Pass({}, differentiate=True))
    assert pullback(np.ones((1, 1, 1, 1))).ravel().tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_the_gradient_of_the_loss_is_its_derivative() -> None:
    rng = np.random.default_rng(7)
    logits, targets = rng.standard_normal((3, 5)), rng.dirichlet(np.ones(5), 3)
    _, gradient = cross_entropy(logits, targets)
    truth = derivative(lambda x: cross_entropy(x, targets)[0], logits)
    assert close(gradient, truth)
    assert not close(3 * gradient, truth), "the mean over the batch, not the sum"


def test_the_loss_of_confident_logits_is_no_infinity() -> None:
    logits = np.array([[1000.0, 0.0]])
    assert cross_entropy(logits, np.array([[1.0, 0.0]]))[0] == 0.0
    assert cross_entropy(logits, np.array([[0.0, 1.0]]))[0] == 1000.0


def optimized(gradients: list[float], **fields: object) -> list[float]:
    """A single weight that starts at 1, step by step."""
    recipe = Recipe(**{"learning_rate": 0.1, "steps": 9, "batch_size": 1, **fields})  # type: ignore[arg-type]
    state = TrainingState({"conv.weight": np.ones(1)})
    treatment = Treatment(recipe.weight_decay, dict(recipe.rates).get("conv", 1.0))
    optimizer, weights, course = Optimizer(recipe, state, {"conv.weight": treatment}), dict(state.weights), []
    for step, gradient in enumerate(gradients):
        weights = optimizer.update(weights, {"conv.weight": np.array([gradient])}, step_numbers(recipe, 1, step))
        course.append(float(weights["conv.weight"][0]))
    return course


def test_the_optimizers_by_hand() -> None:
    assert optimized([1.0, 1.0]) == pytest.approx([0.9, 0.8])
    assert optimized([1.0, 1.0], momentum=0.5) == pytest.approx([0.9, 0.75])  # buffers 1, 1.5
    assert optimized([1.0, 1.0], momentum=0.5, nesterov=True) == pytest.approx([0.85, 0.675])  # 1.5, 1.75
    assert optimized([0.0], weight_decay=0.5) == pytest.approx([0.95])  # coupled: 1 - 0.1 * 0.5
    assert optimized([3.0], optimizer="adam") == pytest.approx([0.9])  # the first step is the sign
    # Coupled, the decay is normalized away; decoupled, it shrinks the weight by itself.
    assert optimized([3.0], optimizer="adam", weight_decay=0.5) == pytest.approx([0.9])
    assert optimized([3.0], optimizer="adamw", weight_decay=0.5) == pytest.approx([0.85])
    assert optimized([3.0], clip_norm=2.0) == pytest.approx([0.8])  # and a norm below 2 stays
    assert optimized([1.5], clip_norm=2.0) == pytest.approx([0.85])
    assert optimized([1.0], rates={"conv": 3.0}) == pytest.approx([0.7])
    assert optimized([0.0], optimizer="adamw", weight_decay=0.5, rates={"conv": 3.0}) == pytest.approx([0.85])
    # A drop of the rate acts at once: the rate is not inside the buffer.
    drop = {"momentum": 0.5, "schedule": "step", "milestones": [1], "factor": 0.1}
    assert optimized([1.0, 1.0], **drop) == pytest.approx([0.9, 0.885])
