"""A score as one HTML page."""
