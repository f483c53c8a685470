"""A script that the user names with the argument that sets its batch size, `train.py --batch-size`.

The script stays as it is: only the value of that argument differs from trial to trial. `--size 8`, `--size=8` and
`size=8` (Hydra's way, also `+size=8`) are found where they stand and replaced, and added where they do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memdoctor.foundation.errors import BadInput
from memdoctor.python_file import compiled


@dataclass(frozen=True)
class UserScript:
    """What to start; its text is what the user would type."""

    path: str
    argument: str
    """As it stands on the command line: `--batch-size`, or Hydra's `data.batch_size`."""
    arguments: tuple[str, ...] = ()
    """All that the script is started with, whatever the size."""

    def __str__(self) -> str:
        return self.path

    def arguments_for(self, size: int) -> list[str]:
        """The script's arguments at one batch size, wherever and as often as that stands among them."""
        words = list(self.arguments)
        places = list(_places(words, self.argument))
        for index, head in places:
            words[index] = f"{head}{size}"
        if places:
            return words
        added = [self.argument, str(size)] if self.argument.startswith("-") else [f"{self.argument}={size}"]
        return words + added


def script(path: str, argument: str, arguments: tuple[str, ...] = ()) -> UserScript:
    """Raises `BadInput` if the file is missing or not Python, or if the argument is no name; nothing of it runs."""
    name = argument.rstrip("=")
    if not name.lstrip("-+"):
        raise BadInput(f"{argument!r} is no argument of a script.", "Write it as on its command line: --batch-size")
    compiled(path, example="train.py --batch-arg --batch-size")
    return UserScript(path, name, arguments)


def _places(words: list[str], name: str) -> Iterator[tuple[int, str]]:
    """Where a value stands, and what stands before it in the same word."""
    for index, word in enumerate(words):
        head, equals, _ = word.partition("=")
        if equals and head.lstrip("+") == name.lstrip("+"):
            yield index, f"{head}="
        elif word == name and name.startswith("-") and index + 1 < len(words):
            yield index + 1, ""
