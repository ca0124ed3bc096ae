"""What printed programs share: their header, their reasons, and lines that a formatter would leave alone.

The backends' `source.py` say everything in their framework's words; this says what is the same in all of them.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TypeVar

from resnet_core import tree, zoo
from resnet_core.analysis import totals, trace
from resnet_core.anti_unification import outline
from resnet_core.architecture import layer_tree, output_name
from resnet_core.errors import printable_lines
from resnet_core.expressions import Code, Value
from resnet_core.initialization import SPREADS, Spread
from resnet_core.outline import Block, Form, Gate, Helper, Loop, Outline, Parameter, Step, literal
from resnet_core.padding import symmetric
from resnet_core.specification import ResNetSpec, to_fields
from resnet_core.tree import Shape

L = TypeVar("L", bound=tree.Leaf)

Pool = type[tree.AveragePool | tree.BlurPool]

#: Longest line of a program.
WIDTH = 88

PAPERS = {
    "groups": "Xie et al. 2017, Aggregated Residual Transformations, arXiv:1611.05431.",
    "wide": "Zagoruyko and Komodakis 2016, Wide Residual Networks, arXiv:1605.07146.",
    "preactivation": "He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.",
    "": "He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.",
}

#: What goes beyond these: {field: {value that is not the usual one, "" for any: paper}}.
MORE_PAPERS: dict[str, dict[object, str]] = {
    "shortcut_pool": {"average": "He et al. 2018, Bag of Tricks for Image Classification, arXiv:1812.01187."},
    "attention": {
        "se": "Hu et al. 2017, Squeeze-and-Excitation Networks, arXiv:1709.01507.",
        "eca": "Wang et al. 2019, ECA-Net: Efficient Channel Attention, arXiv:1910.03151.",
    },
    "antialias": {"blur": "Zhang 2019, Making Convolutional Networks Shift-Invariant Again, arXiv:1904.11486."},
    "norm": {"group": "Wu and He 2018, Group Normalization, arXiv:1803.08494."},
    "standardize_weights": {True: "Qiao et al. 2019, Weight Standardization, arXiv:1903.10520."},
}
DROP_PATH_PAPER = "Huang et al. 2016, Deep Networks with Stochastic Depth, arXiv:1603.09382."

#: What a norm is told where the framework weighs the old value.
OLD_VALUE_NORM = '"""Momentum weighs the old value; the running variance is biased."""'

#: What programs use of the standard library by its own name.
STANDARD_NAMES = {
    "collections.abc": ("Collection",),
    "functools": ("partial",),
    "itertools": ("chain", "islice", "repeat"),
    "pathlib": ("Path",),
    "typing": ("Any",),
}

#: A safetensors file is simple enough to be read by hand: programs need no library for it.
READ = '''
def read(path: str) -> dict[str, np.ndarray]:
    """A safetensors file: the header's length, the header in JSON, the numbers."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8:start]), {}
    header.pop("__metadata__", None)
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        tensors[name] = np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
    return tensors
