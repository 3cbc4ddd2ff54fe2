"""What delta-rs is told is what the other client has found."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedlib.catalog.stores import StorePath
from embedlib.tables.delta import azure_options, s3_options, table_place


def test_a_local_table_needs_no_options(tmp_path: Path) -> None:
    assert table_place(tmp_path) == {"table_uri": tmp_path, "storage_options": None}


def test_the_region_of_amazon_gives_its_endpoint() -> None:
    options = s3_options(
        access_key="k",
        secret_key="s",
        token="t",
        endpoint="https://s3.eu-west-1.amazonaws.com",
        region="eu-west-1",
    )
    assert options == {
        "aws_access_key_id": "k",
        "aws_secret_access_key": "s",
        "aws_session_token": "t",
        "aws_region": "eu-west-1",
    }


@pytest.mark.parametrize(("scheme", "allowed"), [("http", "true"), ("https", "false")])
def test_another_endpoint_is_told_and_is_plain_only_where_it_says_so(
    scheme: str, allowed: str
) -> None:
    options = s3_options(
        access_key="k", secret_key="s", token=None, endpoint=f"{scheme}://minio:9000", region="r"
    )
    assert (options["aws_endpoint_url"], options["aws_allow_http"]) == (
        f"{scheme}://minio:9000",
        allowed,
    )
    assert "aws_session_token" not in options


def test_a_connection_string_of_azure_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "BlobEndpoint=https://a.blob/;SharedAccessSignature=sv=1&sig=x="
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    assert azure_options(text) == {
        "azure_storage_endpoint": "https://a.blob/",
        "azure_storage_sas_key": "sv=1&sig=x=",
    }
    assert table_place(StorePath("az://c/out"))["storage_options"] == azure_options(text)


def test_google_is_left_to_find_its_own_credentials() -> None:
    assert table_place(StorePath("gs://b/out"))["storage_options"] == {}
