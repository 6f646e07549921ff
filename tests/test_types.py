"""The type checker finds nothing: strict for values, questions, stored rows and exports, basic for the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("rules", ["pyrefly.toml", "pyrefly_strict.toml"])
def test_types_hold(rules: str):
    command = [sys.executable, "-m", "pyrefly", "check", "--config", str(HERE / rules), "--output-format", "min-text"]
    done = subprocess.run([*command, "--python-interpreter-path", sys.executable], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
