"""Databases as all of ours reach them: engines, statements, row prints."""
