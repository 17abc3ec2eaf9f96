"""Keeping secrets: sealed at rest, and out of whatever is written down."""
