"""`make bench`: what the daemon can do on this machine, beside what the machine itself can do."""
