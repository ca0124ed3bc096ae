"""A network as a Flax program, one case for each leaf and definition. No framework is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.expressions import Code, Value
from resnet_core.outline import Form, Step, literal
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
    flag,
    gate_reason,
    given,
    helper_call,
    indented,
    joined,
    leaf_rows,
    note,
    partial_reason,
    rename,
    replaced,
    returned,
    rows,
    shape_text,
    signature,
    stage_call,
    stage_reason,
    standard_imports,
    turns,
)
from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_flax.layer_source import LAST, RNGS, conv, initial_values, kernels, linear, norm, own_layers
from resnet_flax.training_source import training

#: Kinds with modules of their own; the others are functions.
MODULES = (tree.Conv, *tree.NORMS, tree.Linear, tree.ChannelConv, tree.Gate, tree.Dropout, tree.DropPath)

#: {function of an activation: an expression of x}.
FUNCTIONS = {
    "relu6": "nnx.relu6({})",
    "leaky_relu": f"nnx.leaky_relu({{}}, {literal(tree.NEGATIVE_SLOPE)})",
    "silu": "nnx.silu({})",
    "gelu": "nnx.gelu({}, approximate=False)",
    "gelu_tanh": "nnx.gelu({}, approximate=True)",
    "hardswish": "nnx.hard_swish({})",
    "sigmoid": "nnx.sigmoid({})",
}

LOAD = '''
def load(model: nnx.Module, path: str) -> None:
    """Neutral weights; kernels there are (out, in, height, width)."""
    tensors = read(path)
    kinds = {"bias": "bias", "mean": "running_mean", "var": "running_var"}
    for keys, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            *place, kind = (f"block{k + 1}" if isinstance(k, int) else k for k in keys)
            name = ".".join(place).replace("_", ".").replace(".layers", "")
            value = tensors[f"{name}.{kinds.get(kind, 'weight')}"]
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
            variable.set_value(jnp.asarray(value))
'''

#: What `load` says instead where neutral names have underscores.
UNDERSCORES = {
    "tensors = read(path)": 'tensors = {name.replace(".", "_"): value for name, value in read(path).items()}',
    '".".join(place).replace("_", ".").replace(".layers", "")': '"_".join(place).replace("_layers", "")',
    "{name}.{kinds": "{name}_{kinds",
}


def source(spec: ResNetSpec, recipe: Recipe | None = None) -> str:
    """A complete program that needs Flax and NumPy; `load` reads a neutral file.

    Raises InputError, one line, for a network that has no program.
    """
    program = Program(spec, "flax", "Flax (NNX)", recipe_options(recipe))
    layer = [*kernels(program), conv(program), norm(program), linear(program), *own_layers(program), _gate(program)]
    definitions = [*layer, _block(program), _stage(program)]
    load = replaced(LOAD, {"block": program.outline.loop.prefix} | (UNDERSCORES if program.underscores else {}))
    body = joined(*definitions, _network(program), READ, load, *training(program, recipe), _main(program))
    return joined([*program.header(), "", *_imports(body)], [body.rstrip()])


def _imports(body: str) -> list[str]:
    optax = ["import optax"] if "optax." in body else []
    own = ["import jax", "import jax.numpy as jnp", "import numpy as np", *optax]
    return [*standard_imports(body), "", *own, "from flax import nnx", "from jax import Array"]


def _gate(program: Program) -> list[str]:
    gate = program.outline.gate
    if gate is None:
        return []
    made, run = [f"{name} = {code}" for name, code in gate.derived.items()], []
    for step in gate.steps:  # an initializer serves all layers
        made += [line for line in _assign(program, f"self.{step.name}", step) if line not in made or line[0] in " )"]
    value = "x"
    for row in leaf_rows(gate.steps):
        for step in row:
            value = _run(program, step, value, "self.")
        run.append(f"y = {value}")
        value = "y"
    return [
        f"class {gate.name}(nnx.Module):",
        *indented(docstring(gate_reason(gate))),
        "",
        *indented(call("def __init__", ["self", *signature(gate.parameters), *LAST], " -> None:")),
        *indented(made, 8),
        "",
        "    def __call__(self, x: Array) -> Array:",
        *indented([*run, "return x * y[:, None, None]"], 8),
    ]


def _block(program: Program) -> list[str]:
    block = program.outline.block
    lines = [f"{name} = {code}" for name, code in block.derived_outside().items()]
    for step in block.body:
        lines += _assign(program, f"self.{step.name}", step)
    kept = [f"self.{name} = {name}" for name in _read(block.body)]
    lines += kept
    if program.zeroed:
        tensor = f"self.{program.zeroed}.{'scale' if program.zeroed.startswith('norm') else 'kernel'}"
        lines += ["# Each block starts as its shortcut.", f"{tensor}.set_value(jnp.zeros_like({tensor}[...]))"]
    lines += [line for line in _shortcut(program) if line not in kept]
    return [
        f"class {block.name}(nnx.Module):",
        *indented(docstring(block_reason(block))),
        "",
        *indented(call("def __init__", ["self", *signature(block.parameters), *LAST], " -> None:")),
        *indented(lines, 8),
        "",
        "    def __call__(self, x: Array) -> Array:",
        *indented(_forward(program), 8),
    ]


def _shortcut(program: Program) -> list[str]:
    block, lines = program.outline.block, []
    for test, form in branches(block):
        own = [f"{name} = {code}" for name, code in block.derived_of(form).items() if name not in _kept(form)]
        for step in form.chain:
            own += _assign(program, f"self.shortcut_{step.name}", step, 12 if test else 8)
        lines += [f"self.{name} = {block.derived.get(name, name)}" for name in _kept(form)]
        for step in filter(_uneven, form.chain):
            lines += [f"{name} = {code}" for name, code in block.derived_of(form).items() if name not in _kept(form)]
            lines.append(f"self.margins = ({step.numbers['before']}, {step.numbers['after']})")
        if form.condition is not None:
            lines.append(f"self.{flag(form)} = {form.condition}")
        has_modules = any(step.kind in MODULES for step in form.chain)
        lines += [] if not has_modules else [f"if self.{flag(form)}:", *indented(own)] if test else own
    return list(dict.fromkeys(lines))


def _kept(form: Form) -> list[str]:
    """Names that a shortcut reads when it runs: they become attributes."""
    return _read([step for step in form.chain if not _uneven(step)])


def _read(steps: Sequence[Step]) -> list[str]:
    """Names that steps without modules read when they run, those of conditions too."""
    steps = [step for step in steps if step.kind not in MODULES]
    values = [value for step in steps for value in (*step.numbers.values(), step.condition)]
    return sorted({name for value in values if isinstance(value, Code) for name in value.names})


def _uneven(step: Step) -> bool:
    """Whether channels are added unevenly: both numbers are then kept as one attribute."""
    return step.kind is tree.PadChannels and step.numbers["before"] != step.numbers["after"]


def _forward(program: Program) -> list[str]:
    block = program.outline.block
    shortcut = _run_shortcut(program)
    lines, value, done = [], "x", 0
    for row in rows(block.body, cut(block)):
        for step in row:
            value = _run(program, _kept_step(step, _read(block.body)), value, "self.")
        written = _broken(f"y = {value}", 8 if row[0].condition is None else 12)
        lines += _where(row[0], written, _read(block.body))
        value, done = "y", done + len(row)
        lines += shortcut if done == cut(block) else []
    lines += [] if cut(block) else shortcut
    if not block.forms:
        return returned(lines)
    total = f"{value} + x"
    for step in block.post:
        total = _run(program, step, total, "self.")
    return [*lines, f"return {total}"]


def _where(step: Step, lines: list[str], kept: Sequence[str]) -> list[str]:
    """The lines, behind the step's condition if it has one."""
    if step.condition is None:
        return lines
    return [f"if {rename(step.condition, {name: f'self.{name}' for name in kept})}:", *indented(lines)]


