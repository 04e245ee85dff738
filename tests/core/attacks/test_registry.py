"""Attacks by name: what is there, the published numbers, and attacks of one's own."""

import importlib
import math
import pickle
import pkgutil
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from raypol import prove
from raypol.core import attacks
from raypol.core.attacks import PRESETS, find_attack, import_path_of, method_of
from raypol.core.attacks.i import AttackI
from raypol.core.attacks.ii import AttackII
from raypol.core.attacks.iii import AttackIII
from raypol.core.errors import InputError
from raypol.core.spoofing.method import AttackMethod
from tests.scenes import INVERT, SHORT, Forged, Invert, forge, small_recipe, tiny

OWN = "tests.scenes:INVERT"


@dataclass(frozen=True, kw_only=True, slots=True)
class Needy:
    """A configuration without defaults."""

    strength: float


NEEDY: AttackMethod[Any] = AttackMethod(config=Needy, craft=INVERT.craft)
IMPOSTOR: AttackMethod[Any] = AttackMethod(config=AttackII, craft=INVERT.craft)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """A configuration that two methods claim."""


ONE: AttackMethod[Any] = AttackMethod(config=Claimed, craft=INVERT.craft)
OTHER: AttackMethod[Any] = AttackMethod(config=Claimed, craft=INVERT.craft, forges_state=True)


def test_every_preset_can_be_run() -> None:
    for name, config in PRESETS.items():
        assert method_of(find_attack(name)).config is type(config)
        assert import_path_of(config) == ""


def test_each_name_belongs_to_one_attack() -> None:
    found = [one for one in pkgutil.walk_packages(attacks.__path__, "raypol.core.attacks.") if not one.ispkg]
    modules = [importlib.import_module(one.name) for one in found]
    assert sorted(name for module in modules for name in module.PRESETS) == sorted(PRESETS)
    files = [module.__name__.rpartition(".")[2] for module in modules]  # what rows call them
    assert len(set(files)) == len(files)


# Published settings: docs/protocol.md, "Attacks".
PUBLISHED: list[tuple[str, dict[str, Any]]] = [
    ("zhang2022_i", {"crafting": "lbfgs", "iterations": 100, "alpha": 1.0}),
    (
        "zhang2022_ii",
        {
            "objective": "gradient",
            "crafting": "lbfgs",
            "iterations": 10,
            "alpha": 1.0,
            "max_grad_norm2": 30.0,
            "max_perturbation_norm2": 30.0,
            "retries": 10,
        },
    ),
    (
        "zhang2022_iii",
        {
            "objective": "gradient",
            "crafting": "lbfgs",
            "iterations": 10,
            "tolerance_grad": 0.1,
            "alpha": 0.1,
            "max_grad_norm2": 15.0,
            "max_perturbation_norm2": 20.0,
            "retries": 30,
        },
    ),
    ("zhang2022_iii_imagenet", {"alpha": 0.4, "max_grad_norm2": 2.0, "max_perturbation_norm2": 5.0, "retries": 30}),
]


@pytest.mark.parametrize(("name", "numbers"), PUBLISHED)
def test_published_presets_have_the_published_numbers(name: str, numbers: dict[str, Any]) -> None:
    config = find_attack(name)
    assert {field: getattr(config, field) for field in numbers} == numbers
    assert config.linf_limit is None
    assert config.line_search == "none"


def test_the_invisible_preset_is_invisible() -> None:
    config = find_attack("iii_invisible")
    assert config.crafting == "signed"
    assert config.objective == "loss"
    assert config.linf_limit == 8 / 255
    assert config.max_perturbation_norm2 == math.inf


def test_attack_one_has_no_published_limits() -> None:
    assert AttackI().max_grad_norm2 == math.inf
    assert AttackI().max_perturbation_norm2 == math.inf


