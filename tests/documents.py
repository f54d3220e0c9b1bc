#!/usr/bin/env python3
"""documents.py ROOT - every link in README.md and docs/ leads to a file, and to a heading where it names one; every page of docs/
is linked from README.md; every program of docs/ is named by some page. Speaks TAP."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
pages = [root / "README.md", root / "bench/README.md", *sorted((root / "docs").glob("*.md"))]
number = failed = 0


def check(sentence, faults):
    global number, failed
    number += 1
    failed += bool(faults)
    print(f"{'not ' if faults else ''}ok {number} - {sentence}")
    for fault in faults:
        print(f"# {fault}")


def anchor(heading):
    """As the usual hosts make one of a heading."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "]", heading).strip().lower()).replace(" ", "-")


def links(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def is_dead(page, link):
    path, _, fragment = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return True
    headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.M) if fragment else []
    return bool(fragment) and fragment not in map(anchor, headings)


for page in pages:
    check(f"the links of {page.relative_to(root)} lead somewhere", [link for link in links(page) if is_dead(page, link)])
first = links(pages[0])
check("README.md leads to every page of docs/", [page.name for page in pages[2:] if f"docs/{page.name}" not in first])
text = "".join(page.read_text() for page in pages)
check("every program of docs/ is named by a page", [c.name for c in (root / "docs").glob("*.c") if c.name not in text])
print(f"1..{number}")
sys.exit(failed > 0)
