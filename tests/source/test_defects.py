"""The check sees: every planted defect of a program is found, in every framework."""

from __future__ import annotations

from pathlib import Path

import pytest
from printing import BACKENDS, KINDS, Case, differences, print_program, run_programs

#: Backend to {defect: (kind, what stands there, what is planted)}. None changes a shape of a tensor, but where said.
DEFECTS: dict[str, dict[str, tuple[str, str, str]]] = {
    "torch": {
        "stride of the stem": ("resnet18", "conv(3, 4, 7, stride=2)", "conv(3, 4, 7, stride=1)"),
        "epsilon": ("resnet18", "eps=1e-5", "eps=1e-4"),
        "momentum": ("resnet18", "momentum=0.1", "momentum=0.9"),
        "padding": ("resnet18", "kernel // 2", "(kernel - 1) // 2 + kernel // 7"),
        "padding of the pool": ("resnet18", "nn.MaxPool2d(3, 2, padding=1)", "nn.MaxPool2d(3, 2, ceil_mode=True)"),
        "a missing ReLU": ("resnet18", "torch.relu(self.norm1(self.conv1(x)))", "self.norm1(self.conv1(x))"),
        "ReLU before the addition": ("resnet18", "torch.relu(y + self.shortcut(x))", "torch.relu(y) + self.shortcut(x)"),
        "norm and ReLU swapped": ("resnet18", "torch.relu(self.norm1(self.conv1(x)))", "self.norm1(torch.relu(self.conv1(x)))"),
        "a shortcut of y": ("resnet18_projection_all", "y + self.shortcut(x)", "y + self.shortcut(x) * 1.001"),
        "stride on the 1x1": ("resnet50", "conv(channels, channels, 3, stride)", "conv(channels, channels, 3)"),
        "stride at the first block": ("resnet_v2_50", "if number == depth", "if number == 1"),
        "rows for columns in the pool": ("resnet_v2_50", "(width % 2, 1, height % 2, 1)", "(height % 2, 1, width % 2, 1)"),
        "a projection of x": ("resnet_v2_50", "y if self.projects else x", "x"),
        "no dilation": ("resnet50_os8", "dilation=2)", "dilation=1)"),
        "margins on one side": ("resnet20", "(0, 0, 0, 0, margin, channels - in_channels - margin)", "(0, 0, 0, 0, 0, channels - in_channels)"),
        "groups in another order": ("resnext50_32x4d", "groups=8)", "groups=4)"),
        "a name": ("resnet18", "self.stem.norm", "self.stem.bn"),
        "zeros that are no padding": ("resnet50_zeros", "nn.ZeroPad2d(1)", "nn.ConstantPad2d(1, 1.0)"),
        "a missing gate": ("resnet50d_se", "return x * y[:, :, None, None]", "return x"),
        "zeros in partial windows": ("resnet50d_se", "count_include_pad=False", "count_include_pad=False, divisor_override=4"),
        "groups of a norm": ("resnetv2_50_bit", "nn.GroupNorm(2,", "nn.GroupNorm(1,"),
        "kernels that are not standardized": ("resnetv2_50_bit", "(x, weight, self.bias)", "(x, self.weight, self.bias)"),
        "gelu by tanh": ("resnet18_layer", "functional.gelu(self.norm1(self.conv1(x)))", 'functional.gelu(self.norm1(self.conv1(x)), approximate="tanh")'),
        "a blur without its mirror": ("resnet50_blur", "x[:, :, 1:2], x, x[:, :, -2:-1]", "x[:, :, :1], x, x[:, :, -1:]"),
        "a rate that does not rise": ("resnet50_blur", "0.3 * (before + number - 1) / 3", "0.3"),
        "the odd row before the map": ("flax_resnet50", "rows // 2, rows - rows // 2)", "rows - rows // 2, rows // 2)"),
        "statistics of the batch": ("resnet18_plain", "*affine, eps=self.eps)", "*affine, self.training, eps=self.eps)"),
    },
    "keras": {
        "same at stride 2": ("resnet18", '"same" if stride == 1 else "valid"', '"same"'),
        "momentum": ("resnet18", "momentum=0.9", "momentum=0.1"),
        "epsilon left to the framework": ("resnet18", ", epsilon=1e-5", ""),
        "zeros around the pool": ("resnet18_preactivation", "constant_values=-math.inf", "constant_values=0"),
        "layout of kernels": ("resnet18", "transpose(2, 3, 1, 0)", "transpose(3, 2, 1, 0)"),
        "groups of a norm": ("resnetv2_50_bit", "GroupNormalization(2,", "GroupNormalization(1,"),
        "both sides alike": ("flax_resnet50", 'padding: int | str = "same"', "padding: int | str = 1"),
        "what TensorFlow rounds": ("resnet18_layer", "x * (1 + ops.erf(x / math.sqrt(2))) / 2", "ops.gelu(x, approximate=False)"),
    },
    "flax": {
        "padding left to the framework": ("resnet18", "padding=padding", 'padding="SAME"'),
        "momentum": ("resnet18", "momentum=0.9", "momentum=0.99"),
        "mean and variance swapped": ("resnet18", '"mean": "running_mean", "var": "running_var"', '"mean": "running_var", "var": "running_mean"'),
        "blocks counted from 0": ("resnet18", "block{k + 1}", "block{k}"),
        "a missing ReLU": ("resnet18", "return nnx.relu(y + x)", "return y + x"),
        "both sides alike": ("resnet18_same", 'padding="SAME"', "padding=kernel // 2"),
        "gelu left to the framework": ("resnet18_layer", ", approximate=False", ""),
        "a missing gate": ("resnetv2_50_bit", "return x * y[:, None, None]", "return x"),
    },
    "numpy": {
        "epsilon": ("resnet18", "+ 1e-5", "+ 1e-3"),
        "convolution turned over": ("resnet18", "bhwcij,ocij->bhwo", "bhwcij,ocji->bhwo"),
        "stride at the second pixel": ("resnet20", "x[:, ::stride, ::stride]\n        x = np.pad", "x[:, 1::stride, 1::stride]\n        x = np.pad"),
        "groups interleaved": ("resnext50_32x4d", "groups, -1, kernel, kernel)", "-1, groups, kernel, kernel).swapaxes(3, 4)"),
        "the activated x everywhere": ("resnet_v2_50", "return y + x", "return np.maximum(y + x, 0)"),
        "neighbors in another order": ("resnet50_eca", "len(weight), 1) @ weight", "len(weight), 1) @ weight[::-1]"),
        "zeros beyond the edge": ("resnetv2_50_bit", "[x, x[:, -1:]]", "[x, 0 * x[:, -1:]]"),
        "kernels that are not standardized": ("resnetv2_50_bit", "weight = (weight - mean) /", "weight = weight + 0 * (weight - mean) /"),
        "a blur of one step": ("resnet50_os4_pools", "2 * step :]) / 4", "2 * step :]) / 4 + 0.01"),
        "the odd row before the map": ("flax_resnet50", "(rows // 2, rows - rows // 2)", "(rows - rows // 2, rows // 2)"),
        "dilation that reads on": ("resnet50_os8", "x[..., ::dilation, ::dilation]", "x[..., :kernel, :kernel]"),
    },
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_planted_defect_is_found(backend: str, tmp_path: Path) -> None:
    cases = {}
    for number, (kind, old, new) in enumerate(DEFECTS[backend].values()):
        text = print_program(KINDS[kind], backend)
        assert old in text, f"{kind}: nothing to plant in: {old}"
        cases[f"defect{number}"] = Case(KINDS[kind], text.replace(old, new), mutant=True)
    found = run_programs(backend, cases, tmp_path)
    seen = [bool(differences(cases[name], backend, found[name])) for name in cases]
    assert [name for name, caught in zip(DEFECTS[backend], seen, strict=True) if not caught] == []


def test_there_are_defects_enough() -> None:
    assert sum(map(len, DEFECTS.values())) >= 30
