"""The bisection, on computations whose states are digests: rounds, the lie found, an honest party whatever the other says."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, log2
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypol.core.dispute.merkle import MerkleTree, Opening
from raypol.core.dispute.moves import (
    CHECKPOINTS,
    SIDES,
    Answer,
    Claim,
    Delivered,
    Disputant,
    Fault,
    Pledge,
    Question,
    Side,
    answer_of,
    pledge_of,
    steps_of_interval,
)
from raypol.core.dispute.referee import MAX_DISPUTED_STEPS, DisputeVerdict, differing_field, settle
from raypol.core.errors import InputError
from raypol.core.proof import Recipe


def recipe_of(steps: int, interval: int, **changes: Any) -> Recipe:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {"dataset": "d", "dataset_sha256": "", "model": "m", "batch_size": 1}
    return Recipe(**{**fields, **changes}, steps=steps, interval=interval)


def after(state: bytes, step: int) -> bytes:
    return hashlib.sha256(b"step %d " % step + state).digest()


def chain(steps: int, lies: Sequence[int] = (), salt: bytes = b"lie") -> list[bytes]:
    """States 0..T; after a step of `lies` the state is another, and what follows follows from it."""
    states = [bytes(32)]
    for step in range(steps):
        reached = after(states[-1], step)
        states.append(hashlib.sha256(salt + reached).digest() if step in lies else reached)
    return states


class Chain:
    """The computation as the referee makes it; a state is its own digest."""

    made = 0

    def first(self) -> bytes:
        return bytes(32)

    def digest(self, state: bytes) -> bytes:
        return state

    def digest_after(self, state: bytes, step: int) -> bytes | None:
        self.made += 1
        return after(state, step)


@dataclass
class ListParty:
    """Answers from a list of states 0..T."""

    recipe: Recipe
    states: list[bytes]
    _start: int = 0
    _steps: MerkleTree | None = None

    def __post_init__(self) -> None:
        self.tree = MerkleTree(CHECKPOINTS, [self.states[t] for t in self.recipe.checkpoint_steps()])

    def claim(self) -> Claim:
        return Claim(self.recipe, pledge_of(self.tree))

    def checkpoint(self, index: int) -> Opening:
        return self.tree.open(index)

    def steps(self, interval: int) -> Pledge:
        found = self.recipe.interval_at(interval)
        self._steps = MerkleTree(steps_of_interval(interval), self.states[found.start : found.stop + 1])
        return pledge_of(self._steps)

    def step(self, index: int) -> Opening:
        assert self._steps is not None
        return self._steps.open(index)

    def state(self, step: int) -> Delivered[bytes]:
        return Delivered(self.states[step], 32)


def verdict_of(a: Disputant[bytes], b: Disputant[bytes], computation: Chain | None = None) -> DisputeVerdict:
    parties: dict[Side, Disputant[bytes]] = {"a": a, "b": b}

    def ask(question: Question) -> dict[Side, Answer[bytes] | Fault]:
        return {side: answer_of(parties[side], question) for side in question.sides}

    return settle(ask, lambda _: computation or Chain())


def log2_up(count: int) -> int:
    return ceil(log2(count)) if count > 1 else 0


@st.composite
def trainings(draw: st.DrawFn) -> tuple[Recipe, int]:
    """A recipe of up to 1,000 intervals, and a step of it."""
    intervals, k = draw(st.integers(1, 1000)), draw(st.integers(1, 12))
    steps = max((intervals - 1) * k + draw(st.integers(1, k)), k)
    return recipe_of(steps, k), draw(st.integers(0, steps - 1))


@given(trainings(), st.sampled_from(SIDES))
def test_the_first_lie_is_found_in_logarithmic_rounds_and_one_step(training: tuple[Recipe, int], liar: Side) -> None:
    recipe, lie = training
    parties = {side: ListParty(recipe, chain(recipe.steps, [lie] if side == liar else ())) for side in SIDES}
    computation = Chain()
    found = verdict_of(parties["a"], parties["b"], computation)
    assert found.outcome == f"{liar} lied"
    assert [(fault.side, fault.kind) for fault in found.faults] == [(liar, "wrong step")]
    assert (found.step, found.interval) == (lie, lie // recipe.interval)
    interval = recipe.interval_at(lie // recipe.interval)
    assert found.interval_rounds <= log2_up(recipe.num_intervals)
    assert found.step_rounds <= log2_up(interval.num_steps)
    assert found.interval_rounds >= log2_up(recipe.num_intervals) - 1  # bisection, not luck
    assert computation.made == found.replayed_steps == 1
    assert found.digests["referee"] == found.digests["b" if liar == "a" else "a"] != found.digests[liar]


@pytest.mark.parametrize("lie", [0, 7, 3999, 4000, 7992, 7999])
def test_a_thousand_intervals_take_ten_rounds_and_three(lie: int) -> None:
    recipe = recipe_of(8000, 8)
    found = verdict_of(ListParty(recipe, chain(8000)), ListParty(recipe, chain(8000, [lie])))
    assert found.step == lie
    assert found.interval_rounds in (9, 10)
    assert found.step_rounds == 3
    assert found.exchanged_bytes < 20_000


@given(trainings(), st.data())
def test_of_several_lies_one_is_found_and_the_first_if_all_that_follows_differs(
    training: tuple[Recipe, int], data: st.DataObject
) -> None:
    recipe, first = training
    lies = [first, *data.draw(st.lists(st.integers(first, recipe.steps - 1), max_size=3))]
    assert (
        verdict_of(ListParty(recipe, chain(recipe.steps)), ListParty(recipe, chain(recipe.steps, lies))).step == first
    )


def test_a_liar_who_returns_to_the_honest_states_in_between_is_found_as_well() -> None:
    recipe, honest = recipe_of(64, 4), chain(64)
    lying = chain(64, [5])
    states = [*honest[:6], *lying[6:20], *honest[20:50], *lying[50:]]
    found = verdict_of(ListParty(recipe, honest), ListParty(recipe, states))
    assert (found.outcome, found.step) == ("b lied", 49)


@given(trainings(), st.data())
def test_two_liars_are_both_named_where_the_step_is_neithers(training: tuple[Recipe, int], data: st.DataObject) -> None:
    recipe, lie = training
    found = verdict_of(
        ListParty(recipe, chain(recipe.steps, [lie], b"one")), ListParty(recipe, chain(recipe.steps, [lie], b"two"))
    )
    assert found.outcome == "undecided"
    assert [(fault.side, fault.kind) for fault in found.faults] == [("a", "other bits"), ("b", "other bits")]
    other = data.draw(st.integers(0, recipe.steps - 1).filter(lambda step: step != lie)) if recipe.steps > 1 else lie
    if other != lie:  # who lies first is found; of the other nothing
        found = verdict_of(
            ListParty(recipe, chain(recipe.steps, [lie])), ListParty(recipe, chain(recipe.steps, [other], b"two"))
        )
        assert found.outcome == ("a lied" if lie < other else "b lied")


def test_the_same_outcome_is_nothing_to_dispute() -> None:
    recipe = recipe_of(20, 3)
    found = verdict_of(ListParty(recipe, chain(20)), ListParty(recipe, chain(20)))
    assert (found.outcome, found.faults, found.replayed_steps, found.interval) == ("agreed", (), 0, None)
    both = verdict_of(ListParty(recipe, chain(20, [4])), ListParty(recipe, chain(20, [4])))
    assert both.outcome == "agreed"  # two who lie alike are not found


# --- an adversary who answers anything ------------------------------------------------------------------------------


@dataclass
class Adversary:
    """Answers from one of several lists, as drawn anew for each question, with any field changed."""

    data: st.DataObject
    recipe: Recipe
    lists: list[ListParty] = field(default_factory=list)

    def _any(self, question: Question) -> Answer[bytes] | Fault:
        draw = self.data.draw
        if draw(st.integers(0, 9)) == 0:
            return Fault("b", draw(st.sampled_from(["no answer", "oversized", "malformed"])), "")
        answer = answer_of(self.lists[draw(st.integers(0, len(self.lists) - 1))], question)
        how = draw(st.integers(0, 9))
        junk = draw(st.sampled_from([bytes(32), b"", hashlib.sha256(b"junk").digest()]))
        if isinstance(answer, Opening) and how == 0:
            return replace(answer, digest=junk)
        if isinstance(answer, Opening) and how == 1:
            return replace(answer, path=answer.path[:-1])
        if isinstance(answer, Delivered) and how <= 3:
            return Delivered(junk, 32)
        if isinstance(answer, Pledge | Claim) and how <= 3:
            pledge = answer.pledge if isinstance(answer, Claim) else answer
            changed = [
                replace(pledge, root=junk),
                replace(pledge, count=pledge.count + 1),
                replace(pledge, first=replace(pledge.first, digest=junk)),
                replace(pledge, last=pledge.first),
            ][how]
            return replace(answer, pledge=changed) if isinstance(answer, Claim) else changed
        return answer

    def __call__(self, question: Question) -> Answer[bytes] | Fault:
        return self._any(question)


@settings(max_examples=300)
@given(st.integers(1, 60), st.integers(1, 7), st.data())
def test_who_answers_honestly_is_never_named_whatever_the_other_says(
    intervals: int, k: int, data: st.DataObject
) -> None:
    steps = intervals * k
    recipe, honest = recipe_of(steps, k), chain(steps)
    lies = st.lists(st.integers(0, steps - 1), max_size=3)
    lists = [ListParty(recipe, chain(steps, data.draw(lies))) for _ in range(data.draw(st.integers(1, 3)))]
    mixed = [data.draw(st.sampled_from([one, two])) for one, two in zip(honest, chain(steps, [0]), strict=True)]
    adversary = Adversary(data, recipe, [*lists, ListParty(recipe, honest), ListParty(recipe, mixed)])
    truthful, side = ListParty(recipe, honest), data.draw(st.sampled_from(SIDES))
    other: Side = "b" if side == "a" else "a"

    def ask(question: Question) -> dict[Side, Answer[bytes] | Fault]:
        answers: dict[Side, Answer[bytes] | Fault] = {}
        for asked in question.sides:
            said = answer_of(truthful, question) if asked == side else adversary(question)
            answers[asked] = replace(said, side=other) if isinstance(said, Fault) else said
        return answers

    computation = Chain()
    found = settle(ask, lambda _: computation)
    assert all(fault.side == other for fault in found.faults)
    assert found.outcome in ("agreed", f"{other} lied")
    assert computation.made <= 1
    assert found.interval_rounds <= log2_up(intervals)
    assert found.step_rounds <= log2_up(k)


# --- faults one by one ------------------------------------------------------------------------------------------------


class Saying(ListParty):
    """An honest party but for some answers."""

    says: dict[str, Any]

    def __init__(self, recipe: Recipe, states: list[bytes], **says: Any) -> None:  # noqa: ANN401 - functions of what it would say
        super().__init__(recipe, states)
        self.says = says

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - as of any object
        usual = object.__getattribute__(self, name)
        said = object.__getattribute__(self, "__dict__").get("says", {})
        return (lambda *asked: said[name](usual(*asked))) if name in said else usual


FAULTS: dict[str, dict[str, Any]] = {
    "other count": {"claim": lambda said: replace(said, pledge=replace(said.pledge, count=18))},
    "not bound": {"checkpoint": lambda said: replace(said, digest=bytes(32))},
    "steps contradict checkpoints": {"steps": lambda _: pledge_of(MerkleTree(steps_of_interval(7), [bytes(32)] * 5))},
    "wrong state": {"state": lambda _: Delivered(b"no such state", 13)},
    "no answer": {"step": lambda _: Fault("a", "no answer", "")},
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_loses_by_its_name(kind: str) -> None:
    recipe = recipe_of(64, 4)
    for liar, honest in (("a", "b"), ("b", "a")):
        says = dict(FAULTS[kind])
        if kind == "no answer":
            says = {"step": lambda _, side=liar: Fault(side, "no answer", "")}
        parties = {liar: Saying(recipe, chain(64, [30]), **says), honest: ListParty(recipe, chain(64))}
        found = verdict_of(parties["a"], parties["b"])
        if kind == "wrong state" and liar == "b":  # a was asked, and had it
            assert [fault.kind for fault in found.faults] == ["wrong step"]
        else:
            assert found.faults[0].kind == kind
        assert found.outcome == f"{liar} lied"


def test_a_root_of_other_leaves_and_another_start_lose() -> None:
    recipe = recipe_of(12, 3)
    honest = ListParty(recipe, chain(12))
    swapped = Saying(
        recipe, chain(12, [1]), claim=lambda said: replace(said, pledge=replace(said.pledge, root=bytes(32)))
    )
    assert [f.kind for f in verdict_of(honest, swapped).faults] == ["not bound"]
    start = [hashlib.sha256(b"trained already").digest()]
    for step in range(12):
        start.append(after(start[-1], step))
    found = verdict_of(ListParty(recipe, start), honest)
    assert [(f.side, f.kind) for f in found.faults] == [("a", "wrong start")]
    assert found.replayed_steps == 0


def test_a_state_that_nobody_has_names_both() -> None:
    recipe, states = recipe_of(8, 8), chain(8)
    states[3] = hashlib.sha256(b"agreed, and made up").digest()
    a, b = ([*states[:4], *chain(8, [0], salt)[4:]] for salt in (b"one", b"two"))
    lost = {"state": lambda _: Delivered(b"", 0)}
    found = verdict_of(Saying(recipe, a, **lost), Saying(recipe, b, **lost))
    assert found.outcome == "both lied"
    assert [(f.side, f.kind) for f in found.faults] == [("a", "wrong state"), ("b", "wrong state")]


def test_other_trainings_are_no_dispute_of_computation() -> None:
    one = ListParty(recipe_of(12, 3), chain(12))
    changes: dict[str, Any] = {"seed": 5, "batch_size": 2, "threads": 2, "device": "cuda", "given": {"w": "0"}}
    for name, value in changes.items():
        other = ListParty(replace(one.recipe, **{name: value}), chain(12, [2]))
        assert differing_field(one.recipe, other.recipe) == name
        with pytest.raises(InputError, match=f"not a dispute of computation: the recipes differ in {name}"):
            verdict_of(one, other)
        ask = {"a": one, "b": other}
        found = settle(
            lambda q, ask=ask: {s: answer_of(ask[s], q) for s in q.sides},  # type: ignore[misc]
            lambda _: Chain(),
            declared=one.recipe,
        )
        assert [(f.side, f.kind) for f in found.faults] == [("b", "other recipe")]


def test_device_and_threads_do_not_matter_where_bits_repeat_everywhere() -> None:
    one, other = recipe_of(12, 3), recipe_of(12, 3, threads=2, device="cuda")
    assert differing_field(one, other) == "device"
    for recipe in (one, other):  # as of a precision that this version may not have
        object.__setattr__(recipe, "precision", "reproducible")
    assert differing_field(one, other) == ""


def test_too_many_steps_are_refused_before_anything_is_computed() -> None:
    recipe = recipe_of(MAX_DISPUTED_STEPS + 1, MAX_DISPUTED_STEPS + 1)
    tree = pledge_of(MerkleTree(CHECKPOINTS, [bytes(32), bytes(31) + b"1"]))
    with pytest.raises(InputError, match="at most 10000000 steps"):
        settle(lambda q: dict.fromkeys(q.sides, Claim(recipe, tree)), lambda _: Chain())
