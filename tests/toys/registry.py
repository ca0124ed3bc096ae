"""Registers toy backends as a package index would install them: a module and its metadata in a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACKAGES = Path(__file__).parent / "packages"


def register(folder: Path, *toys: str) -> dict[str, str]:
    """The environment in which the named toys are installed; `folder` receives them. The core is not touched.

    What stands behind two underscores of a name is for the toy, of which there may be several.
    """
    folder.mkdir(exist_ok=True)
    for toy in toys:
        shutil.copy(PACKAGES / f"toy_{toy.partition('__')[0]}.py", folder / f"toy_{toy}.py")
        metadata = folder / f"toy_{toy}-0.1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: toy-{toy}\nVersion: 0.1\nProvides-Extra: {toy}\n"
            f"Requires-Dist: numpy>=2.0\n"
            f'Requires-Dist: a-framework-that-nobody-has>=1.5; extra == "{toy}"\n'
        )
        (metadata / "entry_points.txt").write_text(f"[resnet_core.backends]\n{toy} = toy_{toy}\n")
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *([inherited] if inherited else [])])}
