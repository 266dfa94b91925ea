"""Evidence as a page: one HTML file that opens offline, in any browser, and asks no host for anything."""
