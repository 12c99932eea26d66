"""One step of each method. A solver asks an oracle and never sees the data."""
