"""Gates: what they measure and how they judge."""
