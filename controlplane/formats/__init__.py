"""One file per release format: a pure render to manifests."""
