"""What a user installs, cites and is asked: the wheel, the extras, CITATION.cff and the files of .github."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from itertools import chain
from pathlib import Path

import pytest
import yaml

import fewstep

ROOT = Path(fewstep.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
NOT_INSTALLED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "runs", "tests")


def parse(path: Path):
    """YAML whose scalars stay text: the key `on` of a workflow is no boolean."""
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)


def included(extra: str) -> set[str]:
    """The extras that `extra` names as fewstep[...], and those that they name."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        if reference := re.fullmatch(r"fewstep\[([\w,]+)\]", requirement):
            for name in reference[1].split(","):
                found |= {name} | included(name)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the checkout and nothing old gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "fewstep", ignore=NOT_INSTALLED)
    build = ["pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, "./fewstep"]
    done = subprocess.run([sys.executable, "-m", *build], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


@pytest.fixture
def metadata(wheel) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_every_file_of_the_package_and_its_type_marker(wheel):
    folders = [ROOT / name for name in ("bench", "datasets", "methods", "reports")]
    files = [path.relative_to(ROOT) for folder in folders for path in folder.rglob("[!.]*.*") if path.is_file()]
    expected = {f"fewstep/{path.as_posix()}" for path in files if "__pycache__" not in path.parts}
    assert "fewstep/py.typed" in wheel.namelist()
    assert {"fewstep/bench/suite/shipped/quickstart.yaml", "fewstep/reports/templates/report.html"} < expected
    assert expected | {"fewstep/leaderboards/published.csv"} <= set(wheel.namelist())


def test_the_wheel_installs_the_package_alone(wheel):
    assert {name.partition("/")[0] for name in wheel.namelist()} == {
        "fewstep",
        f"fewstep-{fewstep.__version__}.dist-info",
    }


def test_the_wheel_carries_the_licence_and_the_notice(wheel, metadata):
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert not [line for line in metadata.get_all("Classifier") if line.startswith("License")]
    for name in ("LICENSE", "NOTICE"):
        (packed,) = [entry for entry in wheel.namelist() if entry.endswith(f"/{name}")]
        assert "Copyright 2026 the fewstep authors" in wheel.read(packed).decode()


def test_the_metadata_name_every_extra_and_no_python_that_was_not_tested(metadata):
    assert set(metadata.get_all("Provides-Extra")) == set(EXTRAS)
    versions = {line for line in metadata.get_all("Classifier") if "Python ::" in line}
    assert versions == {"Programming Language :: Python :: 3.11"}
    assert metadata["Version"] == fewstep.__version__


def test_each_package_is_required_in_one_place():
    requirements = chain(PROJECT["dependencies"], *EXTRAS.values())
    packages = [re.match(r"[\w-]+", line)[0] for line in requirements if not line.startswith("fewstep[")]
    assert sorted(packages) == sorted(set(packages))


def test_the_extra_all_is_everything_but_the_developers_tools():
    assert included("all") == set(EXTRAS) - {"all", "oracle", "test", "dev"}
    assert included("dev") >= {"test"}


def test_each_extra_that_is_named_somewhere_exists():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / ".ci" / "run"]
    code = [
        file for name in ("bench", "datasets", "methods", "reports", "tests") for file in (ROOT / name).rglob("*.py")
    ]
    named = {}
    for file in [*pages, *code]:
        for found in re.finditer(r"(?:fewstep|['\"]\.)\[([a-z,-]+)\]|the extra `(\w+)`", file.read_text()):
            named |= dict.fromkeys((found[1] or found[2]).split(","), file)
    assert {"data", "metrics", "text", "test"} <= set(named)
    assert {name: file for name, file in named.items() if name not in EXTRAS} == {}


def test_the_citation_is_of_this_version():
    citation = parse(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == fewstep.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"] == [{"name": "the fewstep authors"}]
    assert {"message", "title", "abstract"} <= citation.keys()


def test_the_changelog_begins_with_what_is_unreleased():
    headings = re.findall(r"^##+ (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in ("Unreleased", "[Unreleased]")
    assert set(headings[1:]) >= {"Added", "Changed", "Fixed"}


def test_the_workflow_runs_what_everybody_runs():
    workflow = parse(ROOT / ".github" / "workflows" / "tests.yml")
    assert "pull_request" in workflow["on"]
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    (python,) = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python")]
    assert python["python-version"] == "3.11"
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_answerable_questions(form):
    content = parse(form)
    assert {"name", "description", "title", "body"} <= content.keys()
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in asked} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(part["attributes"]["label"] for part in asked)
    assert all(part["attributes"]["options"] for part in asked if part["type"] in ("dropdown", "checkboxes"))
    identities = [part["id"] for part in asked]
    assert len(identities) == len(set(identities))


def test_a_number_that_differs_comes_with_all_that_explains_it():
    (form,) = [form for form in FORMS if "number" in form.stem]
    body = parse(form)["body"]
    required = {part["id"] for part in body if part.get("validations", {}).get("required") == "true"}
    assert required >= {"measured", "protocol", "expected", "source", "suite", "run"}


def test_a_commit_is_formatted_checked_and_typed_without_a_download():
    (repository,) = parse(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-format", "ruff-check", "mypy"]
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    tools = {hook["entry"].partition(" ")[0] for hook in repository["hooks"]}
    assert tools <= {re.match(r"[\w-]+", line)[0] for line in EXTRAS["dev"]}
