"""Sets up, proves and verifies with groth16py, run as a script: that library (GPL-3) is loaded in this process alone.

A line of JSON on stdin asks, a line on stdout answers: {"error": text}, or what `_ANSWERS` says. Imports nothing of raypol. The
first line bounds the memory: {"memory_bytes": n}; an allocation beyond it ends the process.
"""

import importlib.metadata
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import groth16py

_CONSTRAINTS: Final = re.compile(rb"linear constraints\S*: (\d+)")
_loaded: dict[str, Any] = {}
"""The key that was loaded last: a run proves all its steps with one."""


def _set_up(asked: dict[str, Any]) -> dict[str, Any]:
    """Compile a circuit and make its keys: {circuit, proving_key, verifying_key} are paths."""
    with tempfile.TemporaryFile() as said:
        kept = os.dup(1)
        os.dup2(said.fileno(), 1)  # the compiler prints its counts
        try:
            proving, verifying = groth16py.setup_circom(asked["circuit"], [groth16py.circomlib_path(2)])
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        said.seek(0)
        counts = [int(count) for count in _CONSTRAINTS.findall(said.read())]
    proving.save(asked["proving_key"])
    Path(asked["verifying_key"]).write_text(verifying.to_json())
    return {"constraints": sum(counts), "version": importlib.metadata.version("groth16py")}


def _load(asked: dict[str, Any]) -> dict[str, Any]:
    """Load the {proving_key: path} that the following proofs are made with; every point of it is checked, which takes a while."""
    _loaded.clear()
    _loaded["proving_key"] = groth16py.ProvingKey.load(asked["proving_key"])
    return {}


def _prove(asked: dict[str, Any]) -> dict[str, Any]:
    """Prove one step: {inputs: {signal: integers}}. A false witness gives a proof that does not verify."""
    return {"proof": groth16py.prove(_loaded["proving_key"], asked["inputs"]).hex()}


def _verify(asked: dict[str, Any]) -> dict[str, Any]:
    """Verify proofs: {verifying_key: text of its JSON, claims: [[proof in hex, [public values in hex]]]}."""
    verifier = groth16py.Verifier(groth16py.VerifyingKey.from_snarkjs(asked["verifying_key"]))
    valid, seconds = [], []
    for proof, public in asked["claims"]:
        began = time.process_time()
        outcome = False
        with suppress(groth16py.EncodingError, groth16py.VerificationError):  # points that are none
            outcome = verifier.verify(bytes.fromhex(proof), [int(value, 16) for value in public])
        valid.append(outcome)
        seconds.append(time.process_time() - began)
    return {"valid": valid, "each_s": seconds}


_ANSWERS: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "set_up": _set_up,
    "load": _load,
    "prove": _prove,
    "verify": _verify,
}


def _peak_bytes() -> int:
    """Most resident memory of this program."""
    with suppress(OSError):  # no Linux
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return (
        1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )  # on Linux it would count the process that started this one


def main() -> None:
    """Answer until stdin ends; each answer has the CPU seconds it took and the most memory that the process had so far."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit = json.loads(sys.stdin.readline())["memory_bytes"]
    with suppress(OSError, ValueError, OverflowError):  # a container may forbid it, and 8 exabytes are no limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.process_time()
        try:
            answer = _ANSWERS[asked["do"]](asked)
        except (ValueError, OSError, groth16py.EncodingError, groth16py.SetupError, groth16py.WitnessError) as err:
            answer = {"error": " ".join(str(err).split())[:400]}
        answer["cpu_s"] = time.process_time() - began
        answer["peak_bytes"] = _peak_bytes()
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
