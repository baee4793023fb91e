"""The floors of the house: who may import whom, and what every file keeps to."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.derive import conflicts_page

ROOT = Path(__file__).parents[1]
OURS = {"sync", "dispatch", "client_sdk", "server", "cli", "demo", "simulation", "benchmarks"}
MAY_IMPORT = {
    "sync": set(),
    "dispatch": set(),
    "client_sdk": {"sync"},
    "server": {"sync", "dispatch"},
    "alembic": set(),
}
"""Of our own packages; those not named here stand above the others and may import all of them."""


def files(package: str) -> list[Path]:
    found = sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)
    assert found, package
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_floor_rests_only_on_the_floors_below_it(package: str) -> None:
    for path in files(package):
        if path == ROOT / "alembic/env.py":
            continue
        above = {name.partition(".")[0] for name in imports(path)} & OURS - {package} - MAY_IMPORT[package]
        assert not above, f"{path.relative_to(ROOT)} imports {above}"


def test_sync_needs_nothing_but_the_standard_library_and_msgspec() -> None:
    for path in files("sync"):
        foreign = {name.partition(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"sync", "msgspec"}
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


def test_the_kernel_of_sync_knows_no_entity() -> None:
    for path in files("sync"):
        if path.parent.name != "entities" and path.name != "derive.py":
            assert not [name for name in imports(path) if name.startswith("sync.entities")], path.name


def test_migrations_are_frozen_history() -> None:
    """The folder is no package, or it would shadow Alembic; what a migration needs stands in it."""
    assert not (ROOT / "alembic/__init__.py").exists()
    assert not list((ROOT / "alembic/versions").glob("__init__.py"))


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for package in sorted(OURS)
        for path in files(package)
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_the_page_of_who_wins_is_what_the_declarations_say() -> None:
    assert (ROOT / "docs/conflicts.md").read_text() == conflicts_page(), "run `make docs`"


def test_no_file_names_a_place_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    tracked = [ROOT / name.decode() for name in listed if name]
    naming = [
        str(path.relative_to(ROOT))
        for path in tracked
        if path.is_file() and path != Path(__file__) and any(place in path.read_bytes() for place in (b"/work/", b"/root/"))
    ]
    assert naming == []
