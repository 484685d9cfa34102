"""Tables of a run: Markdown, LaTeX, HTML and CSV of the same cells."""
