"""Who writes TXT records: the ways there are to change DNS, and how to look at it."""
