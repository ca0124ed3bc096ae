"""A network as a Keras program, one case for each leaf and definition. No framework is imported."""

from __future__ import annotations

from dataclasses import replace

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.outline import Parameter, Step, literal
from resnet_core.programs.training_text import recipe_options
from resnet_core.source_text import (
    READ,
    WIDTH,
    Program,
    block_reason,
    branches,
    call,
    cut,
    docstring,
    drop_path_reason,
    function_name,
    gate_reason,
    helper_call,
    indented,
    joined,
    note,
    partial_reason,
    reads,
    rename,
    replaced,
    returned,
    shape_text,
    signature,
    stage_call,
    stage_reason,
    standard_imports,
    turns,
    used,
    with_needed,
)
from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_keras.depth import DEEP, depth
from resnet_keras.layer_source import (
    FIRST,
    FUNCTIONS,
    KNOWN,
    NAME,
    conv,
    initial_values,
    kernels,
    linear,
    norm,
    own_layers,
)
from resnet_keras.training_source import training

#: {function of an activation: (layer, its arguments)}.
ACTIVATIONS = {
    "relu6": ("layers.ReLU", "max_value=6.0"),
    "silu": ("layers.Activation", '"silu"'),
    "hardswish": ("layers.Activation", '"hard_silu"'),
    "sigmoid": ("layers.Activation", '"sigmoid"'),
}

LOAD = '''
def load(model: keras.Model, path: str) -> None:
    """Neutral weights; kernels there are (out, in, height, width)."""
    tensors, kinds = read(path), ("weight", "bias", "running_mean", "running_var")
    for layer in model.layers:
        for variable, kind in zip(layer.weights, kinds, strict=False):
            value = tensors[f"{layer.name.replace('_', '.')}.{kind}"]
            variable.assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T)
'''

#: What `load` says instead where neutral names have underscores.
UNDERSCORES = {
    "    tensors, kinds = read(path), (": """\
    tensors = {name.replace(".", "_"): value for name, value in read(path).items()}
    kinds = (""",
    "{layer.name.replace('_', '.')}.{kind}": "{layer.name}_{kind}",
}


def source(spec: ResNetSpec, recipe: Recipe | None = None) -> str:
    """A complete program that needs Keras and NumPy; `load` reads a neutral file.

    Raises InputError, one line, for a network that has no program.
    """
    program = Program(spec, "keras", "Keras", recipe_options(recipe))
    block, kept = _block(program)
    stage, stage_kept = _stage(program, kept)
    layer = [*kernels(program), conv(program), norm(program), linear(program), *own_layers(program), _gate(program)]
    definitions = [*layer, block, stage]
    load = replaced(LOAD, UNDERSCORES if program.underscores else {})
    body = joined(*definitions, _network(program, stage_kept), READ, load, *training(program, recipe), _main(program))
    return joined([*program.header(), "", *_imports(body)], [body.rstrip()])


def _imports(body: str) -> list[str]:
    names = [name for name in ("initializers", "layers", "ops") if reads(body, name)]
    own = f"from keras import {', '.join(['KerasTensor', *names])}"
    return [*standard_imports(body), "", "import keras", "import numpy as np", own]


def _gate(program: Program) -> list[str]:
    gate = program.outline.gate
    if gate is None:
        return []
    lines, value = [], "x"
    for step in gate.steps:
        own = _assign(program, step, value, "y", 'f"{name}_', 4)
        if step.kind is tree.GlobalAveragePool:
            own = [own[0].replace("2D(", "2D(keepdims=True, ")]
        lines += own
        value = "y"
    derived = ["channels = x.shape[-1]", *(f"{name} = {code}" for name, code in gate.derived.items())]
    lines = [*derived, *lines, 'return layers.Multiply(name=f"{name}_multiply")([x, y])']
    kept = signature(p for p in gate.parameters if p.name != "channels")
    head = call(f"def {function_name(gate.name)}", [FIRST, *kept, *NAME], " -> KerasTensor:", 0)
    return [*head, *indented([*docstring(gate_reason(gate)), *lines])]


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
    lines += [f'y = layers.Add(name=f"{{name}}_add")([{value}, x])'] if block.forms else []
    for step in block.post:
        lines += _assign(program, step, "y", "y", 'f"{name}_', 4)
    lines = returned(lines)
    outside = [f"{name} = {rename(code, KNOWN)}" for name, code in block.derived_outside().items()]
    lines = with_needed(outside, lines)
    kept = used((p for p in block.parameters if p.name != "in_channels"), lines)
    head = call(f"def {function_name(block.name)}", [FIRST, *signature(kept), *NAME], " -> KerasTensor:", 0)
    return [*head, *indented([*docstring(block_reason(block)), *lines])], kept


