"""Convolutions, norms, and what Keras lacks, as text of a printed program."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.outline import literal
from resnet_core.source_text import (
    OLD_VALUE_NORM,
    Program,
    call,
    fan_in,
    indented,
    keeps_size,
    same_reason,
    scale_text,
    signature,
    standardize_reason,
    truncated_deviation,
)

#: What every function begins with, and what it knows from there.
FIRST = "x: KerasTensor"
KNOWN = {"in_channels": "x.shape[-1]"}
NAME = ["*", "name: str"]

DISTRIBUTIONS = {"normal": '"untruncated_normal"', "uniform": '"uniform"'}

STANDARDIZED = '''
class StandardizedConv2D(layers.Conv2D):
    """REASON"""

    def convolution_op(self, inputs: KerasTensor, kernel: KerasTensor) -> KerasTensor:
        axes = (0, 1, 2)
        mean = ops.mean(kernel, axes, keepdims=True)
        deviation = ops.sqrt(ops.var(kernel, axes, keepdims=True) + EPSILON)
        return super().convolution_op(inputs, (kernel - mean) / deviation)
'''

AVERAGE_POOL = '''
def average_pool(x: KerasTensor, stride: int, dilation: int) -> KerasTensor:
    """Means of 2 x 2; at the edge, the mean of what is inside."""
    for _ in range(2):  # rows, then columns
        behind = ops.concatenate([x[:, dilation:], x[:, -dilation:]], 1)
        x = ops.swapaxes((x + behind) / 2, 1, 2)
    return x[:, ::stride, ::stride]
'''

BLUR_POOL = '''
def blur_pool(x: KerasTensor, stride: int) -> KerasTensor:
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""
    for _ in range(2):  # rows, then columns; the edge is a mirror
        x = ops.concatenate([x[:, 1:2], x, x[:, -2:-1]], 1)
        x = ops.swapaxes((x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4, 1, 2)
    return x[:, ::stride, ::stride]
'''

#: Functions that TensorFlow's own round: in float64 too, it has these constants in float32.
FUNCTIONS = {
    "leaky_relu": '''
def leaky_relu(x: KerasTensor) -> KerasTensor:
    """TensorFlow's own has 0.01 in float32, for float64 too."""
    return ops.maximum(x, 0.01 * x)
''',
    "gelu": '''
def gelu(x: KerasTensor) -> KerasTensor:
    """TensorFlow's own has the root of 2 in float32, for float64 too."""
    return x * (1 + ops.erf(x / math.sqrt(2))) / 2
''',
    "gelu_tanh": '''
