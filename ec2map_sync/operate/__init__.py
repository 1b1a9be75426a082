"""The work behind each command, under the name of the command."""
