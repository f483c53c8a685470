"""Reports as they should read: `python -m tests.golden` writes them anew, and a person reviews the diff."""
