"""What charts share: style, captions, names, the registry; and the galleries that show photos."""
