"""Reports to text; one form per file."""
