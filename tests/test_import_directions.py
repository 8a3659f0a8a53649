"""Who may import whom. The table is the one of ARCHITECTURE.md; a test that fails here means a wrong dependency."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "lambdad"

BASE = {"clock", "loops", "telemetry"}
ALLOWED: dict[str, set[str]] = {
    "domain": set(),
    "http": set(),
    "config": set(),
    "clock": set(),
    "loops": set(),
    "telemetry": {"domain"},
    "storage": {"domain"} | BASE,
    "execution": {"domain", "http"} | BASE,
    "neighbours": {"domain", "storage"} | BASE,
    "extras": {"domain", "http"} | BASE,
    "control": {"domain", "storage"} | BASE,
    "invocation": {"domain", "storage", "execution"} | BASE,
    "event_queue": {"domain", "storage", "invocation"} | BASE,
    "sources": {"domain", "storage", "invocation"} | BASE,
    "wire": {"domain", "control", "invocation", "event_queue", "neighbours", "http"} | BASE,
}
"""For each part, the other parts it may import. Parts that are not named here are the ones at the top."""
TOP = {"app", "cli", "__main__", "__init__"}

LIBRARIES: dict[str, set[str]] = {
    "http": {"httptools"},
    "event_queue": {"botocore"},
    "sources": {"botocore"},
    "wire": {"botocore"},
    "extras": {"moto", "werkzeug", "botocore"},
    "cli": {"click", "botocore", "boto3", "uvloop"},
    "app": {"botocore"},
}
"""For each part, the libraries it may import beside the standard library; the others none."""

READS_THE_ENVIRONMENT = (
    "config.py",
    "execution/runtimes/python/",  # runs inside functions
    "execution/runtimes/interpreters.py",  # PATH and the version managers' variables, to find interpreters
    "execution/spawner/",  # a process of its own
)
"""Settings come from config.py and nowhere else."""


def parts() -> list[str]:
    return sorted({path.stem if path.is_file() else path.name for path in SOURCE.iterdir() if _is_code(path)})


def _is_code(path: Path) -> bool:
    return path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")


def files_of(part: str) -> list[Path]:
    return [SOURCE / f"{part}.py"] if (SOURCE / f"{part}.py").is_file() else sorted((SOURCE / part).rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    package = ["lambdad", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from lambdad import http` names the part only in its list of names
            yield from (f"{module}.{alias.name}" for alias in node.names)


def own_parts(path: Path) -> set[str]:
    names = [module.split(".") for module in imported_modules(path)]
    known = set(parts())
    return {name[1] for name in names if name[0] == "lambdad" and len(name) > 1 and name[1] in known}


def libraries(path: Path) -> set[str]:
    roots = {module.split(".")[0] for module in imported_modules(path)}
    return roots - set(sys.stdlib_module_names) - {"lambdad"}


def test_every_part_has_its_place_in_the_table():
    assert set(parts()) <= set(ALLOWED) | TOP


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_it_may(part: str):
    wrong = {
        str(path.relative_to(SOURCE)): sorted(own_parts(path) - ALLOWED[part] - {part})
        for path in files_of(part)
        if own_parts(path) - ALLOWED[part] - {part}
    }
    assert wrong == {}


def test_only_the_command_and_the_test_tools_import_the_application():
    importers = {part for part in parts() for path in files_of(part) if "app" in own_parts(path)}
    assert importers <= {"app", "cli"}


def test_the_application_knows_neither_the_command_nor_the_test_tools():
    assert "cli" not in {name for path in files_of("app") for name in own_parts(path)}


@pytest.mark.parametrize("part", parts())
def test_a_part_uses_only_its_libraries(part: str):
    # What runs inside functions may use what functions have, and is checked by its own tests.
    files = [path for path in files_of(part) if "runtimes/python" not in path.as_posix()]
    wrong = {str(path.relative_to(SOURCE)): libraries(path) - LIBRARIES.get(part, set()) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_nothing_but_the_settings_reads_the_environment():
    readers = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if reads_environment(path)}
    assert [reader for reader in sorted(readers) if not reader.startswith(READS_THE_ENVIRONMENT)] == []
    assert "config.py" in readers, "the check itself finds nothing any more"


def reads_environment(path: Path) -> bool:
    forbidden = {"environ", "environb", "getenv"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in forbidden and _is_os(node.value):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os" and forbidden & {n.name for n in node.names}:
            return True
    return False


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


SQL = re.compile(
    r"\s*(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE)\s", re.S
)


def test_only_the_storage_speaks_sql():
    speakers = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
                speakers.add(path.relative_to(SOURCE).parts[0])
    assert speakers == {"storage"}
