"""Gradients: the clipping rules, and the gradients' health."""
