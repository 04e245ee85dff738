"""`make fuzz`: every reader in a process of its own, then a line on each: executions per second and findings.

usage: python -m tests.fuzz [--seconds 60] [READER ...]
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.readers import Scene

FINDINGS: Final = Path(__file__).parent.parent / "cases" / "fuzz"


def main() -> int:
    """Fuzz; exit code 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("readers", nargs="*")
    asked = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory() as place:
        scene = Scene(Path(place) / "honest")
        for reader in asked.readers or scene.readers:
            corpus = Path(place) / reader
            corpus.mkdir()
            for number, seed in enumerate(scene.seeds(reader)):
                (corpus / str(number)).write_bytes(seed)
            found += _fuzz(reader, corpus, asked.seconds)
    return 1 if found else 0


def _fuzz(reader: str, corpus: Path, seconds: int) -> int:
    """Fuzz one reader; the number of its findings."""
    before = set(FINDINGS.iterdir())
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={FINDINGS}/{reader}-",
        *("-timeout=10", "-rss_limit_mb=3000", "-max_len=200000", "-print_final_stats=1", "-reload=0"),
    ]
    command = [sys.executable, "-m", "tests.fuzz.one_reader", reader, *options, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    new = sorted(path.name for path in FINDINGS.iterdir() if path not in before)
    count = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    rate = re.search(r"average_exec_per_sec:\s*(\d+)", done.stderr)
    covered = re.findall(r"\bcov: (\d+)", done.stderr)
    say = f"{reader:<10} {count[1] if count else '?':>9} executions, {rate[1] if rate else '?':>6}/s, "
    say += f"{covered[-1] if covered else '?':>5} branches, {len(new)} findings {' '.join(new)}"
    sys.stdout.write(f"{say.rstrip()}\n")
    sys.stdout.flush()
    if new or done.returncode:
        sys.stderr.write("\n".join(done.stderr.splitlines()[-40:]) + "\n")
    return len(new) or int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
