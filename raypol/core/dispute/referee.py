"""The referee: bisects two claims about one training down to one step, makes that step itself, and says who lied.

    lo = 0, hi = T/k:  while hi - lo > 1:  m = (lo + hi) // 2;  both open leaf m;  agreed ? lo = m : hi = m
    the same among the k steps of interval lo,  then  W_{t+1} = U(W_t; b_t)  from the agreed W_t

After ceil(log2(T/k)) + ceil(log2 k) openings both agree on W_t, and on W_{t+1} they do not (Verde, arXiv:2502.19405, and
optimistic training, arXiv:2403.09603, bisect further, to an operator). W_0 and the batch b_t follow from the declared recipe;
no party is asked for them. Whoever answers honestly is never found to lie, whatever the other says, if the referee's
arithmetic repeats its bits.

What is found is a place where the parties part: a lie of one of them, the first one if all that follows from it differs as well.
Of what lies before it is known only that both claim it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Generic, Literal, Protocol

from raypol.core.arithmetic.precision import SAME_EVERYWHERE
from raypol.core.dispute.merkle import Opening, is_bound
from raypol.core.dispute.moves import (
    CHECKPOINTS,
    SIDES,
    Answer,
    Claim,
    Delivered,
    Fault,
    FaultKind,
    Move,
    Pledge,
    Question,
    S,
    Side,
    steps_of_interval,
)
from raypol.core.errors import InputError, in_short
from raypol.core.proof import Recipe

DisputeOutcome = Literal["agreed", "a lied", "b lied", "both lied", "undecided"]
_ARITHMETIC: Final = ("device", "threads")
MAX_DISPUTED_STEPS: Final = 10_000_000
"""The rates of all steps are computed before one is made: 80 MB."""


class Computation(Protocol[S]):
    """The declared training as the referee computes it."""

    def first(self) -> S:
        """The state at step 0."""

    def digest(self, state: S) -> bytes:
        """Digest of a state, as the parties commit to it."""

    def digest_after(self, state: S, step: int) -> bytes | None:
        """Digest of the state that a step leads to; None if no step can be made from that state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DisputeVerdict:
    """What the referee found."""

    outcome: DisputeOutcome
    """`agreed`: both claim the same last state. `undecided`: the replayed step gives neither's bits, so that both lie or the
    referee's arithmetic is another."""
    faults: tuple[Fault, ...] = ()
    """Why each party that lost did."""
    interval: int | None = None
    """The interval at whose start they agree and at whose end they do not."""
    step: int | None = None
    """t: both agree on the state before it, and not on the state after it."""
    interval_rounds: int = 0
    """Leaves opened to find the interval."""
    step_rounds: int = 0
    """Leaves opened to find the step."""
    replayed_steps: int = 0
    """The referee's work."""
    digests: Mapping[str, str]
    """Of the state after that step, hex: by party, and `referee`."""
    exchanged_bytes: int = 0
    """Commitments, leaves with their paths, and the state, as raw bytes."""
    state_bytes: int = 0
    """Of these, the state."""


Ask = Callable[[Question], Mapping[Side, Answer[S] | Fault]]
"""Puts a question to the parties that it names; what comes back is of the kind that was asked for, or says what is wrong."""


def settle(ask: Ask[S], begin: Callable[[Recipe], Computation[S]], *, declared: Recipe | None = None) -> DisputeVerdict:
    """Settle a dispute.

    Args:
        ask: see `Ask`.
        begin: makes the computation of a recipe; may raise InputError for one that cannot be computed here.
        declared: a party that claims another training than this one loses; None = both must claim the same.

    Raises:
        InputError: the parties claim different trainings: no dispute about computation.
    """
    case = _Case(ask)
    agreed = _compare(case, begin, declared)
    return case.verdict(agreed=agreed)


def differing_field(one: Recipe, other: Recipe) -> str:
    """Name the first field by which two recipes are different trainings, or empty.

    Device and threads make a difference where the precision's bits depend on them.
    """
    free = _ARITHMETIC if one.precision == other.precision and one.precision in SAME_EVERYWHERE else ()
    first, second = json.loads(one.canonical()), json.loads(other.canonical())  # where 1, 1.0 and true differ
    names = [field.name for field in fields(Recipe) if field.name not in free]
    return next((name for name in names if json.dumps(first.get(name)) != json.dumps(second.get(name))), "")


