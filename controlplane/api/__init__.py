"""The HTTP door: FastAPI routers, one per feature, and problem+json."""
