"""Problems of a user's own: his functions found, imported and called; his model in each framework."""
