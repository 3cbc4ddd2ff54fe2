"""The documents against the code: what they name must exist, what they show must run."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from typer.main import get_command

import embedlib
from embedlib.audio.synth import synthesise_catalogue
from embedlib.catalog.formats import BYTES_PER_S
from embedlib.catalog.manifest_rows import is_manifest
from embedlib.cli.app import app, spread
from embedlib.cli.extract import NEW_FAILURES
from embedlib.cli.logs import LEVEL_VARIABLE
from embedlib.config import ExtractConfig, extract_config, preset_names
from embedlib.errors import ConfigError, EmbedlibError
from embedlib.features.front_end import front_end
from embedlib.models.cache import add
from embedlib.models.folders import CACHE_VARIABLE
from embedlib.models.graph_writer import GraphWriter
from embedlib.models.heads import head_url
from embedlib.models.model_files import FILES_VARIABLE
from embedlib.models.registry import model_specs
from embedlib.models.store import FOLDERS_VARIABLE
from embedlib.probes.fit_rows import FIT_SCHEMA
from embedlib.records import KEPT, Status
from embedlib.run.events import Action, Event
from embedlib.run.instances import instances
from embedlib.tables.schema import BAND, MODEL_SCHEMA, PATCH_SCHEMA

ROOT = Path(__file__).parents[2]
README, ARCHITECTURE, CONTRIBUTING, CHANGELOG = DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
)
PAGES = tuple(sorted((ROOT / "docs").rglob("*.md")))
VARIABLES = {
    FOLDERS_VARIABLE,
    CACHE_VARIABLE,
    FILES_VARIABLE,
    LEVEL_VARIABLE,
    "EMBEDLIB_TEST_DATA",
}
DEVELOPERS_PATH = re.compile(r"(?<![\w.~])/(?:home|root|Users|work|tmp|mnt)/|\b[A-Z]:\\")

every_document = pytest.mark.parametrize(
    "document", [*DOCUMENTS, *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix()
)


def read(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def code_blocks(document: Path, language: str) -> list[tuple[int, str]]:
    """Number of lines before each block, and the block."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", read(document), re.MULTILINE | re.DOTALL)
    return [(read(document)[: block.start(1)].count("\n"), block[1]) for block in found]


def prose(document: Path) -> str:
    return re.sub(r"^```.*?^```$", "", read(document), flags=re.MULTILINE | re.DOTALL)


def section(document: Path, title: str) -> str:
    """Text under a heading, up to the next heading of any level."""
    _, _, rest = prose(document).partition(f"# {title}\n")
    assert rest, f"{document.name} has no heading {title!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(document: Path, title: str) -> list[list[str]]:
    """Cells of the rows of the table under a heading, without its header."""
    lines = [line for line in section(document, title).splitlines() if line.startswith("|")]
    return [[html.unescape(cell.strip()) for cell in line[1:-1].split("|")] for line in lines[2:]]


def in_code(text: str, pattern: str) -> set[str]:
    """Matches of a pattern inside single backticks."""
    spans = re.findall(r"`([^`\n]+)`", text)
    return {match for span in spans for match in re.findall(pattern, span)}


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# The command line


def leaf_commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from leaf_commands(child, (*path, name))
    if not children:
        yield path, command


COMMANDS = dict(leaf_commands(get_command(app), ("embedlib",)))


def shell_lines(document: Path) -> list[str]:
    """Lines of the blocks of shell, without what is done with their output."""
    lines = [
        line
        for _, block in code_blocks(document, "bash")
        for line in block.replace("\\\n", "").splitlines()
    ]
    return [re.sub(r" > [\w./-]+$", "", line) for line in lines]


SHELL_LINES = [line for document in (*DOCUMENTS, *PAGES) for line in shell_lines(document)]
EMBEDLIB_LINES = [line for line in SHELL_LINES if line.startswith("embedlib ")]
EXTRACT_LINES = [line for line in EMBEDLIB_LINES if line.startswith("embedlib extract ")]


def split_command(line: str) -> tuple[tuple[str, ...], list[str]]:
    tokens = spread(shlex.split(line, comments=True))
    (path,) = [path for path in COMMANDS if path == tuple(tokens[: len(path)])]
    return path, tokens[len(path) :]


@pytest.mark.parametrize("line", EMBEDLIB_LINES)
def test_a_line_of_shell_is_one_that_embedlib_understands(line: str) -> None:
    path, arguments = split_command(line)
    context = COMMANDS[path].make_context(" ".join(path), arguments)
    assert not context.args


