"""Watching other people's training loops: what their gradients did, written as runs are."""
