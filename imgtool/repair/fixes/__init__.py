"""What mends the rules: one module per subject, named as the rules' own in `imgtool.checks`."""
