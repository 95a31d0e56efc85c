"""Small tables in HTML: no scripts, nothing from elsewhere; whatever is shown is text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["facts", "page", "table"]

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;"
    "color:#1c2426;background:#fff}table{border-collapse:collapse;margin:0 0 2rem}"
    "caption{text-align:left;font-weight:600;padding:.5rem 0}"
    "th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #d8dee0;"
    "vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{color:#e3e9ea;background:#14191b}"
    "th,td{border-color:#3a4446}}"
)


def page(title: str, body: str) -> str:
    """A whole page around tables."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a caption; without columns, a sentence."""
    if not head:
        return f"<p>{escape(caption)}</p>"
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = []
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def facts(caption: str, pairs: Sequence[tuple[str, str]]) -> str:
    """A table of names and what there is to say of each."""
    lines = []
    for name, value in pairs:
        lines.append(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>')
    return f"<table><caption>{escape(caption)}</caption><tbody>{''.join(lines)}</tbody></table>"
