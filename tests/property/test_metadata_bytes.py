"""Metadata come from anywhere: whatever the bytes, they are read or refused in one line."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from embedlib.errors import ModelError
from embedlib.models.metadata import check_metadata, parse_metadata
from embedlib.models.registry import model_spec

MUSICNN = model_spec("msd-musicnn-1")
KEYS = ("classes", "schema", "inputs", "outputs", "name", "shape", "output_purpose", "inference")

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner)
)


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_bytes_are_metadata_or_a_model_error(data: bytes) -> None:
    with suppress(ModelError):
        parse_metadata(data, origin="m.json")


@given(documents)
def test_a_document_fits_the_spec_or_is_a_model_error(document: object) -> None:
    with suppress(ModelError):
        metadata = parse_metadata(json.dumps(document).encode(), origin="m.json")
        check_metadata(MUSICNN, metadata, origin="m.json")
