"""Reading weights from any supported file: a neutral one, or another library's, by the names in it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core import zoo
from resnet_core.analysis import state
from resnet_core.backend import backends, declared, environment
from resnet_core.conversion.configuration import Configuration, read_configuration
from resnet_core.conversion.graphs import read_graph
from resnet_core.conversion.naming import Format, Style
from resnet_core.conversion.published import Published, fetched, is_name
from resnet_core.conversion.recognition import Recognized, recognize
from resnet_core.conversion.torchvision_names import without_prefix
from resnet_core.errors import BackendError, InputError, WeightsError, WorkerError
from resnet_core.files import files_of, require_file
from resnet_core.layouts import to_oihw
from resnet_core.preparation import Preparation
from resnet_core.safetensors_file import read_metadata, read_safetensors
from resnet_core.spec_files import Source, from_json, is_run, is_weight_file
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec, to_fields
from resnet_core.weight_file import checked_file, is_own, read_weight_file
from resnet_core.weights import StateDict, Weights, cast, check_weights
from resnet_core.workers.parent import Worker

#: A graph has no names to go by, and its weights the neutral layout.
GRAPH = Format("onnx", "an ONNX graph", (Style("by its nodes", {}),))

#: What a library may take to start and to read a small file.
SECONDS = 120

#: The files of weights that a folder of transformers' or timm's may have, the first that is there.
FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Imported:
    """The neutral weights of a file, whose it is and how the network is known.

    `recognized` is None for a file of this project's own, `network` the backend that runs the file itself, which is a
    whole network and not only weights, which are `beside` it where they are too many; with `probabilities`, a softmax
    follows the logits in it. `preparation` and `classes` are None where nothing says; with `assumed`, the preparation
    is that of the library's program, of which the file says nothing. `published` is where weights with a name are from.
    """

    path: Path
    spec: ResNetSpec
    weights: Weights = field(repr=False)
    recognized: Recognized | None = None
    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None
    assumed: bool = False
    network: str | None = None
    probabilities: bool = False
    beside: tuple[Path, ...] = ()
    published: Published | None = None

    @property
    def files(self) -> list[Path]:
        """Every file that was read."""
        return [*files_of(self.path), *self.beside]

    @property
    def title(self) -> str:
        """Whose file this is, in words."""
        if self.recognized is None:
            return "a neutral weight file" if self.network is None else f"an {self.network} file of this project"
        return f"{self.recognized.format.title} ({self.recognized.style.name})"


def may_be_imported(source: str | Path) -> bool:
    """Whether this is a file with an ending of weights, or a folder with a configuration; no name of the zoo is."""
    path = Path(source)
    if str(source) in zoo.ZOO:
        return False
    if is_name(source):
        return True
    if path.is_dir():
        return (path / "config.json").is_file() or folder_reader(path) is not None
    endings = {".safetensors", *_other_endings()}
    return _index(path).is_file() or (path.is_file() and path.suffix in endings)


def _index(path: Path) -> Path:
    """The index of a TensorFlow checkpoint, which is several files, by what it is called."""
    return path if path.suffix == ".index" else path.with_name(f"{path.name}.index")


def load_weights(
    path: str | Path, *, spec: Source | None = None, dtype: str | None = None
) -> tuple[Weights, ResNetSpec]:
    """(weights, spec) of a neutral file, or of whatever else `import_weights` reads, whose spec is then inferred.

    With `spec`, the file must hold that network; with `dtype`, the weights are converted. Raises as `import_weights`
    does.
    """
    if _is_foreign(path):
        found = import_weights(path, spec)
        return (found.weights if dtype is None else cast(found.weights, dtype)), found.spec
    own = read_weight_file(path, spec=spec)
    return (own.weights if dtype is None else cast(own.weights, dtype)), own.spec


def _is_foreign(path: str | Path) -> bool:
    """Whether this is to be recognized, and not a neutral file, nor a damaged one."""
    file = Path(path)
    try:
        if file.suffix == ".safetensors" and file.is_file():  # a damaged one of ours keeps one of the two
            return not {"spec", "digest"} & read_metadata(file).keys()
        if file.is_dir():
            return is_run(file) or may_be_imported(file)
    except OSError:  # a name that is too long, or a link to itself; who reads it says so
        return False
    return is_name(path) or (file.suffix != "" and file.suffix in _other_endings())


def read_weights(path: str | Path, spec: Source | None = None) -> Weights:
    """Neutral weights of a file. With `spec`, they are checked to be that network's.

    Neutral files, runs, and the files of other libraries, `import_weights` says which. float16 and bfloat16 become
    float32.

    Raises WeightsError, one line, for a file that is damaged, of another kind or of another network.
    """
    return import_weights(path, spec).weights


def import_weights(
    path: str | Path,
    spec: Source | None = None,
    format: str | None = None,
    *,
    likely: ResNetSpec | None = None,
) -> Imported:
    """The weights in a file, recognized by their names, and the network that they are of.

    Neutral files and runs; torchvision's and timm's state_dict in their usual wrappings; a folder of transformers' or
    timm's with its configuration. A framework's own file is read by the backend that declares its ending in `READS`,
    in a separate process. Without a `spec`, it is inferred from the names, the shapes and the configuration; where they
    leave several, it is the `likely` one, but for its classes and the channels of its images. `format` is the library
    whose names they must be.

    A name such as `torchvision:resnet50` is that of published weights, which are fetched (`published`).

    Raises WeightsError, one line, for a file that is damaged, of another kind or network, or of several.
    """
    spec = None if spec is None else read_spec(spec)
    if is_name(path):
        return _published(str(path), spec, format, likely)
    path = Path(path)
    if is_run(path):
        best = path / "best.safetensors"
        path = best if best.exists() else path / "last.safetensors"
    if format in (None, "resnet") and is_weight_file(path):
        found = read_weight_file(path, spec=spec)
        return Imported(path, spec or found.spec, found.weights, None, found.preparation, found.classes)
    if path.suffix in (networks := readers("NETWORKS")):
        return _of_network(path, networks[path.suffix], spec)
    configuration = None
    if path.is_dir() and folder_reader(path) is None:
        configuration = read_configuration(path)
        path = _weights_in(path)
    if not path.exists() and _index(path).is_file():
        path = _index(path)
    arrays = native_arrays(path)
    try:
        return _imported(path, arrays, spec, likely, format, configuration)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _published(name: str, spec: ResNetSpec | None, format: str | None, likely: ResNetSpec | None) -> Imported:
    """Published weights, with what their publisher says of their pictures and classes."""
    file = fetched(name)
    own = file.format if file.format in ("torchvision", "keras") else None  # the others have a configuration
    found = import_weights(file.path, spec, format or own, likely=likely)
    classes = file.classes if file.classes is not None and len(file.classes) == found.spec.classes else found.classes
    known = replace(found, preparation=file.preparation or found.preparation, classes=classes, published=file)
    return replace(known, assumed=False)


def _imported(
    path: Path,
    arrays: StateDict,
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
    found = replace(found, left_out=(*arrays.beside, *found.left_out))
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


def _of_network(path: Path, backend: str, spec: ResNetSpec | None) -> Imported:
    """A file that is a whole network: this project's own as its metadata say, any other by its nodes."""
    require_file(path, "a network with its weights")
    place = str(path.absolute())
    with Worker(defaults=environment(backend)) as worker:
        files, _ = _read(worker, "network_files", backend, path)
        beside = tuple(map(Path, files))
        graph, arrays = _read(worker, "read_network", backend, path, beside=files)
        if is_own(graph["about"]):
            names = state(from_json(graph["about"]["spec"], str(path)))
            own = {name: array for name, array in arrays.items() if name in names}
            file = checked_file(path, own, graph["about"], spec)
            if worker.call("is_network_of", backend=backend, path=place, spec=to_fields(file.spec))[0]:
                network = spec or file.spec
                known = Imported(path, network, file.weights, None, file.preparation, file.classes)
                return replace(known, network=backend, beside=beside)
    try:
        found = read_graph(graph, arrays, spec)
        weights = check_weights(found.weights, state(found.spec))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    left_out = tuple(name for name in arrays if name not in found.names.values())
    called = {there: here for here, there in found.names.items()}
    recognized = Recognized(GRAPH, GRAPH.styles[0], found.spec, called, left_out)
    known = Imported(path, found.spec, weights, recognized, probabilities=found.probabilities)
    return replace(known, network=backend, beside=beside)


