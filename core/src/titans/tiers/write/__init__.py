"""Writing: the hot file of a slot, its adoption, and adoptions that come late."""