'''.strip().splitlines()


@dataclass(frozen=True)
class Program:
    """A network on its way to a program: the spec, its outline, and what is counted."""

    spec: ResNetSpec
    backend: str
    framework: str
    #: Options of the command beyond those of the network.
    options: str = ""

    @cached_property
    def tree(self) -> tree.Chain:
        """The layer tree, every number decided."""
        return layer_tree(self.spec)

    @cached_property
    def outline(self) -> Outline:
        """The definitions that the tree folds into."""
        return outline(self.tree)

    @cached_property
    def parameters(self) -> int:
        """Trained parameters."""
        return totals(self.spec).parameters

    @cached_property
    def name(self) -> str:
        """The network's name as a program may use it."""
        return re.sub(r"[^A-Za-z0-9_]", "_", self.spec.name) or "resnet"

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """{child of the network or leaf of such a child: shape of its output} for one image of the spec's size."""
        shape: Shape = (*self.spec.input_size, self.spec.in_channels)
        found: dict[str, Shape] = {}
        for name, child in self.tree.children:
            layers, shape = trace(child, shape, name)
            found |= {layer.path: layer.output_shape for layer in layers} | {name: shape}
        return found

    @cached_property
    def output(self) -> str:
        """What the network's output is called."""
        return output_name(self.spec)

    @cached_property
    def zeroed(self) -> str:
        """The step at the end of the block's body that starts at zero, so that a block starts as its shortcut."""
        ends = [step.name for step in self.outline.block.body if step.kind in (tree.Conv, *tree.NORMS)]
        return ends[-1] if self.spec.zero_init_residual else ""

    def spread(self, role: str) -> Spread | None:
        """Of the initial values of a role ("convolution", "linear", "bias"); None for those that start at 0."""
        return SPREADS[self.spec.initializer].get(role)

    def draws_biases(self, role: str) -> bool:
        """Whether biases of convolutions, or of linear layers, have random initial values."""
        return self.spread("bias") is not None and self.has_biases(role)

    def has_biases(self, role: str) -> bool:
        """Whether some convolution, or some linear layer, has a bias."""
        leaves = self.leaves(tree.Conv) if role == "convolution" else self.leaves(tree.Linear)
        return any(leaf.bias for leaf in leaves)  # type: ignore[attr-defined]

    @cached_property
    def pads_same(self) -> bool:
        """Whether convolutions are padded as TensorFlow does: all of them, or some by the parameter `padding`."""
        return any(leaf.padding == "same" for leaf in self.leaves(tree.Conv))

    @cached_property
    def norm(self) -> Helper | None:
        """The function that makes every norm; None where there is none."""
        return next((helper for helper in self.outline.helpers if helper.kind in tree.NORMS), None)

    @cached_property
    def underscores(self) -> bool:
        """Whether some tensor's path has underscores, so that none may be read as a dot."""
        return any("_" in path for path, leaf in tree.leaves(self.tree) if leaf.tensors())

    @cached_property
    def many_linear(self) -> bool:
        """Whether gates have linear layers too, so that a function for all of them is worth its lines."""
        return self.outline.gate is not None and any(step.kind is tree.Linear for step in self.outline.gate.steps)

    @cached_property
    def functions(self) -> list[str]:
        """The activations' functions but ReLU, those of gates too."""
        return list(dict.fromkeys(leaf.function for leaf in self.leaves(tree.Activation)))

    def dilated(self, kind: Pool) -> bool:
        """Whether some pool of a kind is dilated."""
        return any(leaf.dilation != (1, 1) for leaf in self.leaves(kind))

    def leaves(self, kind: type[L]) -> list[L]:
        """The different leaves of one kind."""
        return list(dict.fromkeys(leaf for _, leaf in tree.leaves(self.tree) if isinstance(leaf, kind)))

    def header(self, *notes: str) -> list[str]:
        """The docstring of the program: what it is, whose idea, and where it comes from."""
        height, width = self.spec.input_size
        what = "features" if self.spec.classes is None else f"{self.spec.classes} classes"
        # What a network does not have changes nothing of it, so that digests last when the tree learns more.
        shown = re.sub(", (standardize|dtype)=None", "", repr(self.tree))
        digest = hashlib.sha256(shown.encode()).hexdigest()[:12]
        command = _command(self.spec, self.backend) + self.options
        origin = f"Printed by `{command}` (resnet-core {version('resnet-core')}, layer tree {digest}); yours to edit."
        size = f"{height} x {width} x {self.spec.in_channels}"
        title = f"{' '.join(self.spec.name.split()) or 'A ResNet'} in {self.framework}: {size} to {what}."
        folded = wrapped("For inference: norms are folded into the convolutions.") if self.spec.deploy else []
        return docstring([title, "\n".join([*_papers(self.spec), *folded, *wrapped(origin), *notes])], 0)


def _papers(spec: ResNetSpec) -> list[str]:
    wide = spec.groups == 1 and spec.width_per_group > 64
    kind = "groups" if spec.groups > 1 else "wide" if wide else "preactivation" if spec.preactivation else ""
    more = [paper for field, papers in MORE_PAPERS.items() if (paper := papers.get(getattr(spec, field)))]
    return [PAPERS[kind], *more, *([DROP_PATH_PAPER] if spec.drop_path else [])]


def _command(spec: ResNetSpec, backend: str) -> str:
    """The call that prints this program, `--set` included."""
    if spec.name not in zoo.ZOO:
        return f"resnet source {spec.name or 'spec'}.toml --backend {backend}"
    named, own = to_fields(ResNetSpec(**zoo.fields(spec.name))), to_fields(spec)
    changed = [f" --set {key}={plain(own[key])}" for key in own if own[key] != named[key]]
    return f"resnet source {spec.name} --backend {backend}{''.join(changed)}"


def plain(value: object) -> str:
    """A field's value as one types it behind `--set key=`."""
    if isinstance(value, list):
        return "[" + ",".join(map(plain, value)) + "]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# Lines.


def wrapped(text: str, indent: int = 0) -> list[str]:
    """Prose in lines of the right length where it stands `indent` in."""
    return textwrap.wrap(text, WIDTH - indent, break_long_words=False, break_on_hyphens=False)


def docstring(paragraphs: Sequence[str], indent: int = 4) -> list[str]:
    """A docstring that stands `indent` in: on one line where it fits.

    A name in it may be anyone's: nothing in it ends the docstring, which would make the rest of it code.
    """
    first, *rest = [_inert(paragraph) for paragraph in paragraphs if paragraph]
    if not rest and len(first) + indent + 6 <= WIDTH:
        return [f'"""{first}"""']
    lines = ['"""' + first]
    if len(first) + indent + 3 > WIDTH:
        lines = wrapped('"""' + first, indent)
    for paragraph in rest:
        lines += ["", *(line for part in paragraph.split("\n") for line in wrapped(part, indent))]
    return [*lines, '"""']


def _inert(text: str) -> str:
    return printable_lines(text).replace("\\", "/").replace('"""', "'''")


