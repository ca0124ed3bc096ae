"""A network as a Flax program, one case for each leaf and definition. No framework is imported."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.expressions import Code, Value
from resnet_core.outline import Form, Step, literal
from resnet_core.programs.training_text import recipe_options
from resnet_core.source_text import (
    OLD_VALUE_NORM,
    READ,
    WIDTH,
    Program,
    block_reason,
    branches,
    call,
    conv_reason,
    cut,
    docstring,
    fan_in,
    flag,
    given,
    helper_call,
    indented,
    joined,
    leaf_rows,
    note,
    padding_reason,
    rename,
    rows,
    scale_text,
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
from resnet_flax.training_source import training

#: What every definition ends with.
LAST = ["*", "rngs: nnx.Rngs"]
RNGS = "rngs=rngs"

#: Kinds with modules of their own; the others are functions.
MODULES = (tree.Conv, tree.BatchNorm, tree.Linear)

UNIFORM = '''
def uniform(inputs: int) -> nnx.Initializer:
    """Biases as PyTorch draws them, narrower where an output has more inputs."""
    bound = inputs**-0.5
    return partial(jax.random.uniform, minval=-bound, maxval=bound)
'''

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
'''.strip().splitlines()


def source(spec: ResNetSpec, recipe: Recipe | None = None) -> str:
    """A complete program that needs Flax and NumPy; `load` reads a neutral file.

    Raises InputError, one line, for a network that has no program.
    """
    program = Program(spec, "flax", "Flax (NNX)", recipe_options(recipe))
    program.refuse_underscores()
    definitions = [*_layers(program), _conv(program), _norm(program), _block(program), _stage(program)]
    load = [line.replace("block", program.outline.loop.prefix) for line in LOAD]
    body = joined(*definitions, _network(program), READ, load, *training(program, recipe), _main(program))
    return joined([*program.header(), "", *_imports(body)], [body.rstrip()])


def _imports(body: str) -> list[str]:
    optax = ["import optax"] if "optax." in body else []
    own = ["import jax", "import jax.numpy as jnp", "import numpy as np", *optax]
    return [*standard_imports(body), "", *own, "from flax import nnx", "from jax import Array"]


def _conv(program: Program) -> list[str]:
    helper = program.outline.helper(tree.Conv)
    if helper is None:
        return []
    lines = docstring([reason]) if (reason := conv_reason(program)) else []
    texts = {field: literal(value) for field, value in helper.numbers.items()}
    if isinstance(helper.numbers["padding"], Code) and texts["padding"] not in ("padding", "dilation"):
        lines += note([f"padding = {texts['padding']}"], padding_reason(program))
        texts["padding"] = "padding"
    initial, more = _initial(program, "convolution", f"({fan_in(texts, 'in_channels')})")
    named = {"strides": ("stride", "1"), "padding": ("padding", ""), "kernel_dilation": ("dilation", "1")}
    named |= {"feature_group_count": ("groups", "1"), "use_bias": ("bias", "True")}
    arguments = ["in_channels", "channels", f"({texts['kernel']}, {texts['kernel']})"]
    arguments += [f"{name}={texts[field]}" for name, (field, usual) in named.items() if texts[field] != usual]
    lines += [*more, *call("return nnx.Conv", [*arguments, *initial, RNGS])]
    return [*call("def conv", [*signature(helper.parameters), *LAST], " -> nnx.Conv:", 0), *indented(lines)]


def _norm(program: Program) -> list[str]:
    helper = program.outline.helper(tree.BatchNorm)
    if helper is None:
        return []
    arguments = ["channels", f"momentum={literal(helper.numbers['decay'])}"]
    arguments += [f"epsilon={literal(helper.numbers['epsilon'])}", "use_fast_variance=False", RNGS]
    lines = [
        OLD_VALUE_NORM,
        "# The fast variance, E[x^2] - E[x]^2, loses digits where the mean is large.",
        *call("return nnx.BatchNorm", arguments),
    ]
    return [*call("def norm", [*signature(helper.parameters), *LAST], " -> nnx.BatchNorm:", 0), *indented(lines)]


def _layers(program: Program) -> list[list[str]]:
    """What Flax lacks: biases that are drawn."""
    return (
        [UNIFORM.strip().splitlines()] if program.draws_biases("convolution") or program.draws_biases("linear") else []
    )


def _block(program: Program) -> list[str]:
    block = program.outline.block
    lines = [f"{name} = {code}" for name, code in block.derived_outside().items()]
    for step in block.body:
        lines += _assign(program, f"self.{step.name}", step)
    if program.zeroed:
        tensor = f"self.{program.zeroed}.{'scale' if program.zeroed.startswith('norm') else 'kernel'}"
        lines += ["# Each block starts as its shortcut.", f"{tensor}.set_value(jnp.zeros_like({tensor}[...]))"]
    lines += _shortcut(program)
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
    """Names that a shortcut without parameters reads when it runs: they become attributes."""
    steps = [step for step in form.chain if step.kind not in MODULES and not _uneven(step)]
    values = [value for step in steps for value in step.numbers.values()]
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
            value = _run(step, value, "self.")
        lines.append(f"y = {value}")
        value, done = "y", done + len(row)
        lines += shortcut if done == cut(block) else []
    lines += [] if cut(block) else shortcut
    total = f"{value} + x"
    for step in block.post:
        total = _run(step, total, "self.")
    return [*lines, f"return {total}"]


def _run_shortcut(program: Program) -> list[str]:
    lines = []
    for test, form in branches(program.outline.block):
        own: list[str] = []
        value = "y" if form.reads else "x"
        names = {name: f"self.{name}" for name in _kept(form)}
        for step in form.chain:
            kept = Step(step.name, step.kind, {f: _renamed(v, names) for f, v in step.numbers.items()})
            if step.kind in MODULES and own and "shortcut" in own[-1]:
                own[-1] = f"x = {_run(kept, own[-1].removeprefix('x = '), 'self.shortcut_')}"
            else:
                indent = 12 if test else 8
                line = _broken(f"x = {_run(kept, value, 'self.shortcut_')}", indent)
                own += note(line, _comment(step), indent)
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
                value = _run(step, value, f"self.{part.name}_")
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


def _initial(program: Program, role: str, inputs: str) -> tuple[list[str], list[str]]:
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
    if program.draws_biases(role):
        arguments.append(f"bias_init=uniform({inputs.removeprefix('(').removesuffix(')')})")
    return arguments, lines


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
    if helper is not None:
        return call(f"{target} = {helper.name}", [*helper_call(helper, step), RNGS], indent=indent)
    if step.kind is not tree.Linear:
        return []
    initial, lines = _initial(program, "linear", text["in_features"])
    places = [("in_features", text["in_features"], None), ("out_features", text["out_features"], None)]
    arguments = given([*places, ("use_bias", text["bias"], "True")])
    return [*lines, *call(f"{target} = nnx.Linear", [*arguments, *initial, RNGS], indent=indent)]


def _run(step: Step, x: str, owner: str) -> str:
    """The value of one step."""
    text = {field: literal(number) for field, number in step.numbers.items()}
    match step.kind:
        case tree.Conv | tree.BatchNorm | tree.Linear:
            return f"{owner}{step.name}({x})"
        case tree.ReLU:
            return f"nnx.relu({x})"
        case tree.MaxPool:
            sides = ", ".join([f"({text['padding']}, {text['padding']})"] * 2)
            padding = {"'same'": ', "SAME"', "0": ""}.get(text["padding"], f", ({sides})")
            return f"nnx.max_pool({x}, {_pair(text['kernel'])}, {_pair(text['stride'])}{padding})"
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
    raise InputError(f"source: Flax has no program for {step.kind.__name__}")


def _broken(line: str, indent: int) -> list[str]:
    """`x = f(x, rest)` in lines that fit."""
    if len(line) + indent <= WIDTH:
        return [line]
    prefix, _, inside = line.removesuffix(")").partition("(")
    value, _, rest = inside.partition(", ")
    return call(prefix, [value, rest], indent=indent)


def _comment(step: Step) -> str:
    return {tree.Subsample: "every stride-th pixel", tree.PadChannels: "channels of zeros"}.get(step.kind, "")


def _pair(text: str) -> str:
    return f"({text}, {text})"
