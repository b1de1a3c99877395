"""How an accepted operation is carried out: one driver, one file per stage of an item."""
