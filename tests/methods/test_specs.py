"""A method is two files: its formulas, and what suites know of it."""

import ast
import importlib.util
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from fewstep import methods
from fewstep.methods import registry, specs
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.options import Options
from fewstep.methods.specs.base import KINDS, MethodSpec
from fewstep.methods.specs.progressive import ProgressiveOptions
from fewstep.methods.specs.teachers.base import TeacherSpec
from fewstep.methods.specs.teachers.pretrain import PretrainOptions

ROOT = Path(methods.__file__).parent
SHARED = {"base", "solver", "pairs", "score_matching"}
FORMULAS = sorted(
    path for room in ("solvers", "learned_solvers", "distillation") for path in (ROOT / room).glob("*.py")
)


def models(annotation):
    """The models inside an annotation, with those inside their own fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for argument in get_args(annotation):
        yield from models(argument)


@pytest.mark.parametrize("spec", [*registry.METHODS.values(), *registry.TEACHERS.values()], ids=lambda spec: spec.name)
def test_every_option_says_what_it_means(spec):
    for model in models(spec.options):
        for name, field in model.model_fields.items():
            words = (field.description or "").split()
            assert len(words) >= 3, f"{model.__name__}.{name}"
            assert field.description.endswith("."), f"{model.__name__}.{name}"


def test_methods_are_listed_by_kind_and_file():
    kinds = [spec.kind for spec in registry.METHODS.values()]
    assert kinds == sorted(kinds, key=KINDS.index)
    for kind in KINDS:
        files = [spec.module.rpartition(".")[2] for spec in registry.of_kind(kind).values()]
        assert files == sorted(files)
    assert set(registry.of_kind("learned solver")) == {"bespoke", "d-ode", "iia"}
    untrained = {"solver", "made elsewhere"}
    assert all(spec.trains != (spec.kind in untrained) for spec in registry.METHODS.values())


def test_a_spec_stands_in_the_file_of_its_formulas_name():
    for info in iter_modules(specs.__path__):
        module = import_module(f"{specs.__name__}.{info.name}")
        found = [*getattr(module, "SPECS", ()), *([module.SPEC] if hasattr(module, "SPEC") else [])]
        assert {spec.module.rpartition(".")[2] for spec in found} <= {info.name}
        for spec in found:
            assert callable(spec.load())


def test_every_method_has_a_name_for_tables_and_the_keys_of_its_papers():
    shown = [spec.display for spec in registry.METHODS.values()]
    assert len(set(shown)) == len(shown)
    for spec in registry.METHODS.values():
        assert spec.papers or spec.name == "images"
        assert all(re.fullmatch(r"[a-z]+\d{4}[a-z]+", key) for key in spec.papers), spec.papers


def test_display_is_the_name_where_none_is_given():
    assert MethodSpec(name="x", target="m:C", options=Options).display == "x"


def test_specs_do_not_load_torch():
    code = (
        "import sys; from fewstep.methods import registry\n"
        "assert len(registry.METHODS) > 40 and len(registry.TEACHERS) >= 4\n"
        "assert not {'torch', 'pandas', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def imports(path):
    """(module as written, names) of every relative import."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.module or "", [alias.name for alias in node.names]


@pytest.mark.parametrize("path", FORMULAS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_formulas_know_no_other_methods_options(path):
    """So that a change of one method's options outdates the results of that method alone."""
    modules = {module for module, _ in imports(path)}
    assert "registry" not in modules or (path.parent.name, path.stem) == ("solvers", "__init__")
    used = {module.rpartition(".")[2] for module in modules if not module.startswith("specs")}
    for module in modules:
        if module.startswith("specs."):
            name = module.removeprefix("specs.")
            assert name in SHARED | used or path.stem.startswith(name), f"{path}: {module}"


def test_without_steps_the_options_decide():
    class Twice(Options):
        most: int = 4

        def steps_for(self, nfe):
            if nfe > self.most:
                raise UnreachableNFE(f"at most {self.most}")
            return (nfe,)

    spec = MethodSpec(name="twice", target="m:C", options=Twice)
    assert spec.refusal(4) is None
    assert spec.refusal(5) == "at most 4"
    assert spec.refusal(5, Twice(most=5)) is None


def test_one_evaluation_a_step_is_the_default():
    assert MethodSpec(name="x", target="m:C", options=Options).steps_for(3) == (1, 1, 1)


def test_a_plan_spends_what_was_asked_for():
    for spec in registry.METHODS.values():
        for nfe in range(1, 20):
            if spec.refusal(nfe) is None:
                assert sum(spec.steps_for(nfe)) == nfe, spec.name


def test_the_chosen_options_are_asked_not_the_defaults():
    spec = registry.method("progressive")
    assert spec.refusal(3, ProgressiveOptions(start_steps=12, last_steps=3)) is None
    assert "students of 8, 4, 2, 1" in spec.refusal(3)


@pytest.mark.parametrize("spec", registry.TEACHERS.values(), ids=lambda spec: spec.name)
def test_a_teachers_name_is_that_of_its_options(spec):
    assert spec.options.model_fields["name"].default == spec.name
    assert spec.load()


def test_a_teacher_whose_options_have_another_name_is_refused():
    with pytest.raises(ValueError, match=r'PretrainOptions must have `name: Literal\["mine"\] = "mine"`'):
        TeacherSpec(name="mine", target="mine:mine", options=PretrainOptions)


def test_a_label_is_what_tables_call_a_teacher():
    assert PretrainOptions().shown() == "pretrain-unet-128k"
    assert PretrainOptions(label="our U-Net").shown() == "our U-Net"


@pytest.mark.parametrize("label", ["", "x" * 61, "two\nlines", "\x1b[31mred"])
def test_a_label_is_short_and_printable(label):
    with pytest.raises(ValidationError):
        PretrainOptions(label=label)


def test_methods_that_need_no_images_do_not_read_them():
    """Of a batch they take the step, and at most the device and the dtype of its images."""
    for name, spec in registry.METHODS.items():
        if spec.trains and spec.target.startswith("fewstep."):
            source = Path(importlib.util.find_spec(spec.module).origin).read_text()
            reads = re.search(r'batch\["x0"\](?!\.device|\)|, non_blocking)', source) is not None
            assert registry.data_free(spec) is not reads, name


def test_whether_a_method_of_another_package_needs_images_is_unknown_unless_it_says_so():
    spec = registry.MethodSpec("theirs", "theirs.module:Class", registry.METHODS["sim"].options, trains=True)
    assert registry.data_free(spec) is None
    object.__setattr__(spec, "data_free", False)
    assert registry.data_free(spec) is False
