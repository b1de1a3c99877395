"""Worker loops on real parts."""
