"""groth16py behind a pipe: its process, bounded in memory, and the three things it is asked for."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from raypol.core.errors import InputError
from raypol.core.verifiable.field import element_text

INSTALL: Final = 'pip install "groth16py>=0.2"'
UNSAFE: Final = (
    "UNSAFE set-up by a single party: whoever made the keys can forge proofs of anything (toxic waste); the verifier must have "
    "made them"
)
_SCRIPT: Final = Path(__file__).with_name("groth16_process.py")
_MOST_SAID: Final = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """What a request took."""

    cpu_s: float
    peak_bytes: int
    """Most resident memory of the process so far."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Outcomes of a request to verify."""

    valid: tuple[bool, ...]
    each_s: tuple[float, ...]
    """CPU seconds of each proof."""


class Groth16:
    """The process. `open_groth16` starts and ends it."""

    def __init__(self, process: "subprocess.Popen[str]", said: IO[str], memory_bytes: int) -> None:
        self._process, self._said = process, said
        self._memory_bytes = memory_bytes
        self._send({"memory_bytes": memory_bytes})

    def set_up(self, circuit: Path, proving_key: Path, verifying_key: Path) -> tuple[int, str, Work]:
        """Compile a circuit and write its keys; returns the compiler's count of constraints and groth16py's version."""
        paths = {"circuit": circuit, "proving_key": proving_key, "verifying_key": verifying_key}
        answer = self._ask({"do": "set_up", **{name: str(path) for name, path in paths.items()}})
        return int(answer["constraints"]), str(answer["version"]), _work(answer)

    def load(self, proving_key: Path) -> Work:
        """Load a key that `set_up` made; it must come before `prove`."""
        return _work(self._ask({"do": "load", "proving_key": str(proving_key)}))

    def prove(self, inputs: Mapping[str, Sequence[int]]) -> tuple[bytes, Work]:
        """Prove a step. From a false witness comes a proof that does not verify."""
        answer = self._ask({"do": "prove", "inputs": inputs})
        return bytes.fromhex(answer["proof"]), _work(answer)

    def verify(self, verifying_key: str, claims: Sequence[tuple[bytes, Sequence[int]]]) -> Judged:
        """Verify proofs, each with its public values, by a key's JSON."""
        plain = [[proof.hex(), [element_text(value) for value in public]] for proof, public in claims]
        answer = self._ask({"do": "verify", "verifying_key": verifying_key, "claims": plain})
        return Judged(tuple(map(bool, answer["valid"])), tuple(map(float, answer["each_s"])))

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        self._send(request)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise InputError(self._end())
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:  # it was ended amid a line
            raise InputError(self._end()) from None
        if "error" in answer:
            raise InputError(f"groth16py: {answer['error']}")
        return answer

    def _send(self, request: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise InputError(self._end()) from None

    def _end(self) -> str:
        """Why the process ended."""
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read(_MOST_SAID)
        if code == -signal.SIGABRT or "memory allocation" in said or "MemoryError" in said:
            return f"took more than {self._memory_bytes / 1e9:.3g} GB of memory, the limit of --max-memory"
        last = (said.strip().splitlines() or ["nothing was said"])[-1]
        return f"groth16py ended with code {code}: {last[:300]}"


@contextmanager
def open_groth16(memory_bytes: int, *, threads: int = 1) -> Iterator[Groth16]:
    """Start the process; it ends with the block.

    Args:
        memory_bytes: what it may allocate.
        threads: that it computes with.

    Raises:
        InputError: groth16py is not installed.
    """
    if importlib.util.find_spec("groth16py") is None:  # finds it, does not import it
        raise InputError(f"policy vc needs groth16py (GPL-3), which is not installed: {INSTALL}")
    with (
        tempfile.TemporaryFile("w+") as said,  # a pipe that nobody reads would fill up
        subprocess.Popen(  # noqa: S603 - our own script; requests are data
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, "RAYON_NUM_THREADS": str(threads)},
        ) as process,
    ):
        try:
            yield Groth16(process, said, memory_bytes)
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # what could not be sent would be flushed again
                process.stdin.close()  # type: ignore[union-attr]


def _work(answer: Mapping[str, Any]) -> Work:
    return Work(float(answer["cpu_s"]), int(answer["peak_bytes"]))
