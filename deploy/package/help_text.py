"""What a program says with --help, taken apart: of CLI11 (ptychoserved, ptychoctl) and of argparse.

Man pages and completions are made from it, so that they say what the program does.
"""

import concurrent.futures
import dataclasses
import os
import re
import subprocess

FLAG = re.compile(r"(?:^|[ ,])(--?[A-Za-z][\w-]*)")
CHOICES = re.compile(r"\{([\w,.+-]+)\}")
CLI11_MARGIN = " " * 30  # Of descriptions. Longer names have a line of their own above it.


@dataclasses.dataclass
class Item:
    """An option, a positional argument, a command; or an exit code, a variable of the environment."""

    name: str  # As it stands there, with the argument: --listen TEXT=127.0.0.1:50051
    description: str = ""

    @property
    def flags(self):
        return FLAG.findall(self.name) if self.name.startswith("-") else []

    @property
    def choices(self):
        found = CHOICES.search(self.name)
        return found[1].split(",") if found else []

    @property
    def takes_value(self):
        rest = re.sub(r"\(Env:\w+\)", "", FLAG.sub("", self.name))
        return bool(self.flags) and bool(rest.strip(" ,"))


@dataclasses.dataclass
class Section:
    title: str
    content: list = dataclasses.field(default_factory=list)  # Item, or a line of text.


@dataclasses.dataclass
class Command:
    words: list  # ["ptychoctl", "run"]
    usage: str = ""
    sections: list = dataclasses.field(default_factory=list)  # The first has no title: the introduction.
    commands: list = dataclasses.field(default_factory=list)

    @property
    def items(self):
        return [i for s in self.sections for i in s.content if isinstance(i, Item)]


def parse(words, text):
    command = Command(words, sections=[Section("")])
    cli11 = "Usage: " in text
    usage, in_usage = [], False
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""]):
        if line.lower().startswith("usage: "):
            usage, in_usage = [line[len("usage: "):]], True
        elif in_usage and line.startswith(" "):
            usage.append(line)
        elif re.fullmatch(r"\S.*:", line):
            in_usage = False
            command.sections.append(Section(line[:-1]))
        else:
            in_usage = False
            _add(command.sections[-1], line, cli11 and not following.startswith(CLI11_MARGIN))
    command.usage = " ".join(" ".join(usage).split())
    return command


def _add(section, line, in_columns):
    """IN_COLUMNS: a description may begin at the margin; else two spaces are before it."""
    content = section.content
    indent = len(line) - len(line.lstrip())
    if section.title in ("", "Examples") or not 2 <= indent:
        # A paragraph after a list, as the last words of CLI11 are, is text again.
        content.append(line)
    elif indent <= 4:
        name, _, description = line.strip().partition("  ")
        margin = len(CLI11_MARGIN)
        if in_columns and not description and line[margin - 1:margin] == " ":
            name, description = line[:margin], line[margin:]
        content.append(Item(name.strip(), description.strip()))
    elif content and isinstance(content[-1], Item):
        content[-1].description = f"{content[-1].description} {line.strip()}".strip()
    else:
        content.append(line)


def read(program, words=None):
    """The command, with those below it, as PROGRAM (a path) tells of itself."""
    words = words or [os.path.basename(program)]
    # The width and the name that argparse and ptychoctl would take from the caller.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PTYCHOSERVE")}
    done = subprocess.run([program, *words[1:], "--help"], text=True, capture_output=True, check=True,
                          env={**environment, "COLUMNS": "80", "LC_ALL": "C.UTF-8"})
    command = parse(words, done.stdout)
    for section in command.sections:
        if section.title == "Subcommands":
            names = [item.name for item in section.content if isinstance(item, Item)]
        elif section.title == "positional arguments" and section.content and \
                isinstance(section.content[0], Item) and section.content[0].choices:
            names = section.content[0].choices
        else:
            continue
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            command.commands += pool.map(lambda name: read(program, [*words, name]), names)
    return command
