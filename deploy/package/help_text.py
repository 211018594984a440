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
    summary: str = ""  # What the command above says of it.
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
    below = _commands(command)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        command.commands = list(pool.map(lambda name: read(program, [*words, name]), below))
    for each in command.commands:
        each.summary = below[each.words[-1]]
    return command


def _commands(command):
    """Names of the commands below this one, and what it says of each."""
    for section in command.sections:
        items = [item for item in section.content if isinstance(item, Item)]
        if section.title == "Subcommands":
            return {item.name: item.description for item in items}
        if section.title == "positional arguments" and items[0].name.startswith("{"):
            return {item.name: item.description for item in items[1:]}
    return {}
