"""The manifest of a month: what it says, how it is committed, and the change points it stands for."""
