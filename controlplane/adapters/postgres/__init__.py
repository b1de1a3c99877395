"""The registry in PostgreSQL: tables, stores, unit of work."""
