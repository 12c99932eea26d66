"""Programs: what is compiled once is kept, in memory and on disk."""
