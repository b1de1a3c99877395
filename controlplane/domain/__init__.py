"""Pure decisions: stdlib and pydantic only; no I/O, no async, no clock."""
