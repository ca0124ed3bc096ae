"""A recipe as part of a Keras program: the rate of each step, the optimizer, a step and the loop."""

from __future__ import annotations

from resnet_core.outline import literal
from resnet_core.programs.training_text import OPTIMIZERS, TrainingText
from resnet_core.source_text import Program, call, docstring, indented, note
from resnet_core.training.recipe import Recipe


def training(program: Program, recipe: Recipe | None) -> list[list[str]]:
    """The definitions that train the network; [] without a recipe."""
    if recipe is None:
        return []
    text = TrainingText(program, recipe)
    return [text.learning_rate(), _optimizer(text), _loop(text)]


def _optimizer(text: TrainingText) -> list[str]:
    """The recipe's formula, where Keras' own optimizer has another one."""
    recipe, name = text.recipe, OPTIMIZERS[text.recipe.optimizer]
    if not _own(text):
        return []
    lines = []
    if text.decay:
        lines += _decay(text)
    if recipe.optimizer != "sgd":
        reason = "Epsilon is added behind the bias correction, where Keras adds it before."
        lines += _adam(recipe)
    elif recipe.momentum:
        reason = "The rate stays out of the momentum, so that a drop takes effect at once."
        direction = "gradient + self.momentum * buffer" if recipe.nesterov else "buffer"
        lines += [
            "buffer = self.momentums[self._get_variable_index(variable)]",
            "self.assign(buffer, self.momentum * buffer + gradient)",
            f"self.assign_sub(variable, learning_rate * {f'({direction})' if recipe.nesterov else direction})",
        ]
    else:
        reason = "The decay is part of the gradient, where Keras shrinks the weight."
        lines.append("self.assign_sub(variable, learning_rate * gradient)")
    first, rest = text.optimizer_reason
    parameters = ["self", "gradient: KerasTensor", "variable: KerasTensor", "learning_rate: KerasTensor"]
    return [
        f"class {name}(keras.optimizers.{_base(recipe)}):",
        *indented(docstring([first, " ".join(filter(None, [reason, rest]))])),
        "",
        *indented(call("def update_step", parameters, " -> None:")),
        *indented(lines, 8),
    ]


def _own(text: TrainingText) -> bool:
    """Whether Keras' own optimizer computes something else."""
    return text.recipe.optimizer != "sgd" or bool(text.decay) or text.recipe.momentum > 0


def _base(recipe: Recipe) -> str:
    return "SGD" if recipe.optimizer == "sgd" else "Adam"


def _decay(text: TrainingText) -> list[str]:
    line = f"gradient = gradient + {text.decay} * variable"
    if text.recipe.optimizer == "adamw":
        line = f"self.assign_sub(variable, learning_rate * {text.decay} * variable)"
    return ["if len(variable.shape) > 1:", f"    {line}"] if text.spares else [line]


def _adam(recipe: Recipe) -> list[str]:
    (beta1, rest1), (beta2, rest2) = ((literal(b), literal(round(1 - b, 15))) for b in recipe.betas)
    return [
        "index = self._get_variable_index(variable)",
        "mean, square = self._momentums[index], self._velocities[index]",
        f"self.assign(mean, {beta1} * mean + {rest1} * gradient)",
        f"self.assign(square, {beta2} * square + {rest2} * gradient**2)",
        "step = ops.cast(self.iterations + 1, gradient.dtype)",
        f"scale = ops.sqrt(square / (1 - {beta2}**step)) + {literal(recipe.epsilon)}",
        f"self.assign_sub(variable, learning_rate * mean / (1 - {beta1}**step) / scale)",
    ]


def _loop(text: TrainingText) -> list[str]:
    """`train_on_batch` is Keras' own step; what it does is compiled."""
    smoothing, labels = text.recipe.label_smoothing, "labels"
    objective = call("crossentropy = keras.losses.SparseCategoricalCrossentropy", ["from_logits=True"])
    if smoothing:
        arguments = ["from_logits=True", f"label_smoothing={literal(smoothing)}"]
        objective = note(call("crossentropy = keras.losses.CategoricalCrossentropy", arguments), text.smoothing_reason)
        labels = f"ops.one_hot(labels, {text.program.spec.classes})"
    rates = [f"model.optimizer.learning_rate = {text.rate_at('step')}"] if text.varies else []
    return [
        *call("def train", ["model: keras.Model", "data: Collection[tuple[np.ndarray, np.ndarray]]"], " -> None:", 0),
        *indented(docstring(text.train_reason)),
        *indented([*objective, f"model.compile({_made(text)}, crossentropy)", f"batches = {text.batches}"]),
        "    for step, (images, labels) in enumerate(batches):",
        *indented([*rates, *call("loss = model.train_on_batch", ["images", labels], indent=8)], 8),
        '        print(f"step {step}: loss {loss:.4f}")',
    ]


def _made(text: TrainingText) -> str:
    recipe, name = text.recipe, OPTIMIZERS[text.recipe.optimizer]
    arguments = [text.rate]
    arguments += [f"momentum={literal(recipe.momentum)}"] if recipe.momentum else []
    arguments += ["nesterov=True"] if recipe.nesterov else []
    return f"{'' if _own(text) else 'keras.optimizers.'}{name}({', '.join(arguments)})"
