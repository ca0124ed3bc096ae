"""What a recipe asks, as text of a printed program: numbers, expressions of the step, and sentences that say why.

The backends' `training_source.py` write it in their framework's words; this is what is the same in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from resnet_core.errors import InputError
from resnet_core.fields import show
from resnet_core.outline import literal
from resnet_core.source_text import Program, docstring, indented, plain, rename
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import RECIPES, changes

#: What a recipe has where it says nothing.
_USUAL = Recipe(learning_rate=1.0, batch_size=1, steps=1)

#: The optimizers' names, which all frameworks share.
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


@dataclass(frozen=True)
class TrainingText:
    """A recipe on its way to a program: what is said of it in every framework."""

    program: Program
    recipe: Recipe

    def __post_init__(self) -> None:
        for field in ("freeze", "rates", "clip_norm", "average", "accumulate", "statistics_batch", "convolution_dtype"):
            if (value := getattr(self.recipe, field)) != getattr(_USUAL, field):
                raise InputError(f"{field}: received {show(value)}; a printed program trains without it: leave it out")

    @cached_property
    def rate(self) -> str:
        """The recipe's learning rate, as a number."""
        return _number(self.recipe.rate)

    @cached_property
    def start(self) -> str:
        """The rate that the warm-up rises from; "" for 0."""
        start = min(self.recipe.warmup_from, self.recipe.rate)
        return _number(start) if start else ""

    @cached_property
    def warmup(self) -> str:
        """The steps in which the rate rises, as an expression; "" for none."""
        return self._steps(self.recipe.warmup) if self.recipe.warmup else ""

    @cached_property
    def cosine(self) -> bool:
        """Whether the rate falls along a cosine: never where it rises to the end of the run."""
        return self.recipe.schedule == "cosine" and self.recipe.warmup < (self.recipe.steps or self.recipe.epochs or 0)

    @cached_property
    def varies(self) -> bool:
        """Whether the learning rate depends on the step."""
        return bool(self.warmup or self.recipe.milestones or self.cosine)

    @cached_property
    def by_epoch(self) -> bool:
        """Whether the learning rate depends on the number of steps in an epoch."""
        return self.varies and self.recipe.steps is None

    @cached_property
    def decay(self) -> str:
        """The weight decay as a number; "" for none."""
        return _number(self.recipe.weight_decay) if self.recipe.weight_decay else ""

    @cached_property
    def spares(self) -> bool:
        """Whether decay is for kernels only."""
        return bool(self.decay) and not self.recipe.decay_all

    def learning_rate(self, step: str = "int", result: str = "float", **names: str) -> list[str]:
        """`learning_rate(step)`, or `learning_rate(step, per_epoch)`; [] for a constant rate.

        `step` and `result` are types; `names` are what the framework has for Python's functions.
        """
        if not self.varies:
            return []
        parameters = [f"step: {step}", *(["per_epoch: int"] if self.by_epoch else [])]
        lines, warmup, rate = [], self.warmup, self.rate
        if self.recipe.milestones:
            shown, own = self._milestones()
            lines.append(f"drops = sum(step >= {own} for milestone in {shown})")
            rate += f" * {_number(self.recipe.factor)}**drops"
        if " " in warmup:
            lines.append(f"warmup = {warmup}")
            warmup = "warmup"
        if warmup:
            full = f"({rate} - {self.start})" if self.start else rate
            rate = f"{self.start}{' + ' * bool(self.start)}{full} * min(step + 1, {warmup}) / {warmup}"
        if self.cosine:
            length = self._steps(self.recipe.steps or self.recipe.epochs or 0)
            passed, rest = (f"max(step - {warmup}, 0)", f"({length} - {warmup})") if warmup else ("step", length)
            lines += [f"rate = {rate}"] if warmup else []
            lines.append(f"angle = math.pi * {passed} / {rest if warmup or ' ' not in rest else f'({rest})'}")
            rate = f"{'rate' if warmup else rate} * (1 + math.cos(angle)) / 2"
        lines.append(f"return {rate}")
        head = f"def learning_rate({', '.join(parameters)}) -> {result}:"
        return [head, *indented([*docstring([self._rate_reason()]), *(rename(line, names) for line in lines)])]

    def rate_at(self, step: str) -> str:
        """The call for a step's rate."""
        return f"learning_rate({step}{', len(data)' if self.by_epoch else ''})"

    @cached_property
    def batches(self) -> str:
        """The run's batches, epoch after epoch, as an expression over `data`."""
        if self.recipe.steps is not None:
            return f"islice(chain.from_iterable(repeat(data)), {self.recipe.steps:_})"
        return f"chain.from_iterable(repeat(data, {self.recipe.epochs}))"

    @cached_property
    def optimizer_reason(self) -> list[str]:
        """What the optimizer is asked, and why."""
        recipe, name = self.recipe, OPTIMIZERS[self.recipe.optimizer]
        how = f" with {'Nesterov' if recipe.nesterov else 'a'} momentum" if recipe.momentum else ""
        first = f"{name}{how}{f', and a decay of {self.decay}' if self.decay else ''}."
        reasons = []
        if self.spares:
            reasons.append("Only kernels decay: nothing is gained by pulling the scales and shifts of norms to zero.")
        elif self.decay:
            reasons.append("Everything that is trained decays, biases, scales and shifts too.")
        if self.decay and recipe.optimizer == "adam":
            reasons.append("The decay is part of the gradient, so that Adam rescales it; AdamW would not.")
        if self.decay and recipe.optimizer == "adamw":
            reasons.append("The decay shrinks the weight itself and stays out of the moments.")
        return [first, " ".join(reasons)]

    @cached_property
    def train_reason(self) -> list[str]:
        """How long, and on what."""
        recipe = self.recipe
        count, unit = (recipe.steps, "step") if recipe.steps is not None else (recipe.epochs or 0, "epoch")
        length = f"{count:,} {unit}{'' if count == 1 else 's'}"
        first = f"{length} in batches of {recipe.batch_size}, shuffled anew every epoch."
        return [first, self._pictures()]

    @cached_property
    def smoothing_reason(self) -> str:
        """What label smoothing does; "" where there is none."""
        share = f"{_number(self.recipe.label_smoothing)} of it is spread over all classes"
        return f"the target: {share}" if self.recipe.label_smoothing else ""

    def _steps(self, value: float) -> str:
        """A length in the recipe's unit as a number of steps."""
        if self.recipe.steps is not None:
            return f"{round(value):_}"
        if value != int(value):
            return f"max(1, round({_number(value)} * per_epoch))"
        return "per_epoch" if value == 1 else f"{int(value)} * per_epoch"

    def _milestones(self) -> tuple[str, str]:
        """(the milestones as numbers, one of them as a number of steps)."""
        found = self.recipe.milestones
        if self.recipe.steps is not None:
            return _tuple([f"{round(milestone):_}" for milestone in found]), "milestone"
        whole = all(milestone == int(milestone) for milestone in found)
        numbers = [str(int(milestone)) if whole else _number(milestone) for milestone in found]
        return _tuple(numbers), "milestone * per_epoch" if whole else "round(milestone * per_epoch)"

    def _rate_reason(self) -> str:
        recipe, parts = self.recipe, []
        unit = "step" if recipe.steps is not None else "epoch"
        if self.warmup:
            start = f"from {self.start} " if self.start else ""
            parts.append(f"rises {start}to {self.rate} in {_count(recipe.warmup, unit)}")
        if self.cosine:
            parts.append(f"falls {'' if self.warmup else f'from {self.rate} '}along half a cosine to 0")
        if recipe.milestones:
            if not self.warmup:
                parts.append(f"starts at {self.rate}")
            drop = "a tenth" if recipe.factor == 0.1 else f"{_number(recipe.factor)} times as much"
            places = " and ".join(f"{round(m):,}" if unit == "step" else f"{m:g}" for m in recipe.milestones)
            parts.append(f"drops to {drop} at {unit}{'s' if len(recipe.milestones) > 1 else ''} {places}")
        text = ", then ".join(parts) + "."
        return text[0].upper() + text[1:]

    def _pictures(self) -> str:
        """How the recipe has its pictures: a sentence, since they are the reader's own."""
        recipe, parts = self.recipe, []
        if recipe.resize:
            parts.append(f"resized to {recipe.resize[0]} x {recipe.resize[1]}")
        if recipe.crop_area:
            low, high = (f"{100 * share:g}%" for share in recipe.crop_area)
            parts.append(f"cropped at random to {low} to {high} of their area")
        if recipe.crop_side:
            shorter = " to ".join(map(str, recipe.crop_side))
            parts.append(f"scaled at random to {shorter} pixels on their shorter side and cropped")
        jitter = [name for name in ("brightness", "contrast", "saturation", "hue") if getattr(recipe, name)]
        if jitter:
            parts.append(f"jittered in {', '.join(jitter)}")
        if recipe.lighting:
            parts.append(f"lit in a random color of deviation {_number(recipe.lighting)}")
        if recipe.mean == "pixel":
            parts.append("less the mean training picture")
        if recipe.pad_crop:
            parts.append(f"cropped at random from a border of {_count(recipe.pad_crop, 'zero')}")
        if recipe.flip:
            parts.append("mirrored half of the time")
        if isinstance(recipe.mean, tuple):
            parts.append(f"less {', '.join(map(_number, recipe.mean))}")
        if recipe.deviation is not None:
            parts.append(f"divided by {', '.join(map(_number, recipe.deviation))}")
        if recipe.cutout:
            parts.append(f"blanked in a square of {recipe.cutout} pixels")
        parts[1:] = [*parts[1:-1], f"and {parts[-1]}"] if len(parts) > 1 else []
        listed = (" " if len(parts) < 3 else ", ").join(parts)
        sentences = [f"The recipe has its pictures {listed}."] if parts else []
        if recipe.patience is not None:
            waits = _count(recipe.patience, "epoch")
            sentences.append(
                f"It would end early after {waits} without a better test accuracy: nothing is tested here."
            )
        sentences += ["An epoch's last batch is left out if it is not full."] if recipe.drop_last else []
        return " ".join(sentences)


def recipe_options(recipe: Recipe | None) -> str:
    """The command's options that print this recipe's training."""
    if recipe is None:
        return ""
    if recipe.name not in RECIPES:
        return f" --train --recipe {recipe.name or 'recipe'}.toml"
    changed = [f" --with {key}={plain(value)}" for key, value in changes(recipe).items()]
    return f" --train --recipe {recipe.name}{''.join(changed)}"


def _number(value: float) -> str:
    """1e-4 and not 0.0001, if it is the same number."""
    mantissa, _, exponent = f"{value:.14e}".partition("e")
    short = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return short if 0 < value < 1e-3 and float(short) == value else literal(float(value))


def _count(value: float, unit: str) -> str:
    words = {1: "one", 2: "two", 3: "three", 4: "four"}
    whole = words.get(int(value), f"{value:,.0f}") if value == int(value) else f"{value:g}"
    return f"{whole} {unit}{'' if value == 1 else 's'}"


def _tuple(numbers: list[str]) -> str:
    return f"({', '.join(numbers)}{',' if len(numbers) == 1 else ''})"
