"""What was made elsewhere of the clips of a run: files named by clip, found once, held to then."""
