"""Environments of the lowest versions that `pyproject.toml` allows, and of the newest that exist: what works in them.

    python tests/packaging/environments.py lowest newest
    python tests/packaging/environments.py newest --python python3.13
    python tests/packaging/environments.py newest --debian trixie     (as root, with debootstrap: Debian's own Python)

Each is made in `.cache/versions`, and every backend is compared and held to its contract there. What came of it stands
in `tested_versions.json` then, which `docs/versions.md` shows. One takes 3 GB and a quarter of an hour or more. Nothing
but the standard library is imported, so that any Python runs it. Exit code 1: a check failed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "versions"
RECORD = Path(__file__).with_name("tested_versions.json")
PAGE = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- from tests/packaging/tested_versions.json -->", "<!-- so far -->"

#: A requirement as `pyproject.toml` writes it: a name, the lowest version, where it holds.
REQUIREMENT = re.compile(r"(?P<name>[\w-]+)>=(?P<lowest>[\w.]+)(?P<marker>; .+)?")
#: Extras that are no part of a user's environment.
WITHOUT = {"all", "browser", "dev", "docs"}
#: Distributions that a CUDA build of PyTorch brings: gigabytes that no check here would use.
CUDA = ("nvidia-", "cuda-", "triton")


def requirements(kind: str) -> list[str]:
    """What `pyproject.toml` asks for, with the tests' own: "lowest" as exact versions, "newest" as it stands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras if extra not in WITHOUT for line in extras[extra])]
    return [lowest(line) for line in lines] if kind == "lowest" else lines


def lowest(line: str) -> str:
    """The requirement of exactly the lowest version that a requirement allows."""
    found = REQUIREMENT.fullmatch(line)
    if not found:
        raise ValueError(f"received the requirement {line!r}; expected NAME>=VERSION")
    return f"{found['name']}=={found['lowest']}{found['marker'] or ''}"


def without_cuda(pip: list[str], lines: list[str]) -> list[str]:
    """The lines with a CPU build of torch: as asked for, else the version of constraints.txt, else with none at all."""
    rest = [line for line in lines if not line.startswith("torch>") and not line.startswith("torch=")]
    asked = [line for line in lines if line not in rest]
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    for torch in (asked, pinned):
        command = [*pip, "install", "--quiet", "--dry-run", "--report", "-", *torch]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if found.returncode == 0:
            names = [item["metadata"]["name"].lower() for item in json.loads(found.stdout)["install"]]
            if not any(name.startswith(CUDA) for name in names):
                return [*torch, *rest]
    return rest