def test_fields_are_replaced_and_the_preset_is_not() -> None:
    before = find_attack("iii")
    assert find_attack("iii", alpha=0.7, iterations=3) == AttackIII(alpha=0.7, iterations=3)
    assert find_attack("iii") == before


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("iv", {}, ["'iv'", "forged_momentum", "selected", "zhang2022_ii", "my_pkg.attacks:METHOD"]),
        ("", {}, ["selected"]),
        ("II", {}, ["ii"]),
        ("iii", {"beta": 1.0}, ["beta", "alpha", "linf_limit", "batches_per_graph"]),
        ("null", {"alpha": 1.0}, ["alpha", "it has no fields"]),
        ("infinitesimal", {"momentum": 0.9}, ["momentum", "possible: lr"]),
        ("iii", {"objective": "margin"}, ["'margin'", "gradient, loss"]),
        ("ii", {"objective": "margin"}, ["'margin'", "gradient, loss"]),
        ("iii", {"batches_per_graph": -1}, ["batches_per_graph >= 0", "got -1"]),
        ("infinitesimal", {"lr": 0.0}, ["lr > 0", "got 0.0"]),
        ("infinitesimal", {"lr": math.nan}, ["lr > 0"]),
        ("forged_momentum", {"lr": -1.0}, ["lr > 0"]),
        ("forged_momentum", {"momentum": 1.0}, ["momentum in (0, 1)"]),
        ("forged_momentum", {"momentum": 0.0}, ["momentum in (0, 1)"]),
        ("no_such_package.attacks:METHOD", {}, ["no_such_package", "module:object"]),
        ("tests.scenes:NO_SUCH_ATTACK", {}, ["NO_SUCH_ATTACK"]),
        ("tests.scenes:tiny", {}, ["AttackMethod", "function"]),
        ("tests.scenes:", {}, ["tests.scenes:"]),
        (":INVERT", {}, [":INVERT"]),
        (OWN, {"often": 2}, ["often", "possible: every"]),
        ("tests.core.attacks.test_registry:NEEDY", {}, ["NEEDY", "defaults", "strength"]),
        ("tests.core.attacks.test_registry:IMPOSTOR", {}, ["IMPOSTOR", "AttackII", "another attack"]),
        ("tests.core.attacks.test_registry:ONE", {}, ["Claimed", "tests.core.attacks.test_registry", "ONE, OTHER"]),
    ],
)
def test_what_cannot_be_found_is_answered_with_what_can(
    name: str, overrides: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        find_attack(name, **overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in expected if part not in message] == []


def forged_by_name(name: str, **overrides: object) -> Forged:
    dataset = tiny()
    config = find_attack(name, **overrides)
    assert method_of(config).craft is INVERT.craft
    return forge(config, prove(small_recipe(dataset), dataset), dataset, SHORT)


def test_attacks_come_in_the_order_of_their_paths() -> None:
    paths = [type(config).__module__ for config in PRESETS.values()]
    assert list(dict.fromkeys(paths)) == sorted(set(paths))


def test_an_own_attack_by_import_path_works_end_to_end() -> None:
    made = forged_by_name(OWN, every=4)
    assert made.proof.num_points == len({i for r in made.proof.records for i in r.indices.tolist() if i >= 48})
    assert made.proof.num_points > 0
    assert "hashes" not in made.rejected_by("strict")
    assert find_attack(OWN) == Invert(every=1)


TWO_ATTACKS = """
from dataclasses import dataclass
from raypol.core.attacks.null import craft
from raypol.core.spoofing.method import AttackMethod

@dataclass(frozen=True)
class Plain:
    n: int = 1

@dataclass(frozen=True)
class Forging:
    n: int = 2

PLAIN = AttackMethod(config=Plain, craft=craft)
FORGING = AttackMethod(config=Forging, craft=craft, forges_state=True)
"""


def test_a_process_that_was_told_only_the_configuration_runs_an_attack_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two_attacks.py").write_text(TWO_ATTACKS)
    monkeypatch.syspath_prepend(tmp_path)
    plain, forging = (find_attack(f"two_attacks:{name}", n=7) for name in ("PLAIN", "FORGING"))
    assert import_path_of(forging) == "two_attacks:FORGING"
    assert [method_of(config).forges_state for config in (plain, forging)] == [False, True]
    code = (
        "import pickle, sys; from raypol.core.attacks import method_of\n"
        "config = pickle.load(sys.stdin.buffer); print(method_of(config).forges_state, config.n)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(forging),
        capture_output=True,
        cwd=tmp_path,
        check=False,
        timeout=100,
    )
    assert done.stdout.split() == [b"True", b"7"], done.stderr


def test_every_configuration_says_what_its_fields_mean() -> None:
    assert all(fields(config) is not None and type(config).__doc__ for config in PRESETS.values())


def test_a_configuration_of_a_module_that_is_gone_is_told() -> None:
    """As of a class that a sweep file itself defines: the file's module ends with its run."""
    gone = type("Gone", (), {"__module__": "<run_path>"})
    with pytest.raises(InputError, match="in module <run_path>, which defines Gone; got none"):
        method_of(gone())
