"""The text of an adversary's choices: trials are named by it, so what was once written stays as it was."""

from dataclasses import replace
from typing import Any

import pytest

from raypol.core.errors import InputError
from raypol.core.spoofing.spoof_config import SpoofConfig, check_together
from raypol.core.spoofing.trajectory import TrajectoryConfig

SHARE = "5a" * 16
BOUND = {"trajectory": TrajectoryConfig(start="bound"), "share": SHARE}


def test_defaults_read_as_before_their_later_fields() -> None:
    path = "TrajectoryConfig(path='linear', ease=2.0, noise=0.3, noise_decay=2.0, initial='strict')"
    assert repr(TrajectoryConfig()) == path
    assert repr(SpoofConfig()) == (
        f"SpoofConfig(steps=200, interval=10, dataset='', batch_size=0, trajectory={path}, "
        "hyperparameters='honest_schedule', carry='exact', seed=0)"
    )


def test_choices_of_an_older_version_read_as_they_did_then() -> None:
    path = TrajectoryConfig(path="noisy", noise=0.5, initial="published")
    choices = SpoofConfig(
        steps=50,
        interval=5,
        dataset="digits/D2",
        batch_size=8,
        trajectory=path,
        declares="published",
        carry="restart",
        seed=3,
    )
    assert repr(choices) == (
        "SpoofConfig(steps=50, interval=5, dataset='digits/D2', batch_size=8, trajectory=TrajectoryConfig(path='noisy', "
        "ease=2.0, noise=0.5, noise_decay=2.0, initial='published'), hyperparameters='published', carry='restart', seed=3)"
    )


CHANGES: list[dict[str, Any]] = [
    {},
    {"declares": "no_momentum"},
    {"augmentation": "honest"},
    {"buffers": "exact"},
    {"data_order": "declared"},
    BOUND,
    BOUND | {"share": "5b" * 16},
    {"trajectory": TrajectoryConfig(start="ks_ball")},
    {"trajectory": TrajectoryConfig(start="honest")},
    {"trajectory": TrajectoryConfig(start="mixed")},
    {"trajectory": TrajectoryConfig(start="mixed", cosine=0.5)},
    {"grants": ("usual", "interval")},
    {"grants": ("usual", "no_order")},
]


def test_every_other_choice_has_a_text_of_its_own() -> None:
    texts = [repr(SpoofConfig(**changes)) for changes in CHANGES]
    assert len(set(texts)) == len(texts)


def test_what_says_nothing_changes_no_name() -> None:
    assert repr(TrajectoryConfig(cosine=0.5)) == repr(TrajectoryConfig())
    assert repr(SpoofConfig(grants=("weights", "usual"))) == repr(SpoofConfig())
    assert replace(SpoofConfig(), steps=3).grants == SpoofConfig().grants


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"trajectory": TrajectoryConfig(start="bound")}, ("start bound", "share")),
        ({"share": SHARE}, ("share", "start rank_matched")),
        ({"share": SHARE, "trajectory": TrajectoryConfig(start="honest")}, ("share", "start honest")),
        (BOUND | {"share": "5A" * 16}, ("share", "lower-case hex")),
    ],
)
def test_a_share_and_a_bound_w0_need_each_other(fields: dict[str, Any], words: tuple[str, str]) -> None:
    with pytest.raises(InputError) as said:
        check_together(SpoofConfig(**fields))
    assert all(word in str(said.value) for word in words)


@pytest.mark.parametrize("start", ["honest", "bound"])
def test_an_honest_w0_with_constants_of_wt_names_both(start: Any) -> None:  # noqa: ANN401 - one of Start
    path = TrajectoryConfig(start=start, initial="published")
    choices = SpoofConfig(trajectory=path, share=SHARE if start == "bound" else "")
    with pytest.raises(InputError, match=f"start {start} contradicts initial published"):
        check_together(choices)


@pytest.mark.parametrize("cosine", [-0.1, 1.1, float("nan")])
def test_a_cosine_beyond_what_a_start_in_the_order_of_wt_has_is_refused(cosine: float) -> None:
    with pytest.raises(InputError, match=r"cosine in 0\.\.1"):
        TrajectoryConfig(start="mixed", cosine=cosine)