def _kept_step(step: Step, kept: Sequence[str]) -> Step:
    """The step as it reads the attributes that are kept."""
    names = {name: f"self.{name}" for name in kept}
    return replace(step, numbers={field: _renamed(value, names) for field, value in step.numbers.items()})


def _run_shortcut(program: Program) -> list[str]:
    lines = []
    for test, form in branches(program.outline.block):
        own: list[str] = []
        value = "y" if form.reads else "x"
        for step in form.chain:
            kept = _kept_step(step, _kept(form))
            if step.condition is not None and value != "x":
                own.append(f"x = {value}")
                value = "x"
            if step.kind in MODULES and own and "shortcut" in own[-1]:
                own[-1] = f"x = {_run(program, kept, own[-1].removeprefix('x = '), 'self.shortcut_')}"
            else:
                indent = (12 if test else 8) + (4 if step.condition is not None else 0)
                line = _broken(f"x = {_run(program, kept, value, 'self.shortcut_')}", indent)
                own += _where(step, note(line, _comment(step), indent), _kept(form))
            value = "x"
        word = test.split()[0].rstrip(":") if test else ""
        kept_test = "else:" if word == "else" else f"{word} self.{flag(form)}:"
        lines += [kept_test, *indented(own)] if test else own
    return lines


def _renamed(value: Value, names: dict[str, str]) -> Value:
    return Code(rename(value, names)) if isinstance(value, Code) else value