def check_same_training(one: Recipe, other: Recipe) -> None:
    """Raise the InputError for recipes of different trainings, about which there is no dispute."""
    if name := differing_field(one, other):
        raise InputError(
            f"not a dispute of computation: the recipes differ in {name}: "
            f"{in_short(getattr(one, name))} against {in_short(getattr(other, name))}"
        )


def with_faults(verdict: DisputeVerdict, later: Sequence[Fault]) -> DisputeVerdict:
    """The verdict after more was found."""
    faults = (*verdict.faults, *later)
    return replace(verdict, faults=faults, outcome=_outcome(faults))


def _outcome(faults: Sequence[Fault]) -> DisputeOutcome:
    lost = {fault.side for fault in faults if fault.kind != "other bits"}
    if not lost:
        return "undecided" if faults else "agreed"
    return "both lied" if len(lost) > 1 else "a lied" if "a" in lost else "b lied"


class _Case(Generic[S]):
    """What was asked and found so far."""

    def __init__(self, ask: Ask[S]) -> None:
        self.faults: list[Fault] = []
        self.interval: int | None = None
        self.step: int | None = None
        self.rounds: dict[Move, int] = {"checkpoint": 0, "step": 0}
        self.replayed = 0
        self.digests: dict[str, str] = {}
        self.state_bytes = 0
        self._ask, self._bytes = ask, 0

    def ask(self, question: Question) -> dict[Side, Answer[S]]:
        """The sound answers; the others are faults."""
        sound: dict[Side, Answer[S]] = {}
        for side, answer in self._ask(question).items():
            if isinstance(answer, Fault):
                self.faults.append(answer)
            else:
                sound[side] = answer
                self._bytes += answer.num_bytes
        return sound

    def blame(self, side: Side, kind: FaultKind, detail: str) -> None:
        self.faults.append(Fault(side, kind, detail))

    def verdict(self, *, agreed: bool) -> DisputeVerdict:
        assert agreed != bool(self.faults)
        return DisputeVerdict(
            outcome=_outcome(self.faults),
            faults=tuple(self.faults),
            interval=self.interval,
            step=self.step,
            interval_rounds=self.rounds["checkpoint"],
            step_rounds=self.rounds["step"],
            replayed_steps=self.replayed,
            digests=self.digests,
            exchanged_bytes=self._bytes,
            state_bytes=self.state_bytes,
        )


def _compare(case: _Case[S], begin: Callable[[Recipe], Computation[S]], declared: Recipe | None) -> bool:
    """Find who lied; true if there is nothing to find."""
    claims = {side: claim for side, claim in case.ask(Question("commit", 0)).items() if isinstance(claim, Claim)}
    recipe = _recipe(case, claims, declared)
    if recipe is None:
        return False
    pledges = {side: claim.pledge for side, claim in claims.items()}
    _check_pledges(case, pledges, CHECKPOINTS, recipe.num_intervals + 1, "checkpoints")
    if case.faults:
        return False
    computation = begin(recipe)
    first = computation.digest(computation.first())
    for side, pledge in pledges.items():
        if pledge.first.digest != first:
            case.blame(side, "wrong start", "its state at step 0 is not the one that the declared seed draws")
    if case.faults:
        return False
    ends = {side: pledge.last.digest for side, pledge in pledges.items()}
    if ends["a"] == ends["b"]:
        return True
    found = _bisect(case, "checkpoint", CHECKPOINTS, pledges, first, ends)
    if found is None:
        return False
    case.interval, agreed, ends = found
    _find_step(case, computation, recipe, agreed, ends)
    return False


def _recipe(case: _Case[S], claims: Mapping[Side, Claim], declared: Recipe | None) -> Recipe | None:
    """The training that both claim; None if a party did not claim it."""
    if declared is not None:
        for side, claim in claims.items():
            if name := differing_field(declared, claim.recipe):
                got, expected = getattr(claim.recipe, name), getattr(declared, name)
                case.blame(side, "other recipe", f"{name}: declared {in_short(expected)}, it claims {in_short(got)}")
    if case.faults:
        return None
    one, other = claims["a"].recipe, claims["b"].recipe
    check_same_training(one, other)
    if one.steps > MAX_DISPUTED_STEPS:
        raise InputError(f"expected at most {MAX_DISPUTED_STEPS} steps in a dispute, got {one.steps}")
    return declared or one


