"""A network as a PyTorch program, one case for each leaf and definition. No framework is imported."""

from __future__ import annotations

from dataclasses import replace

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.outline import Step, literal
from resnet_core.programs.training_text import recipe_options
from resnet_core.source_text import (
    ACTIVATIONS,
    Program,
    block_reason,
    branches,
    call,
    cut,
    docstring,
    flag,
    gate_reason,
    given,
    helper_call,
    indented,
    joined,
    leaf_rows,
    mixed,
    note,
    partial_reason,
    returned,
    rows,
    shape_text,
    signature,
    stage_call,
    stage_reason,
    standard_imports,
    truncated_deviation,
    turns,
)
from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_torch.layer_source import conv, kernels, norm, own_average_pool, own_layers
from resnet_torch.training_source import training

#: {function of an activation: (module, its arguments)}, and the same as an expression of x.
MODULES: dict[str, tuple[str, list[str]]] = {
    "relu6": ("nn.ReLU6", []),
    "leaky_relu": ("nn.LeakyReLU", [literal(tree.NEGATIVE_SLOPE)]),
    "silu": ("nn.SiLU", []),
    "gelu": ("nn.GELU", []),
    "gelu_tanh": ("nn.GELU", ['approximate="tanh"']),
    "hardswish": ("nn.Hardswish", []),
    "sigmoid": ("nn.Sigmoid", []),
}
FUNCTIONS = {
    "relu6": "functional.relu6({})",
    "leaky_relu": f"functional.leaky_relu({{}}, {literal(tree.NEGATIVE_SLOPE)})",
    "silu": "functional.silu({})",
    "gelu": "functional.gelu({})",
    "gelu_tanh": 'functional.gelu({}, approximate="tanh")',
    "hardswish": "functional.hardswish({})",
    "sigmoid": "torch.sigmoid({})",
}

WEIGHTS = 'Weights: model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))'


def source(spec: ResNetSpec, recipe: Recipe | None = None) -> str:
    """A complete program that needs PyTorch alone; its state_dict has the neutral names.

    Raises InputError, one line, for a network that has no program.
    """
    program = Program(spec, "torch", "PyTorch", recipe_options(recipe))
    layer = [*kernels(program), conv(program), norm(program), *own_layers(program), _gate(program)]
    definitions = [*layer, _block(program), _stage(program)]
    body = joined(*definitions, _network(program), *training(program, recipe), _main(program))
    return joined([*program.header(WEIGHTS), "", *_imports(body)], [body.rstrip()])


def _imports(body: str) -> list[str]:
    functional = ["from torch.nn import functional"] if "functional." in body else []
    loader = ["from torch.utils.data import DataLoader"] if "DataLoader[" in body else []
    standard = [*standard_imports(body), ""] if standard_imports(body) else []
    return [*standard, "import torch", "from torch import Tensor, nn", *functional, *loader]


def _gate(program: Program) -> list[str]:
    gate = program.outline.gate
    if gate is None:
        return []
    made, run = ["super().__init__()", *(f"{name} = {code}" for name, code in gate.derived.items())], []
    for step in gate.steps:
        made += _assign(program, "self", step) if step.kind in (tree.Linear, tree.ChannelConv) else []
    value = "x"
    for row in leaf_rows(gate.steps):
        for step in row:
            value = _run(step, value)
        run.append(f"y = {value}")
        value = "y"
    return [
        f"class {gate.name}(nn.Module):",
        *indented(docstring(gate_reason(gate))),
        "",
        *indented(call("def __init__", ["self", *signature(gate.parameters)], " -> None:")),
        *indented(made, 8),
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        *indented([*run, "return x * y[:, :, None, None]"], 8),
    ]


def _block(program: Program) -> list[str]:
    block = program.outline.block
    lines = ["super().__init__()"]
    lines += [f"{name} = {code}" for name, code in block.derived_outside().items()]
    for step in block.body:
        if step.kind not in ACTIVATIONS:
            lines += _assign(program, "self", step)
    lines += _shortcut(program)
    return [
        f"class {block.name}(nn.Module):",
        *indented(docstring(block_reason(block))),
        "",
        *indented(call("def __init__", ["self", *signature(block.parameters)], " -> None:")),
        *indented(lines, 8),
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        *indented(_forward(program), 8),
    ]


def _shortcut(program: Program) -> list[str]:
    block, found = program.outline.block, branches(program.outline.block)
    if not found:
        return []
    lines = [f"self.{flag(found[0][1])} = {found[0][1].condition}"] if mixed(block) else []
    always = not found[0][0]
    lines += note(["self.shortcut = nn.Sequential()"], "" if always else "empty: the identity", 8)
    for number, (test, form) in enumerate(found):
        own = [f"{name} = {code}" for name, code in block.derived_of(form).items()]
        indent = 8 if always else 12
        for step in form.chain:
            if step.condition is None:
                own += _assign(program, "self.shortcut", step, indent)
            else:
                made = _assign(program, "self.shortcut", replace(step, condition=None), indent + 4)
                own += [f"if {step.condition}:", *indented(made)]
        kept = f"if self.{flag(form)}:" if mixed(block) and not number else test
        lines += own if always else [kept, *indented(own)]
    return lines


def _forward(program: Program) -> list[str]:
    block = program.outline.block
    lines, value, done = [], "x", 0
    shortcut = "self.shortcut(x)" if branches(block) else "x"
    for row in rows(block.body, cut(block)):
        for step in row:
            value = _run(step, value)
        lines.append(f"y = {value}")
        value, done = "y", done + len(row)
        if done == cut(block):
            activated = f"y if self.{flag(block.forms[0])} else x" if mixed(block) else "y"
            lines.append(f"shortcut = self.shortcut({activated})")
            shortcut = "shortcut"
    value = f"{value} + {shortcut}" if block.forms else value
    for step in block.post:
        value = _run(step, value)
    if not block.forms:
        return returned(lines)
    return [*lines, f"return {value}"]


def _stage(program: Program) -> list[str]:
    loop, block = program.outline.loop, program.outline.block
    before, arguments, behind = turns(loop, block.parameters)
    name, made = f'f"{loop.prefix}{{number}}"', f"{block.name}({', '.join(arguments)})"
    turn = call("blocks.add_module", [name, made], indent=8)
    if len(turn) > 1:
        turn = [*call(f"block = {block.name}", arguments, indent=8), f"blocks.add_module({name}, block)"]
    return [
        *call("def stage", signature(loop.parameters), " -> nn.Sequential:", 0),
        *indented(docstring([stage_reason(loop)])),
        "    blocks = nn.Sequential()",
        "    for number in range(1, depth + 1):",
        *indented([*before, *turn, *behind], 8),
        "    return blocks",
    ]


def _network(program: Program) -> list[str]:
    outline = program.outline
    made, run = ["super().__init__()"], []
    for part in outline.parts:
        if part.arguments is not None:
            made += call(f"self.{part.name} = stage", stage_call(outline.loop.parameters, part.arguments), indent=8)
        else:
            made.append(f"self.{part.name} = nn.Sequential()")
            for step in part.steps:
                made += _assign(program, f"self.{part.name}", step)
        word = "return" if part is outline.parts[-1] else "x ="
        run.append(f"{word} self.{part.name}(x)  # {shape_text(program.shapes[part.name], channels_first=True)}")
    return [
        "class ResNet(nn.Module):",
        f'    """Images (batch, {program.spec.in_channels}, height, width) to {program.output}."""',
        "",
        "    def __init__(self) -> None:",
        *indented([*made, *_initial(program)], 8),
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        *indented(run, 8),
    ]


def _initial(program: Program) -> list[str]:
    """The spec's initial values; what PyTorch draws by itself is not said again."""
    convolution, both = program.spread("convolution"), program.leaves(tree.Linear)
    both = both if convolution == program.spread("linear") else []
    assert convolution is not None
    kinds = [
        "nn.Conv2d",
        *(["nn.Conv1d"] if program.leaves(tree.ChannelConv) else []),
        *(["nn.Linear"] if both else []),
    ]
    lines = [f"if isinstance(module, {' | '.join(kinds)}):"]
    if convolution.distribution == "normal":
        mode = ', mode="fan_out"' if convolution.fan == "fan_out" else ""
        lines.append(f"    nn.init.kaiming_normal_(module.weight{mode})")
    elif convolution.distribution == "truncated":
        deviation = truncated_deviation(convolution, "module.weight[0].numel()")
        lines.append(f"    {deviation.replace('deviation', 'std')}")
        lines.append("    nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)")
    else:
        lines.append("    nn.init.xavier_uniform_(module.weight)")
    if program.spread("bias") is None and (program.has_biases("convolution") or program.has_biases("linear")):
        lines += ["    if module.bias is not None:", "        nn.init.zeros_(module.bias)"]
    lines = ["for module in self.modules():", *indented(lines)]
    if program.zeroed:  # in a loop of its own: a block comes before its convolutions
        test = f"    if isinstance(module, {program.outline.block.name}):"
        zero = f"        nn.init.zeros_(module.{program.zeroed}.weight)"
        lines += ["# Each block starts as its shortcut.", "for module in self.modules():", test, zero]
    return lines


def _main(program: Program) -> list[str]:
    height, width = program.spec.input_size
    return [
        'if __name__ == "__main__":',
        "    model = ResNet().eval()",
        f"    x = torch.zeros(1, {program.spec.in_channels}, {height}, {width})",
        "    for name, part in model.named_children():",
        "        x = part(x)",
        '        print(f"{name:8}{tuple(x.shape[1:])}")',
        f"    assert sum(p.numel() for p in model.parameters()) == {program.parameters:_}",
    ]


