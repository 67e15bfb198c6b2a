"""Readers of releases, one module a source."""
