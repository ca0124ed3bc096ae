"""Planted defects: what a wrong backend would do, planted in the backend at hand. Every check catches one.

A defect replaces a verb of the package, lets it lower a wrong tree, or hands it wrong weights. The backend itself stays
as it is: a proxy stands before it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import numpy as np

from resnet_core import tree
from resnet_core.architecture import layer_tree
from resnet_core.conformance.changes import TREE_CHANGES, WEIGHT_CHANGES, TreeChange, WeightChange
from resnet_core.conformance.checks.gradients import KINKS
from resnet_core.conformance.networks import TAPPED, TRAINED
from resnet_core.errors import InputError
from resnet_core.initialization import initialize
from resnet_core.rewrite import rewrite
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import step_numbers

#: From a backend, the verbs that the defect has instead.
Plant = Callable[[Any], dict[str, Any]]


class Proxy:
    """The backend, but for the verbs that are given."""

    def __init__(self, backend: Any, verbs: Mapping[str, Any]) -> None:
        self._backend = backend
        vars(self).update(verbs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


@dataclass(frozen=True, slots=True)
class Defect:
    """What is planted, and the check, with its case, that has to catch it."""

    check: str
    case: str
    plant: Plant
    dtype: str = "float32"


def _verb(name: str, wrong: Callable[..., Any]) -> Plant:
    """The verb is `wrong(the right verb, …)`."""
    return lambda backend: {name: lambda *given, **named: wrong(getattr(backend, name), *given, **named)}


def _result(name: str, change: Callable[[Any], Any]) -> Plant:
    """The verb's result is changed; of a dict with taps every array."""
    return _verb(name, lambda right, *given, **named: change(right(*given, **named)))


def _fast(change: Callable[[Any, Any, Any], Any]) -> Plant:
    """What becomes of (backend, the model, its fast form)."""
    return lambda backend: {
        "fast": lambda model, *, compiled=True: change(backend, model, backend.fast(model, compiled=compiled))
    }


def _resident(images: Callable[[Any], Any], output: Callable[[Any], Any]) -> Plant:
    """What becomes of the images on their way to the device, and of the output on its way back."""

    def plant(backend: Any) -> dict[str, Any]:
        @contextmanager
        def resident(model: Any, given: Any) -> Iterator[Any]:
            with backend.resident(model, images(given)) as run:
                yield replace(run, fetch=lambda found: output(run.fetch(found)))

        return {"resident": resident}

    return plant


def _twice(backend: Any, model: Any) -> Any:
    """The model, whose every weight is doubled."""
    backend.set_weights(model, {name: 2 * array for name, array in backend.get_weights(model).items()})
    return model


def _each(change: Callable[[np.ndarray], Any]) -> Callable[[Any], Any]:
    return lambda found: {k: change(v) for k, v in found.items()} if isinstance(found, dict) else change(found)


def _lowering(name: str) -> Plant:
    """Models of a wrong tree, or with wrong weights, by the change's name."""
    change: TreeChange = TREE_CHANGES.get(name, lambda root: root)
    weigh: WeightChange = WEIGHT_CHANGES.get(name, lambda weights: weights)

    def plant(backend: Any) -> dict[str, Any]:
        def build_tree(root: tree.Chain, *, weights: Any, **named: Any) -> Any:
            return backend.build_tree(change(root), weights=weigh(dict(weights)), **named)

        def build(spec: Any, *, weights: Any = None, seed: int = 0, dtype: Any = None, **named: Any) -> Any:
            given = initialize(spec, seed, dtype or "float32") if weights is None else weights
            return build_tree(layer_tree(spec), channels=spec.in_channels, weights=given, dtype=dtype, **named)

        return {"build": build, "build_tree": build_tree}

    return plant


def _other_dtype(instead: Mapping[str, str]) -> Plant:
    """Models of other dtypes than they are asked for."""

    def plant(backend: Any) -> dict[str, Any]:
        def wrong(verb: str) -> Callable[..., Any]:
            return lambda *given, dtype=None, **named: getattr(backend, verb)(
                *given, dtype=instead.get(dtype, dtype), **named
            )

        return {verb: wrong(verb) for verb in ("build", "build_tree")}

    return plant


