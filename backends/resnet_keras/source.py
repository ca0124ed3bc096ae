"""A network as a Keras program, one case for each leaf and definition. No framework is imported."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.outline import Parameter, Step, literal
from resnet_core.programs.training_text import recipe_options
from resnet_core.source_text import (
    OLD_VALUE_NORM,
    READ,
    WIDTH,
    Program,
    block_reason,
    branches,
    call,
    cut,
    docstring,
    fan_in,
    function_name,
    helper_call,
    indented,
    joined,
    keeps_size,
    note,
    reads,
    rename,
    scale_text,
    shape_text,
    signature,
    stage_call,
    stage_reason,
    standard_imports,
    truncated_deviation,
    turns,
    used,
)
from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_keras.training_source import training

#: What every function begins with, and what it knows from there.
FIRST = "x: KerasTensor"
KNOWN = {"in_channels": "x.shape[-1]"}
NAME = ["*", "name: str"]

#: From so many layers on Keras' walk over a flat graph needs more than Python's usual depth.
DEEP = 800

DISTRIBUTIONS = {"normal": '"untruncated_normal"', "uniform": '"uniform"'}

LOAD = '''
def load(model: keras.Model, path: str) -> None:
    """Neutral weights; kernels there are (out, in, height, width)."""
    tensors, kinds = read(path), ("weight", "bias", "running_mean", "running_var")
    for layer in model.layers:
        for variable, kind in zip(layer.weights, kinds, strict=False):
            value = tensors[f"{layer.name.replace('_', '.')}.{kind}"]
            variable.assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T)
'''.strip().splitlines()


def source(spec: ResNetSpec, recipe: Recipe | None = None) -> str:
    """A complete program that needs Keras and NumPy; `load` reads a neutral file.

    Raises InputError, one line, for a network that has no program.
    """
    program = Program(spec, "keras", "Keras", recipe_options(recipe))
    program.refuse_underscores()
    block, kept = _block(program)
    stage, stage_kept = _stage(program, kept)
    definitions = [_conv(program), _norm(program), *_layers(program), block, stage]
    body = joined(*definitions, _network(program, stage_kept), READ, LOAD, *training(program, recipe), _main(program))
    return joined([*program.header(), "", *_imports(body)], [body.rstrip()])


def _imports(body: str) -> list[str]:
    names = [name for name in ("initializers", "layers", "ops") if reads(body, name)]
    own = f"from keras import {', '.join(['KerasTensor', *names])}"
    return [*standard_imports(body), "", "import keras", "import numpy as np", own]


def _conv(program: Program) -> list[str]:
    helper = program.outline.helper(tree.Conv)
    if helper is None:
        return []
    texts = {field: literal(value) for field, value in helper.numbers.items()}
    lines, padding = _padding(program, texts)
    initial, more = _initial(program, "convolution", f"({fan_in(texts, 'x.shape[-1]')})")
    said = {"strides": (texts["stride"], "1"), "padding": (padding, '"valid"'), "groups": (texts["groups"], "1")}
    said |= {"dilation_rate": (texts["dilation"], "1"), "use_bias": (texts["bias"], "True")}
    arguments = ["channels", texts["kernel"]]
    arguments += [f"{name}={text}" for name, (text, default) in said.items() if text != default]
    lines += [*more, *call("layer = layers.Conv2D", [*arguments, *initial, "name=name"]), "return layer(x)"]
    parameters = [FIRST, *signature(p for p in helper.parameters if p.name != "in_channels"), *NAME]
    return [*call("def conv", parameters, " -> KerasTensor:", 0), *indented(lines)]


def _padding(program: Program, texts: dict[str, str]) -> tuple[list[str], str]:
    """(lines before the convolution, its own padding): Keras' "same" is right at stride 1 only."""
    padding, stride, convs = texts["padding"], texts["stride"], program.leaves(tree.Conv)
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