def _shortcut(program: Program) -> list[str]:
    block, lines = program.outline.block, []
    for test, form in branches(block):
        own = [f"{name} = {rename(code, KNOWN)}" for name, code in block.derived_of(form).items()]
        value = "y" if form.reads else "x"
        for step in form.chain:
            if step.condition is not None and value != "x":
                own.append(f"x = {value}")
                value = "x"
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
    if depth(program.tree) > DEEP:
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
    if step.condition is not None:
        own = _assign(program, replace(step, condition=None), value, target, path, indent + 4)
        return [f"if {step.condition}:", *indented(own)]
    text = {field: rename(literal(number), KNOWN) for field, number in step.numbers.items()}
    helper, name = program.outline.helper(step.kind), f'name={path}{step.name}"'
    match step.kind:
        case tree.Conv if helper:
            arguments = [value, *helper_call(helper, step, ["in_channels"]), name]
            return call(f"{target} = conv", arguments, indent=indent)
        case tree.BatchNorm | tree.FrozenNorm | tree.GroupNorm | tree.LayerNorm if helper:
            return call(f"{target} = norm", [value, name], indent=indent)
        case tree.Gate if program.outline.gate:
            arguments = [value, *(own for field, own in text.items() if field != "channels"), name]
            return call(f"{target} = {function_name(program.outline.gate.name)}", arguments, indent=indent)
        case tree.ReLU:
            return _apply("layers.ReLU", [name], value, target, indent)
        case tree.Activation if step.numbers["function"] in FUNCTIONS:
            return [f"{target} = {step.numbers['function']}({value})"]
        case tree.Activation:
            function, argument = ACTIVATIONS[str(step.numbers["function"])]
            return _apply(function, [argument, name], value, target, indent)
        case tree.MaxPool if text["padding"] in ("0", '"same"'):
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
        case tree.AveragePool if program.dilated(tree.AveragePool):
            return [f"{target} = average_pool({value}, {text['stride']}, {text['dilation']})"]
        case tree.AveragePool if step.numbers["partial"]:
            arguments = [text["kernel"], text["stride"], '"same"', name]
            lines = _apply("layers.AveragePooling2D", arguments, value, target, indent)
            return [f"# {partial_reason()}", *lines]
        case tree.BlurPool:
            dilation = f", {text['dilation']}" if program.dilated(tree.BlurPool) else ""
            return [f"{target} = blur_pool({value}, {text['stride']}{dilation})"]
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
        case tree.GlobalMaxPool:
            return _apply("layers.GlobalMaxPooling2D", [name], value, target, indent)
        case tree.GlobalConcatPool:
            both = [f"layers.GlobalAveragePooling2D()({value})", f"layers.GlobalMaxPooling2D()({value})"]
            return [f"both = [{', '.join(both)}]", f"{target} = layers.Concatenate({name})(both)"]
        case tree.ChannelConv:
            initial, lines = initial_values(program, "convolution", text["kernel"], bias=False)
            arguments = ["1", text["kernel"], 'padding="same"', "use_bias=False", *initial, name]
            return [
                f"{target} = layers.Reshape((channels, 1))({value})",
                *lines,
                *_apply("layers.Conv1D", arguments, target, target, indent),
                f"{target} = layers.Reshape((1, 1, channels))({target})",
            ]
        case tree.Dropout:
            return _apply("layers.Dropout", [text["rate"], name], value, target, indent)
        case tree.DropPath:
            arguments = [text["rate"], "noise_shape=(None, 1, 1, 1)", name]
            return [f"# {drop_path_reason()}", *_apply("layers.Dropout", arguments, value, target, indent)]
        case tree.Linear if program.many_linear:
            alike = len({leaf.bias for leaf in program.leaves(tree.Linear)}) == 1
            more = [] if step.numbers["bias"] or alike else ["bias=False"]
            return call(f"{target} = linear", [value, text["out_features"], *more, name], indent=indent)
        case tree.Linear:
            initial, lines = initial_values(program, "linear", text["in_features"], bias=bool(step.numbers["bias"]))
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
