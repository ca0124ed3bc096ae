"""Hand-written ResNet-50s in each framework, without this project, for comparison in `no_tax.py`.

Each model module is self-contained; the `*_weights.py` next to it gives its tensors the neutral names, so that both
models can start from the same numbers.
"""
