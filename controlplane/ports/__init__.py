"""Small protocols behind which everything that does I/O stands."""