def _norm(program: Program) -> list[str]:
    helper = program.outline.helper(tree.BatchNorm)
    if helper is None:
        return []
    epsilon, decay = literal(helper.numbers["epsilon"]), literal(helper.numbers["decay"])
    lines = [
        OLD_VALUE_NORM,
        *call("layer = layers.BatchNormalization", [f"momentum={decay}", f"epsilon={epsilon}", "name=name"]),
        "return layer(x)",
    ]
    return [*call("def norm", [FIRST, *NAME], " -> KerasTensor:", 0), *indented(lines)]


def _layers(program: Program) -> list[list[str]]:
    """Layers that Keras lacks and that need a definition of their own."""
    return []


def _block(program: Program) -> tuple[list[str], tuple[Parameter, ...]]:
    """The definition, and the parameters that it reads."""
    block = program.outline.block
    shortcut = _shortcut(program)
    lines, value = [], "x"
    for place, step in enumerate(block.body, start=1):
        lines += _assign(program, step, value, "y", 'f"{name}_', 4)
        value = "y"
        if place == cut(block):
            lines += shortcut
    lines += [] if cut(block) else shortcut
    lines.append(f'y = layers.Add(name=f"{{name}}_add")([{value}, x])')
    for step in block.post:
        lines += _assign(program, step, "y", "y", 'f"{name}_', 4)
    lines[-1] = lines[-1].replace("y =", "return", 1)
    outside = [f"{name} = {rename(code, KNOWN)}" for name, code in block.derived_outside().items()]
    lines = [*(line for line in outside if used([Parameter(line.split(" =")[0], "")], lines)), *lines]
    kept = used((p for p in block.parameters if p.name != "in_channels"), lines)
    head = call(f"def {function_name(block.name)}", [FIRST, *signature(kept), *NAME], " -> KerasTensor:", 0)
    return [*head, *indented([*docstring(block_reason(block)), *lines])], kept


def _shortcut(program: Program) -> list[str]:
    block, lines = program.outline.block, []
    for test, form in branches(block):
        own = [f"{name} = {rename(code, KNOWN)}" for name, code in block.derived_of(form).items()]
        value = "y" if form.reads else "x"
        for step in form.chain:
            own += _assign(program, step, value, "x", 'f"{name}_shortcut_', 8 if test else 4)
            value = "x"
        lines += [rename(test, KNOWN), *indented(own)] if test else own
    return lines


def _stage(program: Program, kept: tuple[Parameter, ...]) -> tuple[list[str], tuple[Parameter, ...]]:
    """The definition, and the parameters that it reads."""
    loop, block = program.outline.loop, program.outline.block
    before, arguments, behind = turns(loop, kept)
    name = f'name=f"{{name}}_{loop.prefix}{{number}}"'
    made = call(f"x = {function_name(block.name)}", ["x", *arguments, name], indent=8)
    lines = ["for number in range(1, depth + 1):", *indented([*before, *made, *behind]), "return x"]
    stage_kept = used(loop.parameters, lines)
    head = call("def stage", [FIRST, *signature(stage_kept), *NAME], " -> KerasTensor:", 0)
    return [*head, *indented([*docstring([stage_reason(loop)]), *lines])], stage_kept


def _network(program: Program, kept: tuple[Parameter, ...]) -> list[str]:
    outline, lines = program.outline, []
    if sum(1 for _ in tree.leaves(program.tree)) > DEEP:
        lines.append("sys.setrecursionlimit(10_000)  # Keras follows the layers by recursion")
    lines.append(f"images = keras.Input((height, width, {program.spec.in_channels}))")
    value = "images"
    for part in outline.parts:
        own: list[str] = []
        for step in part.steps:
            own += _assign(program, step, value, "x", f'"{part.name}_', 4)
            value = "x"
        if part.arguments is not None:
            own = call("x = stage", [value, *stage_call(kept, part.arguments), f'name="{part.name}"'])
            value = "x"
        lines += [*own[:-1], *note(own[-1:], shape_text(program.shapes[part.name]))]
    lines.append(f'{"model =" if program.zeroed else "return"} keras.Model(images, x, name="{program.name}")')
    if program.zeroed:
        last = "gamma" if program.zeroed.startswith("norm") else "kernel"
        lines += [
            "for layer in model.layers:  # each block starts as its shortcut",
            f'    if layer.name.endswith("_{program.zeroed}"):',
            f"        layer.{last}.assign(ops.zeros_like(layer.{last}))",
            "return model",
        ]
    return [
        "def resnet(height: int | None = None, width: int | None = None) -> keras.Model:",
        f'    """Images (batch, height, width, {program.spec.in_channels}) to {program.output}."""',
        *indented(lines),
    ]


