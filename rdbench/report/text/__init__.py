"""What the terminal and a pull request are told."""
