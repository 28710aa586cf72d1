"""Names that no service may accept: nothing of them shows, or they change how the text around them is read."""

from typing import Final

UNACCEPTABLE_NAMES: Final = (
    "",
    " \t",
    "\u00a0\u3000",  # spaces of other widths
    "\u200b",  # zero width space
    "\u115f\u1160\u2800\u3164\uffa0",  # letters and symbols that are drawn as blanks
    "\u00ad\u200d\ufeff",  # format characters
    "\ufe0f\u034f",  # marks without a character to stand on
    "\ue000",  # private use: no common meaning
    "\U000e0fff",  # not assigned
    "ann\u202egpj",  # overrides the direction of what follows
    "ann\u2067bob",  # isolates what follows
    "two\nlines",
    "two\u2028lines",
    "bell\x07",
)
