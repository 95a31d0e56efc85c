"""A new provider package from a template: what `titans new-provider` writes."""

from __future__ import annotations

from titans.scaffold._render import LICENSES, Answers, render, write

__all__ = ["LICENSES", "Answers", "render", "write"]
