"""`prepare_for_upload` under its drop-in name."""

from __future__ import annotations

from titans.facade import prepare_for_upload

__all__ = ["prepare_for_upload"]
