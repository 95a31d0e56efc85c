"""`python -m titans`: the command line."""

from titans.cli import main

if __name__ == "__main__":
    main()
