"""A user's own data: what an npz file holds or his function returns, checked, as arrays."""
