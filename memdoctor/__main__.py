"""`python -m memdoctor`, the same as the command."""

from __future__ import annotations

from memdoctor.cli import main

if __name__ == "__main__":
    main()