def _stage(program: Program) -> list[str]:
    loop, block = program.outline.loop, program.outline.block
    before, arguments, behind = turns(loop, block.parameters)
    turn = call("blocks.append", [f"{block.name}({', '.join([*arguments, RNGS])})"], indent=8)
    if len(turn) > 1:
        turn = [*call(f"block = {block.name}", [*arguments, RNGS], indent=8), "blocks.append(block)"]
    number = "number" if any("number" in line for line in [*before, *turn]) else "_"
    span = "range(1, depth + 1)" if number == "number" else "range(depth)"
    return [
        *call("def stage", [*signature(loop.parameters), *LAST], " -> nnx.Sequential:", 0),
        *indented(docstring([stage_reason(loop)])),
        "    blocks = []",
        f"    for {number} in {span}:",
        *indented([*before, *turn, *behind], 8),
        "    return nnx.Sequential(*blocks)",
    ]


def _network(program: Program) -> list[str]:
    outline = program.outline
    made: list[str] = []
    run: list[str] = []
    for part in outline.parts:
        own: list[str] = []
        if part.arguments is not None:
            arguments = [*stage_call(outline.loop.parameters, part.arguments), RNGS]
            made += call(f"self.{part.name} = stage", arguments, indent=8)
            own = [f"x = self.{part.name}(x)"]
        for step in part.steps:
            made += _assign(program, f"self.{part.name}_{step.name}", step)
        for row in leaf_rows(part.steps):
            value = "x"
            for step in row:
                value = _run(program, step, value, f"self.{part.name}_")
            own.append(f"x = {value}")
        if part is outline.parts[-1]:
            own[-1] = own[-1].replace("x =", "return", 1)
        run += [*own[:-1], *note(own[-1:], shape_text(program.shapes[part.name]), 8)]
    return [
        "class ResNet(nnx.Module):",
        f'    """Images (batch, height, width, {program.spec.in_channels}) to {program.output}."""',
        "",
        "    def __init__(self, *, rngs: nnx.Rngs) -> None:",
        *indented(made, 8),
        "",
        "    def __call__(self, x: Array) -> Array:",
        *indented(run, 8),
    ]


def _main(program: Program) -> list[str]:
    height, width = program.spec.input_size
    return [
        'if __name__ == "__main__":',
        "    model = ResNet(rngs=nnx.Rngs(0))",
        "    model.eval()",
        f"    images = jnp.zeros((1, {height}, {width}, {program.spec.in_channels}))",
        "    print(nnx.tabulate(model, images, depth=1))",
        "    count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))",
        f"    assert count == {program.parameters:_}",
    ]


def _assign(program: Program, target: str, step: Step, indent: int = 8) -> list[str]:
    """The lines that make a step's module, where it has one."""
    text = {field: literal(number) for field, number in step.numbers.items()}
    helper = program.outline.helper(step.kind)
    match step.kind:
        case _ if helper is not None:
            rngs = [] if step.kind is tree.FrozenNorm else [RNGS]
            return call(f"{target} = {helper.name}", [*helper_call(helper, step), *rngs], indent=indent)
        case tree.Gate if program.outline.gate:
            return call(f"{target} = {program.outline.gate.name}", [*text.values(), RNGS], indent=indent)
        case tree.Linear if program.many_linear:
            same = len({leaf.bias for leaf in program.leaves(tree.Linear)}) == 1
            bias = [] if step.numbers["bias"] or same else ["bias=False"]
            arguments = [text["in_features"], text["out_features"], *bias, RNGS]
            return call(f"{target} = linear", arguments, indent=indent)
        case tree.Linear:
            initial, lines = initial_values(program, "linear", text["in_features"], bias=bool(step.numbers["bias"]))
            places = [("in_features", text["in_features"], None), ("out_features", text["out_features"], None)]
            arguments = given([*places, ("use_bias", text["bias"], "True")])
            return [*lines, *call(f"{target} = nnx.Linear", [*arguments, *initial, RNGS], indent=indent)]
        case tree.ChannelConv:
            size = text["kernel"]
            initial, lines = initial_values(program, "convolution", size, bias=False)
            padding = f"padding={int(size) // 2 if size.isdigit() else f'{size} // 2'}"
            arguments = ["1", "1", f"({size},)", padding, "use_bias=False"]
            return [*lines, *call(f"{target} = nnx.Conv", [*arguments, *initial, RNGS], indent=indent)]
        case tree.Dropout:
            return call(f"{target} = nnx.Dropout", [text["rate"], RNGS], indent=indent)
        case tree.DropPath:
            made = call(f"{target} = nnx.Dropout", [text["rate"], "broadcast_dims=(1, 2, 3)", RNGS], indent=indent)
            return [f"# {drop_path_reason()}", *made]
    return []