def _plain_convolutions(verb: str) -> Plant:
    """The verb computes with convolutions of float32, whatever the tree says."""

    def plain(backend: Any, root: tree.Chain, **named: Any) -> Any:
        return backend.build_tree(rewrite(root, tree.Conv, lambda conv: replace(conv, dtype=None)), **named)

    def plant(backend: Any) -> dict[str, Any]:
        def wrong(model: Any, *given: Any, **named: Any) -> Any:
            weights = backend.get_weights(model)
            first = next(leaf for _, leaf in tree.leaves(model.tree) if isinstance(leaf, tree.Conv))
            other = plain(backend, model.tree, channels=first.in_channels, weights=weights, dtype="float32")
            return getattr(backend, verb)(other, *given, **named)

        return {verb: partial(plain, backend) if verb == "build_tree" else wrong}

    return plant


def _accepts_incomplete(right: Any, spec: Any, *, weights: Any = None, dtype: Any = None, **named: Any) -> Any:
    whole = None if weights is None else {**initialize(spec, 0, dtype or "float32"), **weights}
    return right(spec, weights=whole, dtype=dtype, **named)


def _aliased_weights(backend: Any) -> dict[str, Any]:
    """get_weights hands out the same arrays each time."""
    kept: dict[int, Any] = {}

    def get_weights(model: Any) -> Any:
        return kept.setdefault(id(model), (model, backend.get_weights(model)))[1]  # the model, so that its id stays its

    def set_weights(model: Any, weights: Any) -> None:
        backend.set_weights(model, weights)
        kept.pop(id(model), None)

    return {"get_weights": get_weights, "set_weights": set_weights}


def _set_before_checking(backend: Any) -> dict[str, Any]:
    """set_weights refuses only after it has taken what fits."""

    def set_weights(model: Any, weights: Any) -> None:
        present = backend.get_weights(model)
        fits = {k: v for k, v in weights.items() if k in present and v.shape == present[k].shape}
        taken = {k: v for k, v in fits.items() if v.dtype == present[k].dtype and np.isfinite(v).all()}
        backend.set_weights(model, {**present, **{k: v for k, v in taken.items() if (v >= 0).all()}})
        backend.set_weights(model, weights)

    return {"set_weights": set_weights}


def _moved_statistics(verb: str, change: Callable[[str, np.ndarray], np.ndarray]) -> Plant:
    """The verb leaves other weights in the model."""

    def plant(backend: Any) -> dict[str, Any]:
        def wrong(model: Any, *given: Any) -> Any:
            result = getattr(backend, verb)(model, *given)
            backend.set_weights(model, {k: change(k, v) for k, v in backend.get_weights(model).items()})
            return result

        return {verb: wrong}

    return plant


def _of_variances(factor: float) -> Callable[[str, np.ndarray], np.ndarray]:
    return lambda name, value: (value * factor).astype(value.dtype) if name.endswith("running_var") else value


def _other_mode(backend: Any) -> dict[str, Any]:
    """After predict a module is in another mode than before."""
    switched: list[bool] = []

    def predict(model: Any, images: Any) -> Any:
        switched.append(True)
        return backend.predict(model, images)

    return {"predict": predict, "modes": lambda model: (len(switched), backend.modes(model))}


def _drawing(verb: str) -> Plant:
    """The verb draws from Python's random numbers."""

    def wrong(right: Any, *given: Any, **named: Any) -> Any:
        random.random()
        return right(*given, **named)

    return _verb(verb, wrong)


def _careless(verb: str) -> Plant:
    """The verb swallows every refusal."""

    def wrong(right: Any, *given: Any, **named: Any) -> Any:
        try:
            return right(*given, **named)
        except InputError:
            return None

    return _verb(verb, wrong)


def _native_error(verb: str) -> Plant:
    """A refusal is the framework's error."""

    def wrong(right: Any, *given: Any, **named: Any) -> Any:
        try:
            return right(*given, **named)
        except InputError as error:
            raise RuntimeError(str(error)) from error

    return _verb(verb, wrong)


def _ramp(right: Any, model: Any, images: np.ndarray, cotangent: np.ndarray) -> Any:
    """Later pixels are a millionth larger, so that they win a tie, and zeros are above zero."""
    ramp = np.arange(1, images[0, ..., 0].size + 1, dtype=np.float32).reshape(images.shape[1:3]) * 2.0**-20
    return right(model, images + ramp[..., None] * (np.arange(images.shape[3]) == 0), cotangent)


