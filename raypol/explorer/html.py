"""Tables of the analysis app as HTML. Every text from a results folder is escaped: anyone may have written the rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from raypol.figures.style.arms import in_order, style_of
from raypol.store.results.queries import Counts

MAX_COLUMNS: Final = 10
"""Columns of the success map; more T' than this share columns."""

STYLE: Final = """
<style>
.rp{font-size:.875rem;line-height:1.45;color:var(--foreground,#111)}
.rp p{margin:.15rem 0 .5rem}
.rp .title{font-size:1.35rem;font-weight:700;line-height:1.3}
.rp .subtitle{font-size:1.15rem;font-weight:700;margin-top:.5rem}
.rp caption,.rp b.topic{font-size:.95rem}
.rp table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.rp th{font-weight:600;text-align:right;padding:.25rem .6rem;border-bottom:1px solid #8886;vertical-align:bottom}
.rp td{text-align:right;padding:.2rem .6rem;border-bottom:1px solid #8882;white-space:nowrap}
.rp th:first-child,.rp td:first-child{text-align:left}
.rp caption{text-align:left;font-weight:600;padding:.75rem 0 .4rem}
.rp .left td,.rp .left th{text-align:left}
.rp .left td{white-space:normal;overflow-wrap:anywhere;vertical-align:top}
.rp .left td:first-child{white-space:nowrap;opacity:.75}
.rp .dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.5em}
.rp .tiles{display:flex;flex-wrap:wrap;gap:.5rem}
.rp .tile{border:1px solid #8884;border-radius:.5rem;padding:.4rem .8rem;min-width:6.5rem}
.rp .tile b{display:block;font-size:1.3rem;line-height:1.4;font-variant-numeric:tabular-nums}
.rp .tile span{opacity:.75}
.rp .badge{display:inline-block;border-radius:1rem;padding:.05rem .7rem;margin:0 .4rem .2rem 0;border:1px solid #8886}
.rp .good{background:#0072b222;border-color:#0072b2}
.rp .bad{background:#d55e0022;border-color:#d55e00}
.rp .mark{background:#e69f0026;border-color:#e69f00}
.rp .faint{opacity:.75}
.rp .scroll{overflow-x:auto}
.rp pre{white-space:pre-wrap;max-height:16rem;overflow:auto;background:#8881;padding:.5rem .7rem;border-radius:.4rem}
</style>
"""


def page(*parts: str) -> str:
    """HTML parts with their style sheet."""
    return f'{STYLE}<div class="rp">{"".join(parts)}</div>'


def share(part: int, of: int) -> str:
    """A fraction as percent; a dash for a fraction of 0."""
    return f"{100 * part / of:.0f} %" if of else "–"


def number_text(value: Any) -> str:  # noqa: ANN401 - a cell
    """A cell as text; a dash for an empty cell or a number that is not finite."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def counted(num: int, noun: str) -> str:
    """A number and its noun, singular or plural."""
    return f"{num:,} {_plural(num, noun)}"


def _plural(num: int, noun: str) -> str:
    return noun if num == 1 else f"{noun}s"


def table(head: Sequence[str], body: Iterable[Sequence[str]], *, caption: str = "", left: bool = False) -> str:
    """A table of cells that are HTML already."""
    title = f"<caption>{caption}</caption>" if caption else ""
    heads = f"<thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead>" if head else ""
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in body)
    kind = ' class="left"' if left else ""
    return f'<div class="scroll"><table{kind}>{title}{heads}<tbody>{lines}</tbody></table></div>'


def tiles(left: Counts, every: Counts) -> str:
    """Counts of the trials of each kind."""
    shown = {
        _plural(left.trials, "trial") if left == every else f"of {counted(every.trials, 'trial')}": f"{left.trials:,}",
        _plural(left.sweeps, "sweep"): f"{left.sweeps:,}",
        f"of {left.judged:,} judged succeed (published)": share(left.succeeded, left.judged),
        "succeed (strict)": share(left.succeeded_strict, left.judged),
        "ended in an error": f"{left.error:,}",
    }
    marked = {"ended in an error": left.error, "on simulated hardware": left.simulated, "estimated": left.estimated}
    some = {"stopped early": left.stopped, "on simulated hardware": left.simulated, "estimated": left.estimated}
    shown |= {label: f"{num:,}" for label, num in some.items() if num}
    boxes = (
        f'<div class="tile{" mark" if marked.get(label) else ""}"><b>{text}</b><span>{label}</span></div>'
        for label, text in shown.items()
    )
    return f'<div class="tiles">{"".join(boxes)}</div>'


def arm_table(arms: Sequence[Mapping[str, Any]]) -> str:
    """A line per arm; medians over its trials with status ok."""
    by_name = {str(line["arm"]): line for line in arms}
    head = [
        "arm", "trials", "not ok", "not measured*", "published<br>accepts", "strict<br>accepts", "succeed<br>(published)",
        "error l2<br>(d_ref)", "error l2<br>/ proof's", "time<br>/ proof's", "size<br>/ proof's",
    ]  # fmt: skip
    body = [
        [
            f'<span class="dot" style="background:{style_of(arm).colour}"></span>{escape(arm)}',
            number_text(line["trials"]),
            number_text(line["not_ok"]),
            number_text(line["not_measured"]),
            share(line["accepted_published"], line["judged_published"]),
            share(line["accepted_strict"], line["judged_strict"]),
            share(line["succeeded"], line["judged"]),
            *(number_text(line[column]) for column in ("error_l2", "ratio_error_l2", "ratio_time", "ratio_size")),
        ]
        for arm, line in ((arm, by_name[arm]) for arm in in_order(by_name))
    ]
    note = '<p class="faint">Errors and ratios are medians over trials with status ok. * on simulated hardware or estimated.</p>'
    return table(head, body, caption="By arm") + note


def success_map(cells: Sequence[tuple[str, int, int, int]]) -> str:
    """Share of spoofs that succeed, by arm and T'; neighbouring T' share a column if there are many."""
    if not cells:
        return ""
    steps = sorted({step for _, step, _, _ in cells})
    size = math.ceil(len(steps) / MAX_COLUMNS)
    bins = [steps[i : i + size] for i in range(0, len(steps), size)]
    place = {step: i for i, together in enumerate(bins) for step in together}
    judged: dict[tuple[str, int], int] = {}
    succeeded: dict[tuple[str, int], int] = {}
    for arm, step, of, part in cells:
        key = (arm, place[step])
        judged[key], succeeded[key] = judged.get(key, 0) + of, succeeded.get(key, 0) + part
    head = ["arm", *(f"{b[0]:,}" if len(b) == 1 else f"{b[0]:,}<br>–{b[-1]:,}" for b in bins)]
    body = [
        [escape(arm), *(_cell(succeeded.get((arm, i), 0), judged.get((arm, i), 0)) for i in range(len(bins)))]
        for arm in in_order(arm for arm, *_ in cells)
    ]
    note = (
        '<p class="faint">Accepted by the published verifier, errors below the proof\'s in all four metrics, less time and '
        "less storage than the proof. Point at a cell for the counts.</p>"
    )
    return table(head, body, caption="Share of spoofs that succeed, by T' (steps)") + note


def _cell(part: int, of: int) -> str:
    if not of:
        return '<span class="faint">·</span>'
    depth = round(0.08 + 0.6 * part / of, 2) if part else 0
    look = f"background:rgba(0,114,178,{depth});padding:.15rem .45rem;border-radius:.25rem"
    return f'<span style="{look}" title="{part:,} of {of:,}">{share(part, of)}</span>'
