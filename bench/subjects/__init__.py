"""What is measured, one module a subject: TITLE, METHOD (Markdown) and `measure()`, which yields Figures."""
