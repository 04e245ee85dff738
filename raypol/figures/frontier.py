"""The fronts: under each policy, the least error of an accepted spoof at each cost, and who reaches it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from raypol.core.distances import METRICS
from raypol.figures.cost_against_error import Costed, front_of
from raypol.figures.series import Setting, settings_of
from raypol.figures.style.arms import JUMP, STYLES, ArmStyle, in_order, styles_of
from raypol.figures.style.axes import Place, apply_scale, choose_scale, draw_strips, real, strip_middle, value_at
from raypol.figures.style.markers import MARKER_PT, Sign, marker_look
from raypol.figures.style.notes import list_briefly, note_names, note_not_measured
from raypol.figures.style.page import Entry, add_axes, new_page, plain_axes, say_empty
from raypol.runs.trials.relative_costs import costs_of, is_not_comparable
from raypol.store.results.rows import HONEST, TrialRow
from raypol.store.results.verdict_rows import VerdictRow

_MOST_SETTINGS: Final = 4
_MOST_POLICIES: Final = 8
_LINES: Final[tuple[tuple[str, LineStyleType], ...]] = (
    ("#B00020", "-"),
    ("#0072B2", (0, (6, 2))),
    ("#117733", (0, (2, 1.5))),
    ("#882255", (0, (7, 2, 1.5, 2))),
    ("#E69F00", "-"),
    ("#56B4E9", (0, (4, 1, 1, 1, 1, 1))),
    ("#999933", (0, (1, 1))),
    ("#555555", (0, (9, 3))),
)
"""Colour and line of each policy's front."""
_SIGNS: Final[tuple[tuple[Sign, bool], ...]] = (("filled", True), ("hollow", False))


@dataclass(frozen=True, slots=True)
class PolicyFront:
    """What one policy accepts of one setting's spoofs of W_T itself."""

    policy: str
    accepted: Mapping[str, Sequence[tuple[Costed, TrialRow]]]
    """By arm: cost and error in units of the honest proof's."""
    front: Sequence[tuple[str, Costed, TrialRow]]
    """Those that no other accepted spoof beats, by rising cost."""
    judged: frozenset[str]
    """Trials that it judged."""

    def error_at(self, cost: float) -> float:
        """The least error of an accepted spoof at this cost or less; infinite if there is none."""
        return min((error for _, (own, error), _ in self.front if own <= cost), default=math.inf)


def policy_fronts(setting: Setting, verdicts: Iterable[VerdictRow]) -> list[PolicyFront]:
    """The front of each policy that judged a spoof of this setting, in the order in which they come."""
    costs = costs_of(setting.rows)
    rows = {row.trial_id: row for row in setting.rows if row.trial_id in costs and not row.claims_other_model}
    accepted: dict[tuple[str, str], dict[str, list[tuple[Costed, TrialRow]]]] = {}
    judged: dict[tuple[str, str], set[str]] = {}
    for verdict in verdicts:
        row = rows.get(verdict.trial_id)
        if row is None:
            continue
        key = verdict.policy, verdict.policy_sha256
        arms = accepted.setdefault(key, {})
        judged.setdefault(key, set()).add(row.trial_id)
        if verdict.accepted:
            arms.setdefault(row.arm, []).append((costs[row.trial_id], row))
    names = Counter(name for name, _ in accepted)
    return [
        PolicyFront(name if names[name] == 1 else f"{name} {sha[:8]}", arms, _front(arms), frozenset(judged[name, sha]))
        for (name, sha), arms in accepted.items()
    ]


