"""The rollout engine's statements: raw SQL, many rows at a time."""
