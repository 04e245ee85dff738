"""What referee and disputants say to each other."""

from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, TypeVar

from raypol.core.dispute.merkle import MerkleTree, Opening
from raypol.core.hashing import DIGEST_BYTES
from raypol.core.proof import Recipe

S = TypeVar("S")
Side = Literal["a", "b"]
SIDES: Final[tuple[Side, ...]] = ("a", "b")
Move = Literal["commit", "checkpoint", "steps", "step", "state"]
CHECKPOINTS: Final = "checkpoints"
"""Purpose of the tree over the states at the ends of all intervals."""
FaultKind = Literal[
    "no answer",
    "oversized",
    "malformed",
    "answered twice",
    "other recipe",
    "other count",
    "not bound",
    "wrong start",
    "steps contradict checkpoints",
    "wrong state",
    "wrong step",
    "other bits",
]
"""`no answer`: none within the patience. `oversized`, `malformed`: an answer that is not read, or cannot be. `answered twice`:
an answer that was changed after it was read. `other recipe`, `other count`: not the training that was declared. `not bound`: a
leaf that the commitment does not have there. `wrong start`: a step 0 that is not the draw of the declared seed. `steps contradict
checkpoints`: steps that do not lead from the interval's start to its end. `wrong state`: not the one that was agreed on. `wrong
step`: the replayed step gives other bits, and the other party has those. `other bits`: the replayed step gives neither's."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the referee asks, of one party or both."""

    move: Move
    index: int
    """commit: 0; checkpoint: the leaf; steps: the interval; step: the leaf among the interval's steps; state: the step t."""
    sides: tuple[Side, ...] = SIDES


@dataclass(frozen=True, slots=True)
class Pledge:
    """A commitment to a list of states: the root of their tree, and its two ends."""

    count: int
    root: bytes
    first: Opening
    last: Opening

    @property
    def num_bytes(self) -> int:
        """Bytes that cross."""
        return 8 + DIGEST_BYTES + self.first.num_bytes + self.last.num_bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A party's claim: what it trained, and a commitment to W_0, W_k, ..., W_T with buffers and optimizer states."""

    recipe: Recipe
    pledge: Pledge

    @property
    def num_bytes(self) -> int:
        """Bytes that cross."""
        return len(self.recipe.canonical()) + self.pledge.num_bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a party loses."""

    side: Side
    kind: FaultKind
    detail: str


@dataclass(frozen=True, slots=True)
class Delivered(Generic[S]):
    """The one state that crosses."""

    state: S
    num_bytes: int


Answer = Claim | Pledge | Opening | Delivered[S]


class Disputant(Protocol[S]):
    """A party of a dispute."""

    def claim(self) -> Claim:
        """Commit to the whole training."""

    def checkpoint(self, index: int) -> Opening:
        """Show the state at the end of `index` intervals."""

    def steps(self, interval: int) -> Pledge:
        """Commit to all states of one interval, its start and its end included."""

    def step(self, index: int) -> Opening:
        """Show the state after `index` steps of the interval last committed to."""

    def state(self, step: int) -> Delivered[S]:
        """Deliver the whole state before a step of that interval."""


def answer_of(party: Disputant[S], question: Question) -> Answer[S]:
    """The party's answer to a question."""
    match question.move:
        case "commit":
            return party.claim()
        case "checkpoint":
            return party.checkpoint(question.index)
        case "steps":
            return party.steps(question.index)
        case "step":
            return party.step(question.index)
        case "state":
            return party.state(question.index)


def pledge_of(tree: MerkleTree) -> Pledge:
    """The commitment to a tree's leaves."""
    return Pledge(len(tree), tree.root, tree.open(0), tree.open(len(tree) - 1))


def steps_of_interval(interval: int) -> str:
    """Purpose of the tree over the states of one interval."""
    return f"steps of interval {interval}"
