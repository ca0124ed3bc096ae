"""ResNet-50 as it is written by hand in each framework, without this project: the opponents of `no_tax.py`.

Each model module stands alone; the `*_weights.py` beside it gives its tensors the neutral names, so that both
contestants can start from the same numbers.
"""
