"""The tokens that every vocabulary begins with, whatever its tokeniser."""

PAD, START, END, UNKNOWN, MASK = range(5)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
"""By their number. `PAD` is 0, which is what a network reads where a batch's mask hides a place."""
