"""Parts of the page of one trial in the analysis app: headline, verdicts, configuration, images, origin."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from matplotlib.figure import Figure

from raypol.core.distances import METRICS
from raypol.explorer.html import number_text, table
from raypol.figures.inputs import material_of
from raypol.figures.save import before_after
from raypol.store.location import Location
from raypol.store.results.columns import columns_of
from raypol.store.results.rows import TrialRow
from raypol.store.results_folder import ResultsFolder

_ELSEWHERE: Final = ("message", "versions", "proof_id", "proof_reference", "sweep_id", "started_at", "commit")
"""Columns that the page shows in other places."""


def headline(row: Mapping[str, Any]) -> str:
    """Name, settings and outcome of the trial, as HTML."""
    badges = []
    if row["status"] == "ok":
        for label, verdict in (("published", row["accepted_published"]), ("strict", row["accepted_strict"])):
            if verdict is not None:
                badges.append(_badge(f"{label}: {'accepts' if verdict else 'rejects'}", "good" if verdict else "bad"))
        if row["success"] is not None:
            badges.append(
                _badge("succeeds" if row["success"] else "does not succeed", "good" if row["success"] else "bad")
            )
    else:
        badges.append(_badge(f"status {row['status']}", "bad"))
    badges += [_badge(text, "mark") for text in _not_measured(row)] or [_badge("measured", "")]
    title = (
        f"{escape(str(row['arm'] or 'arm not recorded'))}: {escape(str(row['model']))} on {escape(str(row['dataset']))}"
    )
    shape = f"T' = {number_text(row['steps'])}, k = {number_text(row['interval'])}, seed {number_text(row['seed'])}"
    message = f"<pre>{escape(str(row['message']))}</pre>" if row["message"] else ""
    named = f'<p class="subtitle">{title}</p><p>{shape} · <code>{escape(str(row["trial_id"]))}</code></p>'
    return f"{named}<p>{''.join(badges)}</p>{message}"


def verdicts(row: Mapping[str, Any]) -> str:
    """Each condition of success: the trial's value beside the proof's, with a mark where it binds or fails."""
    bound = set(str(row["bound_by"] or "").split(","))
    lines = []
    for name, value, ratio, unit in (
        *((f"error_{m}", row[f"error_{m}"], row[f"ratio_error_{m}"], "d_ref") for m in METRICS),
        ("time", row["device_s"], row["ratio_time"], "device s"),
        ("size", row["size_bytes"] and row["size_bytes"] / 1e6, row["ratio_size"], "MB"),
    ):
        proofs = value / ratio if value is not None and ratio else None
        fails = ratio is not None and ratio >= 1
        said = "not below the proof's" if fails else "binds" if name in bound else ""
        label = name.replace("error_", "largest error, ")
        lines.append([f"{label} ({unit})", number_text(value), number_text(proofs), number_text(ratio), said])
    judged = [
        f"{policy} verifier: {'accepts' if verdict else 'rejects'}{f', by {escape(by)}' if by and not verdict else ''}"
        for policy, verdict, by in (
            ("published", row["accepted_published"], row["rejected_by_published"] or ""),
            ("strict", row["accepted_strict"], row["rejected_by"] or ""),
        )
        if verdict is not None
    ]
    said = f"<p>{'; '.join(judged)}. Bound by: {escape(str(row['bound_by'] or 'nothing'))}.</p>" if judged else ""
    head = ["condition", "this trial", "the proof", "ratio", ""]
    return table(head, lines, caption="Verdict") + said


def configuration(row: Mapping[str, Any]) -> str:
    """Every column that has a value, by topic."""
    parts = []
    for group in dict.fromkeys(column.group for column in columns_of(TrialRow)):
        names = [one.name for one in columns_of(TrialRow) if one.group == group and one.name not in _ELSEWHERE]
        known = [[name, escape(_cell(row[name]))] for name in names if row[name] not in (None, "")]
        if known:
            parts.append(f"<div>{table([], known, caption=group.capitalize(), left=True)}</div>")
    return f'<div style="display:flex;flex-wrap:wrap;gap:1.5rem 3rem;align-items:flex-start">{"".join(parts)}</div>'


def origin(row: Mapping[str, Any], results: Location) -> str:
    """Files and provenance of the numbers on the page."""
    try:
        versions = ", ".join(f"{name} {version}" for name, version in json.loads(row["versions"] or "{}").items())
    except (ValueError, AttributeError):
        versions = str(row["versions"])
    paths, file = ResultsFolder(results), f"{row['trial_id']}.parquet"
    lines = [
        ("row", paths.trials / file),
        ("intervals", paths.intervals / file),
        ("proof folder", paths.proofs / row["proof_id"]),
        ("compared with", paths.proofs / row["proof_reference"] if row["proof_reference"] else ""),
        ("sweep", row["sweep_id"]),
        ("started", row["started_at"]),
        ("commit", row["commit"]),
        ("versions", versions),
    ]
    return table(
        [], [[name, escape(str(said))] for name, said in lines if said], caption="Where this comes from", left=True
    )


def images(row: TrialRow, results: Location, data_dir: str | None) -> tuple[Figure | None, str]:
    """A trial's points before and after crafting, or None and the reason. Nothing is downloaded, no foreign code is run."""
    if not row.is_ok:
        return None, f"no images: the trial ended with status {row.status}"
    if not row.num_points:
        return None, "no images: this trial has no points of its own"
    if not ResultsFolder(results).has_proof(row.proof_id):
        return None, f"no images: the folder {ResultsFolder(results).proof(row.proof_id)} is not there"
    material = material_of(results, [row], row.sweep_id, data_dir=data_dir)
    if material.pairs:
        return before_after(material.pairs), ""
    return None, "; ".join(note for note in material.notes if note.startswith("images")) or "no images of this trial"


def _not_measured(row: Mapping[str, Any]) -> list[str]:
    said = ["hardware simulated"] if row["simulated"] else []
    if row["estimated"]:
        said.append(
            f"estimated from {number_text(row['intervals_verified'])} of {number_text(row['num_intervals'])} intervals"
        )
    return said


def _badge(text: str, kind: str) -> str:
    return f'<span class="badge {kind}">{escape(text)}</span>'


def _cell(value: Any) -> str:  # noqa: ANN401 - a cell
    return str(value) if isinstance(value, str) else number_text(value)
