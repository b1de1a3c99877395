"""What every implementation of the Cluster port shares: how objects are read, and the cache that a watch fills."""
