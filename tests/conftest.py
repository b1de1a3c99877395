"""Fixtures live in `tests/plugins`, one file per real part."""

pytest_plugins = ["tests.plugins.database", "tests.plugins.api", "tests.plugins.control_plane"]