@pytest.fixture
def _models_of_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of models that pages show, named as the pages say."""
    shown = [block for page in PAGES for _, block in code_blocks(page, "python")]
    named = {found[1]: block for block in shown if (found := re.match(r"# (\w+\.py)\n", block))}
    for name, block in named.items():
        (tmp_path / name).write_text(block)
    monkeypatch.setenv(FILES_VARIABLE, os.pathsep.join(str(tmp_path / name) for name in named))


@pytest.mark.usefixtures("_models_of_pages")
@pytest.mark.parametrize("line", EXTRACT_LINES)
def test_the_models_heads_and_presets_of_a_line_of_shell_exist(line: str) -> None:
    path, arguments = split_command(line)
    shown = COMMANDS[path].make_context(" ".join(path), arguments).params
    assert instances(shown["models"] or ["all"])
    assert all(map(head_url, shown["heads"] or ()))
    assert shown["preset"] in (None, *preset_names())


def test_the_readme_shows_every_command() -> None:
    lines = [line for line in shell_lines(README) if line.startswith("embedlib ")]
    shown = {split_command(line)[0] for line in lines}
    assert shown == set(COMMANDS)


@every_document
def test_every_option_that_is_named_exists(document: Path) -> None:
    parameters = [param for command in COMMANDS.values() for param in command.params]
    options = {name for param in parameters for name in (*param.opts, *param.secondary_opts)}
    named = {name for span in in_code(prose(document), r"^--.*$") for name in span.split()}
    assert {name for name in named if name.startswith("--")} <= options | {"--help"}


def test_every_make_target_that_is_named_exists() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {line.split()[1] for line in SHELL_LINES if line.startswith("make ")}
    for document in DOCUMENTS:
        named |= in_code(prose(document), r"^make ([\w-]+)$")
    assert phony
    assert named <= set(phony[1].split())


def test_the_readme_has_every_exit_code() -> None:
    signals = {128 + signal.SIGINT, 128 + signal.SIGTERM}
    codes = {0, EmbedlibError.exit_code, ConfigError.exit_code, NEW_FAILURES, *signals}
    assert {int(row[0]) for row in table(README, "Exit codes")} == codes


def test_the_defaults_of_the_limits_are_those_of_the_configuration() -> None:
    for option, default, _ in table(README, "Memory and limits"):
        field = option.strip("`-").replace("-", "_")
        assert float(default) == ExtractConfig.model_fields[field].default


# Presets and run files


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_a_whole_configuration_but_for_sources_and_output(name: str) -> None:
    config = extract_config({"sources": ["music"], "out": "OUT", "preset": name})
    assert len(instances(config.models)) == 8


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_found_among_the_configurations_and_says_how_it_is_used(name: str) -> None:
    text = (ROOT / "configs" / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"embedlib extract ~/music --preset {name} --out OUT" in text.partition("models:")[0]


# Python


@pytest.fixture
def _after_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody has called `make demo`, with the head of the README but no other weights."""
    synthesise_catalogue(tmp_path / "demo" / "clips")
    write_head(tmp_path / "mood_happy-msd-musicnn-1.pb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    add(tmp_path / "mood_happy-msd-musicnn-1.pb", name="mood_happy-msd-musicnn-1")


def write_head(path: Path) -> None:
    """Write a head with the nodes and classes of the published one, and weights of zero."""
    writer = GraphWriter(scope="model")
    embeddings = writer.placeholder("Placeholder", shape=(-1, 200))
    kernel = writer.variable("dense/kernel", np.zeros((200, 2), np.float32))
    product = writer.op(
        "MatMul", "dense/MatMul", [embeddings, kernel], transpose_a=False, transpose_b=False
    )
    writer.op("Softmax", "Softmax", [product])
    path.write_bytes(writer.serialise())
    metadata = {
        "classes": ["happy", "non_happy"],
        "schema": {
            "inputs": [{"name": "model/Placeholder"}],
            "outputs": [{"name": "model/Softmax", "output_purpose": "predictions"}],
        },
        "inference": {"embedding_model": {"model_name": "msd-musicnn-1"}},
    }
    path.with_suffix(".json").write_text(json.dumps(metadata))


@pytest.mark.usefixtures("_after_demo")
def test_the_python_of_the_readme_runs_in_order() -> None:
    shown: dict[str, Any] = {}
    for n_lines_before, block in code_blocks(README, "python"):
        # The empty lines make a traceback point to the line of the document.
        exec(compile("\n" * n_lines_before + block, str(README), "exec"), shown)
    assert shown["y"].shape == (2, 200)
    assert shown["y"].dtype == np.float32
    assert shown["x"].shape == (len(shown["ids"]), 200) == (len(shown["kept"]), 200)
    assert dict(shown["counts"]) == shown["run"].statuses
    assert len(shown["patches"]) == shown["run"].n_patches
    assert shown["moods"].classes(shown["mood"]) == ("happy", "non_happy")
    assert shown["happy"] == pytest.approx(0.5)
    assert shown["saved"].keys() == shown["done"].keys()
    assert len(shown["bands"]) == 16 * len(shown["lowest"])
    assert shown["scenes"].shape == (2, 200)
    assert shown["embeddings"].shape[:2] == shown["times_ms"].shape


def test_the_columns_of_the_long_form_are_those_that_are_shown() -> None:
    assert f"# {', '.join(PATCH_SCHEMA.names)}\n" in read(README)


def test_the_columns_of_bands_are_those_that_are_shown() -> None:
    columns = list(PATCH_SCHEMA.names)
    columns.insert(columns.index("patch") + 1, BAND.name)
    assert f"# {', '.join(columns)}\n" in read(README)


# Tables of facts


def type_name(dtype: pa.DataType) -> str:
    if pa.types.is_list(dtype):
        return f"list<{type_name(dtype.value_type)}>"
    return {pa.float32(): "float32", pa.float64(): "float64"}.get(dtype, str(dtype))


def test_the_readme_has_every_column_with_its_type() -> None:
    described = [row[:2] for row in table(README, "The model table")]
    assert described == [[f"`{field.name}`", type_name(field.type)] for field in MODEL_SCHEMA]


def test_the_page_about_probes_has_every_column() -> None:
    rows = table(ROOT / "docs" / "probes.md", "The sweep")
    named = [name for row in rows for name in in_code(row[0], r"^\w+$")]
    assert sorted(named) == sorted(FIT_SCHEMA.names)


def test_the_readme_has_every_status_and_says_whether_it_keeps_an_embedding() -> None:
    described = {row[0].strip("`"): row[1] for row in table(README, "Statuses")}
    assert described == {status: "yes" if status in KEPT else "no" for status in Status}


def test_the_readme_names_every_model() -> None:
    named = {row[0].strip("`") for row in table(README, "Models")}
    assert {spec.name for spec in model_specs()} <= named


def test_the_page_about_models_has_every_front_end_with_its_frames() -> None:
    rows = table(ROOT / "docs" / "how-to" / "add-a-model.md", "What a spec says")
    shown = {name: cells for names, *cells in rows for name in in_code(names, r"^[\w-]+$")}
    for name, cells in shown.items():
        own = front_end(name)
        assert [int(cell) for cell in cells] == [own.sr_hz, own.n_bands, own.hop_samples], name
    assert {spec.front_end for spec in model_specs()} <= shown.keys()


def test_the_readme_has_every_extension_that_a_folder_is_searched_for() -> None:
    named = in_code(section(README, "Sources"), r"^\.\w+$")
    assert {ending for ending in named if not is_manifest(f"a{ending}")} == set(BYTES_PER_S)


def test_the_architecture_has_every_event_and_action() -> None:
    words = in_code(section(ARCHITECTURE, "The scheduler"), r"^\w+$")
    assert {kind.__name__ for kind in (*get_args(Event), *get_args(Action))} <= words


def test_the_architecture_has_every_area() -> None:
    entries = (ROOT / "embedlib").iterdir()
    modules = {path.stem for path in entries if path.is_dir() or path.suffix == ".py"}
    described = {Path(row[0].strip("`")).stem for row in table(ARCHITECTURE, "The areas")}
    assert described == {name for name in modules if not name.startswith("__")}


# What documents point to


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        path, _, anchor = target.partition("#")
        if not path.startswith("https://"):
            other = (document.parent / path).resolve() if path else document
            assert other.is_file(), target
            assert not anchor or anchor in anchors(other), target


@every_document
def test_paths_of_the_repository_exist(document: Path) -> None:
    paths = in_code(read(document), r"^(?:embedlib|tests|jobs|configs|cluster|docker|\.ci)/\S*$")
    assert not [path for path in sorted(paths) if not (ROOT / path).exists()]


@every_document
def test_tests_that_are_named_exist(document: Path) -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    defined = {path.name for path in files}
    for path in files:
        defined |= set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))
    named = in_code(prose(document), r"^test_\w+(?:\.py)?$")
    assert named <= defined | set(FIT_SCHEMA.names)


@every_document
def test_variables_that_are_named_exist(document: Path) -> None:
    assert set(re.findall(r"\bEMBEDLIB_\w+", read(document))) <= VARIABLES


@every_document
def test_no_path_of_a_developers_machine_is_shown(document: Path) -> None:
    assert not DEVELOPERS_PATH.search(read(document))


@pytest.mark.parametrize(("document", "n_lines"), [(ARCHITECTURE, 250), (CONTRIBUTING, 150)])
def test_a_document_is_short_enough_to_be_read(document: Path, n_lines: int) -> None:
    assert len(read(document).splitlines()) < n_lines


# Versions


def test_the_package_says_the_version_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == embedlib.__version__


def test_the_changelog_begins_with_what_is_unreleased_then_the_version() -> None:
    first, *released = re.findall(r"^## (\S+)", read(CHANGELOG), re.MULTILINE)
    assert first == "Unreleased"
    assert released[:1] in ([], [embedlib.__version__])
