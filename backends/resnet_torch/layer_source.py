"""Convolutions, norms, and what PyTorch lacks, as text of a printed program."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.expressions import Code
from resnet_core.outline import literal
from resnet_core.source_text import (
    Program,
    call,
    conv_reason,
    docstring,
    drop_path_reason,
    given,
    indented,
    note,
    padding_reason,
    same_reason,
    signature,
    standardize_reason,
)

SAME_MAX_POOL = '''
class SameMaxPool2d(nn.Module):
    """TensorFlow's "same": an even side is padded behind the image only."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = functional.pad(x, (width % 2, 1, height % 2, 1), value=-torch.inf)
        return functional.max_pool2d(x, 3, 2)
'''

PAD_SAME = '''
def pad_same(conv: nn.Conv2d, inputs: tuple[Tensor]) -> Tensor:
    """REASON"""
    x, kernel, stride = inputs[0], conv.kernel_size[0], conv.stride[0]
    rows, columns = (max(kernel - 1 - (n - 1) % stride, 0) for n in x.shape[2:])
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return functional.pad(x, sides)
'''

DENSE_LINEAR = '''
class DenseLinear(nn.Linear):
    """A prediction at every position; in PyTorch the channels are not the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
'''

ANY_SAME_MAX_POOL = '''
class SameMaxPool2d(nn.Module):
    """TensorFlow's "same": more is padded behind the image than before it."""

    def forward(self, x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        rows, columns = (max(-(-n // STRIDE) * STRIDE - n + REST, 0) for n in sizes)
        before = (columns // 2, rows // 2)
        sides = (before[0], columns - before[0], before[1], rows - before[1])
        x = functional.pad(x, sides, value=-torch.inf)
        return functional.max_pool2d(x, KERNEL, STRIDE)
'''

CONCAT_POOL = '''
class GlobalConcatPool2d(nn.Module):
    """Of each channel the mean, then of each the maximum."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        return torch.cat([x.mean(2), x.max(2).values], 1)
'''

STANDARDIZED = '''
class StandardizedConv2d(nn.Conv2d):
    """REASON"""

    def forward(self, x: Tensor) -> Tensor:
        axes = (1, 2, 3)
        variance, mean = torch.var_mean(self.weight, axes, correction=0, keepdim=True)
        weight = (self.weight - mean) / torch.sqrt(variance + EPSILON)
        return self._conv_forward(x, weight, self.bias)
'''

FROZEN = '''
class FrozenBatchNorm2d(nn.Module):
    """Nothing here learns, scale and shift neither: all four are buffers."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        affine = (self.weight, self.bias)
        return functional.batch_norm(x, mean, variance, *affine, eps=self.eps)
'''

LAYER_NORM = '''
class LayerNorm2d(nn.LayerNorm):
    """Over the channels of each position; in PyTorch they are not the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
'''

AVERAGE_POOL = '''
class AvgPool2d(nn.Module):
    """Means of 2 x 2; at the edge, the mean of what is inside."""

    def __init__(self, stride: int, dilation: int) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        step = self.dilation
        for _ in range(2):  # rows, then columns
            behind = torch.cat([x[:, :, step:], x[:, :, -step:]], 2)
            x = ((x + behind) / 2).mT
        return x[:, :, :: self.stride, :: self.stride]
'''

BLUR_POOL = '''
class BlurPool2d(nn.Module):
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):  # rows, then columns; the edge is a mirror
            x = torch.cat([x[:, :, 1:2], x, x[:, :, -2:-1]], 2)
            x = ((x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4).mT
        return x[:, :, :: self.stride, :: self.stride]
'''

DILATED_BLUR_POOL = '''
class BlurPool2d(nn.Module):
    """Blurs by (1, 2, 1) / 4 each way, so that skipping pixels does not alias."""

    def __init__(self, stride: int, dilation: int) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        step = self.dilation  # each of the images of every step-th pixel on its own
        for _ in range(2):  # rows, then columns; the edge is a mirror
            after = x[:, :, -2 * step :][:, :, :step]
            x = torch.cat([x[:, :, step : 2 * step], x, after], 2)
            middle = x[:, :, step:-step]
            x = ((x[:, :, : -2 * step] + 2 * middle + x[:, :, 2 * step :]) / 4).mT
        return x[:, :, :: self.stride, :: self.stride]
'''

DROP_PATH = '''
class DropPath(nn.Module):
    """REASON"""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        kept = x.new_ones(len(x), 1, 1, 1)
        return x * functional.dropout(kept, self.rate, self.training)
'''


def conv(program: Program) -> list[str]:
    """The function that makes every convolution."""
    helper = program.outline.helper(tree.Conv)
    if helper is None:
        return []
    lines = docstring([reason]) if (reason := conv_reason(program)) else []
    texts = {field: literal(value) for field, value in helper.numbers.items()}
    if isinstance(helper.numbers["padding"], Code) and texts["padding"] not in ("padding", "dilation"):
        lines += note([f"padding = {texts['padding']}"], padding_reason(program))
        texts["padding"] = "padding"
    some = texts["padding"] == "padding"
    if program.pads_same:  # which PyTorch's own modules refuse to do with a stride
        texts["padding"] = '0 if padding == "same" else padding' if some else "0"
    defaults = {"stride": "1", "padding": "0", "dilation": "1", "groups": "1"}
    places = ("in_channels", "out_channels", "kernel", "stride", "padding", "dilation", "groups", "bias")
    arguments = given((place, texts[place], defaults.get(place)) for place in places)
    function = "StandardizedConv2d" if "standardize" in texts else "nn.Conv2d"
    made = [a.replace("kernel=", "kernel_size=") for a in arguments]
    if program.pads_same:
        hook = "layer.register_forward_pre_hook(pad_same)"
        hooked = ['if padding == "same":', f"    {hook}"] if some else [hook]
        lines += [*call(f"layer = {function}", made), *hooked, "return layer"]
    else:
        lines += call(f"return {function}", made)
    return [*call("def conv", signature(helper.parameters), " -> nn.Conv2d:", 0), *indented(lines)]


def norm(program: Program) -> list[str]:
    """The function that makes every norm."""
    helper = program.norm
    if helper is None:
        return []
    epsilon, lines = literal(helper.numbers["epsilon"]), []
    function, arguments = "nn.BatchNorm2d", ["channels", f"eps={epsilon}"]
    match helper.kind:
        case tree.FrozenNorm:
            function = "FrozenBatchNorm2d"
        case tree.GroupNorm:
            function, arguments = "nn.GroupNorm", [literal(helper.numbers["groups"]), *arguments]
        case tree.LayerNorm:
            function = "LayerNorm2d"
        case _:
            decay = helper.numbers["decay"]
            momentum = round(1 - float(decay), 15)  # type: ignore[arg-type]
            lines = docstring(
                [f"Momentum weighs the new batch: 1 - {literal(decay)}; the running variance is unbiased."]
            )
            arguments.append(f"momentum={literal(momentum)}")
    lines += call(f"return {function}", arguments)
    return [*call("def norm", signature(helper.parameters), f" -> {function}:", 0), *indented(lines)]


def kernels(program: Program) -> list[list[str]]:
    """Convolutions and norms that PyTorch lacks."""
    found, helper, norm = [], program.outline.helper(tree.Conv), program.norm
    if helper is not None and (epsilon := helper.numbers.get("standardize")) is not None:
        text = STANDARDIZED.replace("REASON", standardize_reason(epsilon))
        found.append(text.replace("EPSILON", literal(epsilon)))
    if program.pads_same:
        found.append(PAD_SAME.replace("REASON", same_reason()))
    if norm is not None and norm.kind in (tree.FrozenNorm, tree.LayerNorm):
        found.append(FROZEN if norm.kind is tree.FrozenNorm else LAYER_NORM)
    return [text.strip().splitlines() for text in found]


def own_layers(program: Program) -> list[list[str]]:
    """Other layers that PyTorch lacks."""
    found = []
    if own_average_pool(program):
        found.append(AVERAGE_POOL)
    if program.leaves(tree.BlurPool):
        found.append(DILATED_BLUR_POOL if program.dilated(tree.BlurPool) else BLUR_POOL)
    if program.leaves(tree.DropPath):
        found.append(DROP_PATH.replace("REASON", drop_path_reason()))
    for leaf in program.leaves(tree.MaxPool):
        if leaf.padding == "same":
            kernel, stride = leaf.kernel[0], leaf.stride[0]
            text = SAME_MAX_POOL if (kernel, stride) == (3, 2) else ANY_SAME_MAX_POOL
            text = text.replace("+ REST", f"+ {kernel - stride}".replace("+ -", "- "))
            found.append(text.replace("KERNEL", str(kernel)).replace("STRIDE", str(stride)))
    if program.leaves(tree.GlobalConcatPool):
        found.append(CONCAT_POOL)
    if any(leaf.dense for leaf in program.leaves(tree.Linear)):
        found.append(DENSE_LINEAR)
    return [text.strip().splitlines() for text in found]


def own_average_pool(program: Program) -> bool:
    """Whether nn.AvgPool2d cannot say the partial windows: they are dilated, or one begins at every pixel."""
    return any(
        leaf.partial and (leaf.dilation, leaf.stride[0]) != ((1, 1), max(2, leaf.stride[0]))
        for leaf in program.leaves(tree.AveragePool)
    )
