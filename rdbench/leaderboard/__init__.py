"""A public comparison: submissions of results, their checks and reproduction, and the site."""
