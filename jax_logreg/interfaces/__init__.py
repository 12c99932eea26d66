"""Doors outward: the command line, files, pictures. They validate, compute in float64, format."""
