"""Stored rows and their family in, ranked rows with evidence out."""
