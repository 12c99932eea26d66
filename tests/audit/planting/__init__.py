"""Derivatives for the audit to judge: wrong ones, planted on purpose, and right ones."""
