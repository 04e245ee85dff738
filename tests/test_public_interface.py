"""What `raypol` exports: its names, that each is documented and typed, and what importing and using them loads."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Final

import pytest

import raypol
from raypol.core.errors import InputError

ROOT: Final = Path(__file__).parents[1]
NAMES: Final = {
    "Conditions", "Dataset", "Design", "Recipe", "SpoofConfig", "Sweep", "Thresholds", "TrainConfig", "TrajectoryConfig",
    "examine", "find_attack", "load_dataset", "prove", "published", "read_results", "run_sweep", "spoof", "strict", "verify",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh Python holds after running the code."""
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_the_names_are_these() -> None:
    assert set(raypol.__all__) == NAMES == NAMES & set(dir(raypol))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_documented_and_typed(name: str) -> None:
    found = getattr(raypol, name)
    assert found is getattr(sys.modules[f"raypol.{raypol._MODULES[name]}"], name)
    assert inspect.getdoc(found)
    call = (
        found if inspect.isfunction(found) else type(found).__call__ if not inspect.isclass(found) else found.__init__
    )
    asked = [parameter for parameter in inspect.signature(call).parameters if parameter != "self"]
    hints = typing.get_type_hints(call)
    assert [parameter for parameter in asked if parameter not in hints] == []
    assert "return" in hints


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'raypol' has no attribute 'proof'"):
        raypol.proof  # noqa: B018


def test_importing_raypol_loads_neither_torch_nor_ray() -> None:
    loaded = loaded_by("import raypol")
    assert "raypol" in loaded
    assert not loaded & {"torch", "numpy", "ray", "mlflow", "pyarrow", "raypol.core"}


def test_a_proof_and_a_spoof_need_the_core_alone() -> None:
    loaded = loaded_by(
        "from raypol import SpoofConfig, TrainConfig, load_dataset, prove, spoof, verify\n"
        "data = load_dataset('tests.scenes:tiny')\n"  # scikit-learn, which has digits, loads pandas
        "proof = prove(TrainConfig(model='tests.scenes:smooth_net', steps=4, interval=2, batch_size=8), data)\n"
        "forged = spoof(proof, data, 'iii_invisible', SpoofConfig(steps=4, interval=2))\n"
        "assert verify(proof, data).is_valid and not verify(forged, data).is_valid\n"
        "assert proof.cost.gradient_evals == 4 and forged.cost.device_s > 0 and len(forged.stats) == 2"
    )
    assert "torch" in loaded
    assert not loaded & {"ray", "mlflow", "pyarrow", "duckdb", "pydantic", "matplotlib", "rich", "tyro"}
    assert not [name for name in loaded if name.startswith("raypol.") and not name.startswith("raypol.core")]


def test_a_proof_about_other_data_is_no_question_for_a_verdict() -> None:
    data = raypol.load_dataset("tests.scenes:tiny")
    training = raypol.TrainConfig(model="tests.scenes:smooth_net", steps=4, interval=2, batch_size=8)
    proof = raypol.prove(training, data)
    with pytest.raises(InputError, match=r"about other data than tests.scenes:tiny/D1"):
        raypol.verify(proof, raypol.load_dataset("tests.scenes:tiny/D1"))