def call(prefix: str, arguments: Sequence[str], suffix: str = "", indent: int = 4) -> list[str]:
    """`prefix(arguments)suffix` in as few lines as fit: one, the arguments on one of their own, or each.

    Lines are as long as they will be where they stand, `indent` in; they come without it.
    """
    whole, row = f"{prefix}({', '.join(arguments)}){suffix}", ", ".join(arguments)
    if len(whole) + indent <= WIDTH:
        return [whole]
    inside = [f"    {row}"] if len(row) + indent + 4 <= WIDTH else [f"    {argument}," for argument in arguments]
    return [f"{prefix}(", *inside, f"){suffix}"]


def note(lines: Sequence[str], comment: str, indent: int = 4) -> list[str]:
    """The lines with a comment: behind a single line where it fits, else before."""
    if not comment:
        return list(lines)
    if len(lines) == 1 and len(lines[0]) + indent + 4 + len(comment) <= WIDTH:
        return [f"{lines[0]}  # {comment}"]
    return [*(f"# {line}" for line in wrapped(comment, indent + 2)), *lines]


def indented(lines: Iterable[str], indent: int = 4) -> list[str]:
    """The lines, further in."""
    return [f"{' ' * indent}{line}" if line else line for line in lines]


def joined(*definitions: Sequence[str]) -> str:
    """The text of a file: two empty lines between its definitions."""
    return "\n\n\n".join("\n".join(lines) for lines in definitions if lines) + "\n"


def standard_imports(body: str) -> list[str]:
    """What a program imports of the standard library, as a formatter sorts it."""
    plain = [f"import {name}" for name in ("json", "math", "sys") if re.search(rf"(?<![.\w]){name}\.[a-z]", body)]
    found = {
        module: [name for name in names if re.search(rf"(?<![.\w]){name}([(\[]|\.[a-z]|[,)] )", body)]
        for module, names in STANDARD_NAMES.items()
    }
    return [*plain, *(f"from {module} import {', '.join(names)}" for module, names in found.items() if names)]


# Parameters and arguments.


def signature(parameters: Iterable[Parameter]) -> list[str]:
    """Parameters with their types, and a default where some call leaves it out."""
    return [f"{p.name}: {_type(p)}" + ("" if p.default is None else f" = {literal(p.default)}") for p in parameters]


