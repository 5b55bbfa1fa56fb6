"""What a forced import needs inside the guest (ref 02): a POSIX shell script, and what starts it."""
