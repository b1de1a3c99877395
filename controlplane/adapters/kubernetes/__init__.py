"""A real Kubernetes API server behind the Cluster port."""
