"""Fixtures for every kind of test."""

pytest_plugins = ["fixtures_plugins", "fixtures_stores"]
