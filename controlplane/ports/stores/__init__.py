"""What features read and write in a transaction: one protocol per feature, records from the domain."""
