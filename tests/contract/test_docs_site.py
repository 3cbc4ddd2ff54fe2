"""The site: that it builds without a warning, calls no other host, and quotes what is there."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.main import get_command

import embedlib
from embedlib.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MADE_ELSEWHERE = {"fidelity.md", "kill_matrix.md", "performance.md", "probes.md"}
OWN = [page for page in PAGES if page.name not in MADE_ELSEWHERE]

TWO_SCREENS = 120
"""Lines."""

LEAST_KNOWN = 10
"""Characters of a message that are its own, and not put in."""

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[page.relative_to(DOCS).as_posix() for page in PAGES]
)


def helper(name: str) -> ModuleType:
    """Load one of the modules that MkDocs loads from docs/build."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "build" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@every_page
def test_the_python_and_yaml_of_a_page_can_be_read(page: Path) -> None:
    for block in code_blocks(page, "python"):
        compile(block, str(page), "exec")
    assert all(isinstance(yaml.safe_load(block), dict) for block in code_blocks(page, "yaml"))


@pytest.mark.parametrize("page", OWN, ids=[page.name for page in OWN])
def test_a_page_is_at_most_two_screens(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= TWO_SCREENS


@every_page
def test_a_block_that_is_not_run_says_why_right_before_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- not run: ") == len(
        re.findall(r"^<!-- not run: [^>]{8,} -->\n```\w+$", text, re.MULTILINE)
    )


# Links


LINKED = [
    pytest.param("[a](../README.md#x)", "docs/b.md", "[a](project/readme.md#x)", id="to the root"),
    pytest.param("[a](docs/b.md)", "README.md", "[a](../b.md)", id="from the root"),
    pytest.param("[a](../b.md)", "docs/how-to/c.md", "[a](../b.md)", id="within"),
    pytest.param("[a](jobs/bench.py)", "README.md", "a (`jobs/bench.py`)", id="to no page"),
    pytest.param("[`jobs/a.py`](jobs/a.py)", "README.md", "`jobs/a.py`", id="that names it"),
    pytest.param("[a](#x) [b](https://c.d/e.md)", "README.md", None, id="elsewhere"),
    pytest.param("```\n[a](README.md)\n```", "README.md", None, id="in code"),
]


@pytest.mark.parametrize(("markdown", "source", "expected"), LINKED)
def test_links_of_the_repository_become_those_of_the_site(
    markdown: str, source: str, expected: str | None
) -> None:
    resolve = helper("pages").site_address
    found = helper("links").relinked(markdown, source=source, resolve=resolve)
    assert found == (markdown if expected is None else expected)


def test_the_pages_that_are_made_have_sources() -> None:
    assert not [path for path in helper("pages").GENERATED if not (ROOT / path).is_file()]


# Messages


def templates() -> Iterator[re.Pattern[str]]:
    """Give what every literal of the package can become, values put in."""
    for path in sorted(Path(embedlib.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""
                for part in parts
            ]
            if sum(map(len, texts)) >= LEAST_KNOWN:
                yield re.compile(".*".join(map(re.escape, split_by_values(parts))), re.DOTALL)


def split_by_values(parts: list[ast.expr]) -> list[str]:
    """Join neighbouring literals; what lies between two of the list is a value."""
    found = [""]
    for part in parts:
        if isinstance(part, ast.Constant):
            found[-1] += str(part.value)
        else:
            found.append("")
    return found


def test_every_message_that_is_quoted_is_one_of_the_code() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    known = list(templates())
    assert len(quoted) > 30
    assert not [each for each in quoted if not any(t.fullmatch(each) for t in known)]


# The site


class References(HTMLParser):
    """What a page makes a browser load, and the ids that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.headings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        is_loaded = tag in ("script", "img", "iframe", "link", "source")
        address = values.get("src") or (values.get("href") if tag == "link" else None)
        if is_loaded and address and values.get("rel") != "canonical":
            self.loaded.append(address)
        self.headings += tag == "h2"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def read(page: Path) -> References:
    parser = References()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_no_page_of_the_site_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    loaded = {address for page in pages for address in read(page).loaded}
    assert len(pages) > len(PAGES)
    assert not [address for address in loaded if re.match(r"(?:\w+:)?//", address)]


def test_the_style_sheets_load_nothing_from_another_host(site: Path) -> None:
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert sheets
    assert not re.findall(r"url\(['\"]?(?:https?:)?//[^)]*\)|@import", sheets)


def leaves(command: object) -> int:
    children = getattr(command, "commands", {"": None})
    return sum(leaves(child) if child else 1 for child in children.values())


def test_the_site_has_a_section_for_each_command(site: Path) -> None:
    assert read(site / "reference" / "commands.html").headings == leaves(get_command(app))


@pytest.mark.parametrize(
    ("page", "parameter"),
    [
        ("python", "resampler"),
        ("specs", "n_trainable"),
        ("specs", "keep_dims"),
        ("tables", "at"),
    ],
)
def test_the_reference_of_python_comes_from_the_docstrings(
    site: Path, page: str, parameter: str
) -> None:
    text = (site / "reference" / f"{page}.html").read_text(encoding="utf-8")
    described = re.findall(r"<li[^>]*>\s*<b><code>([\w, ]+)</code>", text)
    assert parameter in described
