"""`raypol vc-keys`: make the keys of a circuit, as the verifier."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from raypol.cli.budget import memory_limit
from raypol.cli.commands.verifiable.prove import learning_rate_shift
from raypol.cli.console import ERR, print_facts, print_last, warn
from raypol.cli.options import DataDir, Debug
from raypol.cli.progress import progress
from raypol.core.datasets.source import DataSource
from raypol.core.errors import local_path
from raypol.core.verifiable.circuit import num_constraints
from raypol.core.verifiable.claim import linear_shape
from raypol.runs.verifiable.groth16 import UNSAFE
from raypol.runs.verifiable.proving import check_memory, make_keys
from raypol.store.verifiable.keys import KeysRecord, proving_key


@dataclass(frozen=True, kw_only=True)
class VcKeysCommand:
    """Make the keys of the circuit of one step, for policy vc: the verifier's part, who gives the prover a copy of the folder.

    The set-up is made by one party, who could forge any proof with what it throws away: a verifier must not take keys of the
    prover's making. Needs groth16py. Prints the SHA-256 of circuit and verifying key last.
    """

    keys: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="KEYS", help="New folder for the keys.")]
    dataset: str = "digits"
    """As `raypol prove` has it: its images give the number of features, its labels that of classes."""
    data_dir: DataDir = None
    batch_size: int = 16
    """Points per step, a power of two."""
    lr: float = 0.0625
    """Learning rate, a power of two."""
    max_memory: float | None = None
    """Gigabytes that it may take; more is refused before it starts. None = 90 % of the machine's."""
    debug: Debug = False

    def run(self) -> int:
        """Run it."""
        folder, limit = local_path(self.keys), memory_limit(self.max_memory)
        with progress(ERR) as update:
            dataset = DataSource(name=self.dataset, folder=self.data_dir).load(update)
            shape = linear_shape(dataset, batch_size=self.batch_size, lr_shift=learning_rate_shift(self.lr))
            check_memory(shape, limit)
            update(f"setting up {num_constraints(shape):,} constraints", 0, 0)
            record = make_keys(folder, shape, limit=limit)
        describe_keys(record, proving_key(folder).stat().st_size)
        print_last(record.key_sha256)
        return 0


def describe_keys(record: KeysRecord, size_bytes: int) -> None:
    """Print the circuit of keys, what they took, and that they are unsafe."""
    print_facts(
        [
            ("circuit", f"{record.constraints:,} constraints, SHA-256 of its text {record.circuit_sha256}"),
            (
                "set-up",
                f"{record.cpu_s:.1f} CPU s, {record.peak_bytes / 1e9:.2f} GB, proving key {size_bytes / 1e6:.0f} MB",
            ),
            ("key", f"SHA-256 {record.key_sha256}"),
        ]
    )
    warn(UNSAFE)
