"""Where each framework documents each kind of layer: the one place with addresses."""

from __future__ import annotations

from resnet_core import tree

TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.nn"
KERAS = "https://keras.io/api/layers"
FLAX = "https://flax.readthedocs.io/en/stable/api_reference/flax.nnx/nn"
JAX = "https://docs.jax.dev/en/latest/_autosummary/jax.numpy"
NUMPY = "https://numpy.org/doc/stable/reference/generated"

#: {kind: {backend: (what it is called there, its address)}}; a kind that a framework does not have has no entry.
PAGES: dict[type[tree.Node], dict[str, tuple[str, str]]] = {
    tree.Conv: {
        "torch": ("Conv2d", f"{TORCH}.Conv2d.html"),
        "keras": ("Conv2D", f"{KERAS}/convolution_layers/convolution2d/"),
        "flax": ("nnx.Conv", f"{FLAX}/linear.html"),
        "numpy": ("einsum", f"{NUMPY}/numpy.einsum.html"),
    },
    tree.BatchNorm: {
        "torch": ("BatchNorm2d", f"{TORCH}.BatchNorm2d.html"),
        "keras": ("BatchNormalization", f"{KERAS}/normalization_layers/batch_normalization/"),
        "flax": ("nnx.BatchNorm", f"{FLAX}/normalization.html"),
    },
    tree.GroupNorm: {
        "torch": ("GroupNorm", f"{TORCH}.GroupNorm.html"),
        "keras": ("GroupNormalization", f"{KERAS}/normalization_layers/group_normalization/"),
        "flax": ("nnx.GroupNorm", f"{FLAX}/normalization.html"),
    },
    tree.LayerNorm: {
        "torch": ("LayerNorm", f"{TORCH}.LayerNorm.html"),
        "keras": ("LayerNormalization", f"{KERAS}/normalization_layers/layer_normalization/"),
        "flax": ("nnx.LayerNorm", f"{FLAX}/normalization.html"),
    },
    tree.ReLU: {
        "torch": ("ReLU", f"{TORCH}.ReLU.html"),
        "keras": ("ReLU", f"{KERAS}/activation_layers/relu/"),
        "flax": ("nnx.relu", f"{FLAX}/activations.html"),
        "numpy": ("maximum", f"{NUMPY}/numpy.maximum.html"),
    },
    tree.Activation: {
        "torch": ("torch.nn", "https://docs.pytorch.org/docs/stable/nn.html"),
        "keras": ("activations", f"{KERAS}/activations/"),
        "flax": ("activations", f"{FLAX}/activations.html"),
    },
    tree.MaxPool: {
        "torch": ("MaxPool2d", f"{TORCH}.MaxPool2d.html"),
        "keras": ("MaxPooling2D", f"{KERAS}/pooling_layers/max_pooling2d/"),
        "flax": ("nnx.max_pool", f"{FLAX}/pooling.html"),
        "numpy": (
            "sliding_window_view",
            f"{NUMPY}/numpy.lib.stride_tricks.sliding_window_view.html",
        ),
    },
    tree.AveragePool: {
        "torch": ("AvgPool2d", f"{TORCH}.AvgPool2d.html"),
        "keras": ("AveragePooling2D", f"{KERAS}/pooling_layers/average_pooling2d/"),
        "flax": ("nnx.avg_pool", f"{FLAX}/pooling.html"),
    },
    tree.Pad: {
        "torch": ("ZeroPad2d", f"{TORCH}.ZeroPad2d.html"),
        "keras": ("ZeroPadding2D", f"{KERAS}/reshaping_layers/zero_padding2d/"),
        "flax": ("jnp.pad", f"{JAX}.pad.html"),
        "numpy": ("pad", f"{NUMPY}/numpy.pad.html"),
    },
    tree.GlobalAveragePool: {
        "torch": ("AdaptiveAvgPool2d", f"{TORCH}.AdaptiveAvgPool2d.html"),
        "keras": ("GlobalAveragePooling2D", f"{KERAS}/pooling_layers/global_average_pooling2d/"),
        "flax": ("jnp.mean", f"{JAX}.mean.html"),
        "numpy": ("mean", f"{NUMPY}/numpy.mean.html"),
    },
    tree.GlobalMaxPool: {
        "torch": ("AdaptiveMaxPool2d", f"{TORCH}.AdaptiveMaxPool2d.html"),
        "keras": ("GlobalMaxPooling2D", f"{KERAS}/pooling_layers/global_max_pooling2d/"),
        "flax": ("jnp.max", f"{JAX}.max.html"),
        "numpy": ("max", f"{NUMPY}/numpy.max.html"),
    },
    tree.ChannelConv: {
        "torch": ("Conv1d", f"{TORCH}.Conv1d.html"),
        "keras": ("Conv1D", f"{KERAS}/convolution_layers/convolution1d/"),
        "flax": ("nnx.Conv", f"{FLAX}/linear.html"),
        "numpy": ("convolve", f"{NUMPY}/numpy.convolve.html"),
    },
    tree.Dropout: {
        "torch": ("Dropout", f"{TORCH}.Dropout.html"),
        "keras": ("Dropout", f"{KERAS}/regularization_layers/dropout/"),
        "flax": ("nnx.Dropout", f"{FLAX}/stochastic.html"),
    },
    tree.Linear: {
        "torch": ("Linear", f"{TORCH}.Linear.html"),
        "keras": ("Dense", f"{KERAS}/core_layers/dense/"),
        "flax": ("nnx.Linear", f"{FLAX}/linear.html"),
        "numpy": ("matmul", f"{NUMPY}/numpy.matmul.html"),
    },
}
