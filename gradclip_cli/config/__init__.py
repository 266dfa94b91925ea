"""Configs: what YAML may say (the schema), read with its places, overrides, grids of sweeps; not what a value does."""
