"""`seawall demo`: 24 tenants, a good release and a bad one, through the same API that everybody uses."""
