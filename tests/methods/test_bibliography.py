"""Citations: every key is in papers.bib, and a method's docstring says where in its paper it is."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import fewstep
from fewstep.methods import bibliography, registry
from fewstep.methods.bibliography import cited, entries, parsed

ROOT = Path(fewstep.__file__).parent
PLACE = re.compile(r"\b(?:eq\. [0-9A-Z]|algorithms? \d|section \d|appendix [A-Z]|table \d|theorem \d)|\bunchecked\b")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
CITATION = re.compile(r"\(([a-z]+\d{4}[a-z]+),\s+arXiv:(\d{4}\.\d{5})")
TRAINED = registry.of_kind("learned solver", "student")
UNCITED = {
    "heusel2017gans",
    "binkowski2018demystifying",
    "kynkaanniemi2019improved",
    "naeem2020reliable",
    "stein2023exposing",
    "jayasumana2024rethinking",
    "salimans2016improved",
    "parmar2022aliased",
    "kornblith2019similarity",
    "nash2021generating",
    "hessel2021clipscore",
    "xu2023imagereward",
    "dahl2023benchmarking",
    "ho2022classifier",
}
"""Papers of metrics, guidance and benchmarks, which no docstring in methods/ cites by key."""


def docstrings():
    """(file, docstring) of every module, class and function in methods/, and of attributes."""
    for path in sorted((ROOT / "methods").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield path, node.value.value


def module_docstring(spec):
    return inspect.getdoc(import_module(spec.module)) or ""


def test_every_cited_key_is_in_the_bibliography():
    known = entries()
    for path, text in docstrings():
        for key in cited(text):
            assert key in known, f"{path}: {key}"


def test_every_arxiv_number_beside_a_key_is_that_papers():
    found = [(path, *pair) for path, text in docstrings() for pair in CITATION.findall(text)]
    assert len(found) > 20
    for path, key, number in found:
        assert entries()[key].arxiv == number, f"{path}: {key}"


def test_every_arxiv_number_is_in_the_bibliography():
    known = {paper.arxiv for paper in entries().values()}
    for path, text in docstrings():
        for number in ARXIV.findall(text):
            assert number in known, f"{path}: {number}"


def test_every_paper_is_cited_or_listed_as_waiting():
    used = {key for _, text in docstrings() for key in cited(text)}
    assert entries().keys() - used == UNCITED


@pytest.mark.parametrize("spec", TRAINED.values(), ids=TRAINED)
def test_a_trained_method_says_where_in_its_paper_it_is(spec):
    text = module_docstring(spec)
    assert CITATION.search(text), f"{spec.module} has no (key, arXiv:number)"
    assert PLACE.search(text), f"{spec.module} names no equation, algorithm or section, and does not say 'unchecked'"


@pytest.mark.parametrize("module", sorted({spec.module for spec in registry.of_kind("solver").values()}))
def test_a_solver_names_its_paper(module):
    text = inspect.getdoc(import_module(module)) or ""
    assert cited(text), module


def test_a_file_of_formulas_cites_what_the_methods_file_cites():
    """IIA's and D-ODE's formulas are in files of their own."""
    for formulas, method in (("iia_updates", "iia"), ("d_ode_targets", "d_ode")):
        texts = [import_module(f"fewstep.methods.learned_solvers.{name}").__doc__ for name in (formulas, method)]
        assert set(cited(texts[1])) & set(cited(texts[0]))


def test_an_entry_is_read_as_it_is_written():
    paper = entries()["song2023consistency"]
    assert (paper.title, paper.year, paper.arxiv) == ("Consistency Models", 2023, "2303.01469")
    assert paper.authors[0] == "Song, Yang"
    assert paper.raw.startswith("@inproceedings{song2023consistency,\n")
    assert paper.raw.endswith("\n}")
    assert entries()["dormand1980family"].arxiv is None
    assert all(paper.authors and paper.title and "{" not in paper.title for paper in entries().values())


def test_a_key_that_appears_twice_is_refused():
    entry = entries()["gu2023boot"].raw
    with pytest.raises(ValueError, match="gu2023boot appears twice"):
        parsed(f"{entry}\n\n{entry}\n")


def test_an_entry_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="1 entries begin, 0 could be read"):
        parsed("@article{someone2020thing, title = {On one line}}\n")
    with pytest.raises(ValueError, match="someone2020thing has no author, year"):
        parsed("@article{someone2020thing,\n  title = {Thing},\n}\n")


def test_the_bibliography_is_shipped_and_read_without_torch():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert bibliography.FILE in data["fewstep.methods"]
    code = "import sys; from fewstep.methods.bibliography import entries; entries(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("spec", registry.METHODS.values(), ids=registry.METHODS)
def test_every_method_names_papers_that_are_in_the_bibliography(spec):
    assert spec.papers or spec.name == "images"
    assert set(spec.papers) <= set(entries())