def gelu_tanh(x: KerasTensor) -> KerasTensor:
    """TensorFlow's own has 0.044715 in float32, for float64 too."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * (1 + ops.tanh(inner)) / 2
''',
}

DILATED_BLUR_POOL = '''
def blur_pool(x: KerasTensor, stride: int, dilation: int) -> KerasTensor:
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""
    step = dilation  # each of the images of every step-th pixel on its own
    for _ in range(2):  # rows, then columns; the edge is a mirror
        before, after = x[:, step : 2 * step], x[:, -2 * step : -step]
        x = ops.concatenate([before, x, after], 1)
        x = (x[:, : -2 * step] + 2 * x[:, step:-step] + x[:, 2 * step :]) / 4
        x = ops.swapaxes(x, 1, 2)
    return x[:, ::stride, ::stride]
'''


def conv(program: Program) -> list[str]:
    """The function that applies every convolution."""
    helper = program.outline.helper(tree.Conv)
    if helper is None:
        return []
    texts = {field: literal(value) for field, value in helper.numbers.items()}
    lines, padding = _padding(program, texts)
    initial, more = initial_values(program, "convolution", f"({fan_in(texts, 'x.shape[-1]')})")
    said = {"strides": (texts["stride"], "1"), "padding": (padding, '"valid"'), "groups": (texts["groups"], "1")}
    said |= {"dilation_rate": (texts["dilation"], "1"), "use_bias": (texts["bias"], "True")}
    arguments = ["channels", texts["kernel"]]
    function = "StandardizedConv2D" if "standardize" in texts else "layers.Conv2D"
    arguments += [f"{name}={text}" for name, (text, default) in said.items() if text != default]
    lines += [*more, *call(f"layer = {function}", [*arguments, *initial, "name=name"]), "return layer(x)"]
    parameters = [FIRST, *signature(p for p in helper.parameters if p.name != "in_channels"), *NAME]
    return [*call("def conv", parameters, " -> KerasTensor:", 0), *indented(lines)]


def _padding(program: Program, texts: dict[str, str]) -> tuple[list[str], str]:
    """(lines before the convolution, its own padding): where sides are alike, "same" is right at stride 1 only."""
    padding, stride, convs = texts["padding"], texts["stride"], program.leaves(tree.Conv)
    if program.pads_same and padding != "padding":
        return [f"# {same_reason()}"], padding
    if program.pads_same:
        pad = 'x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)'
        return [f"# {same_reason()}", f'if {padding} != "same":', f"    {pad}", '    padding = "valid"'], padding
    if padding == "0":
        return [], '"valid"'
    same = keeps_size(program)
    if same and stride == "1":
        return [], '"same"'
    reason, tests = '"""Pads both sides alike; "same" would pad a strided map behind the image."""', []
    if same:
        tests += [f"{stride} > 1"]
    if any(leaf.padding == ((0, 0), (0, 0)) and (leaf.stride != (1, 1) or not same) for leaf in convs):
        tests += [f"{padding} > 0" if padding == "padding" else "kernel > 1"]
    pad = f'x = layers.ZeroPadding2D({padding}, name=f"{{name}}_pad")(x)'
    lines = [f"if {' and '.join(tests)}:", f"    {pad}"] if tests else [pad]
    return [reason, *lines], f'"same" if {stride} == 1 else "valid"' if same else '"valid"'


def norm(program: Program) -> list[str]:
    """The function that applies every norm."""
    helper = program.norm
    if helper is None:
        return []
    epsilon, lines = f"epsilon={literal(helper.numbers['epsilon'])}", []
    function, arguments = "layers.BatchNormalization", [epsilon]
    match helper.kind:
        case tree.FrozenNorm:
            lines = ['"""Nothing here learns, scale and shift neither."""']
            arguments.append("trainable=False")
        case tree.GroupNorm:
            groups = literal(helper.numbers["groups"]).replace("channels", "x.shape[-1]")
            function, arguments = "layers.GroupNormalization", [groups, epsilon]
        case tree.LayerNorm:
            lines = ['"""Over the channels of each position."""']
            function = "layers.LayerNormalization"
        case _:
            lines = [OLD_VALUE_NORM]
            arguments = [f"momentum={literal(helper.numbers['decay'])}", epsilon]
    lines += [*call(f"layer = {function}", [*arguments, "name=name"]), "return layer(x)"]
    return [*call("def norm", [FIRST, *NAME], " -> KerasTensor:", 0), *indented(lines)]


def linear(program: Program) -> list[str]:
    """The function that applies every linear layer, where gates have some."""
    if not program.many_linear:
        return []
    biases = {leaf.bias for leaf in program.leaves(tree.Linear)}
    initial, lines = initial_values(program, "linear", "x.shape[-1]")
    own = ["use_bias=bias"] if len(biases) > 1 else [] if True in biases else ["use_bias=False"]
    lines += [*call("layer = layers.Dense", ["channels", *own, *initial, "name=name"]), "return layer(x)"]
    parameters = [FIRST, "channels: int", *(["bias: bool = True"] if len(biases) > 1 else []), *NAME]
    return [*call("def linear", parameters, " -> KerasTensor:", 0), *indented(lines)]


def kernels(program: Program) -> list[list[str]]:
    """Convolutions and norms that Keras lacks."""
    helper = program.outline.helper(tree.Conv)
    if helper is None or (epsilon := helper.numbers.get("standardize")) is None:
        return []
    text = STANDARDIZED.replace("REASON", standardize_reason(epsilon))
    return [text.replace("EPSILON", literal(epsilon)).strip().splitlines()]


def own_layers(program: Program) -> list[list[str]]:
    """Other layers that Keras lacks."""
    found = []
    if program.dilated(tree.AveragePool):
        found.append(AVERAGE_POOL)
    if program.leaves(tree.BlurPool):
        found.append(DILATED_BLUR_POOL if program.dilated(tree.BlurPool) else BLUR_POOL)
    found += [FUNCTIONS[name] for name in program.functions if name in FUNCTIONS]
    return [text.strip().splitlines() for text in found]


def initial_values(program: Program, role: str, inputs: str, bias: bool = True) -> tuple[list[str], list[str]]:
    """(arguments, lines before) for the spec's initial values; what Keras draws by itself is not said again."""
    spread, arguments, lines = program.spread(role), [], []
    assert spread is not None
    if spread.distribution == "truncated":
        lines.append(truncated_deviation(spread, inputs))
        arguments.append("kernel_initializer=initializers.TruncatedNormal(stddev=deviation)")
    elif spread.fan != "fan_avg":  # Glorot's is Keras' own
        distribution = DISTRIBUTIONS[spread.distribution]
        lines.append(f'initial = initializers.VarianceScaling({scale_text(spread)}, "{spread.fan}", {distribution})')
        arguments.append("kernel_initializer=initial")
    if bias and program.draws_biases(role):
        power = "**-0.5" if inputs.isalnum() else " ** -0.5"
        lines.append(f"bound = {inputs}{power}")
        arguments.append("bias_initializer=initializers.RandomUniform(-bound, bound)")
    return arguments, lines
