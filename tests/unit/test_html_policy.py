"""Every page that is written: a policy by hash, texts escaped, no script that makes markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embedlib.report.templating import environment, policy_hash, sealed

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("embedlib", "jobs") for path in (ROOT / folder).rglob("*.*")]
TEMPLATES = [path for path in SOURCES if path.suffix == ".j2"]
PAGES = [path for path in TEMPLATES if "<html" in path.read_text()]
SCRIPTS = [path for path in SOURCES if path.suffix == ".js"]

POLICY_TAG = '<meta http-equiv="Content-Security-Policy" content="{{ policy }}">'

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "&lt;script&gt;",
    "\u2028alert(1)",
)


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[path.name for path in paths])


def directives_of(policy: str) -> dict[str, str]:
    return dict(each.split(" ", 1) for each in policy.split("; "))


def test_a_policy_lets_in_one_script_and_one_style_and_nothing_else() -> None:
    assert directives_of(sealed(script="f()", style="p {}")["policy"]) == {
        "default-src": "'none'",
        "script-src": policy_hash("f()"),
        "style-src": policy_hash("p {}"),
        "img-src": "data:",
        "media-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_a_page_with_audio_and_data_opens_no_more_than_these() -> None:
    plain = directives_of(sealed(script="f()", style="")["policy"])
    opened = directives_of(
        sealed(script="f()", style="", loads_scripts=True, media=["file:", "https:"])["policy"]
    )
    assert dict(opened.items() - plain.items()) == {
        "script-src": f"{policy_hash('f()')} 'strict-dynamic'",
        "media-src": "file: https:",
    }


def test_another_script_is_another_hash() -> None:
    assert policy_hash("f()") != policy_hash("f() ")


def test_all_four_pages_are_looked_at() -> None:
    assert {path.name for path in PAGES} == {
        *("page.html.j2", "drift.html.j2", "explore.html.j2", "bench_page.html.j2"),
    }


def test_no_page_is_written_but_from_a_template() -> None:
    texts = {path: path.read_text().lower() for path in SOURCES if path.suffix == ".py"}
    assert [path for path, text in texts.items() if "<!doctype html" in text] == []


@named(PAGES)
def test_the_policy_stands_before_all_that_it_governs(path: Path) -> None:
    before, tag, _ = path.read_text().partition(POLICY_TAG)
    assert tag
    assert set(re.findall(r"<(\w+)", before)) == {"html", "head", "meta"}


@named(TEMPLATES)
def test_no_template_has_what_the_policy_forbids_or_marks_a_text_as_safe(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\s(on\w+|style|srcset|action)=", text)
    assert not re.search(r"\|\s*safe|autoescape|javascript:|https?:", text)


@named(SCRIPTS)
def test_no_script_of_a_page_makes_markup_or_code_of_a_text(path: Path) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(|srcdoc"
    assert not re.search(sinks, path.read_text())


@named([path for path in SOURCES if path.suffix in {".js", ".css"}])
def test_no_script_or_style_can_close_its_own_element(path: Path) -> None:
    assert not re.search(r"</|<!--", path.read_text())


def test_only_our_own_files_and_drawings_are_markup() -> None:
    users = {
        path.name
        for path in SOURCES
        if path.suffix == ".py" and re.search(r"Markup\(", path.read_text())
    }
    assert users == {"templating.py", "svg.py"}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_leaves_neither_its_element_nor_its_attribute(text: str) -> None:
    page = environment().from_string('<p title="{{ text }}">{{ text }}</p>').render(text=text)
    assert not set("<>\"'") & set(
        page.removeprefix('<p title="').removesuffix("</p>").replace('">', "", 1)
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_json_in_a_script_element_cannot_end_it(text: str) -> None:
    data = environment().from_string("{{ {text: text} | tojson }}").render(text=text)
    assert data.isascii()
    assert not set("<>&'") & set(data)
