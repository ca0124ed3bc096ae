"""The largest errors that still count as equal: one table for the comparison, the conformance kit and the tests.

An error is max|a − b| / max|b| against the NumPy float64 reference (`numerics.relative_error`); that of a gradient is
described at `numerics.gradient_errors`, and where it is a length, that is said. Each limit lies between what correct
code reaches and what the smallest planted defect makes; where a sentence names a figure, correct code reaches it.
"""

from __future__ import annotations

from types import MappingProxyType as ReadOnly

#: {quantity: {dtype: limit}}.
TOLERANCES = ReadOnly(
    {
        # Evaluation mode, every tap. 2e-15 and 1e-6, through 1202 layers too: each norm rescales the rounding errors.
        "output": {"float64": 1e-12, "float32": 1e-5},
        # Training mode. 2e-14 and 7e-6: a batch's mean and variance lose a digit.
        "training output": {"float64": 1e-12, "float32": 2e-5},
        # After one training-mode pass. They are averages, in which rounding errors cancel: tighter than the output.
        "running statistics": {"float64": 1e-13, "float32": 5e-6},
        # 4e-13 in resnet18 at full width. In float32 only narrow networks, in which hardly any ReLU's sign flips, can
        # be judged: 5e-6 to 2e-5.
        "gradients": {"float64": 1e-11, "float32": 5e-5},
        # One training step from a shared state: its loss, and the weights, statistics and slots that it leaves. 2e-14
        # and 8e-7: a learning rate scales the gradients' errors down.
        "step": {"float64": 1e-12, "float32": 1e-5},
        # The loss of each of several steps. 6e-16, but each step starts from the errors of those before it.
        "loss": {"float64": 1e-11, "float32": 1e-5},
        # Weights, statistics and slots after several steps. 5e-15 after 20 steps; a ReLU's sign may flip in a longer
        # run, which costs more than all rounding before it.
        "weights": {"float64": 1e-10, "float32": 1e-5},
        # Outputs that other people's code computed in float64 and that were recorded in float32, whose rounding is
        # 6e-8.
        "recorded output": {"float64": 1e-7, "float32": 1e-5},
        # Half precision, evaluation mode, against float64 with the weights and images before they were rounded. One
        # layer or block: 0.0123 and 1.33e-3, in Flax, whose norm rounds after each operation; what claims float16 and
        # computes in bfloat16 has 3e-3 at least, from rounding the images alone.
        "half layer": {"bfloat16": 0.02, "float16": 2e-3},
        # The output of a network: 0.026 and 4.9e-3 in narrow ones, of few logits and few values in a mean; 0.009 and
        # 1.1e-3 in resnet18 and resnet50 at full size.
        "half output": {"bfloat16": 0.05, "float16": 1e-2},
        # bfloat16 in the convolutions of a float32 network, against the reference, which rounds in the same places: the
        # length of the difference (`numerics.relative_distance`). 4e-7, or 2e-4 where values in the middle of two were
        # rounded to the other one; convolutions of float32 in their place have 1.8e-3 and more.
        "rounded output": {"bfloat16": 1e-3},
        # Of one layer: 3e-7, or 1.6e-3 with such values; without the rounding 2.8e-3 and more. And of a network, where
        # a ReLU's sign may turn with such a value: 3e-2; without the rounding 0.14 and more.
        "rounded layer gradients": {"bfloat16": 2e-3},
        "rounded network gradients": {"bfloat16": 0.07},
        # The same against the exact reference, with a fast form's norms in its kernels, as max|a − b| / max|b|: 4e-3 in
        # networks at full size, 0.02 in narrow ones.
        "convolutions output": {"bfloat16": 0.03},
        # The loss of a training step, of two backends or of one and its own in float32: 4e-4, in resnet50 3e-3.
        "convolutions loss": {"bfloat16": 0.01},
        # Products of factors with ten bits of mantissa, evaluation mode, against float64: networks of the zoo at full
        # size have 6e-4 where factors are rounded to nearest, as the frameworks say that they are. Where the other bits
        # are cut off they have 3e-3 and more, and so they have with bfloat16's seven bits. On a CPU this is emulated;
        # on a GPU nobody has seen it yet.
        "tf32 output": {"tf32": 2e-3},
    }
)

#: A gradient below this fraction of the network's largest is structurally zero: that of a bias followed by a norm,
#: which is rounding and nothing else.
ZERO_GRADIENT = 1e-12
#: A gradient's error is relative to the tensor's largest gradient, but at least to this fraction of the network's
#: largest: a tensor with small gradients has the rounding errors of the whole network.
GRADIENT_FLOOR = 1e-3
