"""One module per target format. Installed as `imgtool.converters`."""
