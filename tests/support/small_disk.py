"""A small disk of its own for a test, which can be filled."""

import os
import subprocess
from contextlib import contextmanager, suppress

import pytest


@contextmanager
def small_disk(folder, size):
    """Mount a disk of ``size``, such as ``4m``, below ``folder``; skip without the permission."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)  # noqa: S607


def fill(disk):
    """Fill the disk; return the file that must be removed to make room."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast
