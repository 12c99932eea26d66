"""Proof for a slope: hand-written derivatives held against autodiff."""