def _check_pledges(case: _Case[S], pledges: Mapping[Side, Pledge], purpose: str, count: int, what: str) -> None:
    for side, pledge in pledges.items():
        if pledge.count != count:
            case.blame(side, "other count", f"it commits to {pledge.count} {what}, expected {count}")
            continue
        for opening, index in ((pledge.first, 0), (pledge.last, count - 1)):
            if not is_bound(opening, purpose, pledge.root, index, count):
                case.blame(side, "not bound", f"its commitment to {what} does not have its leaf {index}")
                break


def _bisect(
    case: _Case[S],
    move: Literal["checkpoint", "step"],
    purpose: str,
    pledges: Mapping[Side, Pledge],
    agreed: bytes,
    ends: Mapping[Side, bytes],
) -> tuple[int, bytes, dict[Side, bytes]] | None:
    """Last leaf found agreed, its digest, and the digests one leaf on, which differ; None after a fault."""
    claimed = dict(ends)
    low, high = 0, pledges["a"].count - 1
    while high - low > 1:
        middle = (low + high) // 2
        case.rounds[move] += 1
        opened = {s: o for s, o in case.ask(Question(move, middle)).items() if isinstance(o, Opening)}
        for side, opening in opened.items():
            if not is_bound(opening, purpose, pledges[side].root, middle, pledges[side].count):
                case.blame(side, "not bound", f"its commitment to {purpose} does not have its leaf {middle}")
        if case.faults:
            return None
        if opened["a"].digest == opened["b"].digest:
            low, agreed = middle, opened["a"].digest
        else:
            high, claimed = middle, {side: opening.digest for side, opening in opened.items()}
    return low, agreed, claimed


def _find_step(
    case: _Case[S], computation: Computation[S], recipe: Recipe, agreed: bytes, ends: Mapping[Side, bytes]
) -> None:
    """Find the step in the interval found, and make it."""
    assert case.interval is not None
    interval, purpose = recipe.interval_at(case.interval), steps_of_interval(case.interval)
    answers = case.ask(Question("steps", interval.index))
    pledges = {side: pledge for side, pledge in answers.items() if isinstance(pledge, Pledge)}
    _check_pledges(case, pledges, purpose, interval.num_steps + 1, "steps")
    for side, pledge in pledges.items():
        if any(fault.side == side for fault in case.faults):
            continue
        where = f"steps {interval.start}..{interval.stop}"
        if pledge.first.digest != agreed:
            case.blame(side, "steps contradict checkpoints", f"{where} do not begin at its own checkpoint")
        elif pledge.last.digest != ends[side]:
            case.blame(side, "steps contradict checkpoints", f"{where} do not lead to its own checkpoint")
    if case.faults:
        return
    found = _bisect(case, "step", purpose, pledges, agreed, ends)
    if found is None:
        return
    offset, agreed, ends = found
    case.step = interval.start + offset
    state = computation.first() if case.step == 0 else _agreed_state(case, computation, case.step, agreed)
    if state is None:
        return
    own = computation.digest_after(state, case.step)
    case.replayed = 1
    case.digests = {side: digest.hex() for side, digest in ends.items()} | {"referee": own.hex() if own else "none"}
    matched = own in ends.values()
    for side, digest in ends.items():
        if digest != own:
            kind: FaultKind = "wrong step" if matched else "other bits"
            case.blame(side, kind, f"step {case.step} from the agreed state does not give what it claims")


def _agreed_state(case: _Case[S], computation: Computation[S], step: int, agreed: bytes) -> S | None:
    """The state that both committed to, from the first party that has it; whoever has not loses."""
    for side in SIDES:
        answer = case.ask(Question("state", step, (side,))).get(side)
        if isinstance(answer, Delivered):
            case.state_bytes += answer.num_bytes
            if computation.digest(answer.state) == agreed:
                state: S = answer.state
                return state
            case.blame(
                side, "wrong state", f"the state that it delivers for step {step} is not the one that was agreed on"
            )
    return None