def _trainer(
    recipe: Callable[[Recipe, TrainingState], Recipe] = lambda recipe, state: recipe,
    start: Callable[[TrainingState], TrainingState] = lambda state: state,
    given: Callable[[StepInputs], StepInputs] = lambda inputs: inputs,
    result: Callable[[Any], Any] = lambda result: result,
    output: Callable[[Any], Any] = lambda output: output,
    end: Callable[[TrainingState], TrainingState] = lambda state: state,
) -> Plant:
    """A Trainer with something changed on its way in or out."""

    def plant(backend: Any) -> dict[str, Any]:
        class Trainer:
            inputs = backend.Trainer.inputs

            def __init__(self, spec: Any, plan: Recipe, state: TrainingState, *, dtype: Any = None) -> None:
                self._right = backend.Trainer(spec, recipe(plan, state), start(state), dtype=dtype)

            def step(self, inputs: StepInputs) -> Any:
                return result(self._right.step(given(inputs)))

            def predict(self, images: Any) -> Any:
                return output(self._right.predict(images))

            def state(self) -> TrainingState:
                return end(self._right.state())

        return {"Trainer": Trainer}

    return plant


def _predicts_in_training_mode(backend: Any) -> dict[str, Any]:
    """`predict` normalizes by the batch."""

    class Trainer(backend.Trainer):  # type: ignore[misc]
        def __init__(self, spec: Any, plan: Recipe, state: TrainingState, *, dtype: Any = None) -> None:
            super().__init__(spec, plan, state, dtype=dtype)
            self._planted = (spec, dtype)

        def predict(self, images: Any) -> Any:
            spec, dtype = self._planted
            return backend.train_forward(backend.build(spec, weights=self.state().weights, dtype=dtype), images)

    return {"Trainer": Trainer}


def _counts_what_fills_up(backend: Any) -> dict[str, Any]:
    """Rows that only fill a shard up are taken for the batch's."""

    class ParallelTrainer(backend.ParallelTrainer):  # type: ignore[misc]
        def step(self, inputs: StepInputs) -> Any:
            return super().step(replace(inputs, mask=None))

    return {"ParallelTrainer": ParallelTrainer}


def _learns_from_its_own_groups(backend: Any) -> dict[str, Any]:
    """Running statistics know nothing of the groups that other processes have."""

    class ParallelTrainer(backend.ParallelTrainer):  # type: ignore[misc]
        def __init__(self, spec: Any, plan: Recipe, state: TrainingState, *, dtype: Any = None, group: Any) -> None:
            super().__init__(spec, plan, state, dtype=dtype, group=group)
            self._planted = backend.Trainer(spec, plan, state, dtype=dtype)

        def step(self, inputs: StepInputs) -> Any:
            self._planted.step(replace(inputs, whole=None, mask=None))
            return super().step(inputs)

        def state(self) -> TrainingState:
            found, own = super().state(), self._planted.state().weights
            learned = {name: own[name] for name in own if name.rpartition(".")[2].startswith("running_")}
            return replace(found, weights={**found.weights, **learned})

    return {"ParallelTrainer": ParallelTrainer}


def _other(**changes: Any) -> Callable[[Recipe, TrainingState], Recipe]:
    return lambda recipe, state: msgspec.structs.replace(recipe, **changes)


def _kingmas_epsilon(recipe: Recipe, state: TrainingState) -> Recipe:
    """Added to the uncorrected root, as Keras has it; right for one step."""
    correction = step_numbers(recipe, 1, state.step).correction2
    return msgspec.structs.replace(recipe, epsilon=recipe.epsilon / correction)


def _hard_targets(inputs: StepInputs) -> StepInputs:
    classes = inputs.targets.shape[1]
    return replace(inputs, targets=np.eye(classes)[inputs.targets.argmax(1)])


def _constant_rate(inputs: StepInputs) -> StepInputs:
    return replace(inputs, numbers=replace(inputs.numbers, learning_rate=0.05))


def _next_images_factors(inputs: StepInputs) -> StepInputs:
    return replace(inputs, factors={path: np.roll(factors, 1, 0) for path, factors in inputs.factors.items()})


