"""The providers of this repository, and one of a third party, hold the conformance suite."""

import pytest

from titans.testing import ProviderConformance


class TestAws(ProviderConformance):
    provider = "aws"


class TestAzure(ProviderConformance):
    provider = "azure"


class TestGcp(ProviderConformance):
    provider = "gcp"


@pytest.mark.usefixtures("newcloud")
class TestNewcloud(ProviderConformance):
    provider = "newcloud"
