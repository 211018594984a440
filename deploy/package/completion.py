"""Completions for bash of what programs say with --help."""


def walk(command):
    yield command
    for below in command.commands:
        yield from walk(below)


def bash_completion(command):
    """Completes commands, options and their choices; files where anything else is asked for."""
    program = command.words[0]
    function = "_" + program.replace("-", "_")
    every = list(walk(command))
    steps = [f'{" ".join(c.words[1:-1])}/{c.words[-1]}' for c in every[1:]]
    out = [f"# Made of what {program} --help says.", f"{function}() {{",
           "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}",
           "  local command= commands= options= word"]
    if steps:
        out += ['  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do', "    case $command/$word in",
                "      " + "|".join(f'"{step}"' for step in steps) + ")",
                "        command=$command${command:+ }$word ;;", "    esac", "  done"]
    out.append("  case $command in")
    for one in every:
        items = [item for item in one.items if item.flags]
        out.append(f'    "{" ".join(one.words[1:])}")')
        out.append("      case $prev in")
        for item in items:
            if item.choices:
                out.append(f'        {"|".join(item.flags)}) COMPREPLY=($(compgen -W '
                           f'"{" ".join(item.choices)}" -- "$cur")); return ;;')
        valued = [flag for item in items if item.takes_value and not item.choices
                  for flag in item.flags]
        if valued:
            out.append(f'        {"|".join(valued)}) return ;;')
        out.append("      esac")
        out.append(f'      commands="{" ".join(c.words[-1] for c in one.commands)}"')
        out.append(f'      options="{" ".join(flag for item in items for flag in item.flags)}" ;;')
    out += ["  esac", "  [[ $cur == -* ]] && commands=$options",
            '  COMPREPLY=($(compgen -W "$commands" -- "$cur"))', "}",
            f"complete -o default -F {function} {program}", ""]
    return "\n".join(out)
