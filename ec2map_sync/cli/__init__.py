"""The commands, `ec2map-sync …` (cliff)."""
