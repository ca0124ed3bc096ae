"""ResNet-50 in plain Keras, functional, as its users write it (stride on the 3x3, images channels last)."""

from __future__ import annotations

import keras
from keras import KerasTensor, layers


def resnet50(input_shape: tuple[int, int, int] = (224, 224, 3), classes: int = 1000) -> keras.Model:
    """The network for ImageNet: 3, 4, 6 and 3 bottlenecks. Returns logits."""
    inputs = keras.Input(input_shape)
    x = layers.ZeroPadding2D(3, name="stem_pad")(inputs)
    x = conv_norm(x, 64, 7, strides=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    # Zeros serve as well as minus infinity here, because nothing is below zero after a ReLU.
    x = layers.ZeroPadding2D(1, name="pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool")(x)
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = bottleneck(x, width, strides, project=block == 1, name=f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="average_pool")(x)
    outputs = layers.Dense(classes, name="predictions")(x)
    return keras.Model(inputs, outputs, name="handwritten_resnet50")


def bottleneck(x: KerasTensor, width: int, strides: int, *, project: bool, name: str) -> KerasTensor:
    """1x1 to `width` channels, 3x3 with the stride, 1x1 to four times the width, and the shortcut."""
    shortcut = conv_norm(x, 4 * width, 1, strides=strides, name=f"{name}_shortcut") if project else x
    x = conv_norm(x, width, 1, name=f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    if strides == 1:
        x = conv_norm(x, width, 3, padding="same", name=f"{name}_2")
    else:
        # "same" at stride 2 pads below and to the right only, and would be another network.
        x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
        x = conv_norm(x, width, 3, strides=strides, name=f"{name}_2")
    x = layers.ReLU(name=f"{name}_2_relu")(x)
    x = conv_norm(x, 4 * width, 1, name=f"{name}_3")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_out")(x)


def conv_norm(
    x: KerasTensor, filters: int, kernel: int, *, strides: int = 1, padding: str = "valid", name: str
) -> KerasTensor:
    x = layers.Conv2D(filters, kernel, strides, padding, use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
