"""Problems: what is trained, whatever the arm: data, batches, initial weights, networks."""
