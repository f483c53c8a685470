"""The parts of a scan that are not rules: which files, what is in them, what is known and asked, what is changed."""
