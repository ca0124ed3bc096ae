"""Facts that a result must include: the machine and the versions. No host name, no path."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from resnet_core.cores import cores

Facts = dict[str, str | int | float]

#: Seconds in which a driver's tool that answers at all has answered.
ANSWER = 20.0


def machine() -> Facts:
    """Processor, cores that this process may use, system, memory, GPUs, and the load before anything was timed."""
    facts: Facts = {
        "cpu": _cpu_model(),
        "cores": cores(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    if hasattr(os, "getloadavg"):
        # Shows other work on the same cores; a quiet machine is well below 1.
        facts["load_before"] = round(os.getloadavg()[0], 2)
    if gpus := _gpus():
        facts["gpu"] = "; ".join(gpus)
    return facts


def _gpus() -> list[str]:
    """Name, driver and memory of each NVIDIA card, as the driver's own tool says; none where it says nothing."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    command = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER)
    except (OSError, subprocess.SubprocessError):
        return []
    cards = [[word.strip() for word in line.split(",")] for line in found.stdout.splitlines()]
    return [f"{card[0]}, driver {card[1]}, {card[2]}" for card in cards if len(card) == 3]


def core_versions() -> dict[str, str]:
    """Versions of what every benchmark uses; those of each framework come from its process."""
    packages = ("numpy", "resnet-core")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or "unknown"
