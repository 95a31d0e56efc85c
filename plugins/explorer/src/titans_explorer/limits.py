"""How much a question to the explorer may take."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Limits"]


@frozen
class Limits:
    """Bounds on what one question may ask for, and on what is kept."""

    page_rows: int = 500
    """Rows of a table in one answer."""
    lines: int = 8
    """Keys and groups on one chart."""
    line_points: int = 5_000
    """Points of one line."""
    grid_cells: int = 600_000
    """Values that are looked at for the line of a group."""
    download_rows: int = 5_000_000
    text: int = 200
    """Characters of a search or of a filter."""
    query: int = 20_000
    """Characters of a query in SQL."""
    sql_seconds: float = 10.0
    sql_bytes: int = 1_500_000_000
    """Memory of the process that answers SQL."""
    sql_rows: int = 10_000
    """Rows of an answer to SQL that are kept, also in a download."""
    kept_bytes: int = 256_000_000
    """Answers that are kept for the next question."""
    threads: int = 4
    """Questions that are answered at the same time."""
