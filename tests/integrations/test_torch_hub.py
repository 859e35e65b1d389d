"""`hubconf.py`: networks by `torch.hub`, in a process that has torch and no other library that rksearch needs."""

import re
import tomllib
from pathlib import Path

from tests.helpers.command_line import python

ROOT = Path(__file__).parents[2]

CODE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError("absent: " + name)

sys.meta_path.insert(0, Absent())
import torch

net = torch.hub.load({root!r}, "create", "RKCNN-I-k4-2x1_2x1-up2-att-ms", source="local", num_classes=3)
assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
assert "ResNet-20" in torch.hub.load({root!r}, "list_models", source="local")
sys.path.insert(0, {root!r})
import hubconf

entry_points = [name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")]
assert entry_points == ["create", "list_models"], "those that torch.hub.list finds"
print("all hold")
"""

IMPORTED_AS = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}


def needed() -> set[str]:
    """Top-level modules of the project's dependencies but torch and what torch itself needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[A-Za-z0-9-]+", text)[0].lower() for text in project["dependencies"]}  # type: ignore[index]
    return {IMPORTED_AS.get(name, name) for name in names} - {"torch", "filelock"}


def test_torch_hub_needs_torch_alone(tmp_path):
    absent = needed()
    assert {"torchvision", "ray", "optuna", "numpy", "msgspec", "safetensors"} <= absent
    done = python("-W", "ignore", "-c", CODE.format(absent=absent, root=str(ROOT)), cwd=tmp_path)
    assert done.stdout.endswith("all hold\n"), done.stderr
