"""Fixtures live in `tests/plugins`, one file per real part."""

pytest_plugins = [
    "tests.plugins.api",
    "tests.plugins.azurite",
    "tests.plugins.bus",
    "tests.plugins.control_plane",
    "tests.plugins.database",
    "tests.plugins.fleet",
    "tests.plugins.operations",
    "tests.plugins.prometheus",
    "tests.plugins.storefront",
    "tests.plugins.spread",
]
