"""The manifest of a month: what it says, how it is committed, and which change points it names."""
