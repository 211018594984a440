#!/usr/bin/env python3
"""Checks the documentation against the tree: links lead somewhere, tests that are named exist, and there is
no code that no test runs.

Usage: tests/docs/check_docs.py. Ends with 1 and a list of what is wrong.
"""

import os
import pathlib
import re
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import pages  # noqa: E402


def all_pages():
    yield from ROOT.glob("*.md")
    for top in ("client", "deploy", "docker", "docs", "engine", "proto", "server", "tests"):
        for folder, subfolders, names in os.walk(ROOT / top):
            subfolders[:] = [name for name in subfolders if name != "node_modules"]
            yield from (pathlib.Path(folder) / name for name in names if name.endswith(".md"))


PAGES = sorted(all_pages())
LINK = re.compile(r"\]\(([^)\s]+)\)")
TEST_IN_SOURCE = re.compile(r"^\s*(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)
PYTHON_TEST = re.compile(r"^\s*def (test_\w+)\(", re.MULTILINE)
# Tests are named in docs/testing.md as `Suite.Name` or `test_name`.
TEST_IN_PAGE = re.compile(r"`(\w+\.\w+|test_\w+)`")


def anchor(heading):
    """The anchor that a heading gets on the usual forges."""
    text = re.sub(r"[`*]", "", heading.lower())
    kept = (c for c in text if c in "-_ " or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {anchor(m) for m in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def wrong_links(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: {link}: there is no such file"
        elif fragment and fragment not in anchors(target):
            yield f"{page.relative_to(ROOT)}: {link}: there is no such heading"


def known_tests():
    known = set()
    for source in [path for end in ("cc", "h", "cu") for path in ROOT.glob(f"tests/**/*.{end}")]:
        text = source.read_text(encoding="utf-8")
        known |= {f"{suite}.{name}" for suite, name in TEST_IN_SOURCE.findall(text)}
    for source in ROOT.glob("tests/**/*.py"):
        known |= set(PYTHON_TEST.findall(source.read_text(encoding="utf-8")))
    return known


def unknown_tests():
    known = known_tests()
    page = ROOT / "docs" / "testing.md"
    table = [line for line in page.read_text(encoding="utf-8").splitlines()
             if line.startswith("| A")]
    if not table:
        yield f"{page.relative_to(ROOT)}: the table of cases is missing"
    for line in table:
        named = TEST_IN_PAGE.findall(line)
        if not named:
            yield f"{page.relative_to(ROOT)}: {line.split('|')[1].strip()}: no test is named"
        for name in named:
            if name not in known:
                yield f"{page.relative_to(ROOT)}: {name}: there is no such test"
    yield from errors_and_tests(known)


def errors_and_tests(known):
    """Every row of bad input names a test that exists, and every such test has a row."""
    page = ROOT / "docs" / "errors.md"
    text = page.read_text(encoding="utf-8").partition("## Bad input")[2]
    rows = [line for line in text.splitlines()
            if line.startswith("| ") and not line.startswith("| Input |")]
    named = set()
    for row in rows:
        tests = TEST_IN_PAGE.findall(row.split("|")[-2])
        if not tests:
            yield f"{page.relative_to(ROOT)}: {row.split('|')[1].strip()}: no test is named"
        named |= set(tests)
    tested = {f"{suite}.{name}"
              for source in ROOT.glob("tests/integration/bad_*_test.cc")
              for suite, name in TEST_IN_SOURCE.findall(source.read_text(encoding="utf-8"))}
    for name in sorted(named - known):
        yield f"{page.relative_to(ROOT)}: {name}: there is no such test"
    for name in sorted(tested - named):
        yield f"{page.relative_to(ROOT)}: {name}: tested, but not in the table"


def reasons_without_a_remedy():
    """Every reason of the API has a row that says what to do."""
    page = ROOT / "docs" / "errors.md"
    rows = [line.strip("|").split("|") for line in page.read_text(encoding="utf-8").splitlines()
            if re.match(r"\| `[A-Z_]+` \| `[A-Z_]+` ", line)]
    told = {row[1].strip(" `") for row in rows if row[-1].strip()}
    source = (ROOT / "server" / "service" / "errors.h").read_text(encoding="utf-8")
    namespace = source.partition("namespace reason {")[2].partition("}  // namespace reason")[0]
    for name in sorted(set(re.findall(r'\[\] = "([A-Z_]+)";', namespace)) ^ told):
        yield f"{page.relative_to(ROOT)}: {name}: no such reason, or not said what to do"


# --- Code ---------------------------------------------------------------------------------------------

SCRIPT_OF_PAGE = re.compile(r"\bpages\.script\(\s*\"([^\"]+)\"")


def tests_of_pages():
    """The tests that run each page."""
    found = {}
    for test in sorted(ROOT.glob("tests/*/*_test.py")):
        for page in SCRIPT_OF_PAGE.findall(test.read_text(encoding="utf-8")):
            found.setdefault(page, []).append(test)
    return found


def is_registered(test):
    listed = re.sub(r"#.*", "", (test.parent / "CMakeLists.txt").read_text(encoding="utf-8"))
    return re.search(rf"\b{test.stem.removesuffix('_test')}\b", listed)


def wrong_fences(page, text):
    """Code that pages.blocks would not find, or not know what to do with."""
    known = {*pages.READ_ONLY, *pages.FILES, pages.COMMANDS}
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s+(```|~~~)|~~~", line):
            yield f"{page}:{number}: a fence is ``` at the beginning of a line"
    for block in pages.blocks(page):
        if block.language not in known:
            yield (f"{page}: {block.first_line}: the language is {block.language!r}, and has to be one "
                   f"of {', '.join(sorted(known))} (text is what nobody types)")
    paragraphs = re.split(r"\n{2,}", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    for before, indented in zip(paragraphs, paragraphs[1:]):
        if indented.startswith("    ") and not re.search(r"^( |[-*] |\d+\. )", before, re.MULTILINE):
            yield f"{page}: {indented.splitlines()[0]}: code stands between fences, not indented"


def code_that_nothing_runs():
    tests = tests_of_pages()
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    for name in sorted({*tests, *pages.NOT_RUN} - names):
        yield f"{name}: there is no such page, and tests know it"
    for name in sorted(names):
        yield from wrong_fences(name, (ROOT / name).read_text(encoding="utf-8"))
        lines = [block.first_line for block in pages.blocks(name)]
        for line in pages.NOT_RUN.get(name, ()):
            if lines.count(line) != 1:
                yield f"{name}: {line}: in pages.NOT_RUN, and {lines.count(line)} times on the page"
        code = pages.to_run(name)
        if code and len(tests.get(name, ())) != 1:
            yield (f"{name}: {code[0].first_line}: one test has to take pages.script({name!r}) and run it; "
                   f"{len(tests.get(name, ()))} do. What none can run is named in pages.NOT_RUN")
    for test in sorted({test for found in tests.values() for test in found}):
        if not is_registered(test):
            yield f"{test.relative_to(ROOT)}: not in its CMakeLists.txt"


def compiled_code_of_no_test():
    def lines(text):
        return "\n".join(line.strip() for line in text.splitlines())

    tests = [lines(test.read_text(encoding="utf-8")) for test in ROOT.glob("tests/integration/*_test.cc")]
    for page in (str(page.relative_to(ROOT)) for page in PAGES):
        for block in pages.blocks(page):
            if block.language == pages.COMPILED and not any(lines(block.text) in test for test in tests):
                yield f"{page}: {block.first_line}: these lines stand in no test of tests/integration"


def examples_that_nothing_runs():
    run = "".join([*(test.read_text(encoding="utf-8") for test in ROOT.glob("tests/*/*_test.py")),
                   *(block.text for page in PAGES for block in pages.to_run(str(page.relative_to(ROOT))))])
    for example in (*ROOT.glob("docs/examples/*.*"), *ROOT.glob("client/python/examples/*.*")):
        if not re.search(rf"\b{example.stem}\b", run):
            yield f"{example.relative_to(ROOT)}: no test runs it, and no page has it run"


def commands_that_do_not_exist():
    """What the tree knows of commands that no test runs: targets, packages, files."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    packages = set(re.sub(r"#.*", "", (ROOT / "docker" / "packages.txt").read_text("utf-8")).split())
    for page in (str(page.relative_to(ROOT)) for page in PAGES):
        for block in pages.blocks(page):
            if block.language != pages.COMMANDS:
                continue
            commands = re.sub(r"(^|\s)#.*", "", block.text.replace("\\\n", " "))
            for words in re.findall(r"^make (.*)$", commands, re.MULTILINE):
                for target in set(words.split()) - targets:
                    yield f"{page}: make {target}: there is no such target"
            for words in re.findall(r"\bapt install (.*)$", commands, re.MULTILINE):
                for name in {w for w in words.split() if re.fullmatch(r"[a-z][a-z0-9.+-]*", w)} - packages:
                    yield f"{page}: apt install {name}: not in docker/packages.txt"
            for path in re.findall(r"(?<![\w/.$])(?:tests|deploy|docker|docs|client)/[\w/.-]*\w", commands):
                if not (ROOT / path).exists():
                    yield f"{page}: {path}: there is no such file"


def main():
    wrong = [line for page in PAGES for line in wrong_links(page)] + list(unknown_tests())
    wrong += [*reasons_without_a_remedy(), *code_that_nothing_runs(),
              *compiled_code_of_no_test(), *examples_that_nothing_runs(), *commands_that_do_not_exist()]
    print("\n".join(wrong) if wrong else f"{len(PAGES)} pages checked")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
