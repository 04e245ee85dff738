"""Fuzz one reader in this process: python -m tests.fuzz.one_reader READER [libFuzzer's options] CORPUS."""

import sys
import tempfile
from pathlib import Path

import atheris
import pyarrow.dataset  # noqa: F401 - not to be instrumented, nor all that it imports
import torch  # noqa: F401

with atheris.instrument_imports(include=["raypol.store", "pickletools", "zipfile"]):
    from tests.fuzz.readers import Scene, judge


def main() -> None:
    """Run libFuzzer, which ends the process."""
    reader, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108
        read = Scene(Path(folder)).readers[reader]
        atheris.Setup([sys.argv[0], *options], lambda data: judge(read, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