def _assign(program: Program, owner: str, step: Step, indent: int = 8) -> list[str]:
    """The lines that make a step's module."""
    lines = []
    for name, function, arguments, comment in _modules(program, step):
        other = f" if {step.condition} else nn.Identity()" if step.condition is not None else ""
        lines += note(call(f"{owner}.{name} = {function}", arguments, other, indent=indent), comment, indent)
    return lines


def _modules(program: Program, step: Step) -> list[tuple[str, str, list[str], str]]:
    """(name, function, arguments, comment) of the modules of one step."""
    name, text = step.name, {field: literal(value) for field, value in step.numbers.items()}
    helper = program.outline.helper(step.kind)
    match step.kind:
        case tree.Conv if helper:
            return [(name, "conv", helper_call(helper, step), "")]
        case tree.BatchNorm | tree.FrozenNorm | tree.GroupNorm | tree.LayerNorm if helper:
            return [(name, "norm", helper_call(helper, step), "")]
        case tree.Gate if program.outline.gate:
            return [(name, program.outline.gate.name, list(text.values()), "")]
        case tree.ReLU:
            return [(name, "nn.ReLU", [], "")]
        case tree.Activation:
            return [(name, *MODULES[str(step.numbers["function"])], "")]
        case tree.MaxPool if text["padding"] == '"same"':
            return [(name, "SameMaxPool2d", [], "")]
        case tree.MaxPool:
            return [(name, "nn.MaxPool2d", given(_window(text, text["padding"])), "")]
        case tree.AveragePool if step.numbers["partial"] and own_average_pool(program):
            return [(name, "AvgPool2d", [text["stride"], text["dilation"]], "")]
        case tree.AveragePool if step.numbers["partial"]:
            windows = ["ceil_mode=True", "count_include_pad=False"]
            return [(name, "nn.AvgPool2d", [*given(_window(text, "0")), *windows], partial_reason())]
        case tree.BlurPool:
            dilation = [text["dilation"]] if program.dilated(tree.BlurPool) else []
            return [(name, "BlurPool2d", [text["stride"], *dilation], "")]
        case tree.AveragePool:
            return [(name, "nn.AvgPool2d", given(_window(text, "0")), "")]
        case tree.Pad:
            return [(name, "nn.ZeroPad2d", [text["padding"]], "zeros, which win over negative values")]
        case tree.Subsample:
            return [(name, "nn.MaxPool2d", ["1", text["stride"]], "picks every stride-th pixel")]
        case tree.PadChannels:
            return [
                (name, "nn.ZeroPad3d", [f"(0, 0, 0, 0, {text['before']}, {text['after']})"], "channels, not pixels")
            ]
        case tree.GlobalAveragePool:
            return [(name, "nn.AdaptiveAvgPool2d", ["1"], ""), ("flatten", "nn.Flatten", [], "")]
        case tree.GlobalMaxPool:
            return [(name, "nn.AdaptiveMaxPool2d", ["1"], ""), ("flatten", "nn.Flatten", [], "")]
        case tree.GlobalConcatPool:
            return [(name, "GlobalConcatPool2d", [], "")]
        case tree.ChannelConv:
            size = text["kernel"]
            padding = f"padding={int(size) // 2 if size.isdigit() else f'{size} // 2'}"
            return [(name, "nn.Conv1d", ["1", "1", size, padding, "bias=False"], "")]
        case tree.Dropout:
            return [(name, "nn.Dropout", [text["rate"]], "")]
        case tree.DropPath:
            return [(name, "DropPath", [text["rate"]], "")]
        case tree.Linear:
            function = "DenseLinear" if step.numbers["dense"] else "nn.Linear"
            places = ("in_features", text["in_features"], None), ("out_features", text["out_features"], None)
            return [(name, function, given((*places, ("bias", text["bias"], "True"))), "")]
    raise InputError(f"source: PyTorch has no program for {step.kind.__name__}")


def _window(text: dict[str, str], padding: str) -> list[tuple[str, str, str | None]]:
    return [("kernel_size", text["kernel"], None), ("stride", text["stride"], None), ("padding", padding, "0")]


def _run(step: Step, x: str) -> str:
    match step.kind:
        case tree.ReLU:
            return f"torch.relu({x})"
        case tree.Activation:
            return FUNCTIONS[str(step.numbers["function"])].format(x)
        case tree.GlobalAveragePool:
            return f"{x}.mean((2, 3))"
        case tree.ChannelConv:
            return f"self.{step.name}({x}[:, None])[:, 0]"
    return f"self.{step.name}({x})"
