"""Convolutions, norms, and what Flax lacks, as text of a printed program."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.expressions import Code
from resnet_core.outline import literal
from resnet_core.source_text import (
    OLD_VALUE_NORM,
    Program,
    call,
    conv_reason,
    docstring,
    fan_in,
    indented,
    note,
    padding_reason,
    same_reason,
    scale_text,
    signature,
    standardize_reason,
    truncated_deviation,
)

#: What every definition ends with.
LAST = ["*", "rngs: nnx.Rngs"]
RNGS = "rngs=rngs"

UNIFORM = '''
def uniform(inputs: int) -> nnx.Initializer:
    """Biases as PyTorch draws them, narrower where an output has more inputs."""
    bound = inputs**-0.5
    return partial(jax.random.uniform, minval=-bound, maxval=bound)
'''

STANDARDIZED = '''
def standardized_conv(x: Array, kernel: Array, *args: Any, **kwargs: Any) -> Array:
    """REASON"""
    mean, variance = kernel.mean((0, 1, 2)), kernel.var((0, 1, 2))
    kernel = (kernel - mean) / jnp.sqrt(variance + EPSILON)
    return jax.lax.conv_general_dilated(x, kernel, *args, **kwargs)
'''

FROZEN = '''
class FrozenBatchNorm(nnx.Module):
    """Nothing here learns, scale and shift neither: none is a parameter."""

    def __init__(self, channels: int, epsilon: float) -> None:
        self.epsilon = epsilon
        self.scale = nnx.BatchStat(jnp.ones(channels))
        self.bias = nnx.BatchStat(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))

    def __call__(self, x: Array) -> Array:
        deviation = jnp.sqrt(self.var[...] + self.epsilon)
        return (x - self.mean[...]) / deviation * self.scale[...] + self.bias[...]
'''

AVERAGE_POOL = '''
def average_pool(x: Array, stride: int, dilation: int) -> Array:
    """Means of 2 x 2; at the edge, the mean of what is inside."""
    for _ in range(2):  # rows, then columns
        behind = jnp.concatenate([x[:, dilation:], x[:, -dilation:]], 1)
        x = ((x + behind) / 2).swapaxes(1, 2)
    return x[:, ::stride, ::stride]
'''

BLUR_POOL = '''
def blur_pool(x: Array, stride: int) -> Array:
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""
    for _ in range(2):  # rows, then columns; the edge is a mirror
        x = jnp.concatenate([x[:, 1:2], x, x[:, -2:-1]], 1)
        x = ((x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4).swapaxes(1, 2)
    return x[:, ::stride, ::stride]
'''

DILATED_BLUR_POOL = '''
def blur_pool(x: Array, stride: int, dilation: int) -> Array:
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""
    step = dilation  # each of the images of every step-th pixel on its own
    for _ in range(2):  # rows, then columns; the edge is a mirror
        before, after = x[:, step : 2 * step], x[:, -2 * step : -step]
        x = jnp.concatenate([before, x, after], 1)
        x = (x[:, : -2 * step] + 2 * x[:, step:-step] + x[:, 2 * step :]) / 4
        x = x.swapaxes(1, 2)
    return x[:, ::stride, ::stride]
'''


def conv(program: Program) -> list[str]:
    """The function that makes every convolution."""
    helper = program.outline.helper(tree.Conv)
    if helper is None:
        return []
    lines = docstring([reason]) if (reason := conv_reason(program)) else []
    texts = {field: literal(value) for field, value in helper.numbers.items()}
    if isinstance(helper.numbers["padding"], Code) and texts["padding"] not in ("padding", "dilation"):
        lines += note([f"padding = {texts['padding']}"], padding_reason(program))
        texts["padding"] = "padding"
    initial, more = initial_values(program, "convolution", f"({fan_in(texts, 'in_channels')})")
    named = {"strides": ("stride", "1"), "padding": ("padding", ""), "kernel_dilation": ("dilation", "1")}
    named |= {"feature_group_count": ("groups", "1"), "use_bias": ("bias", "True")}
    arguments = ["in_channels", "channels", f"({texts['kernel']}, {texts['kernel']})"]
    arguments += [f"{name}={texts[field]}" for name, (field, usual) in named.items() if texts[field] != usual]
    if "standardize" in texts:
        arguments.append("conv_general_dilated=standardized_conv")
    lines += [*more, *call("return nnx.Conv", [*arguments, *initial, RNGS])]
    if program.pads_same:
        lines.insert(0 if not reason else 1, f"# {same_reason()}")
    made = [*call("def conv", [*signature(helper.parameters), *LAST], " -> nnx.Conv:", 0), *indented(lines)]
    return [line.replace('"same"', '"SAME"') for line in made]


def norm(program: Program) -> list[str]:
    """The function that makes every norm."""
    helper = program.norm
    if helper is None:
        return []
    epsilon, precise = f"epsilon={literal(helper.numbers['epsilon'])}", "use_fast_variance=False"
    reason = "# The fast variance, E[x^2] - E[x]^2, loses digits where the mean is large."
    function, arguments, lines, last = "nnx.BatchNorm", ["channels"], [reason], LAST
    match helper.kind:
        case tree.FrozenNorm:
            function, arguments, lines, last = "FrozenBatchNorm", ["channels", epsilon], [], []
        case tree.GroupNorm:
            function = "nnx.GroupNorm"
            arguments += [f"num_groups={literal(helper.numbers['groups'])}", epsilon, precise, RNGS]
        case tree.LayerNorm:
            function = "nnx.LayerNorm"
            lines.insert(0, '"""Over the channels of each position."""')
            arguments += [epsilon, precise, RNGS]
        case _:
            lines.insert(0, OLD_VALUE_NORM)
            arguments += [f"momentum={literal(helper.numbers['decay'])}", epsilon, precise, RNGS]
    lines += call(f"return {function}", arguments)
    return [*call("def norm", [*signature(helper.parameters), *last], f" -> {function}:", 0), *indented(lines)]


def linear(program: Program) -> list[str]:
    """The function that makes every linear layer, where gates have some."""
    if not program.many_linear:
        return []
    biases = {leaf.bias for leaf in program.leaves(tree.Linear)}
    initial, lines = initial_values(program, "linear", "in_features")
    own = ["use_bias=bias"] if len(biases) > 1 else [] if True in biases else ["use_bias=False"]
    lines += call("return nnx.Linear", ["in_features", "channels", *own, *initial, RNGS])
    parameters = ["in_features: int", "channels: int", *(["bias: bool = True"] if len(biases) > 1 else []), *LAST]
    return [*call("def linear", parameters, " -> nnx.Linear:", 0), *indented(lines)]


def kernels(program: Program) -> list[list[str]]:
    """Biases that are drawn, and convolutions and norms that Flax lacks."""
    found, helper, norm = [], program.outline.helper(tree.Conv), program.norm
    if program.draws_biases("convolution") or program.draws_biases("linear"):
        found.append(UNIFORM)
    if helper is not None and (epsilon := helper.numbers.get("standardize")) is not None:
        text = STANDARDIZED.replace("REASON", standardize_reason(epsilon))
        found.append(text.replace("EPSILON", literal(epsilon)))
    if norm is not None and norm.kind is tree.FrozenNorm:
        found.append(FROZEN)
    return [text.strip().splitlines() for text in found]


def own_layers(program: Program) -> list[list[str]]:
    """Other layers that Flax lacks."""
    found = []
    if program.dilated(tree.AveragePool):
        found.append(AVERAGE_POOL)
    if program.leaves(tree.BlurPool):
        found.append(DILATED_BLUR_POOL if program.dilated(tree.BlurPool) else BLUR_POOL)
    return [text.strip().splitlines() for text in found]


def initial_values(program: Program, role: str, inputs: str, bias: bool = True) -> tuple[list[str], list[str]]:
    """(arguments, lines before) for the spec's initial values; what Flax draws by itself is not said again."""
    spread, arguments, lines = program.spread(role), [], []
    assert spread is not None
    if spread.distribution == "truncated":
        lines.append(truncated_deviation(spread, inputs))
        arguments.append("kernel_init=nnx.initializers.truncated_normal(deviation)")
    else:
        rule = f'{scale_text(spread)}, "{spread.fan}", "{spread.distribution}"'
        lines.append(f"initial = nnx.initializers.variance_scaling({rule})")
        arguments.append("kernel_init=initial")
    if bias and program.draws_biases(role):
        arguments.append(f"bias_init=uniform({inputs.removeprefix('(').removesuffix(')')})")
    return arguments, lines
