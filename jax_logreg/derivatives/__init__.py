"""The slopes of the objective, written by hand and taken by autodiff, side by side."""
