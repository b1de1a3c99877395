"""The engine: drivers over a real PostgreSQL and a fleet."""
