"""The lesson on a network: from a spec to its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnet_core.analysis import image_shape, totals
from resnet_core.anti_unification import outline
from resnet_core.architecture import layer_tree
from resnet_core.data.shipped import FOLDER
from resnet_core.errors import InputError, MissingBackendError
from resnet_core.lessons.columns import Column, column
from resnet_core.lessons.damage import Measurement, measure
from resnet_core.lessons.live import MOST_VALUES, Live, has_shipped_blocks, live, size_of
from resnet_core.lessons.page import Content, page
from resnet_core.lessons.program_rows import FRAMEWORKS
from resnet_core.lessons.results import read_comparison, require_epochs
from resnet_core.lessons.texts import Texts
from resnet_core.outline import Outline
from resnet_core.prediction.network import trained_network
from resnet_core.presentation.folding import fold
from resnet_core.programs.source import source
from resnet_core.spec_files import Source, brings_weights
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.training.curves import read_curves
from resnet_core.training.recipe import Recipe


def lesson(
    spec: Source,
    *,
    train: str | Path | Recipe | bool = False,
    measured: bool = True,
    weights: str | Path | None = None,
    comparison: str | Path | None = None,
    runs: Sequence[str | Path] = (),
    language: str = "en",
) -> str:
    """One HTML file on a network: its picture, its programs in PyTorch, Keras, Flax and NumPy side by side, its shapes.

    `spec` is a name, a file or a ResNetSpec. With `train`, a recipe or True for the usual one, the programs also train.
    `measured`: whether each usual mistake is made once in a narrow network of the same kind, to say what it costs.
    With `weights`, a neutral file or another library's, the network runs in the page, as far as its size allows; so do
    the weights of a run or of a file that `spec` is, and for ResNet-20 those that ship. `comparison` is a file of
    `resnet compare --json` on this network, `runs` are folders of `resnet train`. `language` is "en" or "zh". What is
    not given, the page says.

    The page needs no other file and no network; equal specs give equal pages. No framework is imported. A network
    without programs has a page that says why. Raises InputError for what cannot be read and for a recipe that cannot be
    used.
    """
    network = read_spec(spec)
    image = image_shape(network)
    sections, counted = fold(network, rates=False), totals(network)
    texts = Texts(language)
    compared = None if comparison is None else read_comparison(comparison, network)
    curves = read_curves(runs)
    require_epochs(curves)
    running, still = _live(spec, network, weights, texts)
    found, why = _measured(network) if measured else (None, texts("measured.unasked"))
    columns = _columns(network, train)
    return page(
        Content(network, sections, counted, image, columns, found, why, running, still, compared, curves, texts)
    )


def _live(source: Source, spec: ResNetSpec, weights: str | Path | None, texts: Texts) -> tuple[Live | None, str]:
    """What runs in the page, or why nothing does."""
    if weights is not None:
        given = trained_network(spec, weights)
    elif brings_weights(source):
        given = trained_network(source)
    elif has_shipped_blocks(spec):
        given = trained_network(FOLDER / "fashion_resnet20.safetensors")
    else:
        return None, texts("live.none")
    if (count := size_of(given.spec)) > MOST_VALUES:
        return None, texts("live.large", count=f"{count:,}", most=f"{MOST_VALUES:,}")
    try:
        return live(given, shipped=weights is None and not brings_weights(source)), ""
    except (InputError, MissingBackendError) as error:
        return None, texts("live.failed", reason=error)


def _columns(spec: ResNetSpec, train: str | Path | Recipe | bool) -> list[Column]:
    definitions: Outline | None = None
    try:
        definitions, why = outline(layer_tree(spec)), ""
    except InputError as error:
        why = str(error)
    if definitions is None:
        return [Column(backend, "", missing=why) for backend in FRAMEWORKS]
    return [_column(spec, backend, train, definitions) for backend in FRAMEWORKS]


def _column(spec: ResNetSpec, backend: str, train: str | Path | Recipe | bool, definitions: Outline) -> Column:
    trains = train if backend != "numpy" else False  # whose programs are for inference
    try:
        return column(backend, source(spec, backend, train=trains), definitions)
    except InputError as error:
        if trains is not False:
            raise
        return Column(backend, "", missing=str(error))


def _measured(spec: ResNetSpec) -> tuple[Measurement | None, str]:
    try:
        return measure(spec), ""
    except (InputError, MissingBackendError) as error:
        return None, str(error)