def _run(program: Program, step: Step, x: str, owner: str) -> str:
    """The value of one step."""
    text = {field: literal(number) for field, number in step.numbers.items()}
    match step.kind:
        case tree.ChannelConv:
            return f"{owner}{step.name}({x}[..., None])[..., 0]"
        case tree.Conv | tree.Linear | tree.Gate | tree.Dropout | tree.DropPath:
            return f"{owner}{step.name}({x})"
        case tree.BatchNorm | tree.FrozenNorm | tree.GroupNorm | tree.LayerNorm:
            return f"{owner}{step.name}({x})"
        case tree.ReLU:
            return f"nnx.relu({x})"
        case tree.Activation:
            return FUNCTIONS[str(step.numbers["function"])].format(x)
        case tree.MaxPool:
            sides = ", ".join([f"({text['padding']}, {text['padding']})"] * 2)
            padding = {'"same"': ', "SAME"', "0": ""}.get(text["padding"], f", ({sides})")
            return f"nnx.max_pool({x}, {_pair(text['kernel'])}, {_pair(text['stride'])}{padding})"
        case tree.AveragePool if program.dilated(tree.AveragePool):
            return f"average_pool({x}, {text['stride']}, {text['dilation']})"
        case tree.BlurPool:
            dilation = f", {text['dilation']}" if program.dilated(tree.BlurPool) else ""
            return f"blur_pool({x}, {text['stride']}{dilation})"
        case tree.AveragePool if step.numbers["partial"]:
            window = f"{_pair(text['kernel'])}, {_pair(text['stride'])}"
            return f'nnx.avg_pool({x}, {window}, "SAME", count_include_pad=False)'
        case tree.AveragePool:
            return f"nnx.avg_pool({x}, {_pair(text['kernel'])}, {_pair(text['stride'])})"
        case tree.Pad:
            return f"jnp.pad({x}, ((0, 0), {_pair(_pair(text['padding']))[1:-1]}, (0, 0)))"
        case tree.Subsample:
            stride = f" {text['stride']}" if "." in text["stride"] else text["stride"]
            return f"{x}[:, ::{stride}, ::{stride}]"
        case tree.PadChannels:
            margins = "self.margins" if _uneven(step) else f"({text['before']}, {text['after']})"
            return f"jnp.pad({x}, ((0, 0), (0, 0), (0, 0), {margins}))"
        case tree.GlobalAveragePool:
            return f"{x}.mean((1, 2))"
        case tree.GlobalMaxPool:
            return f"{x}.max((1, 2))"
        case tree.GlobalConcatPool:
            return f"jnp.concatenate([{x}.mean((1, 2)), {x}.max((1, 2))], 1)"
    raise InputError(f"source: Flax has no program for {step.kind.__name__}")


def _broken(line: str, indent: int) -> list[str]:
    """`x = f(x, rest)` in lines that fit: the strides stand before it, or its arguments have lines of their own."""
    if len(line) + indent <= WIDTH:
        return [line]
    if "(self.stride, self.stride)" in line:
        shorter = line.replace("(self.stride, self.stride)", "strides")
        return ["strides = (self.stride, self.stride)", *_broken(shorter, indent)]
    prefix, _, inside = line.removesuffix(")").partition("(")
    return call(prefix, re.split(r", (?![^(]*\))", inside), indent=indent)


def _comment(step: Step) -> str:
    comments = {tree.Subsample: "every stride-th pixel", tree.PadChannels: "channels of zeros"}
    return partial_reason() if step.numbers.get("partial") else comments.get(step.kind, "")


def _pair(text: str) -> str:
    return f"({text}, {text})"
