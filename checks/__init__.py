"""The rule catalogue: one module per subject. Installed as `imgtool.checks`; CONTRIBUTING.md adds a rule."""
