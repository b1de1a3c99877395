"""Services on real PostgreSQL."""
