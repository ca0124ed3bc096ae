"""keras/src/applications/resnet.py and resnet_v2.py, by the names of their layers."""

from __future__ import annotations

from resnet_core.conversion.formats.torchvision import BOTTLENECKS
from resnet_core.conversion.naming import TENSORFLOW_NORM, Format, Numbered, Style, unseen

_BLOCK = {
    "stage{s}.block{b}.shortcut.conv": "conv{s+1}_block{b}_0_conv",
    "stage{s}.block{b}.shortcut.norm": "conv{s+1}_block{b}_0_bn",
    "stage{s}.block{b}.conv{n}": "conv{s+1}_block{b}_{n}_conv",
}
#: keras/src/applications/imagenet_utils.py, `preprocess_input`: of mode "caffe" for v1, of mode "tf" for v2.
_CAFFE = {"channel_order": "bgr", "white": 255.0, "mean": (103.939, 116.779, 123.68)}
_TENSORFLOW = {"mean": (0.5, 0.5, 0.5), "deviation": (0.5, 0.5, 0.5)}

FORMAT = Format(
    "keras",
    "a ResNet of keras.applications",
    (
        Style(
            "resnet.py",
            {
                "stem.conv": "conv1_conv",
                "stem.norm": "conv1_bn",
                **_BLOCK,
                "stage{s}.block{b}.norm{n}": "conv{s+1}_block{b}_{n}_bn",
                "head.linear": "predictions",
            },
            unseen("keras", "keras_resnet50"),
            BOTTLENECKS,
            preparation=_CAFFE,
            order=("conv1", "norm1", "conv2", "norm2", "shortcut.conv", "conv3", "shortcut.norm", "norm3"),
        ),
        Style(
            "resnet_v2.py",
            {
                "stem.conv": "conv1_conv",
                **_BLOCK,
                "stage{s}.block{b}.norm1": "conv{s+1}_block{b}_preact_bn",
                "stage{s}.block{b}.norm{n}": "conv{s+1}_block{b}_{n-1}_bn",
                "head.norm": "post_bn",
                "head.linear": "predictions",
            },
            unseen("keras", "keras_resnet50_v2"),
            BOTTLENECKS,
            preparation=_TENSORFLOW,
            order=("norm1", "conv1", "norm2", "conv2", "norm3", "shortcut.conv", "conv3"),
        ),
    ),
    tensors={
        "layer": {"weight": "kernel", "bias": "bias"},
        "norm": TENSORFLOW_NORM,
    },
    separator="/",
    aliases={r"^probs/": "predictions/"},  # as the last layer was called when the published files were written
    layout="hwio",
    writes=(".h5",),
    # Before 3.6, Keras wrote no names into .weights.h5 and .keras; before 3.0, its numbers have gaps. Between two
    # kernels of 3 stand the last of a block and the first of the next, and a projection where there is one.
    numbered=Numbered(
        "keras.applications",
        {"conv": "layers/conv2d", "norm": "layers/batch_normalization", "linear": "layers/dense"},
        block="13(1?)1(?=13|$)",
    ),
)
