"""A recipe as part of a Flax program: the rate of each step, the optimizer, a step and the loop."""

from __future__ import annotations

from resnet_core.outline import literal
from resnet_core.programs.training_text import TrainingText
from resnet_core.source_text import Program, call, docstring, indented, note
from resnet_core.training.recipe import Recipe

#: What a compiled step has for Python's functions.
NAMES = {"min": "jnp.minimum", "max": "jnp.maximum", "math": "jnp"}


def training(program: Program, recipe: Recipe | None) -> list[list[str]]:
    """The definitions that train the network; [] without a recipe."""
    if recipe is None:
        return []
    text = TrainingText(program, recipe)
    return [text.learning_rate("Array", "Array", **NAMES), _optimizer(text), _step(text), _loop(text)]


def _optimizer(text: TrainingText) -> list[str]:
    recipe, lines = text.recipe, []
    rate = text.rate if not text.varies else "learning_rate"
    if text.by_epoch:
        lines.append("rate = partial(learning_rate, per_epoch=per_epoch)")
        rate = "rate"
    arguments = [rate]
    arguments += [f"momentum={literal(recipe.momentum)}"] if recipe.momentum else []
    arguments += ["nesterov=True"] if recipe.nesterov else []
    if recipe.optimizer != "sgd":
        arguments += [f"b1={literal(recipe.betas[0])}", f"b2={literal(recipe.betas[1])}"]
        arguments.append(f"eps={literal(recipe.epsilon)}")
    mask = ["mask=kernels"] if text.spares else []
    if recipe.optimizer == "adamw":
        arguments += [f"weight_decay={text.decay or '0.0'}", *mask]
    rule: str = recipe.optimizer
    if text.decay and recipe.optimizer != "adamw":
        lines += call("decay = optax.add_decayed_weights", [text.decay, *mask])
        rule = f"optax.chain(decay, {recipe.optimizer})"
    lines += call(f"{recipe.optimizer} = optax.{recipe.optimizer}", arguments)
    lines += call("return nnx.Optimizer", ["model", rule, "wrt=nnx.Param"])
    kernels = [
        "def kernels(parameters: nnx.State) -> nnx.State:",
        "    return jax.tree.map(lambda p: p.ndim > 1, parameters)",
        "",
    ]
    parameters = ["model: ResNet", *(["per_epoch: int"] if text.by_epoch else [])]
    head = call("def make_optimizer", parameters, " -> nnx.Optimizer:", 0)
    return [*head, *indented([*docstring(text.optimizer_reason), *(["", *kernels] if text.spares else []), *lines])]


def _step(text: TrainingText) -> list[str]:
    parameters = ["model: ResNet", "optimizer: nnx.Optimizer", "images: Array", "labels: Array"]
    loss = ["losses = optax.softmax_cross_entropy_with_integer_labels(model(images), labels)"]
    if text.recipe.label_smoothing:
        smoothed = [
            "jax.nn.one_hot(labels, " + str(text.program.spec.classes) + ")",
            literal(text.recipe.label_smoothing),
        ]
        loss = note(call("targets = optax.smooth_labels", smoothed, indent=8), text.smoothing_reason, 8)
        loss.append("losses = optax.softmax_cross_entropy(model(images), targets)")
    return [
        "@nnx.jit",
        *call("def train_step", parameters, " -> Array:", 0),
        *indented(docstring(["One step; the loss is from before it."])),
        "",
        "    def loss_of(model: ResNet) -> Array:",
        *indented(loss, 8),
        "        return losses.mean()",
        "",
        "    loss, gradients = nnx.value_and_grad(loss_of)(model)",
        "    optimizer.update(model, gradients)",
        "    return loss",
    ]


def _loop(text: TrainingText) -> list[str]:
    made = f"make_optimizer(model{', len(data)' if text.by_epoch else ''})"
    return [
        *call("def train", ["model: ResNet", "data: Collection[tuple[Array, Array]]"], " -> None:", 0),
        *indented(docstring(text.train_reason)),
        "    model.train()",
        f"    optimizer = {made}",
        f"    batches = {text.batches}",
        "    for step, (images, labels) in enumerate(batches):",
        "        loss = train_step(model, optimizer, images, labels)",
        '        print(f"step {step}: loss {loss:.4f}")',
    ]
