"""Importing the package, or asking the command line for help, stays light."""

import subprocess
import sys

import animeshooter_hf

HEAVY = ("torch", "transformers", "diffusers", "evaluate", "datasets", "av", "cv2", "pyarrow", "numpy")


def run(code: str) -> str:
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return made.stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run(f"import animeshooter_hf, sys; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


def test_every_public_name_is_found_where_it_is_said_to_be() -> None:
    assert all(getattr(animeshooter_hf, name) is not None for name in animeshooter_hf.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    code = (
        "import animeshooter_hf as ash\n"
        "try: ash.Storey\nexcept AttributeError as error: print(error)"
    )  # fmt: skip
    assert "no attribute 'Storey'" in run(code)


def test_ingesting_building_and_classical_scoring_need_no_torch() -> None:
    modules = ["dataset_builder.ingest_command", "dataset_builder.build_command", "eval.evaluate_command"]
    code = f"import importlib, sys; [importlib.import_module('animeshooter_hf.' + name) for name in {modules}]"
    assert run(code + "; print('torch' in sys.modules)") == "False"
