"""The version of the package, where every room's doors can read it."""

__version__ = "0.1.0"
