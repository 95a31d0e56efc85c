"""Who reads the documentation."""

import pytest


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Somebody who follows a page in an empty folder."""
    for name in ("STORE", "BUCKET", "ENV", "PLUGINS", "DISABLE_PLUGINS", "PROVIDER"):
        monkeypatch.delenv(f"TITANS_{name}", raising=False)
    for name in (
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
    return tmp_path
