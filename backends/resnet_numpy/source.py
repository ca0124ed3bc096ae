"""A network as a NumPy program, one case for each leaf and definition: inference, in the dtype of the weights."""

from __future__ import annotations

from dataclasses import replace

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.outline import Parameter, Step, literal
from resnet_core.programs.training_text import recipe_options
from resnet_core.source_text import (
    READ,
    Program,
    block_reason,
    branches,
    call,
    cut,
    docstring,
    function_name,
    gate_reason,
    helper_call,
    indented,
    joined,
    note,
    rename,
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
from resnet_numpy.layer_source import FIRST, IN_WEIGHTS, KNOWN, conv, norm, own_layers
from resnet_numpy.training_source import training


def source(spec: ResNetSpec, recipe: Recipe | None = None) -> str:
    """A complete program that needs NumPy alone and computes the logits from a neutral file.

    Raises InputError, one line, for a network that has no program, and for a recipe.
    """
    program = Program(spec, "numpy", "NumPy", recipe_options(recipe))
    block, kept = _block(program)
    stage, stage_kept = _stage(program, kept)
    definitions = [conv(program), norm(program), *own_layers(program), _gate(program), block, stage]
    body = joined(*definitions, _network(program, stage_kept), READ, *training(program, recipe), _main(program))
    return joined([*program.header("Inference only."), "", *_imports(body)], [body.rstrip()])


def _imports(body: str) -> list[str]:
    windows = ["from numpy.lib.stride_tricks import sliding_window_view"] if "sliding_window_view" in body else []
    names = ["", "Array = np.ndarray", "Weights = dict[str, np.ndarray]"]
    return [*standard_imports(body), "", "import numpy as np", *windows, *names]


def _gate(program: Program) -> list[str]:
    gate = program.outline.gate
    if gate is None:
        return []
    lines, value = [], "x"
    for step in gate.steps:
        lines += _assign(program, step, value, "y", 'f"{name}.', 4)
        value = "y"
    head = call(f"def {function_name(gate.name)}", FIRST, " -> Array:", 0)
    return [*head, *indented([*docstring(gate_reason(gate)), *lines, "return x * y[:, None, None]"])]


def _block(program: Program) -> tuple[list[str], tuple[Parameter, ...]]:
    """The definition, and the parameters that it reads."""
    block = program.outline.block
    shortcut = _shortcut(program)
    lines: list[str] = []
    value = "x"
    for place, step in enumerate(block.body, start=1):
        lines += _assign(program, step, value, "y", 'f"{name}.', 4)
        value = "y"
        if place == cut(block):
            lines += shortcut
    lines += [] if cut(block) else shortcut
    total = f"{value} + x"
    for step in block.post:
        total = _activated(step, total)
    lines = [*lines, f"return {total}"] if block.forms else returned(lines)
    outside = [f"{name} = {rename(code, KNOWN)}" for name, code in block.derived_outside().items()]
    lines = with_needed(outside, lines)
    kept = used((p for p in block.parameters if p.name != "in_channels"), lines)
    head = call(f"def {function_name(block.name)}", [*FIRST, *signature(kept)], " -> Array:", 0)
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
            own += _assign(program, step, value, "x", 'f"{name}.shortcut.', 8 if test else 4)
            value = "x"
        lines += [rename(test, KNOWN), *indented(own)] if test else own
    return lines


def _stage(program: Program, kept: tuple[Parameter, ...]) -> tuple[list[str], tuple[Parameter, ...]]:
    """The definition, and the parameters that it reads."""
    loop, block = program.outline.loop, program.outline.block
    before, arguments, behind = turns(loop, kept)
    name = f'f"{{name}}.{loop.prefix}{{number}}"'
    made = call(f"x = {function_name(block.name)}", ["x", "weights", name, *arguments], indent=8)
    lines = ["for number in range(1, depth + 1):", *indented([*before, *made, *behind]), "return x"]
    stage_kept = used(loop.parameters, lines)
    head = call("def stage", [*FIRST, *signature(stage_kept)], " -> Array:", 0)
    return [*head, *indented([*docstring([stage_reason(loop)]), *lines])], stage_kept


def _network(program: Program, kept: tuple[Parameter, ...]) -> list[str]:
    outline, lines = program.outline, []
    for part in outline.parts:
        own: list[str] = []
        for step in part.steps:
            own += _assign(program, step, "x", "x", f'"{part.name}.', 4)
        if part.arguments is not None:
            own = call("x = stage", ["x", "weights", f'"{part.name}"', *stage_call(kept, part.arguments)])
        if part is outline.parts[-1]:
            own[-1] = own[-1].replace("x =", "return", 1)
        lines += [*own[:-1], *note(own[-1:], shape_text(program.shapes[part.name]))]
    return [
        "def resnet(x: Array, weights: Weights) -> Array:",
        f'    """Images (batch, height, width, {program.spec.in_channels}) to {program.output}."""',
        *indented(lines),
    ]


def _main(program: Program) -> list[str]:
    height, width = program.spec.input_size
    trained = '".running_"' if not program.leaves(tree.FrozenNorm) else '"norm"'
    return [
        'if __name__ == "__main__":',
        "    weights = read(sys.argv[1])",
        "    for name, weight in weights.items():",
        '        print(f"{name:40}{weight.shape}")',
        f"    images = np.zeros((1, {height}, {width}, {program.spec.in_channels}))",
        "    print(f\"output{' ':34}{resnet(images, weights).shape}\")",
        f"    trained = [w for name, w in weights.items() if {trained} not in name]",
        f"    assert sum(weight.size for weight in trained) == {program.parameters:_}",
    ]


def _assign(program: Program, step: Step, value: str, target: str, path: str, indent: int) -> list[str]:
    """The lines that compute one step; `path` is the beginning of its name, quotes included."""
    if step.condition is not None:
        own = _assign(program, replace(step, condition=None), value, target, path, indent + 4)
        return [f"if {step.condition}:", *indented(own)]
    text = {field: rename(literal(number), KNOWN) for field, number in step.numbers.items()}
    helper, name = program.outline.helper(step.kind), f'{path}{step.name}"'
    match step.kind:
        case tree.Conv if helper:
            arguments = [value, "weights", name, *helper_call(helper, step, IN_WEIGHTS)]
            return call(f"{target} = conv", arguments, indent=indent)
        case tree.BatchNorm | tree.FrozenNorm | tree.GroupNorm | tree.LayerNorm if helper:
            return call(f"{target} = norm", [value, "weights", name], indent=indent)
        case tree.Gate if program.outline.gate:
            return call(
                f"{target} = {function_name(program.outline.gate.name)}", [value, "weights", name], indent=indent
            )
        case tree.ReLU | tree.Activation:
            return [f"{target} = {_activated(step, value)}"]
        case tree.MaxPool:
            return [*_max_pool_padding(text, value, target), *_windows(text, target, "max")]
        case tree.AveragePool if step.numbers["partial"]:
            dilation = f", {text['dilation']}" if program.dilated(tree.AveragePool) else ""
            return [f"{target} = average_pool({value}, {text['stride']}{dilation})"]
        case tree.BlurPool:
            dilation = f", {text['dilation']}" if program.dilated(tree.BlurPool) else ""
            return [f"{target} = blur_pool({value}, {text['stride']}{dilation})"]
        case tree.AveragePool:
            return _windows(text, target, "mean", value)
        case tree.Pad:
            sides = f"({text['padding']}, {text['padding']})"
            return [f"{target} = np.pad({value}, ((0, 0), {sides}, {sides}, (0, 0)))"]
        case tree.Subsample:
            return [f"{target} = {value}[:, ::{text['stride']}, ::{text['stride']}]"]
        case tree.PadChannels:
            sides = f"({text['before']}, {text['after']})"
            return call(f"{target} = np.pad", [value, f"((0, 0), (0, 0), (0, 0), {sides})"], indent=indent)
        case tree.GlobalAveragePool:
            return [f"{target} = {value}.mean((1, 2))"]
        case tree.GlobalMaxPool:
            return [f"{target} = {value}.max((1, 2))"]
        case tree.GlobalConcatPool:
            return [f"{target} = np.concatenate([{value}.mean((1, 2)), {value}.max((1, 2))], 1)"]
        case tree.ChannelConv:
            return [
                f'weight = weights[{name}.weight"][0, 0]'.replace('".weight', ".weight"),
                "margin = len(weight) // 2",
                f"{target} = np.pad({value}, ((0, 0), (margin, margin)))",
                f"{target} = sliding_window_view({target}, len(weight), 1) @ weight",
            ]
        case tree.Dropout | tree.DropPath:
            return []  # in training only
        case tree.Linear:
            weight, bias = f'weights[{path}{step.name}.weight"]', f' + weights[{path}{step.name}.bias"]'
            return [f"{target} = {value} @ {weight}.T{bias if step.numbers['bias'] else ''}"]
    raise InputError(f"source: NumPy has no program for {step.kind.__name__}")


def _activated(step: Step, x: str) -> str:
    return f"np.maximum({x}, 0)" if step.kind is tree.ReLU else f"{step.numbers['function']}({x})"


def _max_pool_padding(text: dict[str, str], value: str, target: str) -> list[str]:
    if text["padding"] == "0":
        return []
    pads = [f"({text['padding']}, {text['padding']})"] * 2
    before = []
    if text["padding"] == '"same"':  # TensorFlow's
        before = ["height, width = x.shape[1:3]"]
        pads = ["(height % 2, 1)", "(width % 2, 1)"]
        if (text["kernel"], text["stride"]) != ("3", "2"):
            kernel, stride = int(text["kernel"]), int(text["stride"])
            rest = f"+ {kernel - stride}".replace("+ -", "- ")
            before = [
                "sizes = x.shape[1:3]",
                f"rows, columns = (max(-(-n // {stride}) * {stride} - n {rest}, 0) for n in sizes)",
            ]
            pads = ["(rows // 2, rows - rows // 2)", "(columns // 2, columns - columns // 2)"]
    sides = f"((0, 0), {', '.join(pads)}, (0, 0))"
    return [*before, *call(f"{target} = np.pad", [value, sides, "constant_values=-np.inf"])]


def _windows(text: dict[str, str], target: str, reduce: str, value: str = "x") -> list[str]:
    kernel, stride = text["kernel"], text["stride"]
    view = f"windows = sliding_window_view({value}, ({kernel}, {kernel}), (1, 2))[:, ::{stride}, ::{stride}]"
    return [view, f"{target} = windows.{reduce}((-2, -1))"]
