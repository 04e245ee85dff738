"""Optuna's proposals: none twice, an end when nothing new comes, and no repetition after a restart."""

from typing import Any

from ray import tune

from raypol.runs.designs.design import Design
from raypol.runs.designs.points import searchable
from raypol.runs.sweeps.searchers import optuna_search
from tests.studies import TRAIN

DESIGN = Design(train=TRAIN, arms={"III": "iii", "II": "ii"}, space={"steps": tune.choice([20, 50])})


def searcher(known: list[dict[str, Any]], seed: int = 0) -> Any:  # noqa: ANN401 - Ray is untyped
    made = optuna_search(DESIGN, known, seed=seed)
    made.set_search_properties(None, None, {"point": searchable(DESIGN)})
    return made


def points(search: Any, most: int) -> list[tuple[str, int]]:  # noqa: ANN401 - Ray is untyped
    found = []
    for number in range(most):
        proposed = search.suggest(f"trial-{number}")
        if proposed == search.FINISHED:
            break
        found.append((proposed["point"]["arm"], proposed["point"]["steps"]))
        assert (proposed["trial"].arm, proposed["trial"].spoof.steps) == found[-1]
        search.on_trial_complete(f"trial-{number}", {"error": 1.0, "cost": float(number)})
    return found


def test_no_point_is_proposed_twice_and_the_search_ends_when_nothing_new_comes() -> None:
    found = points(searcher([]), 10)
    assert len(found) == len(set(found))
    assert 2 <= len(found) <= 4, "ended, though ten were asked for"


def test_a_resumed_search_proposes_what_it_knew_first_and_then_others() -> None:
    first = points(searcher([]), 2)
    resumed = points(searcher([{"arm": arm, "steps": steps} for arm, steps in first]), 4)
    assert resumed[:2] == first
    assert len(set(resumed)) == 4
