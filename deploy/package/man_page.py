"""Man pages of what programs say with --help."""

import datetime
import re

from help_text import Item


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text)


def man_page(command, section, version, epoch):
    """The page as roff. EPOCH: seconds, for its date."""
    date = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%d")
    name = "-".join(command.words)
    out = [f'.TH {escape(name.upper())} {section} {date} "ptychoserve {version}" ptychoserve',
           ".SH NAME", f"{escape(name)} \\- {escape(_summary(command))}",
           ".SH SYNOPSIS", f".B {escape(command.usage)}"]
    for part in command.sections:
        out.append(f".SH {escape(part.title.upper() or 'DESCRIPTION')}")
        lines = part.content
        if part.title == "Examples":
            out += _examples(lines)
            continue
        for line in lines:
            if isinstance(line, Item):
                out += [".TP", f".B {escape(line.name)}", escape(line.description)]
            elif not line.strip():
                out.append(".PP")
            else:
                out.append(escape(line.strip()))
    if len(command.words) > 1:
        out += [".SH SEE ALSO", f".BR {escape('-'.join(command.words[:-1]))} ({section})"]
    elif command.commands:
        out += [".SH SEE ALSO",
                ",\n".join(f".BR {escape('-'.join(c.words))} ({section})" for c in command.commands)]
    # Blank lines at the ends of lists would be paragraphs with nothing in them.
    text = "\n".join(out) + "\n"
    return re.sub(r"(?:\.PP\n)+(?=\.SH|\Z)", "", re.sub(r"(?:\.PP\n){2,}", ".PP\n", text))


def _summary(command):
    if command.summary:
        return command.summary
    first = " ".join(line.strip() for line in command.sections[0].content).strip()
    return re.split(r"[.:] ", first.replace(f"{command.words[0]}: ", ""))[0].rstrip(".").strip()


def _examples(lines):
    """As they stand: lines that are indented are commands, the others text."""
    out, code = [], False
    for line in lines:
        if line.startswith("  ") != code and line.strip():
            code = not code
            out.append(".EX" if code else ".EE")
        if line.strip() or code:
            out.append(escape(line))
        else:
            out.append(".PP")
    return out + [".EE"] * code
