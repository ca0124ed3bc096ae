"""From anyone's weights to anyone's, with a certificate beside the result."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.backend import environment
from resnet_core.conversion.certificate import Certificate, certify
from resnet_core.conversion.configuration import transformers_files
from resnet_core.conversion.export import Exported, export_weights
from resnet_core.conversion.formats import FORMATS
from resnet_core.conversion.naming import Format
from resnet_core.conversion.read import Imported, backend_that_reads, import_weights, readers
from resnet_core.deployment import deploy as deployed
from resnet_core.deployment import what_folds
from resnet_core.errors import InputError
from resnet_core.files import new_files, new_folder, replacing, require_writable
from resnet_core.safetensors_file import write_safetensors
from resnet_core.source_text import plain
from resnet_core.spec_files import Source
from resnet_core.specification import ResNetSpec, to_fields
from resnet_core.weight_file import file_metadata, save_weights
from resnet_core.weights import Weights, cast, half_precision, some
from resnet_core.workers.parent import Worker

#: What this project's own file of weights is called, beside the formats of other libraries.
NEUTRAL = "resnet"


@dataclass(frozen=True)
class Conversion:
    """What was read, what was written, and the proof that both compute the same."""

    source: Imported
    destination: Path
    certificate: Certificate
    proof: Path  #: the certificate's file
    exported: Exported | None = None  #: None where the destination is this project's own
    rewritten: tuple[str, ...] = ()  #: what was changed without any change of the output, in sentences

    def told(self) -> list[str]:
        """What was done, in a few lines."""
        found, spec = self.source, self.source.spec
        lines = [f"{found.path.name}: {found.title}, {spec.name or 'a network without a name'}, {spec.classes} classes"]
        if found.published is not None:
            lines += [f"  {file.path.name} compared: {file.told()}" for file in found.published.files]
        stated = {} if found.recognized is None else found.recognized.stated
        if found.network is not None and found.recognized is not None and spec.output_stride is not None:
            lines.append(f"  by the dilation of its convolutions: output_stride = {spec.output_stride}")
        if stated:
            lines.append("  not in the file, and so as its program has it: " + _listed(stated))
        if found.recognized is not None and found.recognized.ordered_as:
            order = found.recognized.ordered_as
            lines.append(f"  its layers have no names: known from the order of {order}, which shapes cannot prove")
        if found.recognized is not None and found.recognized.namesakes:
            same = " and ".join(found.recognized.namesakes)
            lines.append(f"  the same names have {same}; if it is one of these, say so by --spec")
        if found.recognized is not None and found.recognized.left_out:
            left_out = found.recognized.left_out
            lines.append(f"  not carried: {len(left_out)} entries that are no part of the network ({some(left_out)})")
        if (half := half_precision(found.weights)) is not None:
            lines.append(f"  its kernels hold {half} numbers, which are float32 here")
        if found.assumed:
            lines.append(f"  pictures are prepared as its program does it: {found.preparation}")
        if self.exported is not None:
            lines.append(f"{self.destination.name}: {self.exported.format.title} ({self.exported.style.name})")
            lines += [f"  to be told to its program: {_listed(self.exported.chosen)}"] if self.exported.chosen else []
        lines += [f"  rewritten: {sentence}" for sentence in self.rewritten]
        lines += [f"  {sentence}" for sentence in self.certificate.not_heard]
        return [*lines, self.certificate.sentence(), f"The certificate is {self.proof}."]


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{field} = {plain(value)}" for field, value in fields.items())


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    spec: Source | None = None,
    source_format: str | None = None,
    destination_format: str | None = None,
    deploy: bool = False,
) -> Conversion:
    """Read weights, write them in another format, read what was written, and prove that it computes the same.

    With `deploy`, in the form for inference: norms are folded into convolutions (`rn.deploy`).

    The certificate is written beside the result, `DESTINATION.certificate.json`. Where both do not compute the same,
    neither file is left. Raises InputError, one line, for weights that cannot be read, a network that the other
    library does not have, and a destination that cannot be written.
    """
    target = Path(destination)
    if not target.name:
        raise InputError(f"destination: received {str(destination)!r}; expected the name of a file")
    wanted = _format(target, destination_format)
    if target.suffix:  # before anything is read
        require_writable(target)
    elif os.path.lexists(target):
        raise InputError(f"{target}: is there already; expected the name of a new folder")
    proof = target.with_name(target.name + ".certificate.json")
    require_writable(proof)
    found = import_weights(source, spec, source_format)
    weights, network = deployed(found.weights, found.spec) if deploy else (found.weights, found.spec)
    whole = target.suffix in readers("NETWORKS")  # the network with its weights, which are float32 in it
    rounded = whole and next(iter(weights.values())).dtype == np.float64
    weights = cast(weights, "float32") if rounded else weights
    exported = None if whole or wanted == NEUTRAL else export_weights(network, weights, wanted)
    told = ["float64 rounded to float32"] if rounded else []
    rewritten = (*told, *what_folds(found.spec, network), *(() if exported is None else exported.rewritten))
    with replacing(proof) as paper, _place(target) as temporary:
        if exported is None:
            _write_own(temporary, weights, network, found)
            back = import_weights(temporary)
        else:
            write_exported(temporary, exported, found)
            back = import_weights(temporary, exported.spec, wanted)
        certificate = certify(found, back, rewritten=rewritten, exact=not rewritten)
        said = {"to_be_told": dict(exported.chosen)} if exported is not None and exported.chosen else {}
        certificate = replace(certificate, destination={**certificate.destination, "file": target.name, **said})
        if not certificate.equal:
            raise InputError(f"{target}: not written, since it would not compute the same: {certificate.sentence()}")
        paper.write_text(certificate.text(), encoding="utf-8")
    return Conversion(found, target, certificate, proof, exported, rewritten)


def _place(target: Path) -> AbstractContextManager[Path]:
    """Where to write, so that what is there already is replaced whole, or nothing is."""
    if target.suffix in readers("NETWORKS"):  # above 2 GiB they have their weights beside them
        return new_files(target, replaces=True)
    return {"": new_folder, ".index": new_files}.get(target.suffix, replacing)(target)


def _format(target: Path, name: str | None) -> str:
    """The format to write. Raises InputError where the ending leaves it open, or does not go with it."""
    networks = {backend: (ending,) for ending, backend in readers("NETWORKS").items()}
    writes = {NEUTRAL: (".safetensors",), **{own.name: own.writes for own in FORMATS.values()}, **networks}
    if name is not None and name not in writes:
        raise InputError(f"to: received {name!r}; expected one of {', '.join(writes)}")
    known = [own for own, endings in writes.items() if target.suffix in endings]
    if name is not None and name not in known:
        listed = ", ".join(ending or "none (a folder)" for ending in writes[name])
        whose = f"; it is one of {', '.join(known)}" if known else ""
        raise InputError(f"{target}: received the ending {target.suffix} for {name}{whose}; expected {listed}")
    if not known:
        listed = ", ".join(dict.fromkeys(ending for endings in writes.values() for ending in endings if ending))
        folders = " or ".join(own for own, endings in writes.items() if "" in endings)
        raise InputError(
            f"{target}: received the ending {target.suffix!r}; expected one of {listed}, or for {folders} a folder"
        )
    if name is None and len(known) > 1 and known[0] != NEUTRAL:
        what = target.suffix or "a folder"
        raise InputError(f"to: received none; {what} may be {' or '.join(known)}; say which with --to")
    return name or known[0]


def _write_own(path: Path, weights: Weights, spec: ResNetSpec, found: Imported) -> None:
    """A neutral file, or the whole network in a file that its backend writes, with the same metadata."""
    if path.suffix not in (networks := readers("NETWORKS")):
        save_weights(path, weights, spec, preparation=found.preparation, classes=found.classes)
        return
    about = file_metadata(weights, spec, preparation=found.preparation, classes=found.classes)
    place, fields, backend = str(path.absolute()), to_fields(spec), networks[path.suffix]
    with Worker(defaults=environment(backend)) as worker:
        worker.call("write_network", weights, backend=backend, path=place, spec=fields, about=about)


def write_exported(path: Path, exported: Exported, found: Imported) -> None:
    """The tensors in a file, with PyTorch's counters at 0; in a folder, with what transformers reads beside them.

    A folder that has no such file is its library's own, such as Orbax'.
    """
    if path.is_dir() and exported.format.folder:
        write_exported(path / exported.format.folder, exported, found)
        for name, content in transformers_files(exported.spec, found.preparation, found.classes).items():
            (path / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return
    arrays: dict[str, np.ndarray] = {}
    for name, array in exported.arrays.items():
        arrays[name] = array
        if exported.format.layout == "oihw" and name.endswith(".running_var"):
            arrays[f"{name.removesuffix('running_var')}num_batches_tracked"] = np.zeros((), np.int64)
    if path.suffix == ".safetensors":
        write_safetensors(path, arrays, {"format": "pt"})
        return
    backend = _backend_that_writes(path, exported.format)
    with Worker(defaults=environment(backend)) as worker:
        worker.call("write_state_dict", arrays, backend=backend, path=str(path.absolute()))


def _backend_that_writes(path: Path, format: Format) -> str:
    """Whose files have this ending; a folder is written by who reads the format's files."""
    if not path.is_dir():
        return backend_that_reads(path)
    endings = readers()
    return next(endings[ending] for ending in format.writes if ending in endings)
