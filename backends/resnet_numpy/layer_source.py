"""Convolutions, norms, and what NumPy lacks, as text of a printed program."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.expressions import Code
from resnet_core.outline import literal
from resnet_core.source_text import (
    Program,
    call,
    indented,
    note,
    padding_reason,
    same_reason,
    signature,
    standardize_reason,
)

#: What every function begins with; widths are in the weights.
FIRST = ["x: Array", "weights: Weights", "name: str"]
KNOWN = {"in_channels": "x.shape[-1]"}
IN_WEIGHTS = ("in_channels", "channels", "kernel", "reduced")

AVERAGE_POOL = '''
def average_pool(x: Array, stride: int) -> Array:
    """Means of 2 x 2; at the edge, the mean of what is inside."""
    for _ in range(2):  # rows, then columns
        x = np.concatenate([x, x[:, -1:]], 1)
        x = ((x[:, :-1] + x[:, 1:]) / 2).swapaxes(1, 2)
    return x[:, ::stride, ::stride]
'''

DILATED_AVERAGE_POOL = '''
def average_pool(x: Array, stride: int, dilation: int) -> Array:
    """Means of 2 x 2; at the edge, the mean of what is inside."""
    for _ in range(2):  # rows, then columns
        behind = np.concatenate([x[:, dilation:], x[:, -dilation:]], 1)
        x = ((x + behind) / 2).swapaxes(1, 2)
    return x[:, ::stride, ::stride]
'''

BLUR_POOL = '''
def blur_pool(x: Array, stride: int) -> Array:
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""
    for _ in range(2):  # rows, then columns; the edge is a mirror
        x = np.concatenate([x[:, 1:2], x, x[:, -2:-1]], 1)
        x = ((x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4).swapaxes(1, 2)
    return x[:, ::stride, ::stride]
'''

DILATED_BLUR_POOL = '''
def blur_pool(x: Array, stride: int, dilation: int) -> Array:
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""
    step = dilation  # each of the images of every step-th pixel on its own
    for _ in range(2):  # rows, then columns; the edge is a mirror
        before, after = x[:, step : 2 * step], x[:, -2 * step : -step]
        x = np.concatenate([before, x, after], 1)
        x = (x[:, : -2 * step] + 2 * x[:, step:-step] + x[:, 2 * step :]) / 4
        x = x.swapaxes(1, 2)
    return x[:, ::stride, ::stride]
'''

#: {function of an activation: what it returns for x}.
FUNCTIONS = {
    "relu6": "np.clip(x, 0, 6)",
    "leaky_relu": f"np.maximum(x, {literal(tree.NEGATIVE_SLOPE)} * x)",
    "silu": "x * (1 + np.tanh(x / 2)) / 2  # x * sigmoid(x), without overflow",
    "gelu": "x * (1 + erf(x / math.sqrt(2)).astype(x.dtype)) / 2",
    "gelu_tanh": "x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2",
    "hardswish": "x * np.clip(x + 3, 0, 6) / 6",
    "sigmoid": "(1 + np.tanh(x / 2)) / 2  # 1 / (1 + exp(-x)), without overflow",
}


def conv(program: Program) -> list[str]:
    """The function that applies every convolution."""
    helper = program.outline.helper(tree.Conv)
    if helper is None:
        return []
    numbers = helper.numbers
    groups, dilation, stride, padding = (literal(numbers[f]) for f in ("groups", "dilation", "stride", "padding"))
    lines = ['weight = weights[f"{name}.weight"]  # (out, in, height, width)', "kernel = weight.shape[2]"]
    if (epsilon := numbers.get("standardize")) is not None:
        lines += [
            f"# {standardize_reason(epsilon)}",
            "mean = weight.mean((1, 2, 3), keepdims=True)",
            "variance = weight.var((1, 2, 3), keepdims=True)",
            f"weight = (weight - mean) / np.sqrt(variance + {literal(epsilon)})",
        ]
    span, step = "kernel", "" if stride == "1" else f"[:, ::{stride}, ::{stride}]"
    if program.pads_same:
        total = f"rows, columns = (max(kernel - 1 - (n - 1) % {stride}, 0) for n in x.shape[1:3])"
        lines.append(f"# {same_reason()}")
        if padding == "padding":
            lines += ['if padding == "same":', f"    {total}", "else:", "    rows = columns = 2 * int(padding)"]
        else:
            lines.append(total)
        lines += [
            "sides = (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)",
            "x = np.pad(x, ((0, 0), *sides, (0, 0)))",
        ]
    elif padding != "0":
        if isinstance(numbers["padding"], Code) and padding not in ("padding", "dilation"):
            lines += note([f"padding = {padding}"], padding_reason(program))
            padding = "padding"
        lines += [f"x = np.pad(x, ((0, 0), ({padding}, {padding}), ({padding}, {padding}), (0, 0)))"]
    if dilation != "1":
        lines.append(f"span = {dilation} * (kernel - 1) + 1")
        span = "span"
    lines.append(f"x = sliding_window_view(x, ({span}, {span}), (1, 2)){step}")
    if dilation != "1":
        lines.append(f"x = x[..., ::{dilation}, ::{dilation}]")
    if groups == "1":
        lines.append('x = np.einsum("bhwcij,ocij->bhwo", x, weight, optimize=True)')
    else:
        lines += [
            f"x = x.reshape(*x.shape[:3], {groups}, -1, kernel, kernel)",
            f"weight = weight.reshape({groups}, -1, *weight.shape[1:])",
            'x = np.einsum("bhwgcij,gocij->bhwgo", x, weight, optimize=True)',
            "x = x.reshape(*x.shape[:3], -1)",
        ]
    bias = literal(numbers["bias"])
    if bias == "bias":
        lines += ["if bias:", '    x = x + weights[f"{name}.bias"]']
    lines.append('return x + weights[f"{name}.bias"]' if bias == "True" else "return x")
    if lines[-1] == "return x" and bias == "False":
        lines[-2:] = [lines[-2].replace("x = ", "return ", 1)]
    kept = [parameter for parameter in helper.parameters if parameter.name not in IN_WEIGHTS]
    return [*call("def conv", [*FIRST, *signature(kept)], " -> Array:", 0), *indented(lines)]


def norm(program: Program) -> list[str]:
    """The function that applies every norm."""
    helper = program.norm
    if helper is None:
        return []
    epsilon = literal(helper.numbers["epsilon"])
    root = f"np.sqrt(variance + {epsilon})"
    match helper.kind:
        case tree.GroupNorm:
            groups = literal(helper.numbers["groups"]).replace("channels", "x.shape[-1]")
            lines = [
                '"""Over the positions and the channels of a group, in each image."""',
                f"groups = x.reshape(*x.shape[:3], {groups}, -1)",
                "mean = groups.mean((1, 2, 4), keepdims=True)",
                "variance = groups.var((1, 2, 4), keepdims=True)",
                f"x = ((groups - mean) / {root}).reshape(x.shape)",
            ]
        case tree.LayerNorm:
            lines = [
                '"""Over the channels of each position."""',
                "mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)",
                f"x = (x - mean) / {root}",
            ]
        case _:
            whose = "that never change" if helper.kind is tree.FrozenNorm else "that training has left"
            lines = [
                f'"""With the statistics {whose}."""',
                f'deviation = np.sqrt(weights[f"{{name}}.running_var"] + {epsilon})',
                'x = (x - weights[f"{name}.running_mean"]) / deviation',
            ]
    lines.append('return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]')
    return [*call("def norm", FIRST, " -> Array:", 0), *indented(lines)]


def own_layers(program: Program) -> list[list[str]]:
    """Other layers that NumPy lacks."""
    found = []
    if any(leaf.partial for leaf in program.leaves(tree.AveragePool)):
        found.append(DILATED_AVERAGE_POOL if program.dilated(tree.AveragePool) else AVERAGE_POOL)
    if program.leaves(tree.BlurPool):
        found.append(DILATED_BLUR_POOL if program.dilated(tree.BlurPool) else BLUR_POOL)
    for name in program.functions:
        more = ["    erf = np.vectorize(math.erf, otypes=[float])"] if name == "gelu" else []
        found.append("\n".join([f"def {name}(x: Array) -> Array:", *more, f"    return {FUNCTIONS[name]}"]))
    return [text.strip().splitlines() for text in found]
