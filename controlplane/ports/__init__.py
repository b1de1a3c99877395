"""Small protocols behind which everything that does I/O stands, one file per part of the world."""