def _other_neighbors(inputs: StepInputs) -> StepInputs:
    return replace(inputs, images=np.roll(inputs.images, 1, 0), targets=np.roll(inputs.targets, 1, 0))


def _pictures_in_place(inputs: StepInputs) -> StepInputs:
    inputs.images[...] *= 0.5
    return inputs


def _state_in_place(state: TrainingState) -> TrainingState:
    for value in state.weights.values():
        value *= 0.5
    return state


def _every_slot(state: TrainingState) -> TrainingState:
    """With zeros for the parameters that have no slots."""
    zeros = {name: np.zeros_like(state.weights[name]) for name in TRAINED.parameters()}
    return replace(state, slots={slot: {**zeros, **kept} for slot, kept in state.slots.items()})


def _single_state(backend: Any) -> dict[str, Any]:
    """A Trainer whose states are all the same arrays."""

    class Trainer(backend.Trainer):  # type: ignore[misc]
        def state(self) -> TrainingState:
            found = super().state()
            if not hasattr(self, "_shared"):
                self._shared = found
            for name, value in found.weights.items():
                self._shared.weights[name][...] = value
            return self._shared

    return {"Trainer": Trainer}


PREDICT, TRAIN = "predict equals the reference", "train forward equals the reference"
GRADIENTS, STEP = "gradients equal the reference", "a step from a shared state equals the reference"
DROPPED = "a step multiplies by the factors of random layers"
GLOBAL, REFUSED = "no verb touches what is global", "weights that do not fit are refused and change nothing"
BUILT, NONE = "get weights returns what the model was built with", "images that are none are refused"
NATIVE = "native tensors have names of their own"
TIE = "a tie goes to the first and relu has no slope at zero"
INNER = "any node can be a tap"
ROUNDS = "convolutions round where the reference does"
GRADIENTS_ROUND = "gradients round where the reference does"
HALF_CLOSE = "half precision equals the reference as far as it goes"
SMALL = "resnet20"

#: A wrong tree or wrong weights: {change: (check, case) that catches it}.
LOWERED = {
    "SAME padding at stride 2": (PREDICT, "convolution, even padding at stride 2"),
    "symmetric instead of SAME max-pool": (PREDICT, "max-pool, same"),
    "height and width swapped in the SAME rule": (PREDICT, "max-pool, same"),
    "dilation lost": (PREDICT, "convolution, dilated"),
    "wrong epsilon": (PREDICT, "norm, first"),
    "wrong decay": (TRAIN, "norm"),
    "missing ReLU": (PREDICT, "residual, no shortcut"),
    "channels padded at the end": (PREDICT, "channel padding"),
    "averaging instead of subsampling": (PREDICT, "subsample"),
    "projection reads the raw input": (PREDICT, "residual, all parts"),
    "swapped gamma and variance": (PREDICT, "norm, first"),
    "swapped beta and mean": (PREDICT, "norm, first"),
    "kernels transposed": (PREDICT, "convolution"),
    "kernels flipped": (PREDICT, "convolution"),
    "channel kernels flipped": (PREDICT, "channel convolution"),
    "standardization lost": (PREDICT, "convolution, standardized"),
    "one group for all channels": (PREDICT, "group norm"),
    "layer norm over the whole map": (PREDICT, "layer norm"),
    "frozen norm with another epsilon": (PREDICT, "frozen norm"),
    "tanh for erf": (PREDICT, "gelu"),
    "zeros beyond the edge are averaged": (PREDICT, "average pool, partial"),
    "averaging instead of blurring": (PREDICT, "blur"),
    "average instead of maximum": (PREDICT, "global max-pool"),
    "a gate without a sigmoid": (PREDICT, "gate, squeeze and excitation"),
}