def native_arrays(path: Path) -> StateDict:
    """The tensors of another library's file under the names there, without what wrappers put before them."""
    if path.suffix == ".safetensors":
        return StateDict(without_prefix(read_safetensors(path, widen=True)[0]))
    backend = folder_reader(path) if path.is_dir() else None
    if backend is None:
        require_file(path, "a file of weights")
        backend = backend_that_reads(path)
    with Worker(defaults=environment(backend)) as worker:
        beside, arrays = _read(worker, "read_state_dict", backend, path)
    found = StateDict(without_prefix(arrays))
    found.beside = tuple(beside)
    return found


def _read(worker: Worker, task: str, backend: str, path: Path, **more: Any) -> tuple[Any, Weights]:
    """The answer of a task that reads a file. Libraries crash and loop on damaged ones: WeightsError for that too."""
    files = [*files_of(path), *map(Path, more.get("beside", []))]
    seconds = SECONDS + sum(file.stat().st_size for file in files) / 5e6
    try:
        return worker.call(task, backend=backend, path=str(path.absolute()), time_limit=seconds, **more)
    except WorkerError as error:
        raise WeightsError(f"{path}: cannot be read ({error}); is it damaged?") from error


def _weights_in(folder: Path) -> Path:
    found = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if found is None:
        raise InputError(
            f"{folder}: is a directory; expected a run, a file of weights, or one with {' or '.join(FILES)}"
        )
    return found


def _other_endings() -> set[str]:
    return {*readers(), *readers("NETWORKS")}


def folder_reader(folder: Path) -> str | None:
    """The registered backend that reads such a folder, by what lies in it; None if there is none."""
    if (folder / "config.json").exists():
        return None
    return next((name for mark, name in readers("READS_FOLDERS").items() if (folder / mark).exists()), None)


def readers(kind: str = "READS") -> dict[str, str]:
    """{ending: the registered backend that reads such files}: weights, or with "NETWORKS" whole networks."""
    endings: dict[str, str] = {}
    for name in reversed(backends()):
        with contextlib.suppress(InputError, BackendError):  # a broken backend reads nothing
            endings |= dict.fromkeys(declared(name, kind, ()), name)
    return endings


def backend_that_reads(path: Path) -> str:
    """The registered backend that reads files with this ending. Raises InputError if there is none."""
    endings = readers()
    if path.suffix not in endings:
        raise InputError(
            f"{path}: received the ending {path.suffix!r}; expected .safetensors"
            + "".join(f", {ending}" for ending in (*endings, *readers("NETWORKS")))
        )
    return endings[path.suffix]