def _type(parameter: Parameter) -> str:
    sort = parameter.sort.removeprefix("tuple ")
    inner = "float" if sort == "rate" else "bool" if sort in ("flag", "bias", "dense") else "int"
    if parameter.default == "same":
        inner = "int | str"
    return f"tuple[{inner}, ...]" if parameter.sort.startswith("tuple ") else inner


def used(parameters: Iterable[Parameter], lines: Iterable[str]) -> tuple[Parameter, ...]:
    """The parameters that these lines read: the others are not part of the program."""
    text = "\n".join(lines)
    return tuple(parameter for parameter in parameters if reads(text, parameter.name))


def with_needed(assignments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The lines behind those of the assignments whose names they read, or one that is kept reads."""
    kept = list(lines)
    for line in reversed(assignments):
        if reads("\n".join(kept), line.split(" =")[0]):
            kept.insert(0, line)
    return kept


def reads(text: str, name: str) -> bool:
    """Whether a name occurs in a text, attributes and keywords of calls left out."""
    return re.search(rf"(?<![.\w]){name}\b(?!=[^=])", text) is not None


def rename(text: str, names: Mapping[str, str]) -> str:
    """The text with other names, each a whole word."""
    return re.sub(r"[A-Za-z_]\w*", lambda found: names.get(found[0], found[0]), text)


def replaced(text: str, changes: Mapping[str, str]) -> list[str]:
    """The lines of a text, with changes."""
    for old, new in changes.items():
        text = text.replace(old, new)
    return text.strip().splitlines()


def given(arguments: Iterable[tuple[str, str, str | None]]) -> list[str]:
    """(name, text, default) as the arguments of a call.

    What is the default is left out, and what comes behind it is said by name; so is a number that has a default.
    """
    found, by_name = [], False
    for name, text, default in arguments:
        if text == default:
            by_name = True
            continue
        by_name = by_name or (default is not None and not text.isidentifier()) or text in ("True", "False")
        found.append(f"{name}={text}" if by_name else text)
    return found


def helper_call(helper: Helper, step: Step, leave_out: Sequence[str] = ()) -> list[str]:
    """The arguments with which a step calls its helper."""
    kept = [parameter for parameter in helper.parameters if parameter.name not in leave_out]
    defaults = [None if parameter.default is None else literal(parameter.default) for parameter in kept]
    return given((p.name, literal(step.numbers[p.field]), d) for p, d in zip(kept, defaults, strict=True))


def stage_call(parameters: Iterable[Parameter], values: Mapping[str, Value]) -> list[str]:
    """The arguments of a stage: widths by position, everything else by name."""
    found = []
    for parameter in parameters:
        value = values[parameter.name]
        if parameter.default is None or value != parameter.default:
            found.append(literal(value) if parameter.sort == "width" else f"{parameter.name}={literal(value)}")
    return found


# The block's way through its layers.

ACTIVATIONS = (tree.ReLU, tree.Activation)
KERNELS = (tree.Linear, tree.ChannelConv)
LAYERS = (tree.Conv, *tree.NORMS, *ACTIVATIONS)


def rows(steps: Sequence[Step], cut: int = 0) -> list[list[Step]]:
    """Steps that are written in one expression: a row begins with the kind that the body begins with, or at `cut`.

    What is no convolution, norm or activation has a row of its own.
    """
    found: list[list[Step]] = []
    for place, step in enumerate(steps):
        alone = step.kind not in LAYERS or (place > 0 and steps[place - 1].kind not in LAYERS)
        if step.kind is steps[0].kind or alone or place == cut > 0:
            found.append([])
        found[-1].append(step)
    return found


def leaf_rows(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps that are written in one expression: a layer with a kernel, its norm and its activation, or one other."""
    found: list[list[Step]] = []
    for place, step in enumerate(steps):
        chained = step.kind in (*tree.NORMS, *ACTIVATIONS)
        if not chained or not place or steps[place - 1].kind not in (tree.Conv, *tree.NORMS, *KERNELS):
            found.append([])
        found[-1].append(step)
    return found


def cut(block: Block) -> int:
    """How many steps of the body every shortcut that does not read x has read."""
    return max((form.reads for form in block.forms), default=0)


def mixed(block: Block) -> bool:
    """Whether some shortcuts read x and some the activated x."""
    return len({form.reads for form in block.forms}) > 1


def flag(form: Form) -> str:
    """The name of a form's condition, where it must be kept."""
    return "projects" if any(step.kind is tree.Conv for step in form.chain) else "reshapes"


def branches(block: Block) -> list[tuple[str, Form]]:
    """("if condition:", form) of every form that does something; "" where there is no condition."""
    found: list[tuple[str, Form]] = []
    for form in block.forms:
        if form.chain:
            word = "elif" if found else "if"
            found.append(("" if form.condition is None and not found else f"{word} {form.condition}:", form))
            if form.condition is None and len(found) > 1:
                found[-1] = ("else:", form)
    return found


def turns(loop: Loop, kept: Sequence[Parameter]) -> tuple[list[str], list[str], list[str]]:
    """(lines before a block is made, its arguments, lines behind it) of one turn of a stage's loop.

    What only the first block gets from the stage is changed behind it; another choice has a line of its own before.
    """
    names = {parameter.name for parameter in kept}
    before, arguments, behind = [], [], []
    for argument in (argument for argument in loop.arguments if argument.name in names):
        text, own = argument.text(), f"block_{argument.name}"
        if argument.odd == "first" and argument.other == argument.name and isinstance(argument.other, Code):
            behind.append(argument)
            text = argument.name
        elif " if " in text or " / " in text:
            before.append(f"{own} = {text}")
            text = own
        arguments.append(text)
    changes = ", ".join(argument.name for argument in behind), ", ".join(literal(a.value) for a in behind)
    return before, arguments, [" = ".join(changes)] if behind else []


# Reasons: sentences that a teacher would say, each where its subject occurs.


def conv_reason(program: Program) -> str:
    """Why convolutions have no bias, where they have none and a norm follows."""
    helper = program.outline.helper(tree.Conv)
    block = program.outline.block
    before = block.body[0].kind is not tree.Conv
    if helper is not None and helper.numbers["bias"] is False and not before and program.norm is not None:
        if program.norm.kind is tree.BatchNorm:
            return "No bias: the norm behind it subtracts the mean, and with it any constant."
        return "No bias: the norm behind it adds one of its own to each channel."
    return ""


def padding_reason(program: Program) -> str:
    """What the padding is for, where it does that."""
    return "keeps the size at stride 1" if keeps_size(program) else "as much before the image as after it"


def same_reason() -> str:
    """What padding of "same" does where a convolution strides."""
    return 'TensorFlow\'s "same": where it is uneven, more is padded behind the map.'


def block_reason(block: Block) -> list[str]:
    """What the block is, and why."""
    convs = [step for step in block.body if step.kind is tree.Conv]
    before = bool(convs) and block.body[0].kind is not tree.Conv
    bottleneck = block.name.endswith("Bottleneck")
    end = "the input is added" if block.forms else "nothing is added: a plain block has no shortcut"
    first = (
        f"1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; {end}."
        if bottleneck
        else f"{_count(len(convs))}; {end}{' to what they give' if block.forms else ''}."
    )
    reasons, subject = [], "The 3 x 3"
    if bottleneck and block.derived.get("out_channels") == "4 * channels":
        reasons.append("The 3 x 3, the costly one, works on a quarter of the channels.")
        subject = "It also"
    grouped = [step.numbers["groups"] for step in convs if step.numbers.get("groups", 1) != 1]
    if grouped:
        whose = "The 3 x 3" if len(grouped) == 1 else "Each"
        reasons.append(f"{whose} is {literal(grouped[0])} narrow convolutions side by side, on channels of their own.")
        subject = "It also"
    strided = [step for step in convs if isinstance(step.numbers.get("stride"), Code)]
    if bottleneck and strided and strided[0] is convs[1]:
        reasons.append(f"{subject} has the stride: a strided 1 x 1 would never look at three pixels of four.")
    if bottleneck and strided and strided[0] is convs[0]:
        reasons.append("The first 1 x 1 has the stride, as published in 2015; later code moved it to the 3 x 3.")
    if any(isinstance(step.numbers.get("dilation"), Code) for step in convs):
        reasons.append("Where a stage keeps its map, the 3 x 3 dilates: it sees as far as on a smaller one.")
    if before:
        name = "relu" if any(step.kind is tree.ReLU for step in block.body) else "activation"
        reasons.append(
            f"Norm and {name} come before each convolution, so that the sum reaches the next block untouched."
        )
    if before and mixed(block):
        reasons.append("A projection reads the activated x, everything else x itself.")
    if any(step.kind is tree.PadChannels for form in block.forms for step in form.chain):
        reasons.append("The shortcut (option A) skips pixels and adds zero channels: it has no parameters.")
    return [first, " ".join(reasons)]


def gate_reason(gate: Gate) -> list[str]:
    """What the gate is."""
    if gate.name == "SqueezeExcitation":
        return ["Squeezes the map to a vector, and excites: one factor for each channel."]
    return ["One factor for each channel, from the means of the channel and its neighbors."]


def drop_path_reason() -> str:
    """What stochastic depth is."""
    return "Stochastic depth: in training, a share of the images skips the block."


def partial_reason() -> str:
    """Why an average pool has partial windows."""
    return "at the edge, the mean of what is inside"


def standardize_reason(standardize: Value) -> str:
    """What standardized weights are, and why their epsilon is no norm's."""
    return f"Kernels of mean 0 and variance 1; {literal(standardize)}, as they vary far less than maps."


def _count(convs: int) -> str:
    return {2: "Two 3 x 3 convolutions"}.get(convs, f"{convs} convolutions")


def stage_reason(loop: Loop) -> str:
    """What the first, the last and the other blocks of a stage do."""
    odd = {argument.name: argument.odd for argument in loop.arguments}
    first = [word for name, word in (("in_channels", "widens"), ("stride", "strides")) if odd.get(name) == "first"]
    parts = [f"the first {' and '.join(first)}"] if first else []
    parts += ["the last strides, as in TF-slim"] if odd.get("stride") == "last" else []
    parts += ["the others dilate"] if odd.get("dilation") == "first" else []
    parts += ["the drop rate rises"] if any(p.sort == "before" for p in loop.parameters) else []
    return "`depth` blocks" + (": " + ", ".join(parts) if parts else "") + "."


def returned(lines: Sequence[str], name: str = "y") -> list[str]:
    """The lines, of which the last statement returns what it had assigned to `name`."""
    starts = [place for place, line in enumerate(lines) if not line.startswith((" ", ")"))]
    if not starts or not lines[starts[-1]].startswith(f"{name} ="):
        return [*lines, f"return {name}"]
    last = lines[starts[-1]].replace(f"{name} =", "return", 1)
    return [*lines[: starts[-1]], last, *lines[starts[-1] + 1 :]]


def shape_text(shape: Shape, channels_first: bool = False) -> str:
    """A shape as one reads it aloud: 56 x 56 x 64."""
    order = (shape[-1], *shape[:-1]) if channels_first else shape
    return " x ".join(map(str, order))


def function_name(class_name: str) -> str:
    """BasicBlock as a function: basic_block."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


def keeps_size(program: Program) -> bool:
    """Whether every convolution pads so that it keeps the size at stride 1, both sides alike."""
    return all(
        leaf.kernel[0] % 2 and leaf.padding == symmetric(leaf.kernel[0], leaf.dilation[0])
        for leaf in program.leaves(tree.Conv)
    )


def scale_text(spread: Spread) -> str:
    """The variance times the fan, as one would write it."""
    return "1 / 3" if spread.scale == 1 / 3 else literal(spread.scale)


def truncated_deviation(spread: Spread, inputs: str) -> str:
    """The line that names the deviation of a truncated normal, before the cut; frameworks take it as it is."""
    return f"deviation = ({literal(spread.scale)} / {inputs}) ** 0.5  # {spread.scale / 2:g} * 2 / fan in"


def fan_in(texts: Mapping[str, str], inputs: str) -> str:
    """The inputs of one output of a convolution, as an expression: window times channels of a group."""
    kernel, groups = texts["kernel"], texts["groups"]
    window = str(int(kernel) ** 2) if kernel.isdigit() else f"{kernel}**2"
    return f"{window} * {inputs}" + ("" if groups == "1" else f" // {groups}")
