"""What an adversary is granted, as data: every attack says what it uses, every trial what was given, every row shows both.

What is not granted, V decides (k, Q, the order of the data) or A does not know (the nonce, the prover's trace). Fang et al. 2023
(arXiv:2208.03567) show why it has to be said: the published attacks hold where A may choose k, and fail where V does.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, get_args

from raypol.core.errors import InputError, reject_choice

Grant = Literal[
    "weights",
    "data",
    "other_data",
    "policy",
    "interval",
    "selection",
    "nonce",
    "initial",
    "order",
    "own_points",
    "optimizer",
    "augmentation",
    "batch_size",
    "trace",
    "seed",
]
MEANINGS: Final[Mapping[Grant, str]] = {
    "weights": "W_T, the last weights of the honest proof",
    "data": "the dataset that the honest proof declares",
    "other_data": "to declare another dataset",
    "policy": "to know the checks of the verifier and their thresholds",
    "interval": "to choose k; else the verifier's k is that of the honest proof",
    "selection": "to know how the verifier selects intervals, and Q",
    "nonce": "to know the verifier's random number before the spoof is committed to",
    "initial": "to choose W_0, within its laws",
    "order": "to choose the batches; else they follow from the declared seed",
    "own_points": "to train on points that no dataset has",
    "optimizer": "to declare another optimizer or schedule than the honest proof",
    "augmentation": "to declare another augmentation than the honest proof",
    "batch_size": "to declare another batch size than the honest proof",
    "trace": "the honest proof itself, all of it: A is its prover",
    "seed": "the seed of the honest training",
}
"""Each grant in words."""
GRANTS: Final[tuple[Grant, ...]] = get_args(Grant)
USUAL: Final[tuple[Grant, ...]] = tuple(
    grant for grant in GRANTS if grant not in ("interval", "selection", "nonce", "trace", "seed")
)
"""What the published attacks are granted, but for k, which the verifier fixes."""


class NotGrantedError(InputError):
    """An attack uses what it was not granted: the trial is refused."""


def grants_of(words: Iterable[str]) -> tuple[Grant, ...]:
    """The grants that words name, each once, in their usual order: `usual`, a grant, or `no_` and a grant to take it away.

    Raises:
        InputError: a word that is none of these, or a grant both given and taken away.
    """
    given: set[str] = set()
    named: dict[str, str] = {}
    for word in words:
        if word == "usual":
            given |= set(USUAL) - {grant for grant, how in named.items() if how.startswith("no_")}
            continue
        grant = word.removeprefix("no_")
        if grant not in GRANTS:
            reject_choice("grant", word, ("usual", *GRANTS, *(f"no_{grant}" for grant in GRANTS)))
        if named.setdefault(grant, word) != word:
            raise InputError(f"the grants {named[grant]} and {word} contradict each other")
        given = given | {grant} if word == grant else given - {grant}
    return tuple(grant for grant in GRANTS if grant in given)


def check_granted(used: Mapping[Grant, str], granted: Collection[str]) -> None:
    """Raise NotGrantedError unless everything that is used is granted.

    Args:
        used: each grant with what uses it.
        granted: see `grants_of`.
    """
    for grant, user in used.items():
        if grant not in granted:
            raise NotGrantedError(
                f"{user} uses {grant} ({MEANINGS[grant]}), which is not granted; grants usual {grant} grants it"
            )
