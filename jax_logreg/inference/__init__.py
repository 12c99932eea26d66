"""What the answer means: standard errors, intervals, tests."""