def frontier(rows: Sequence[TrialRow], verdicts: Sequence[VerdictRow]) -> Figure:
    """Cost against error of all spoofs, a front per policy, the honest proof, and the jump of each T'.

    Args:
        rows: any rows of a results folder.
        verdicts: of these trials; trials without one are drawn, but on no front.
    """
    settings = settings_of(rows) or [Setting("", "", ())]
    shown = [(setting, policy_fronts(setting, verdicts)) for setting in settings[:_MOST_SETTINGS]]
    policies = list(dict.fromkeys(front.policy for _, fronts in shown for front in fronts))
    looks = dict(zip(policies[:_MOST_POLICIES], _LINES, strict=False))
    styles = styles_of([row.arm for setting, _ in shown for row in setting.spoofs])
    columns = min(2, len(shown))
    title = "Fronts: least error at each cost" if len(shown) > 1 else f"{settings[0].name}: least error at each cost"
    figure, body = new_page(
        8.6 * columns,
        5.4 * -(-len(shown) // columns),
        title=title if rows else "No trials",
        entries=_legend(styles, looks, shown),
        notes=_notes(shown, rows, policies),
    )
    for ax, (setting, fronts) in zip(add_axes(body, len(shown), columns), shown, strict=True):
        _draw(ax, setting, fronts, styles, looks, title=setting.name if len(shown) > 1 else "")
    return figure


def _front(arms: Mapping[str, Sequence[tuple[Costed, TrialRow]]]) -> list[tuple[str, Costed, TrialRow]]:
    every = [(arm, at, row) for arm, some in arms.items() for at, row in some]
    best = front_of(at for _, at, _ in every)
    first = {at: (arm, at, row) for arm, at, row in reversed(every)}
    return [first[at] for at in best]


def _draw(
    ax: Axes,
    setting: Setting,
    fronts: Sequence[PolicyFront],
    styles: Mapping[str, ArmStyle],
    looks: Mapping[str, tuple[str, LineStyleType]],
    *,
    title: str,
) -> None:
    x, y = "generation time without writing (proof's = 1)", "largest of the four errors (proof's = 1)"
    plain_axes(ax, title=title, x=x, y=y)
    costs = costs_of(setting.rows)
    rows = [row for row in setting.spoofs if row.trial_id in costs]
    jumps = _jumps(setting)
    x_scale = choose_scale([*(cost for cost, _ in costs.values()), 1.0], clip=False)
    y_scale = choose_scale([*(error for _, error in costs.values()), 1.0, *jumps.values()], keep=[1.0])
    if not rows or x_scale is None or y_scale is None:
        say_empty(ax, "no values")
        return
    beyond = y_scale.beyond(error for _, error in costs.values())
    apply_scale(ax, y_scale, beyond)
    apply_scale(ax, x_scale, horizontal=True)
    draw_strips(ax, beyond)
    edges: dict[Place, float] = {place: value_at(ax, strip_middle(place)) for place in beyond}

    def onto(at: Costed) -> Costed:
        """The point, or its place at the edge if it lies beyond an axis."""
        return x_scale.clip(at[0]), edges.get(y_scale.place(at[1]), at[1])

    for draw in (ax.axvline, ax.axhline):
        draw(1.0, color=STYLES[HONEST].colour, linewidth=1.3, zorder=1.5, gid=HONEST)
    for steps, jump in ((steps, jump) for steps, jump in jumps.items() if y_scale.place(jump) == "inside"):
        look = STYLES[JUMP]
        ax.axhline(jump, color=look.colour, linestyle=look.line, linewidth=1.0, zorder=1.2, gid=f"{JUMP} {steps}")
    right, top = ax.get_xlim()[1], ax.get_ylim()[1]
    for width, one in enumerate(reversed(fronts), start=1):
        if one.front and one.policy in looks:
            colour, line = looks[one.policy]
            at = [onto(at) for _, at, _ in one.front]
            xs, ys = [at[0][0], *(x for x, _ in at), right], [top, *(y for _, y in at), at[-1][1]]
            # Fronts often coincide: those behind are wider.
            ax.step(xs, ys, where="post", color=colour, linestyle=line, linewidth=0.9 + 0.7 * width, gid=one.policy)
    judged = {row.trial_id for one in fronts for some in one.accepted.values() for _, row in some}
    for arm in in_order(row.arm for row in rows):
        for sign, taken in _SIGNS:
            own = [onto(costs[row.trial_id]) for row in rows if row.arm == arm and (row.trial_id in judged) is taken]
            if own:
                marker = marker_look(styles[arm], sign, MARKER_PT)
                ax.plot(*zip(*own, strict=True), **marker, zorder=4, clip_on=False, gid=f"{arm}:{sign}")


def _jumps(setting: Setting) -> dict[int, float]:
    """Error of no update at all by T', over the honest proof's: the largest of the four ratios, least over trials."""
    found: dict[int, float] = {}
    for row in setting.spoofs:
        if row.claims_other_model or row.trajectory != "linear" or row.start != "rank_matched":
            continue
        # The proof's error, by which the row's own was divided.
        proofs = {
            m: real(getattr(row, f"error_{m}")) / (real(getattr(row, f"ratio_error_{m}")) or math.nan) for m in METRICS
        }
        ratios = [real(getattr(row, f"jump_{m}")) / (proofs[m] or math.nan) for m in METRICS]
        if all(map(math.isfinite, ratios)):
            found[row.steps] = min(max(ratios), found.get(row.steps, math.inf))
    return found


def _legend(
    styles: Mapping[str, ArmStyle],
    looks: Mapping[str, tuple[str, LineStyleType]],
    shown: Sequence[tuple[Setting, Sequence[PolicyFront]]],
) -> list[list[Entry]]:
    arms: list[Entry] = [(Line2D([], [], **marker_look(style)), arm) for arm, style in styles.items()]
    lines: list[Entry] = [
        (Line2D([], [], color=colour, linestyle=line, linewidth=1.6), f"front under {policy}")
        for policy, (colour, line) in looks.items()
        if any(one.policy == policy and one.front for _, fronts in shown for one in fronts)
    ]
    others: list[Entry] = []
    if any(costs_of(setting.rows) for setting, _ in shown):
        others.append((Line2D([], [], color=STYLES[HONEST].colour, linewidth=1.3), "honest proof"))
        look = STYLES[JUMP]
        others.append((Line2D([], [], color=look.colour, linestyle=look.line), "jump at each T': no update at all"))
    return [arms, lines, others]


def _notes(
    shown: Sequence[tuple[Setting, Sequence[PolicyFront]]], rows: Sequence[TrialRow], policies: Sequence[str]
) -> list[str]:
    notes = [
        "A marker per spoof: filled if some policy accepts it and it claims W_T itself. Time: device seconds without waiting for "
        "writes. Error: the largest over intervals and metrics."
    ]
    others = sorted({row.arm for setting, _ in shown for row in setting.spoofs if row.claims_other_model})
    notes += note_names("Claim another model than W_T, on no front", others)
    for setting, fronts in shown:
        where = f" ({setting.name})" if len(shown) > 1 else ""
        for one in fronts[:_MOST_POLICIES]:
            arms = list(dict.fromkeys(arm for arm, _, _ in one.front))
            notes.append(f"On the front under {one.policy}{where}: {list_briefly(arms) or 'nothing, it accepts none'}.")
    away = [row.arm for setting, _ in shown for row in setting.spoofs if is_not_comparable(row)]
    notes += note_names("Not drawn, on another device than the prover's or on a simulated one", sorted(set(away)))
    notes += note_names("Fronts not drawn", policies[_MOST_POLICIES:])
    return [*notes, *note_not_measured([row for row in rows if row.is_ok])]
