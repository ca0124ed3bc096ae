"""Reading weights from any supported file: a neutral one, or another library's, by the names in it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from resnet_core import zoo
from resnet_core.analysis import state
from resnet_core.backend import backends, declared, environment
from resnet_core.conversion.configuration import Configuration, read_configuration
from resnet_core.conversion.naming import Format, Style
from resnet_core.conversion.recognition import Recognized, recognize
from resnet_core.conversion.torchvision_names import without_prefix
from resnet_core.errors import BackendError, InputError, WeightsError
from resnet_core.files import require_file
from resnet_core.layouts import to_oihw
from resnet_core.preparation import Preparation
from resnet_core.safetensors_file import read_safetensors
from resnet_core.spec_files import is_run, is_weight_file
from resnet_core.specification import ResNetSpec
from resnet_core.weight_file import read_weight_file
from resnet_core.weights import Weights, check_weights
from resnet_core.workers.parent import Worker

#: The files of weights that a folder of transformers' or timm's may have, the first that is there.
FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Imported:
    """The neutral weights of a file, whose it is and how the network is known.

    `recognized` is None for a file of this project's own. `preparation` and `classes` are None where nothing says;
    with `assumed`, the preparation is that of the library's program, of which the file says nothing.
    """

    path: Path
    spec: ResNetSpec
    weights: Weights = field(repr=False)
    recognized: Recognized | None = None
    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None
    assumed: bool = False

    @property
    def title(self) -> str:
        """Whose file this is, in words."""
        if self.recognized is None:
            return "a neutral weight file"
        return f"{self.recognized.format.title} ({self.recognized.style.name})"


def may_be_imported(source: str | Path) -> bool:
    """Whether this is a file with an ending of weights, or a folder with a configuration; no name of the zoo is."""
    path = Path(source)
    if str(source) in zoo.ZOO:
        return False
    if path.is_dir():
        return (path / "config.json").is_file()
    return _index(path).is_file() or (path.is_file() and path.suffix in (".safetensors", *readers()))


def _index(path: Path) -> Path:
    """The index of a TensorFlow checkpoint, which is several files, by what it is called."""
    return path if path.suffix == ".index" else path.with_name(f"{path.name}.index")


def read_weights(path: str | Path, spec: ResNetSpec | None = None) -> Weights:
    """Neutral weights of a file. With `spec`, they are checked to be that network's.

    Neutral files, runs, and the files of other libraries, `import_weights` says which. float16 and bfloat16 become
    float32.

    Raises WeightsError, one line, for a file that is damaged, of another kind or of another network.
    """
    return import_weights(path, spec).weights


def import_weights(
    path: str | Path,
    spec: ResNetSpec | None = None,
    format: str | None = None,
    *,
    likely: ResNetSpec | None = None,
) -> Imported:
    """The weights in a file, recognized by their names, and the network that they are of.

    Neutral files and runs; torchvision's and timm's state_dict in their usual wrappings; a folder of transformers' or
    timm's with its configuration. A framework's own file is read by the backend that declares its ending in `READS`,
    in a separate process. Without a `spec`, it is inferred from the names, the shapes and the configuration; where they
    leave several, it is the `likely` one, but for its classes. `format` is the library whose names they must be.

    Raises WeightsError, one line, for a file that is damaged, of another kind or network, or of several.
    """
    path = Path(path)
    if is_run(path):
        best = path / "best.safetensors"
        path = best if best.exists() else path / "last.safetensors"
    if format in (None, "resnet") and is_weight_file(path):
        found = read_weight_file(path, spec=spec)
        return Imported(path, spec or found.spec, found.weights, None, found.preparation, found.classes)
    configuration = None
    if path.is_dir():
        configuration = read_configuration(path)
        path = _weights_in(path)
    if not path.exists() and _index(path).is_file():
        path = _index(path)
    arrays = without_prefix(_arrays(path))
    try:
        return _imported(path, arrays, spec, likely, format, configuration)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _imported(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    spec: ResNetSpec | None,
    likely: ResNetSpec | None,
    format: str | None,
    about: Configuration | None,
) -> Imported:
    if about is not None:
        format = format or about.format
    shapes = {name: array.shape for name, array in arrays.items()}
    fields = None if about is None else about.fields
    found = recognize(shapes, spec=spec, likely=likely, format=format, fields=fields)
    for name, value in ({} if about is None else about.shown).items():
        if (own := getattr(found.spec, name)) != (tuple(value) if isinstance(value, list) else value):
            raise WeightsError(f"{name}: the tensors show {own}, and its configuration says {value}")
    weights = neutral_weights(found.format, found.style, found.names, arrays)
    checked = check_weights(weights, state(found.spec))
    if about is None and found.style.preparation and found.spec.in_channels == 3:
        pictures = Preparation(size=found.spec.input_size, **found.style.preparation)
        return Imported(path, found.spec, checked, found, pictures, assumed=True)
    if about is None:
        return Imported(path, found.spec, checked, found)
    classes = about.classes if about.classes and len(about.classes) == found.spec.classes else None
    return Imported(path, found.spec, checked, found, about.preparation, classes)


def neutral_weights(
    format: Format, style: Style, names: Mapping[str, str], arrays: Mapping[str, np.ndarray]
) -> Weights:
    """The arrays under their neutral names {name there: neutral name}, and in the neutral layout."""
    found: Weights = {}
    for there, here in names.items():
        array = to_oihw(arrays[there]) if format.layout == "hwio" else arrays[there]
        if style.is_convolution(here.rpartition(".")[0]) and array.ndim == 4:
            array = array[:, :, 0, 0]
        found[here] = array
    return found


def _arrays(path: Path) -> Weights:
    if path.suffix == ".safetensors":
        return read_safetensors(path, widen=True)[0]
    require_file(path, "a file of weights")
    backend = backend_that_reads(path)
    with Worker(defaults=environment(backend)) as worker:
        return dict(worker.call("read_state_dict", backend=backend, path=str(path.absolute()))[1])


def _weights_in(folder: Path) -> Path:
    found = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if found is None:
        raise InputError(
            f"{folder}: is a directory; expected a run, a file of weights, or one with {' or '.join(FILES)}"
        )
    return found


def readers() -> dict[str, str]:
    """{ending: the registered backend that reads such files}."""
    endings: dict[str, str] = {}
    for name in reversed(backends()):
        with contextlib.suppress(InputError, BackendError):  # a broken backend reads nothing
            endings |= dict.fromkeys(declared(name, "READS", ()), name)
    return endings


def backend_that_reads(path: Path) -> str:
    """The registered backend that reads files with this ending. Raises InputError if there is none."""
    endings = readers()
    if path.suffix not in endings:
        raise InputError(
            f"{path}: received the ending {path.suffix!r}; expected .safetensors"
            + (f" or one of {', '.join(endings)}" if endings else "")
        )
    return endings[path.suffix]
