"""How good decisions are: seeded replays of fleets, judged by rivals' published rules and by ours on identical data."""
