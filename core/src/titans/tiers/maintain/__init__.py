"""Maintenance: vacuum, verification and repair."""
