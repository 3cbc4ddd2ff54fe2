"""The vectors of a model table, which its manifest tells: the embedding and further columns."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from embedlib.errors import OutputError
from embedlib.tables.manifest import ModelManifest
from embedlib.tables.schema import MODEL_SCHEMA, VECTOR, VECTORS, patches_name


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """Vectors of one kind: those of the patches, and their mean over each track.

    Attributes
    ----------
    name : str
        Column of the means, ``list<float32>``.
    patches_name : str
        Column of the vectors of single patches, ``list<list<float32>>``.
    n_dims : int
        Length of each vector.
    n_vectors : int
        Vectors of one patch, which follow each other.
    classes : tuple of str
        Names of the values, in order; empty where they have none.
    """

    name: str
    patches_name: str
    n_dims: int
    n_vectors: int = 1
    classes: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[pa.Field, pa.Field]:
        """Both columns, null where a track failed."""
        return pa.field(self.name, VECTOR), pa.field(self.patches_name, VECTORS)

    @property
    def leaves(self) -> tuple[str, str]:
        """Parquet paths of the numbers of both columns."""
        return f"{self.name}.list.element", f"{self.patches_name}.list.element.list.element"


def vector_columns(manifest: ModelManifest) -> tuple[VectorColumn, ...]:
    """List the vectors that a table holds.

    Parameters
    ----------
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    columns : tuple of VectorColumn
        The embedding, then the further columns in the order of the manifest.
    """
    embedding = VectorColumn(
        "embedding", "patch_embeddings", manifest.n_dims, n_vectors=manifest.n_vectors
    )
    return embedding, *(
        VectorColumn(column.name, patches_name(column.name), column.n_dims, classes=column.classes)
        for column in manifest.columns
    )


def vector_column(manifest: ModelManifest, name: str) -> VectorColumn:
    """Find vectors by name.

    Parameters
    ----------
    manifest : ModelManifest
        Of the table.
    name : str
        ``embedding``, or a further column.

    Returns
    -------
    column : VectorColumn
        The one of that name.

    Raises
    ------
    OutputError
        If the table has none of that name.
    """
    columns = {column.name: column for column in vector_columns(manifest)}
    if name not in columns:
        raise OutputError(
            f"the table of {manifest.model} has no vectors {name!r}",
            fix=f"choose from {', '.join(columns)}",
        )
    return columns[name]


def model_schema(manifest: ModelManifest) -> pa.Schema:
    """Give the columns of a model table.

    Parameters
    ----------
    manifest : ModelManifest
        Of the table.

    Returns
    -------
    schema : pyarrow.Schema
        `MODEL_SCHEMA`, then for each further column the means over patches and the patches.
    """
    further = (field for column in vector_columns(manifest)[1:] for field in column.fields)
    return pa.schema([*MODEL_SCHEMA, *further])
