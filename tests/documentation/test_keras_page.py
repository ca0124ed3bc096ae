"""The program of docs/keras.md, as it is printed there, from its first block to its last."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from engines import CPU, ENGINES

PAGE = Path(__file__).parents[2] / "docs" / "keras.md"


def test_the_blocks_of_the_page_run_as_one_program(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) >= 8
    program = tmp_path / "program.py"
    program.write_text("".join(blocks))
    process = subprocess.run(
        [sys.executable, "-P", program.name],
        cwd=tmp_path,
        env={**os.environ, **ENGINES["keras"][1], **CPU},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    for shown in ("stage3_block3_relu2", "(None, 8, 8, 64)"):
        assert shown in process.stdout
    assert (tmp_path / "saved_model" / "saved_model.pb").exists()
