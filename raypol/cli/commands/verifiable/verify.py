"""`raypol verify --policy vc`: judge a proof by verifiable computation."""

from raypol.cli.commands.verifiable.prove import describe_run
from raypol.cli.console import ERR, print_tables, say, warn
from raypol.cli.progress import progress
from raypol.core.datasets.source import DataSource
from raypol.core.errors import local_path
from raypol.core.hashing import check_sha256
from raypol.core.seeds import check_commitment, check_share
from raypol.core.verifiable.judging import ESTABLISHES
from raypol.report.verdict_tables import verdict_table
from raypol.runs.trials.verify import allow_name
from raypol.runs.verifiable.groth16 import UNSAFE
from raypol.runs.verifiable.judge_folder import judge_proved
from raypol.store.location import open_location
from raypol.store.verifiable.proof_folder import read_proved


def verify_verifiably(
    proof_dir: str,
    *,
    share: str | None,
    dataset: str | None,
    data_dir: str | None,
    commitment: str | None,
    keys: str | None,
    key_sha256: str | None,
) -> int:
    """Run `raypol verify --policy vc`: exit code 0 accepted, 1 rejected."""
    if key_sha256 is not None:
        check_sha256(key_sha256, "--vc-key-sha256")
    if share is not None:
        check_share(share)
    if commitment is not None:
        check_commitment(commitment)
    folder = open_location(proof_dir)
    evidence = read_proved(folder)
    run = evidence.run
    allow_name("dataset", run.dataset, dataset)
    with progress(ERR) as update:
        own = DataSource(name=dataset or run.dataset, folder=data_dir).load(update)
        judged = judge_proved(
            folder,
            evidence,
            own,
            share=share,
            commitment=commitment,
            keys=local_path(keys) if keys is not None else None,
            key_sha256=key_sha256,
            on_progress=update,
        )
    verdict = judged.verdict
    say(f"{folder}: {describe_run(run)}")
    print_tables(verdict_table(verdict))
    say(*ESTABLISHES, is_prose=True)
    warn(UNSAFE)
    words = "ACCEPTED" if verdict.is_valid else f"REJECTED by {verdict.rejected_by}"
    took = f"; {max(judged.each_s) * 1e3:.0f} ms CPU at most per proof" if judged.each_s else ""
    say(
        f"{words} ({len(judged.each_s)} of {run.steps} proofs verified{took})",
        style="bold green" if verdict.is_valid else "bold red",
    )
    return 0 if verdict.is_valid else 1
