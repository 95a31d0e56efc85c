"""Providers under their drop-in names."""

from __future__ import annotations

import os
from collections.abc import Mapping

from titans.facade import get_config
from titans.plugins import providers
from titans.provider import Provider as ProviderConfig

__all__ = ["PROVIDER_CONFIGS", "ProviderConfig", "get_config", "is_test_env"]

PROVIDER_CONFIGS: Mapping[str, ProviderConfig] = providers()
"""The installed providers, loaded when they are asked for. Read-only: a provider is added by
publishing a package."""


def is_test_env() -> bool:
    """Whether `TITANS_ENV` is `test` now."""
    return os.environ.get("TITANS_ENV") == "test"
