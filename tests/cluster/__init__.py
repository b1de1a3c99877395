"""The local control plane itself, and what Seawall relies on the API server for."""
