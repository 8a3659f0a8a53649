"""What strangers rely on in this repository: it stands alone, its documents lead somewhere, its scripts run."""

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import lambdad

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
SCRIPTS = ("script/demo", "script/test", "script/abuse", "script/venv", "script/aws-cli", "script/docs", ".ci/run")


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked_files():
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of somebody's machine", r"/(work|root|Users)/[a-z]"),
        ("a folder beside the checkout", r"\.\./shared\b"),
        ("the address of a package registry", r"\b(pypi\.org/simple|files\.pythonhosted|registry\.npmjs|npmjs\.org)"),
        ("a choice of package registry", r"--(extra-)?index-url|^registry\s*="),
        ("a left-over mark of a merge", r"^(<{7}|>{7}) "),
        ("work that was put off", r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    ],
)
def test_no_file_holds(what: str, pattern: str):
    expression = re.compile(pattern, re.MULTILINE)
    holders = {str(path.relative_to(ROOT)): match[0] for path, text in texts() if (match := expression.search(text))}
    assert holders == {}, what


def test_the_documents_are_there():
    assert [name for name in DOCUMENTS if not (ROOT / name).is_file()] == []


def test_the_changelog_speaks_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text or f"## [{lambdad.__version__}]" in text


def test_links_between_documents_lead_somewhere():
    broken = []
    for path, text in texts():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
                if "://" not in target and not (path.parent / target).exists():
                    broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_files_that_the_documents_name_exist():
    pattern = re.compile(r"`((?:src|tests|docs|script|benchmarks(?!/build))/[\w./-]+?)/?`")
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts()
        if path.suffix == ".md"
        for name in pattern.findall(text)
        if not (ROOT / name).exists()
    }
    assert missing == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_can_be_run_as_they_are(name: str):
    path = ROOT / name
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(path)], check=True)


def test_the_lock_holds_versions_alone():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []


def test_the_lock_covers_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {_normal(re.match(r"[A-Za-z0-9._-]+", requirement)[0]) for requirement in wanted}  # type: ignore[index]
    locked = {_normal(line.partition("==")[0]) for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert names - locked == set()


def test_every_module_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src" / "lambdad").rglob("*.py")
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert silent == []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
