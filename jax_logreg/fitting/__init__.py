"""Many steps, one answer: the loop, the stopping rule, the result, and ``fit``."""
