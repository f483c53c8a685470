"""Readings to findings: pure functions of plain data, without torch."""
