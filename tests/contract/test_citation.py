"""CITATION.cff against the rules of its format, version 1.2.0, and against what the code cites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import embedlib
from embedlib.models.registry import model_specs
from embedlib.models.spec import ModelSpec

FILE = Path(__file__).parents[2] / "CITATION.cff"

# Of schema.json 1.2.0 in github.com/citation-file-format/citation-file-format, what is used here.
REQUIRED = {"authors", "cff-version", "message", "title"}
KNOWN = REQUIRED | {"abstract", "keywords", "license", "references", "type", "version"}
REFERENCE_REQUIRED = {"authors", "title", "type"}
REFERENCE_KNOWN = REFERENCE_REQUIRED | {"conference", "issue", "journal", "url", "volume", "year"}
REFERENCE_TYPES = {"article", "conference-paper", "software-code"}
PERSON, ENTITY = {"family-names", "given-names"}, {"name"}


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


def test_the_file_has_the_keys_of_its_format(citation: dict[str, Any]) -> None:
    assert REQUIRED <= citation.keys() <= KNOWN
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert citation["version"] == embedlib.__version__
    assert citation["license"] == "Apache-2.0"


def test_each_reference_has_the_keys_of_the_format(citation: dict[str, Any]) -> None:
    for reference in citation["references"]:
        assert REFERENCE_REQUIRED <= reference.keys() <= REFERENCE_KNOWN
        assert reference["type"] in REFERENCE_TYPES
        assert set(reference.get("conference", {"name": ""})) == ENTITY
        assert isinstance(reference["year"], int)
        assert isinstance(reference.get("volume", 0), int)
        assert reference.get("url", "https://").startswith("https://")


def test_authors_are_persons_or_entities(citation: dict[str, Any]) -> None:
    works = [citation, *citation["references"]]
    assert all(set(author) in (PERSON, ENTITY) for work in works for author in work["authors"])


@pytest.mark.parametrize("spec", model_specs(), ids=lambda spec: spec.name)
def test_the_paper_of_each_model_is_among_the_references(
    citation: dict[str, Any], spec: ModelSpec
) -> None:
    titles = [reference["title"].lower() for reference in citation["references"]]
    cited = re.sub(r"\s+", " ", spec.citation).lower()
    assert any(f": {title}." in cited for title in titles)


def test_the_paper_whose_systems_these_are_comes_first(citation: dict[str, Any]) -> None:
    assert citation["references"][0]["title"] == "Deep embeddings with Essentia models"
