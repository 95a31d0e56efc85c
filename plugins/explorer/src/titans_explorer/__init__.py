"""Look at an archive in the browser: `titans explore`.

A small web server that only reads, and a page that needs nothing but it. `titans_explorer.app`
makes the server's application, for one's own ASGI server; `titans_explorer.still` makes a copy as
files.
"""