def _initial(program: Program, role: str, inputs: str) -> tuple[list[str], list[str]]:
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
    if program.draws_biases(role):
        power = "**-0.5" if inputs.isdigit() else " ** -0.5"
        lines.append(f"bound = {inputs}{power}")
        arguments.append("bias_initializer=initializers.RandomUniform(-bound, bound)")
    return arguments, lines


def _main(program: Program) -> list[str]:
    height, width = program.spec.input_size
    return [
        'if __name__ == "__main__":',
        f"    model = resnet({height}, {width})",
        "    model.summary()",
        "    count = sum(math.prod(variable.shape) for variable in model.trainable_variables)",
        f"    assert count == {program.parameters:_}",
    ]


def _assign(program: Program, step: Step, value: str, target: str, path: str, indent: int) -> list[str]:
    """The lines that apply one step; `path` is the beginning of its name, quotes included."""
    text = {field: rename(literal(number), KNOWN) for field, number in step.numbers.items()}
    helper, name = program.outline.helper(step.kind), f'name={path}{step.name}"'
    match step.kind:
        case tree.Conv if helper:
            arguments = [value, *helper_call(helper, step, ["in_channels"]), name]
            return call(f"{target} = conv", arguments, indent=indent)
        case tree.BatchNorm if helper:
            return call(f"{target} = norm", [value, name], indent=indent)
        case tree.ReLU:
            return _apply("layers.ReLU", [name], value, target, indent)
        case tree.MaxPool if text["padding"] in ("0", "'same'"):
            same = [] if text["padding"] == "0" else ['"same"']
            return _apply("layers.MaxPooling2D", [text["kernel"], text["stride"], *same, name], value, target, indent)
        case tree.MaxPool:
            side = f"({text['padding']}, {text['padding']})"
            sides = f"((0, 0), {side}, {side}, (0, 0))"
            lines = call(f"{target} = ops.pad", [value, sides, "constant_values=-math.inf"], indent=indent)
            return [
                *lines,
                *_apply("layers.MaxPooling2D", [text["kernel"], text["stride"], name], target, target, indent),
            ]
        case tree.AveragePool:
            return _apply("layers.AveragePooling2D", [text["kernel"], text["stride"], name], value, target, indent)
        case tree.Pad:
            return _apply("layers.ZeroPadding2D", [text["padding"], name], value, target, indent)
        case tree.Subsample:
            lines = _apply("layers.MaxPooling2D", ["1", text["stride"], name], value, target, indent)
            return [*note(lines[:1], "picks every stride-th pixel", indent), *lines[1:]]
        case tree.PadChannels:
            sides = f"((0, 0), (0, 0), (0, 0), ({text['before']}, {text['after']}))"
            return call(f"{target} = ops.pad", [value, sides], indent=indent)
        case tree.GlobalAveragePool:
            return _apply("layers.GlobalAveragePooling2D", [name], value, target, indent)
        case tree.Linear:
            initial, lines = _initial(program, "linear", text["in_features"])
            arguments = [text["out_features"], *([] if step.numbers["bias"] else ["use_bias=False"]), *initial, name]
            return [*lines, *_apply("layers.Dense", arguments, value, target, indent, comment_width=9)]
    raise InputError(f"source: Keras has no program for {step.kind.__name__}")


def _apply(
    function: str, arguments: list[str], value: str, target: str, indent: int, comment_width: int = 0
) -> list[str]:
    """`target = function(arguments)(value)`, in two statements where one, and a comment, are too long."""
    whole = f"{target} = {function}({', '.join(arguments)})({value})"
    if len(whole) + indent + comment_width <= WIDTH:
        return [whole]
    return [*call(f"layer = {function}", arguments, indent=indent), f"{target} = layer({value})"]
