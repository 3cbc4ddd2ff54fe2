"""What delta-rs is told of a table's place, so that it uses the store as fsspec does.

delta-rs finds credentials by rules of its own, which differ from those of botocore in profiles,
sign-on and endpoints. One client decides, fsspec's, and the other is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, TypedDict

from fsspec.asyn import sync

from embedlib.catalog.patience import patiently, unanswered
from embedlib.catalog.stores import Place, StorePath
from embedlib.catalog.uris import filesystem, store_errors

AWS_HOST: Final = ".amazonaws.com"

_NO_REGION: Final = "aws-global"
"""What botocore calls the region where none is set."""

_AZURE_PARTS: Final = {
    "AccountName": "azure_storage_account_name",
    "AccountKey": "azure_storage_account_key",
    "SharedAccessSignature": "azure_storage_sas_key",
    "BlobEndpoint": "azure_storage_endpoint",
}
"""Parts of an Azure connection string, which delta-rs 1.6.6 does not read, by its own names."""


class TablePlace(TypedDict):
    """Arguments by which the functions of deltalake find a table.

    Attributes
    ----------
    table_uri : str or Path
        Its folder.
    storage_options : dict of str to str or None
        How its store is reached; None on a local disk.
    """

    table_uri: str | Path
    storage_options: dict[str, str] | None


def table_place(folder: Place) -> TablePlace:
    """Say to deltalake where a table lies and how its store is reached, as of now.

    Credentials of a role expire, so ask again for each use.

    Parameters
    ----------
    folder : Path or StorePath
        Of the table.

    Returns
    -------
    place : TablePlace
        To be passed on as keywords.

    Raises
    ------
    RunError
        If the store refuses.

    Examples
    --------
    >>> table_place(Path("out/catalog"))
    {'table_uri': PosixPath('out/catalog'), 'storage_options': None}
    """
    if not isinstance(folder, StorePath):
        return {"table_uri": folder, "storage_options": None}
    options = _OPTIONS.get(folder.url.partition(":")[0], _no_options)
    try:
        return {"table_uri": folder.url, "storage_options": options(folder)}
    except store_errors() as exc:
        raise unanswered(folder.url, exc) from exc


def azure_options(connection_string: str) -> dict[str, str]:
    """Translate a connection string of Azure into options of delta-rs.

    Parameters
    ----------
    connection_string : str
        ``AccountName=...;AccountKey=...``; empty where there is none, and both clients find the
        same ``AZURE_STORAGE_...`` variables by themselves.

    Returns
    -------
    options : dict of str to str
        Those that it holds.

    Examples
    --------
    >>> azure_options("AccountName=music;AccountKey=a2V5==;EndpointSuffix=core.windows.net")
    {'azure_storage_account_name': 'music', 'azure_storage_account_key': 'a2V5=='}
    """
    pairs = (part.partition("=") for part in connection_string.split(";"))
    return {_AZURE_PARTS[name]: value for name, _, value in pairs if name in _AZURE_PARTS}


def s3_options(
    *, access_key: str, secret_key: str, token: str | None, endpoint: str, region: str
) -> dict[str, str]:
    """Translate what botocore has found into options of delta-rs.

    Parameters
    ----------
    access_key, secret_key : str
        Credentials.
    token : str or None
        Of a session, where they are those of a role.
    endpoint : str
        URL of the service.
    region : str
        Of the bucket.

    Returns
    -------
    options : dict of str to str
        Without the endpoint where it is Amazon's own, which follows from the region.
    """
    options = {
        "aws_access_key_id": access_key,
        "aws_secret_access_key": secret_key,
        "aws_region": region,
    }
    if token:
        options["aws_session_token"] = token
    if not endpoint.endswith(AWS_HOST):
        options["aws_endpoint_url"] = endpoint
        options["aws_allow_http"] = str(endpoint.startswith("http://")).lower()
    return options


def _s3(folder: StorePath) -> dict[str, str]:
    store, key = filesystem(folder.url)
    store.connect()
    credentials = sync(store.loop, store.session.get_credentials)
    if credentials is None:
        return {"aws_skip_signature": "true"}
    frozen = sync(store.loop, credentials.get_frozen_credentials)
    return s3_options(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        token=frozen.token,
        endpoint=store.s3.meta.endpoint_url,
        region=_bucket_region(key.partition("/")[0], store.s3.meta.region_name),
    )


@cache
def _bucket_region(bucket: str, default: str) -> str:
    """Ask where a bucket is: botocore follows redirects to other regions, delta-rs does not."""
    store, _ = filesystem(f"s3://{bucket}")
    answer = patiently(lambda: store.call_s3("head_bucket", Bucket=bucket))
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    region = headers.get("x-amz-bucket-region") or default
    return "us-east-1" if region == _NO_REGION else str(region)


def _azure(_: StorePath) -> dict[str, str]:
    return azure_options(os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))


def _no_options(_: StorePath) -> dict[str, str]:
    # Google's clients share one way to find credentials.
    return {}


_OPTIONS: Final[dict[str, Callable[[StorePath], dict[str, str]]]] = {"s3": _s3, "az": _azure}
