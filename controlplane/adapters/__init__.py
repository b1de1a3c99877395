"""Clients of the outside world, one folder or file each."""
