"""Recipe: how a network is trained, in numbers that mean the same in every framework.

The formulas are PyTorch's (torch/optim/sgd.py, adam.py, adamw.py): the learning rate stays outside the
momentum buffer, weight decay is added to the gradient in SGD and Adam (coupled) and shrinks the weight in AdamW
(decoupled), and Adam's epsilon is added after the bias correction. `docs/training.md` lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from resnet_core.bounds import MOST_NAME
from resnet_core.errors import RecipeError
from resnet_core.fields import convert_fields, refuse, represent, require_characters
from resnet_core.precision import ConvolutionDtype
from resnet_core.specification import ResNetSpec

Positive = Annotated[float, Meta(gt=0, le=1e9)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Whole = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Pixels = Annotated[int, Meta(ge=1, le=16_384)]
Share = Annotated[float, Meta(gt=0, le=1)]
Strength = Annotated[float, Meta(ge=0, le=1000)]

#: What each field means and allows; every error message about a field quotes it.
FIELDS: dict[str, str] = {
    "name": f"text of at most {MOST_NAME} characters",
    "optimizer": '"sgd", "adam" or "adamw"',
    "learning_rate": "a number above 0",
    "rate_batch": "an integer from 1, the batch_size that learning_rate is for, by which it is scaled, or none",
    "momentum": "a number from 0 and below 1, the weight of the old buffer (sgd only)",
    "nesterov": "true or false (with a momentum above 0)",
    "betas": "two numbers from 0 and below 1, the weights of the old moments (adam and adamw)",
    "epsilon": "a number above 0 (adam and adamw)",
    "weight_decay": "a number from 0",
    "decay_all": "true, or false to spare norms and biases",
    "clip_norm": "a number above 0, to which the norm of all gradients together is scaled down, or none",
    "accumulate": "an integer from 1, the equal parts in which a batch goes through the network, to save memory",
    "statistics_batch": "an integer from 1 that divides a batch or its parts, so many pictures a norm takes by "
    "themselves, or none for all",
    "convolution_dtype": '"bfloat16", in which convolutions compute while all else stays float32, or none',
    "average": "a number from 0 and below 1, the weight of the old in a moving average that is evaluated, or none",
    "average_every": "an integer from 1, the steps between two updates of the average",
    "freeze": 'a list of parts of the network that are not trained, such as ["stem", "stage1"], or ["backbone"]',
    "rates": "a table of numbers above 0 by part, such as {head = 10.0}: factors of the learning rate",
    "schedule": '"constant", "step" or "cosine"',
    "milestones": "rising numbers above 0, when the learning rate drops, in the unit of the length (epochs or steps)",
    "factor": "a number above 0, what the learning rate is multiplied by at each milestone",
    "warmup": "a number from 0, how long the learning rate rises from 0, in the unit of the length",
    "warmup_from": "a number from 0, the learning rate that it rises from (with a warmup), at most the full one",
    "epochs": "an integer from 1, or none if steps gives the length",
    "steps": "an integer from 1, or none if epochs gives the length",
    "patience": "an integer from 1, after how many epochs without a better test accuracy the run ends, or none",
    "batch_size": "an integer from 1",
    "drop_last": "true or false (drop an epoch's last batch if it is not full)",
    "label_smoothing": "a number from 0 and below 1",
    "resize": "one integer from 1 to 16,384 or [height, width], or none to keep the pictures' size",
    "pad_crop": "an integer from 0, zeros around a picture before it is cropped at random",
    "flip": "true or false (mirror each picture with probability 1/2)",
    "crop_area": "two numbers above 0 and at most 1, between which the area of a random crop is, as a share of the "
    "picture's, or none for no such crop",
    "crop_ratio": "two numbers above 0, between which width / height of such a crop is",
    "crop_side": "two rising integers from 1, between which a picture's shorter side is scaled before a crop of the "
    "image's size, or none for no such crop",
    "brightness": "a number from 0, how far from 1 the random factor may be",
    "contrast": "a number from 0, how far from 1 the random factor may be",
    "saturation": "a number from 0, how far from 1 the random factor may be",
    "hue": "a number from 0 to 0.5, how far the hues may turn, as a share of the circle",
    "lighting": "a number from 0, the deviation of the random share of each principal component of ImageNet's colors",
    "cutout": "an integer from 0, the side of the square that is blanked in each picture, in pixels",
    "mixup": "a number from 0, alpha of the Beta distribution of the shares; 0 does not mix",
    "cutmix": "a number from 0, alpha of the Beta distribution of the shares; 0 does not mix",
    "mean": 'a list of numbers, one per channel, "pixel" for the mean training picture, or none for 0',
    "deviation": "a list of numbers above 0, one per channel, or none for 1",
    "seed": "an integer from 0: initial weights, order and augmentation",
}

#: Pixels of a resized picture; a batch of the largest is refused by `training.pipeline`.
MOST_PIXELS = 2**24

#: What `clip_norm` adds to the norm before it divides by it, as PyTorch does.
CLIP_EPSILON = 1e-6

#: Fields that may be None.
OPTIONAL = (
    *("rate_batch", "clip_norm", "statistics_batch", "convolution_dtype", "average", "epochs", "steps", "patience"),
    *("resize", "crop_area", "crop_side", "mean", "deviation"),
)

#: The optimizer's slots by neutral name: each has one array per parameter.
SLOTS = {"sgd": ("momentum",), "adam": ("moment1", "moment2"), "adamw": ("moment1", "moment2")}


class Recipe(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """An immutable, validated description of a training run. `FIELDS` says what each field allows.

    Raises RecipeError, one line with the field's path, what was received and what is allowed.
    """

    name: Annotated[str, Meta(max_length=MOST_NAME)] = ""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Positive
    rate_batch: Whole | None = None
    momentum: Fraction = 0.0
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    decay_all: bool = True
    clip_norm: Positive | None = None
    accumulate: Whole = 1
    statistics_batch: Whole | None = None
    convolution_dtype: ConvolutionDtype | None = None
    average: Fraction | None = None
    average_every: Whole = 1
    freeze: tuple[str, ...] = ()
    rates: tuple[tuple[str, Positive], ...] = ()  # a mapping is taken too; pairs can be hashed

    schedule: Literal["constant", "step", "cosine"] = "constant"
    milestones: Annotated[tuple[Positive, ...], Meta(max_length=10_000)] = ()
    factor: Positive = 0.1
    warmup: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    warmup_from: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    epochs: Whole | None = None
    steps: Whole | None = None
    patience: Whole | None = None
    batch_size: Whole
    drop_last: bool = False
    label_smoothing: Fraction = 0.0

    resize: tuple[Pixels, Pixels] | None = None
    pad_crop: Annotated[int, Meta(ge=0, le=1000)] = 0
    flip: bool = False
    crop_area: tuple[Share, Share] | None = None
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    crop_side: tuple[Pixels, Pixels] | None = None
    brightness: Strength = 0.0
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    lighting: Strength = 0.0
    cutout: Annotated[int, Meta(ge=0, le=100_000)] = 0
    mixup: Strength = 0.0
    cutmix: Strength = 0.0
    mean: tuple[Annotated[float, Meta(ge=-1e9, le=1e9)], ...] | Literal["pixel"] | None = None
    deviation: tuple[Positive, ...] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**62)] = 0

    def __post_init__(self) -> None:
        if isinstance(self.rates, Mapping):
            for part, factor in self.rates.items():
                if type(factor) not in (int, float) or not 0 < factor <= 1e9:
                    refuse(f"rates.{part}", factor, "a number above 0", RecipeError)
            force_setattr(self, "rates", tuple(self.rates.items()))
        convert_fields(self, FIELDS, RecipeError, sizes=("resize",))
        require_characters("name", self.name, RecipeError)
        if (self.epochs is None) == (self.steps is None):
            received = "neither" if self.epochs is None else "both"
            refuse("epochs", received, "exactly one of epochs and steps", RecipeError)
        if self.batch_size % self.accumulate or (self.accumulate > 1 and not self.drop_last):
            allowed = f"a divisor of batch_size = {self.batch_size}, with drop_last = true: all parts are equal"
            refuse("accumulate", self.accumulate, allowed, RecipeError)
        self._check_statistics_batch()
        if self.average_every > 1 and self.average is None:
            refuse(
                "average_every", self.average_every, "one only with an average, such as average = 0.999", RecipeError
            )
        if self.nesterov and not self.momentum:
            refuse("nesterov", True, "true only with a momentum above 0", RecipeError)
        if self.optimizer != "sgd" and (self.momentum or self.nesterov):
            refuse("momentum", self.momentum, 'a momentum only with optimizer = "sgd"; adam has betas', RecipeError)
        if (self.schedule == "step") != bool(self.milestones):
            refuse("milestones", self.milestones, 'some with schedule = "step", and none without', RecipeError)
        if self.warmup_from and not self.warmup:
            refuse("warmup_from", self.warmup_from, "a rate only with a warmup, such as warmup = 5", RecipeError)
        if list(self.milestones) != sorted(set(self.milestones)):
            refuse("milestones", self.milestones, FIELDS["milestones"], RecipeError)
        self._check_augmentation()

    def __repr__(self) -> str:
        return represent(self)

    def _check_statistics_batch(self) -> None:
        rows = self.batch_size // self.accumulate
        if self.statistics_batch is not None and (rows % self.statistics_batch or not self.drop_last):
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            allowed = f"a divisor of {rows} (batch_size = {self.batch_size}{parts}), with drop_last = true: all groups "
            refuse("statistics_batch", self.statistics_batch, f"{allowed}are equal", RecipeError)

    def _check_augmentation(self) -> None:
        if self.resize is not None and prod(self.resize) > MOST_PIXELS:
            refuse("resize", self.resize, f"at most {MOST_PIXELS:,} pixels", RecipeError)
        for field in ("crop_area", "crop_ratio", "crop_side"):
            bounds = getattr(self, field)
            if bounds is not None and bounds[0] > bounds[1]:
                refuse(field, bounds, f"{FIELDS[field]}; the smaller one first", RecipeError)
        crops = [field for field in ("crop_area", "crop_side") if getattr(self, field) is not None]
        if len(crops) > 1:
            refuse("crop_side", self.crop_side, "none with crop_area: a picture is cropped in one way", RecipeError)
        if crops and self.mean == "pixel":
            allowed = f"a list of numbers or none with {crops[0]}, after which no pixel is in its place"
            refuse("mean", self.mean, allowed, RecipeError)
        if self.mixup and self.cutmix:
            refuse("cutmix", self.cutmix, "0 with mixup: a batch is mixed in one way", RecipeError)

    @property
    def rate(self) -> float:
        """The full learning rate: `learning_rate`, scaled linearly from `rate_batch` to `batch_size`."""
        return self.learning_rate * (1 if self.rate_batch is None else self.batch_size / self.rate_batch)

    @property
    def groups(self) -> int:
        """Groups of a batch, or of a part of one, that a norm normalizes each by itself; 1: it takes all together."""
        rows = self.batch_size // self.accumulate
        return rows // (self.statistics_batch or rows)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays that the optimizer keeps for each parameter."""
        return SLOTS[self.optimizer] if self.optimizer != "sgd" or self.momentum else ()


def check_trainable(spec: ResNetSpec) -> None:
    """Raise RecipeError for a network that does not predict one class per picture, or is folded for inference."""
    if spec.deploy:
        raise RecipeError(
            "deploy: received true, and training expects false: without its norms a network trains otherwise; train "
            "the network itself, and fold the result (rn.deploy)"
        )
    if spec.classes is None or not spec.global_pool:
        raise RecipeError(
            f"{spec.name or 'the spec'}: received classes = {spec.classes}, global_pool = {spec.global_pool}; "
            "training needs one prediction per picture: set classes, and global_pool = true"
        )
