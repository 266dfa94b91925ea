"""What stands in the tables of docs/frameworks.md, found by running the calls that they name."""
