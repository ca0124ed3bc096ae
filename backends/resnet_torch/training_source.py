"""A recipe as part of a PyTorch program: the rate of each step, the optimizer, a step and the loop."""

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
    return [text.learning_rate(), _optimizer(text), _step(text), _loop(text)]


def _optimizer(text: TrainingText) -> list[str]:
    recipe, name = text.recipe, OPTIMIZERS[text.recipe.optimizer]
    lines, parameters = [], "model.parameters()"
    if text.spares:
        lines += [
            "kernels = [p for p in model.parameters() if p.ndim > 1]",
            "others = [p for p in model.parameters() if p.ndim == 1]",
            "groups = [",
            f'    {{"params": kernels, "weight_decay": {text.decay}}},',
            '    {"params": others, "weight_decay": 0.0},',
            "]",
        ]
        parameters = "groups"
    arguments = [parameters, f"lr={text.rate}"]
    if recipe.optimizer != "sgd":
        arguments += [f"betas={recipe.betas}", f"eps={literal(recipe.epsilon)}"]
    arguments += [f"momentum={literal(recipe.momentum)}"] if recipe.momentum else []
    arguments += ["nesterov=True"] if recipe.nesterov else []
    if not text.spares and (text.decay or recipe.optimizer == "adamw"):  # which has a decay of its own
        arguments.append(f"weight_decay={text.decay or '0.0'}")
    lines += call(f"return torch.optim.{name}", arguments)
    head = f"def make_optimizer(model: ResNet) -> torch.optim.{name}:"
    return [head, *indented([*docstring(text.optimizer_reason), *lines])]


def _step(text: TrainingText) -> list[str]:
    parameters = ["model: ResNet", f"optimizer: torch.optim.{OPTIMIZERS[text.recipe.optimizer]}"]
    smoothing = text.recipe.label_smoothing
    arguments = ["model(images)", "labels", *([f"label_smoothing={literal(smoothing)}"] if smoothing else [])]
    return [
        *call("def train_step", [*parameters, "images: Tensor", "labels: Tensor"], " -> Tensor:", 0),
        *indented(docstring(["One step; the loss is from before it."])),
        *indented(note(call("loss = functional.cross_entropy", arguments), text.smoothing_reason)),
        "    optimizer.zero_grad()",
        "    loss.backward()",
        "    optimizer.step()",
        "    return loss",
    ]


def _loop(text: TrainingText) -> list[str]:
    rates = []
    if text.varies:
        rates = ["for group in optimizer.param_groups:", f'    group["lr"] = {text.rate_at("step")}']
    return [
        *call("def train", ["model: ResNet", "data: DataLoader[tuple[Tensor, Tensor]]"], " -> None:", 0),
        *indented(docstring(text.train_reason)),
        "    optimizer = make_optimizer(model.train())",
        f"    batches = {text.batches}",
        "    for step, (images, labels) in enumerate(batches):",
        *indented(rates, 8),
        "        loss = train_step(model, optimizer, images, labels)",
        '        print(f"step {step}: loss {loss:.4f}")',
    ]
