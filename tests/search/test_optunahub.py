"""The folder that could be published on OptunaHub, and the document about FrontierSampler in anyone's study."""

import re
from pathlib import Path

import optuna
import pytest
import yaml

from tests.helpers.command_line import python
from tests.helpers.documents import ROOT, blocks

PACKAGE = ROOT / "hub" / "package" / "samplers" / "rksearch_frontier"


def test_the_folder_has_what_the_registry_asks_for() -> None:
    names = {path.name for path in PACKAGE.iterdir()}
    assert {"README.md", "LICENSE", "__init__.py", "example.py", "requirements.txt", "tests"} <= names
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(re.fullmatch(r"---\n(.*?)\n---\n.*", text, flags=re.DOTALL)[1])  # type: ignore[index]
    assert front.keys() == {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert "sampler" in front["tags"]
    assert optuna.__version__ in front["optuna_versions"]
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings[:4] == ["Abstract", "Class or Function Names", "Installation", "Example"]
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


HUB = f"""
import importlib.util, sys, types
def load_module(package):
    spec = importlib.util.spec_from_file_location("hub", {str(PACKAGE / "__init__.py")!r})
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
def load_local_module(package, registry_root):
    return load_module(package)
sys.modules["optunahub"] = types.SimpleNamespace(load_module=load_module, load_local_module=load_local_module)
"""
"""In the place of optunahub, which would load the package from the registry."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        *blocks(PACKAGE / "README.md", "python", indented=False),
        (PACKAGE / "example.py").read_text(),
        *blocks(ROOT / "docs" / "optuna.md", "python", indented=False),
    ],
    ids=lambda code: str(len(code)),
)
def test_the_examples_run(code: str, tmp_path: Path) -> None:
    code = code.replace("from __future__ import annotations", "")
    done = python("-c", HUB + code + "\nprint(len(study.trials), len(study.best_trials))", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trials, best = map(int, done.stdout.split()[-2:])
    assert trials == 20
    assert best >= 3


@pytest.mark.slow
def test_the_package_s_own_tests_pass(tmp_path: Path) -> None:
    done = python("-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), str(PACKAGE / "tests"))
    assert done.returncode == 0, done.stdout