def make(kind: str, python: str, folder: Path) -> Path:
    """A new environment in `folder` with the versions of `kind` and this project, editable. Returns its interpreter."""
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    pip = [str(interpreter), "-m", "pip"]
    lines = without_cuda(pip, requirements(kind))
    subprocess.run([*pip, "install", "--quiet", *lines], check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--editable", str(ROOT)], check=True)
    return interpreter


def versions(interpreter: Path) -> dict[str, str]:
    """{distribution: version} of what `pyproject.toml` names and of jaxlib, as far as it is installed."""
    listed = subprocess.run([interpreter, "-m", "pip", "list", "--format", "json"], stdout=subprocess.PIPE, check=True)
    found = {_normal(item["name"]): item["version"] for item in json.loads(listed.stdout)}
    names = [_normal(re.split("[>=]", line)[0]) for line in requirements("newest")]
    return {name: found[name] for name in dict.fromkeys([*names, "jaxlib"]) if name in found}


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def checks(frameworks: list[str]) -> dict[str, tuple[list[str], dict[str, str]]]:
    """{what: (arguments of Python, environment variables)}, for the frameworks that are installed."""
    resnet = ["-m", "resnet_core"]
    trained = [name for name in ("torch", "keras", "flax") if name in frameworks]
    compare = [*resnet, "compare", "resnet20", "--time-limit", "3000", "--backends"]
    found: dict[str, tuple[list[str], dict[str, str]]] = {}
    for dtype in ("float32", "float64"):
        found[f"compare in {dtype}"] = ([*compare, ",".join(trained), "--level", "training", "--dtype", dtype], {})
    found["compare onnx"] = ([*compare, "onnx"], {})
    found["compare keras on jax"] = ([*compare, "keras", "--level", "training"], {"KERAS_BACKEND": "jax"})
    if "torch" in frameworks:
        found["compare keras on torch"] = ([*compare, "keras", "--level", "training"], {"KERAS_BACKEND": "torch"})
    for name in (*trained, "onnx", "numpy"):
        found[f"conformance {name}"] = ([*resnet, "conformance", name, "--quiet", "--time-limit", "600"], {})
    if "torch" in frameworks:  # which they cannot do without
        # What a package deprecates of another one's, which is of another age, is nobody's failure.
        pytest = ["-m", "pytest", "--quiet", "--numprocesses", "2", "-W", "ignore::DeprecationWarning"]
        found["tests/unit"] = ([*pytest, "tests/unit"], {})
    return found


def run(interpreter: Path, folder: Path, chosen: list[str]) -> Iterator[tuple[str, str]]:
    """(check, "passed" or its last words) of the chosen ones, or all; what each printed is a file in the folder."""
    installed = versions(interpreter)
    frameworks = [name for name in ("torch", "keras", "flax") if name in installed]
    for name, (arguments, environment) in checks(frameworks).items():
        if chosen and name not in chosen:
            continue
        started = time.monotonic()
        log = folder / f"{re.sub('[ /]', '_', name)}.log"
        with log.open("wb") as output:
            process = subprocess.run(
                [interpreter, *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        said = "passed" if process.returncode == 0 else f"exit code {process.returncode}: {last}"
        print(f"{folder.name}: {name}: {said} ({time.monotonic() - started:.0f} s)", flush=True)
        yield name, said


def in_debian(release: str, arguments: list[str]) -> int:
    """The same in a root of its own, made of a Debian release, by its Python; on a copy of what git has here."""
    root = FOLDER / release
    if not (root / "usr" / "bin" / "python3").exists():
        packages = "--include=ca-certificates,python3-venv"
        subprocess.run(["debootstrap", "--variant=minbase", packages, release, str(root)], check=True)
    # What leads to the package index; certificates too, since there may be one that only this machine knows.
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), root / name)
    copy = root / "srv" / "resnet"
    for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).strip("\0").split("\0"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    own = copy / RECORD.relative_to(ROOT)
    own.unlink(missing_ok=True)  # then it has what comes of this alone
    # The mounts are in a namespace of their own, which ends with the command.
    mounted = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
    program = [f"/srv/resnet/{Path(__file__).resolve().relative_to(ROOT)}", *arguments]
    command = ["unshare", "--mount", "sh", "-c", mounted, str(root), "/usr/bin/python3", *program]
    code = subprocess.run(command, check=False, env={**os.environ, "HOME": "/root"}).returncode
    for name, entry in json.loads(own.read_text(encoding="utf-8")).items():
        record(name, entry)
    return code


def main() -> int:
    """Make the environments that the command line names, check and record each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="+", choices=["lowest", "newest"])
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument("--debian", metavar="RELEASE", help="the Python of this release instead, in a root of its own")
    parser.add_argument("--keep", action="store_true", help="check an environment that is there as it is")
    parser.add_argument("--check", action="append", default=[], help="only this one; may be repeated")
    chosen = parser.parse_args()
    if chosen.debian:
        options = ["--keep"] * chosen.keep + [f"--check={name}" for name in chosen.check]
        return in_debian(chosen.debian, [*chosen.kinds, *options])
    failed = False
    for kind in chosen.kinds:
        tell = "import platform; print(platform.python_version())"
        python = subprocess.check_output([chosen.python, "-c", tell], text=True).strip()
        name = f"{kind}-{python.rpartition('.')[0]}"
        interpreter = FOLDER / name / "bin" / "python"
        if not (chosen.keep and interpreter.exists()):
            make(kind, chosen.python, FOLDER / name)
        entry = {
            "date": datetime.date.today().isoformat(),
            "python": python,
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": versions(interpreter),
        }
        for check, said in run(interpreter, FOLDER / name, chosen.check):
            record(name, {**entry, "checks": {check: said}})  # each at once: it is long until the last
            failed |= said != "passed"
    return int(failed)


def record(name: str, entry: dict[str, Any]) -> None:
    """Keep what came of one environment, and show it on the page. What was checked with the same versions stays."""
    entries = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    before = entries.get(name, entry)
    if before["versions"] == entry["versions"]:
        entry = {**entry, "checks": before["checks"] | entry["checks"]}
    entries = dict(sorted({**entries, name: entry}.items()))
    RECORD.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    start, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{start}{BEGIN}\n{table(entries)}{END}{rest.split(END)[1]}", encoding="utf-8")


def table(entries: dict[str, dict[str, Any]]) -> str:
    """What was recorded, as Markdown: a column for each environment, a row for each package and check."""
    columns = list(entries.values())
    rows = [["environment", *(name.replace("-", ", Python ") for name in entries)]]
    rows.append(["---"] * len(rows[0]))
    rows += [[key, *(column[key] for column in columns)] for key in ("date", "python", "machine")]
    for part in ("versions", "checks"):
        for key in sorted({key for column in columns for key in column[part]}):
            rows.append([key, *(column[part].get(key, "–") for column in columns)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
