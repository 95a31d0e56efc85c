"""`python -m titans`: the command line."""

from titans.cli import main

main()
