"""PostgreSQL and nats-server from wheels, started as child processes."""
