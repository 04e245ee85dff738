"""What an adversary was granted: words for it, what uses it, and that nothing is had without."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol import prove, spoof
from raypol.core.attacks import find_attack, method_of
from raypol.core.attacks.ii import AttackII
from raypol.core.augment import Transform
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof, Recipe
from raypol.core.spoofing.grants import GRANTS, MEANINGS, USUAL, NotGrantedError, check_granted, grants_of
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.spoof_config import SpoofConfig, used_by_choices
from raypol.core.spoofing.trajectory import TrajectoryConfig
from tests.scenes import Invert, forge, sgd, small_recipe, tiny

DATA = tiny()
OTHER = replace(DATA, name="other", labels=2 - DATA.labels)
HONEST = small_recipe(DATA, optimizer=sgd(momentum=0.9), transform=Transform(crop_padding=1))
SAME_K = SpoofConfig(steps=8, interval=HONEST.interval)
QUICK = AttackII(iterations=1, retries=0)
SHARE = "5a" * 16
used = partial(used_by_choices, interval=HONEST.interval, batch_size=HONEST.batch_size, is_augmented=True)


def stolen() -> MemoryProof:
    return prove(HONEST, DATA)


def without(grant: str) -> SpoofConfig:
    return replace(SAME_K, grants=("usual", f"no_{grant}"))


# --- words -----------------------------------------------------------------------------------------------------------


def test_every_grant_has_a_meaning_and_the_usual_ones_leave_k_and_all_secrets_out() -> None:
    assert set(MEANINGS) == set(GRANTS)
    assert set(GRANTS) - set(USUAL) == {"interval", "selection", "nonce", "trace", "seed"}
    assert SpoofConfig().grants == USUAL


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ()),
        (("usual",), USUAL),
        (("usual", "usual"), USUAL),
        (("trace", "weights", "trace"), ("weights", "trace")),
        (("usual", "interval"), tuple(grant for grant in GRANTS if grant in USUAL or grant == "interval")),
        (("usual", "no_order"), tuple(grant for grant in USUAL if grant != "order")),
        (("no_order", "usual"), tuple(grant for grant in USUAL if grant != "order")),
        (("no_trace",), ()),
        (GRANTS[::-1], GRANTS),
    ],
)
def test_words_name_each_grant_once_in_their_usual_order(words: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert grants_of(words) == expected


@given(st.lists(st.sampled_from(GRANTS)), st.booleans())
def test_what_was_read_is_read_the_same_again(words: list[str], usual: bool) -> None:
    once = grants_of([*words, *(["usual"] if usual else [])])
    assert grants_of(once) == once
    assert SpoofConfig(grants=tuple(words)).grants == grants_of(words)


@pytest.mark.parametrize("word", ["all", "no_usual", "no_", "", "no_no_data", "Weights", "u"])
def test_other_words_are_refused_with_the_possible_ones(word: str) -> None:
    with pytest.raises(InputError, match=r"grant.*own_points"):
        SpoofConfig(grants=("usual", word))


@pytest.mark.parametrize("words", [("data", "no_data"), ("no_data", "data"), ("usual", "no_data", "data")])
def test_a_grant_both_given_and_taken_away_names_both_words(words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"(?=.*\bdata\b)(?=.*\bno_data\b).*contradict"):
        grants_of(words)


# --- what uses them --------------------------------------------------------------------------------------------------

USED: list[tuple[str, dict[str, Any], str]] = [
    ("data", {}, "the honest proof's dataset"),
    ("other_data", {"dataset": "other"}, "dataset other"),
    ("interval", {"interval": 2}, "k = 2 where the verifier's is 4"),
    ("batch_size", {"batch_size": 5}, "batch size 5 where the honest proof's is 16"),
    ("optimizer", {"declares": "published"}, "declares published"),
    ("optimizer", {"declares": "vanishing"}, "declares vanishing"),
    ("augmentation", {}, "declaring no augmentation"),
    ("initial", {}, "start rank_matched"),
    ("initial", {"trajectory": TrajectoryConfig(start="ks_ball")}, "start ks_ball"),
    ("initial", {"trajectory": TrajectoryConfig(start="mixed")}, "start mixed"),
    ("order", {}, "an own order of the data"),
]


@pytest.mark.parametrize(("grant", "choices", "user"), USED)
def test_a_choice_is_refused_by_the_name_of_the_grant_that_it_lacks(
    grant: str, choices: dict[str, Any], user: str
) -> None:
    null = find_attack("null")

    def declared(*words: str) -> Recipe:
        asked = replace(SAME_K, grants=words, **choices)
        return spoof_recipe(method_of(null), null, asked, HONEST, OTHER)

    everything = [one for one in GRANTS if one != grant]
    assert declared(*GRANTS).steps == 8
    with pytest.raises(NotGrantedError, match=rf"{user}.* uses {grant} \("):
        declared(*everything)


def test_who_chooses_nothing_uses_nothing() -> None:
    asked = replace(
        SAME_K,
        batch_size=HONEST.batch_size,
        augmentation="honest",
        data_order="declared",
        trajectory=TrajectoryConfig(start="honest"),
    )
    assert dict(used(asked)).keys() == {"data"}
    bound = replace(asked, trajectory=TrajectoryConfig(start="bound"), share=SHARE)
    assert dict(used(bound)).keys() == {"data"}
    null = find_attack("null")
    recipe = spoof_recipe(method_of(null), null, replace(asked, grants=("weights", "data")), HONEST)
    assert (recipe.interval, recipe.batch_size, recipe.transform) == (4, 16, HONEST.transform)
    assert recipe.optimizer == HONEST.optimizer


@pytest.mark.parametrize(
    ("attack", "grant"),
    [("null", "weights"), ("ii", "own_points"), ("infinitesimal", "optimizer"), ("forged_momentum", "optimizer")],
)
def test_an_attack_is_refused_by_the_name_of_the_grant_that_it_lacks(attack: str, grant: str) -> None:
    with pytest.raises(NotGrantedError, match=rf"attack \w+ uses {grant} \("):
        spoof(stolen(), DATA, attack, without(grant))


def test_nothing_is_granted_that_is_not_named() -> None:
    check_granted({}, ())
    check_granted({"order": "an own order"}, ("order",))
    with pytest.raises(NotGrantedError, match="an own order uses order"):
        check_granted({"order": "an own order"}, ("data", "orders"))


def test_crafted_points_and_a_replay_that_crops_them_anew_contradict_each_other() -> None:
    with pytest.raises(InputError, match=r"AttackII contradicts augmentation honest"):
        spoof(stolen(), DATA, QUICK, replace(SAME_K, augmentation="honest"))
    spoof(stolen(), DATA, "null", replace(SAME_K, augmentation="honest"))


# --- what is kept back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, [1, 0]])
def test_own_points_are_refused_at_sealing_even_if_the_attack_does_not_say_that_it_makes_any(
    monkeypatch: pytest.MonkeyPatch, order: list[int] | None
) -> None:
    secretive = replace(method_of(Invert()), uses=("weights",))
    monkeypatch.setattr("raypol.core.protocol.method_of", lambda _: secretive)
    monkeypatch.setattr("tests.scenes.method_of", lambda _: secretive)
    forge(Invert(), stolen(), DATA, SAME_K, order=order)
    with pytest.raises(NotGrantedError, match="points of its own uses own_points"):
        forge(Invert(), stolen(), DATA, without("own_points"), order=order)


def test_points_that_are_stored_as_they_were_are_nobodys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing survives rounding, nothing was used."""
    config = AttackII(crafting="adam", iterations=1, step_size=1e-4, retries=0)
    secretive = replace(method_of(config), uses=("weights",))
    monkeypatch.setattr("raypol.core.protocol.method_of", lambda _: secretive)
    assert spoof(stolen(), DATA, config, without("own_points")).num_points == 0


@pytest.mark.parametrize("granted", [True, False])
def test_the_honest_proof_is_handed_on_only_if_it_is_granted(granted: bool) -> None:
    proof, null = stolen(), find_attack("null")
    asked = replace(SAME_K, grants=("usual", *(["trace"] if granted else [])))
    recipe = spoof_recipe(method_of(null), null, asked, HONEST)
    scene = make_scene(method_of(null), null, asked, recipe, DATA, proof.checkpoints[-1], trace=proof)
    if granted:
        assert scene.needed_trace() is proof
        return
    assert scene.trace is None
    with pytest.raises(InputError, match=r"grant it \(trace\)"):
        scene.needed_trace()
