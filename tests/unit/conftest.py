"""Fixtures that build small outputs: rows, parts and catalogues of known content."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from embedlib.features.front_end import front_end
from embedlib.features.patches import PatchRule, patch_starts_ms
from embedlib.records import KEPT, DecodedTrack, Int32, PartResult, Status, Track, TrackRow
from embedlib.tables.commit import commit_parts
from embedlib.tables.manifest import Column, ModelManifest, ensure_manifest
from embedlib.tables.parts import write_part

PROVENANCE = {"engine": "fake", "machine": "here"}
VOID = {"meta", "br"}


@pytest.fixture
def manifest() -> ModelManifest:
    return ModelManifest(
        model="tiny",
        n_dims=4,
        untrained=False,
        graph_sha256="ab" * 32,
        node="model/dense/BiasAdd",
        front_end="musicnn-mel",
        front_end_version=1,
        sr_hz=16000,
        resampler="soxr-hq",
        decoder="pyav",
        patch_frames=187,
        patch_hop_frames=93,
        last_patch="tile-short",
        precision="f32",
        patches=True,
    )


ACTIVATIONS = Column("activations", 2, ("model/Sigmoid",), "vector", 1)
MOODS = Column("moods-1.0", 3, ("out",), "vector", 1, "moods", "cd" * 32, ("sad", "calm", "glad"))


@pytest.fixture
def banded(manifest: ModelManifest) -> ModelManifest:
    """Three embeddings per patch, and two further vectors."""
    return dataclasses.replace(manifest, n_vectors=3, columns=(ACTIVATIONS, MOODS))


@pytest.fixture
def make_row(manifest: ModelManifest) -> Callable[..., TrackRow]:
    """Make the row of a track of 10 s at 16 kHz, which has 5 patches by the default rule."""

    def make(
        track_id: str, *, status: Status = Status.OK, manifest: ModelManifest = manifest
    ) -> TrackRow:
        track = Track(track_id, f"/music/{track_id}", size=320_044, version="17")
        decoded = DecodedTrack(
            0, status, f"{status} {track_id}", 10.0, 16000, 1, 160_000, 0, 320_044
        )
        if status not in KEPT:
            return TrackRow(track, decoded)
        rng = np.random.default_rng(list(track_id.encode()))
        shapes = [(manifest.n_vectors, manifest.n_dims), *((1, c.n_dims) for c in manifest.columns)]
        starts = starts_of_ten_seconds(manifest)
        embeddings, *columns = (
            rng.standard_normal((len(starts) * n_vectors, n_dims), dtype=np.float32)
            for n_vectors, n_dims in shapes
        )
        return TrackRow(track, decoded, False, starts, embeddings, tuple(columns))

    return make


def starts_of_ten_seconds(manifest: ModelManifest) -> Int32:
    front = front_end(manifest.front_end)
    n_samples = 10 * front.sr_hz
    rule = PatchRule(manifest.patch_frames, manifest.patch_hop_frames, manifest.last_patch)
    n_patches = rule.n_patches(front.n_frames(n_samples))
    return patch_starts_ms(n_patches, rule=rule, front_end=front, n_samples=n_samples)


@pytest.fixture
def make_part(manifest: ModelManifest) -> Callable[..., PartResult]:
    """Write a part of some rows into a model's folder, with its manifest; do not commit it."""

    def make(
        out: Path,
        rows: Sequence[TrackRow],
        *,
        shard_id: str = "0a",
        attempt_id: str = "1",
        manifest: ModelManifest = manifest,
        provenance: dict[str, str] = PROVENANCE,
    ) -> PartResult:
        ensure_manifest(out, manifest)
        return write_part(
            out / manifest.model,
            manifest=manifest,
            shard_id=shard_id,
            attempt_id=attempt_id,
            rows=rows,
            provenance=provenance,
        )

    return make


@pytest.fixture
def make_output(
    make_part: Callable[..., PartResult], manifest: ModelManifest
) -> Callable[..., Path]:
    """Write a catalogue and one table with two tracks per shard, all committed."""

    def make(
        out: Path,
        rows: Sequence[TrackRow],
        *,
        manifest: ModelManifest = manifest,
        **options: object,
    ) -> Path:
        tracks = {
            "track_id": [row.track.track_id for row in rows],
            "version": [row.track.version for row in rows],
        }
        write_deltalake(out / "catalog", pa.table(tracks))
        pairs = [rows[start : start + 2] for start in range(0, len(rows), 2)]
        parts = [
            make_part(out, pair, shard_id=f"{number:02x}", manifest=manifest, **options)
            for number, pair in enumerate(pairs)
        ]
        commit_parts(out, manifest.model, parts)
        return out

    return make


class Elements(HTMLParser):
    """The start tags of a page, and whether all that are opened are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def elements_of() -> Callable[[str], Elements]:
    """Parse a page; all elements that it opens must be closed in order."""

    def parse(text: str) -> Elements:
        found = Elements(text)
        assert found.open == []
        return found

    return parse


@pytest.fixture
def assert_sealed(elements_of: Callable[[str], Elements]) -> Callable[[str], None]:
    """Check that a page has one script and one style, by hash, and asks for nothing outside."""

    def check(text: str) -> None:
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        for tag in ("script", "style"):
            (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"; {tag}-src 'sha256-{digest}';" in policy
        for tag, attributes in elements_of(text).tags:
            assert tag not in {"link", "img", "iframe", "object", "image", "use"}
            assert not {"src", "srcset", "action", "style"} & attributes.keys()
            assert (attributes.get("href") or "#").startswith("#")
            assert not [name for name in attributes if name.startswith("on")]

    return check
