"""Signatures and passwords of sources: opened with, written nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from embedlib.config import extract_config
from embedlib.records import TrackRow
from embedlib.run.run_folder import config_text
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.rows import rows_table
from embedlib.tables.sources import SOURCES_FILE, check_sources, claim_sources

URLS = ["https://host/a.wav?X-Amz-Signature=hush", "s3://key:hush@bucket/a.wav"]


@pytest.mark.parametrize("url", URLS)
def test_the_model_table_keeps_a_url_without_its_secret(
    make_row: Callable[..., TrackRow], manifest: ModelManifest, url: str
) -> None:
    row = make_row("a")
    signed = replace(row, track=replace(row.track, uri=url))
    [uri] = rows_table([signed], manifest=manifest, shard_id="0a")["uri"].to_pylist()
    assert "hush" not in uri
    assert uri.endswith(("/a.wav?***", "***@bucket/a.wav"))


def test_the_record_of_a_run_does_not_hold_the_secrets_of_its_sources() -> None:
    config = extract_config({"sources": [*URLS, "/music"], "models": ["m"], "out": "o"})
    assert "hush" not in config_text(config)
    assert "/music" in config_text(config)


def test_sources_that_are_signed_anew_are_the_same_sources(tmp_path: Path) -> None:
    claim_sources(tmp_path, ["https://host/list.csv?sig=hush"])
    check_sources(tmp_path, ["https://host/list.csv?sig=other"])
    assert b"hush" not in (tmp_path / SOURCES_FILE).read_bytes()
