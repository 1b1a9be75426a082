"""Everything that speaks with other regions."""
