"""Write the lock files from what is installed in this environment.

``requirements.lock`` holds the closure of pyproject's dependencies, ``requirements-dev.lock`` what tests and
checks need on top. Install or upgrade with pip first, run the tests, then run this.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def canonical(name: str) -> str:
    """The one spelling of a distribution name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: list[str]) -> dict[str, str]:
    """Name to exact version of everything these requirements bring along here."""
    found: dict[str, str] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonical(requirement.name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise SystemExit(f"{name} is not installed: install it first") from error
        new = name not in found
        # A local build tag such as +cpu names a file, not a release.
        found[name] = distribution.version.split("+")[0]
        if new or requirement.extras:
            for text in distribution.requires or []:
                waiting += [(Requirement(text), wanted) for wanted in ("", *requirement.extras)]
    return found


def write(path: Path, title: str, pins: dict[str, str]) -> None:
    """One ``name==version`` a line, torch first."""
    names = sorted(pins, key=lambda name: (name != "torch", name))
    path.write_text("\n".join([f"# {title}", *(f"{name}=={pins[name]}" for name in names)]) + "\n")
    print(f"{path.name}: {len(names)} packages")


def main() -> None:
    """Write both files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    core = closure([*project["project"]["dependencies"], *project["build-system"]["requires"]])
    development = closure(project["dependency-groups"]["dev"])
    write(ROOT / "requirements.lock", "Everything a run needs; made by .ci/lock.py", core)
    extra = {name: version for name, version in development.items() if name not in core}
    write(ROOT / "requirements-dev.lock", "What tests and checks need on top; made by .ci/lock.py", extra)


if __name__ == "__main__":
    main()