#: What is planted: {defect: where it is caught}.
DEFECTS: dict[str, Defect] = {
    "versions that are no texts": Defect(
        "what the process says has its types", "", _result("versions", lambda found: dict.fromkeys(found, 1))
    ),
    "a device of another name": Defect("a gpu is found or refused", "", _result("configure", lambda found: "cuda")),
    "gradients without a Trainer": Defect(
        "training is offered as a whole or not at all",
        "",
        lambda backend: {"gradients": backend.predict, "train_forward": None, "Trainer": None},
    ),
    "predict draws random numbers": Defect(GLOBAL, "", _drawing("predict")),
    "build draws random numbers": Defect(GLOBAL, "", _drawing("build")),
    "predict leaves another mode": Defect(GLOBAL, "", _other_mode),
    "get_weights returns twice the values": Defect(BUILT, "norm", _result("get_weights", _each(lambda a: 2 * a))),
    "get_weights in another order": Defect(
        BUILT, "norm", _result("get_weights", lambda found: dict(reversed(found.items())))
    ),
    "get_weights leaves a tensor out": Defect(
        BUILT, "norm", _result("get_weights", lambda found: dict(list(found.items())[:-1]))
    ),
    "set_weights does nothing": Defect(
        "set weights replaces all weights", SMALL, lambda backend: {"set_weights": lambda model, weights: None}
    ),
    "get_weights returns the model's own arrays": Defect(
        "weights are copied on their way in and out", "", _aliased_weights
    ),
    "incomplete weights are accepted": Defect(REFUSED, "a missing tensor", _verb("build", _accepts_incomplete)),
    "set_weights changes what it refuses": Defect(REFUSED, "an unknown tensor", _set_before_checking),
    "native_tensors gives one name to all": Defect(
        NATIVE,
        SMALL,
        _result("native_tensors", lambda found: {name: ("weight", shape) for name, (_, shape) in found.items()}),
    ),
    "native_tensors has another tensor's shape": Defect(
        NATIVE,
        SMALL,
        _result("native_tensors", lambda found: {name: (own, (7, *s[1:])) for name, (own, s) in found.items()}),
    ),
    "padding counts in several processes": Defect(
        "two processes take the steps of one", "", _counts_what_fills_up, "float64"
    ),
    "statistics learned from a process's own groups": Defect(
        "two processes take whole groups", "", _learns_from_its_own_groups, "float64"
    ),
    "fast changes the network": Defect(
        "what is fast computes the same", SMALL, _fast(lambda backend, model, quick: _twice(backend, quick))
    ),
    "fast changes the model that it was given": Defect(
        "what is fast computes the same", SMALL, _fast(lambda backend, model, quick: _twice(backend, model) and quick)
    ),
    "fast forgets the taps": Defect(
        "what is fast has the same taps",
        "with norms",
        _fast(lambda backend, model, quick: TAPPED["with norms"][0].build(backend, "float32")),
    ),
    "resident images are others": Defect(
        "what is resident computes the same", SMALL, _resident(lambda images: images[::-1], lambda output: output)
    ),
    "resident outputs in half precision": Defect(
        "what is resident computes the same",
        "with norms",
        _resident(lambda images: images, _each(lambda array: array.astype(np.float16).astype(array.dtype))),
    ),
    "the seed is ignored": Defect(
        "a seed is the specs initial weights",
        SMALL,
        _verb("build", lambda right, spec, **named: right(spec, **{**named, "seed": 0})),
    ),
    "no dtype is float64": Defect(
        "no dtype is float32 and another is refused", "", _result("get_weights", _each(lambda a: a.astype(np.float64)))
    ),
    "early taps lose the head's weights": Defect(
        "a model with early taps has all weights",
        "",
        _result("get_weights", lambda found: {k: v for k, v in found.items() if not k.startswith("head.")}),
    ),
    "outputs in half precision": Defect(
        PREDICT, "convolution", _result("predict", _each(lambda a: a.astype(np.float16).astype(a.dtype)))
    ),
    "float64 in float32": Defect(
        PREDICT, "convolution", _result("predict", _each(lambda a: a.astype(np.float32).astype(a.dtype))), "float64"
    ),
    "channels first": Defect(PREDICT, "convolution", _result("predict", _each(lambda a: np.moveaxis(a, -1, 1)))),
    **{name: Defect(check, case, _lowering(name)) for name, (check, case) in LOWERED.items()},
    "one tap for another": Defect(
        "taps are those asked for",
        SMALL,
        _result("predict", lambda found: dict(zip(found, reversed(found.values()), strict=True))),
    ),
    "a tap changed by a ReLU in place": Defect(
        INNER,
        "without norms",
        _result("predict", lambda found: {t: np.maximum(v, 0) if t.endswith("conv1") else v for t, v in found.items()}),
    ),
    "a tap changed by an addition in place": Defect(
        INNER,
        "with norms",
        _result("predict", lambda found: {**found, "stage1.block1.norm2": found["stage1.block1"]}),
    ),
    "the tap of the neighboring block": Defect(
        INNER,
        "with norms",
        _result("predict", lambda found: {**found, "stage1.block1": found["stage1.block2"]}),
    ),
    "an unknown tap is ignored": Defect("an unknown tap is refused", "", _careless("build")),
    "an empty batch is one image": Defect(
        "an empty batch is an empty output",
        "",
        _verb(
            "predict",
            lambda right, model, images: right(model, np.zeros((1, *images.shape[1:])) if not len(images) else images),
        ),
    ),
    "whole numbers are taken for pixels of 255": Defect(
        "images of any kind of number are taken",
        "",
        _verb("predict", lambda right, model, x: right(model, x / 255 if x.dtype == np.uint8 else x)),
    ),
    "images without a channel are accepted": Defect(NONE, "one channel less", _careless("predict")),
    "the framework's error for channels first": Defect(NONE, "channels first", _native_error("predict")),
    "bfloat16 for float16": Defect(HALF_CLOSE, "convolution", _other_dtype({"float16": "bfloat16"})),
    "bfloat16 for float16 in a network": Defect(HALF_CLOSE, "resnext50_32x4d", _other_dtype({"float16": "bfloat16"})),
    "float32 for bfloat16": Defect(HALF_CLOSE, "convolution", _other_dtype({"bfloat16": "float32"})),
    "missing ReLU in half precision": Defect(HALF_CLOSE, "residual, no shortcut", _lowering("missing ReLU")),
    "float16 arrays of weights": Defect(
        "half precision takes and gives float32 weights",
        "",
        _result("get_weights", _each(lambda a: a.astype(np.float16))),
    ),
    "weights that overflow": Defect("a weight too large for half precision is refused", "", _careless("set_weights")),
    "training in half precision": Defect("half precision is not trained", "", _careless("train_forward")),
    "convolutions of float32": Defect(ROUNDS, "convolution", _plain_convolutions("build_tree")),
    "convolutions of float32 in a network": Defect(ROUNDS, "resnet18", _plain_convolutions("build_tree")),
    "missing ReLU between rounded convolutions": Defect(ROUNDS, "residual, no shortcut", _lowering("missing ReLU")),
    "gradients through float32": Defect(GRADIENTS_ROUND, "convolution", _plain_convolutions("gradients")),
    "gradients through float32 in a network": Defect(GRADIENTS_ROUND, SMALL, _plain_convolutions("gradients")),
    "a trainer ignores the convolutions' dtype": Defect(
        "a recipe says in what convolutions compute", "", _trainer(recipe=_other(convolution_dtype=None))
    ),
    "float64 in bfloat16": Defect("float64 is never reduced", "", _trainer(recipe=_other(convolution_dtype=None))),
    "fast forgets the convolutions' dtype": Defect("what is fast rounds too", SMALL, _plain_convolutions("fast")),
    "train_forward returns nothing": Defect(TRAIN, "norm", _result("train_forward", lambda found: None)),
    "train_forward evaluates": Defect(
        TRAIN,
        "norm",
        lambda backend: {"train_forward": lambda model, images, spec=None: backend.predict(model, images)},
    ),
    "wrong running variances": Defect(TRAIN, "norm", _moved_statistics("train_forward", _of_variances(1.001))),
    "a spec is refused": Defect(
        "train forward returns taps and takes a spec",
        "",
        _result("train_forward", lambda found: {"logits": found["logits"]}),
    ),
    "one value per channel is accepted": Defect(
        "one value per channel cannot be trained on", "", _careless("train_forward")
    ),
    "gradients of nothing": Defect(GRADIENTS, "norm", _result("gradients", _each(np.zeros_like))),
    "negated gradients": Defect(GRADIENTS, "norm", _result("gradients", _each(np.negative))),
    "gradients leave a parameter out": Defect(
        GRADIENTS, "norm", _result("gradients", lambda found: dict(list(found.items())[1:]))
    ),
    "gradients overwrite the state": Defect(GRADIENTS, "norm", _moved_statistics("gradients", _of_variances(0.9))),
    "gradients of the mean": Defect(
        GRADIENTS, "relu", _verb("gradients", lambda right, model, x, dy: right(model, x, dy / len(x)))
    ),
    **{f"the last of a tie, {case}": Defect(TIE, case, _verb("gradients", _ramp)) for case in KINKS if case != "relu"},
    "a slope of one at zero": Defect(TIE, "relu", _verb("gradients", _ramp)),
    "correct is always 0": Defect(STEP, "momentum", _trainer(result=lambda found: replace(found, correct=0))),
    "a summed loss": Defect(STEP, "momentum", _trainer(result=lambda found: replace(found, loss=6 * found.loss))),
    "no Nesterov": Defect(STEP, "nesterov", _trainer(_other(nesterov=False))),
    "another momentum": Defect(STEP, "momentum", _trainer(_other(momentum=0.8))),
    "no weight decay": Defect(STEP, "momentum", _trainer(_other(weight_decay=0.0))),
    "weight decay of norms and biases": Defect(STEP, "plain", _trainer(_other(decay_all=True))),
    "gradients as long as they come": Defect(STEP, "parts", _trainer(_other(clip_norm=None))),
    "a batch in one piece": Defect(STEP, "parts", _trainer(_other(accumulate=1))),
    "statistics of the whole batch": Defect(STEP, "groups", _trainer(_other(statistics_batch=None))),
    "groups of other images": Defect(STEP, "groups", _trainer(given=_other_neighbors)),
    "nothing is frozen": Defect(STEP, "parts", _trainer(_other(freeze=()), start=_every_slot)),
    "one learning rate for all parts": Defect(STEP, "parts", _trainer(_other(rates=()))),
    "no label smoothing": Defect(STEP, "nesterov", _trainer(given=_hard_targets)),
    "the learning rate of the recipe": Defect(STEP, "plain", _trainer(given=_constant_rate)),
    "nothing is dropped": Defect(DROPPED, "momentum", _trainer(given=lambda inputs: replace(inputs, factors={}))),
    "the factors of the next image": Defect(DROPPED, "parts", _trainer(given=_next_images_factors)),
    "AdamW for Adam": Defect(STEP, "adam", _trainer(_other(optimizer="adamw"))),
    "Adam for AdamW": Defect(STEP, "adamw", _trainer(_other(optimizer="adam"))),
    "Adam's epsilon beside the uncorrected root": Defect(STEP, "adam", _trainer(_kingmas_epsilon)),
    "AdamW's epsilon beside the uncorrected root": Defect(STEP, "adamw", _trainer(_kingmas_epsilon)),
    "a state without slots": Defect(STEP, "momentum", _trainer(end=lambda state: replace(state, slots={}))),
    "a state at step 0": Defect(STEP, "momentum", _trainer(end=lambda state: replace(state, step=0))),
    "a slow start": Defect(
        "steps from the start equal the reference", "adam", _trainer(_other(betas=(0.9, 0.99))), "float64"
    ),
    "slots forgotten on resumption": Defect(
        "a run that is resumed is the same run", "momentum", _trainer(start=lambda state: replace(state, slots={}))
    ),
    "a Trainer that predicts zeros": Defect(
        "a trainer predicts with its weights in evaluation mode", "", _trainer(output=np.zeros_like)
    ),
    "a step that changes its images": Defect(STEP, "momentum", _trainer(given=_pictures_in_place)),
    "a Trainer that changes the state it starts from": Defect("a state is a copy", "", _trainer(start=_state_in_place)),
    "a Trainer that predicts in training mode": Defect(
        "a trainer predicts with its weights in evaluation mode", "", _predicts_in_training_mode
    ),
    "states that share their arrays": Defect("a state is a copy", "", _single_state),
    "a Trainer that draws random numbers": Defect(
        "a trainer leaves random states alone", "", _trainer(result=lambda found: (random.random(), found)[1])
    ),
}

#: Checks of the kit itself, of which no backend can have a defect, and the one that is planted by a test.
UNPLANTED = {
    "every kind of layer has a case",
    "float64 is exact in a process that nobody configured",  # the same limit as "float64 in float32"
}
