"""A network as a NumPy program, one case for each leaf and definition: inference, in the dtype of the weights."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.expressions import Code
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
    helper_call,
    indented,
    joined,
    note,
    padding_reason,
    rename,
    shape_text,
    signature,
    stage_call,
    stage_reason,
    standard_imports,
    turns,
    used,
)
from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_numpy.training_source import training

#: What every function begins with; widths are in the weights.
FIRST = ["x: Array", "weights: Weights", "name: str"]
KNOWN = {"in_channels": "x.shape[-1]"}
IN_WEIGHTS = ("in_channels", "channels", "kernel")


def source(spec: ResNetSpec, recipe: Recipe | None = None) -> str:
    """A complete program that needs NumPy alone and computes the logits from a neutral file.

    Raises InputError, one line, for a network that has no program, and for a recipe.
    """
    program = Program(spec, "numpy", "NumPy", recipe_options(recipe))
    block, kept = _block(program)
    stage, stage_kept = _stage(program, kept)
    definitions = [_conv(program), _norm(program), *_layers(program), block, stage]
    body = joined(*definitions, _network(program, stage_kept), READ, *training(program, recipe), _main(program))
    return joined([*program.header("Inference only."), "", *_imports(body)], [body.rstrip()])


def _imports(body: str) -> list[str]:
    windows = ["from numpy.lib.stride_tricks import sliding_window_view"] if "sliding_window_view" in body else []
    names = ["", "Array = np.ndarray", "Weights = dict[str, np.ndarray]"]
    return [*standard_imports(body), "", "import numpy as np", *windows, *names]


def _conv(program: Program) -> list[str]:
    helper = program.outline.helper(tree.Conv)
    if helper is None:
        return []
    numbers = helper.numbers
    groups, dilation, stride, padding = (literal(numbers[f]) for f in ("groups", "dilation", "stride", "padding"))
    lines = ['weight = weights[f"{name}.weight"]  # (out, in, height, width)', "kernel = weight.shape[2]"]
    span, step = "kernel", "" if stride == "1" else f"[:, ::{stride}, ::{stride}]"
    if padding != "0":
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


def _norm(program: Program) -> list[str]:
    helper = program.outline.helper(tree.BatchNorm)
    if helper is None:
        return []
    epsilon = literal(helper.numbers["epsilon"])
    lines = [
        '"""With the statistics that training has left."""',
        f'deviation = np.sqrt(weights[f"{{name}}.running_var"] + {epsilon})',
        'x = (x - weights[f"{name}.running_mean"]) / deviation',
        'return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]',
    ]
    return [*call("def norm", FIRST, " -> Array:", 0), *indented(lines)]


def _layers(program: Program) -> list[list[str]]:
    """Layers that NumPy lacks and that need a definition of their own."""
    return []


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
        total = f"np.maximum({total}, 0)" if step.kind is tree.ReLU else total
    lines.append(f"return {total}")
    outside = [f"{name} = {rename(code, KNOWN)}" for name, code in block.derived_outside().items()]
    lines = [*(line for line in outside if used([Parameter(line.split(" =")[0], "")], lines)), *lines]
    kept = used((p for p in block.parameters if p.name != "in_channels"), lines)
    head = call(f"def {function_name(block.name)}", [*FIRST, *signature(kept)], " -> Array:", 0)
    return [*head, *indented([*docstring(block_reason(block)), *lines])], kept


def _shortcut(program: Program) -> list[str]:
    block, lines = program.outline.block, []
    for test, form in branches(block):
        own = [f"{name} = {rename(code, KNOWN)}" for name, code in block.derived_of(form).items()]
        value = "y" if form.reads else "x"
        for step in form.chain:
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
    return [
        'if __name__ == "__main__":',
        "    weights = read(sys.argv[1])",
        "    for name, weight in weights.items():",
        '        print(f"{name:40}{weight.shape}")',
        f"    images = np.zeros((1, {height}, {width}, {program.spec.in_channels}))",
        "    print(f\"output{' ':34}{resnet(images, weights).shape}\")",
        '    trained = [w for name, w in weights.items() if ".running_" not in name]',
        f"    assert sum(weight.size for weight in trained) == {program.parameters:_}",
    ]


def _assign(program: Program, step: Step, value: str, target: str, path: str, indent: int) -> list[str]:
    """The lines that compute one step; `path` is the beginning of its name, quotes included."""
    text = {field: rename(literal(number), KNOWN) for field, number in step.numbers.items()}
    helper, name = program.outline.helper(step.kind), f'{path}{step.name}"'
    match step.kind:
        case tree.Conv if helper:
            arguments = [value, "weights", name, *helper_call(helper, step, IN_WEIGHTS)]
            return call(f"{target} = conv", arguments, indent=indent)
        case tree.BatchNorm if helper:
            return call(f"{target} = norm", [value, "weights", name], indent=indent)
        case tree.ReLU:
            return [f"{target} = np.maximum({value}, 0)"]
        case tree.MaxPool:
            return [*_max_pool_padding(text, value, target), *_windows(text, target, "max")]
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
        case tree.Linear:
            weight, bias = f'weights[{path}{step.name}.weight"]', f' + weights[{path}{step.name}.bias"]'
            return [f"{target} = {value} @ {weight}.T{bias if step.numbers['bias'] else ''}"]
    raise InputError(f"source: NumPy has no program for {step.kind.__name__}")


def _max_pool_padding(text: dict[str, str], value: str, target: str) -> list[str]:
    if text["padding"] == "0":
        return []
    pads = [f"({text['padding']}, {text['padding']})"] * 2
    before = []
    if text["padding"] == "'same'":  # TensorFlow's
        before = ["height, width = x.shape[1:3]"]
        pads = ["(height % 2, 1)", "(width % 2, 1)"]
    sides = f"((0, 0), {', '.join(pads)}, (0, 0))"
    return [*before, *call(f"{target} = np.pad", [value, sides, "constant_values=-np.inf"])]


def _windows(text: dict[str, str], target: str, reduce: str, value: str = "x") -> list[str]:
    kernel, stride = text["kernel"], text["stride"]
    view = f"windows = sliding_window_view({value}, ({kernel}, {kernel}), (1, 2))[:, ::{stride}, ::{stride}]"
    return [view, f"{target} = windows.{reduce}((-2, -1))"]
